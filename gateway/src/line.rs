//! Where calls that anyone may make wait, so that a flood of strangers costs strangers first.
//!
//! Each RPC whose rule is public has a line of its own: a few of its calls are worked on at once, the others wait, in
//! the order they came. Signed-in people wait in none. What a flood asks for is bounded in this way before anything of
//! it is read, counted or looked up; and as every RPC has its own line, a slow one does not hold up the others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use baton_access::Rule;
use baton_errors::{Error, Reason, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Calls of one RPC that are worked on at once: more than enough to keep all threads of auth hashing.
const AT_ONCE: usize = 16;
/// Calls of one RPC that wait. They hold their connection's buffers, not their bodies.
const WAITING: usize = 2048;
/// How long one waits before it is told to come again: most clients wait no longer themselves.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lines, by the path of the RPC. Clones share them.
#[derive(Clone)]
pub(crate) struct Lines {
    lines: Arc<HashMap<String, Line>>,
    patience: Duration,
}

struct Line {
    /// Places to wait or be worked on.
    places: Semaphore,
    work: Semaphore,
}

/// A call's turn; it ends when this is dropped.
pub(crate) struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    _work: SemaphorePermit<'a>,
}

impl Lines {
    /// A line for every public RPC among these.
    pub(crate) fn new(rules: &HashMap<String, Rule>) -> Self {
        Self::with_patience(rules, PATIENCE)
    }

    fn with_patience(rules: &HashMap<String, Rule>, patience: Duration) -> Self {
        let line = || Line { places: Semaphore::new(AT_ONCE + WAITING), work: Semaphore::new(AT_ONCE) };
        let public = rules.iter().filter(|&(_, &rule)| rule == Rule::Public);
        Self { lines: Arc::new(public.map(|(rpc, _)| (rpc.clone(), line())).collect()), patience }
    }

    /// Waits for this RPC's turn; `None` when it has no line.
    ///
    /// # Errors
    /// BUSY when the line is full, or did not move.
    pub(crate) async fn turn(&self, rpc: &str) -> Result<Option<Turn<'_>>> {
        let Some(line) = self.lines.get(rpc) else { return Ok(None) };
        let busy = || Error::from(Reason::Busy).retry_after(self.patience);
        let place = line.places.try_acquire().map_err(|_| busy())?;
        let work = tokio::time::timeout(self.patience, line.work.acquire()).await.map_err(|_| busy())?;
        Ok(Some(Turn { _place: place, _work: work.map_err(Error::internal)? }))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn lines(patience: Duration) -> Lines {
        let rules = [("/public", Rule::Public), ("/other", Rule::Public), ("/signed-in", Rule::Authenticated)];
        Lines::with_patience(&rules.map(|(rpc, rule)| (rpc.to_owned(), rule)).into(), patience)
    }

    #[tokio::test]
    async fn each_public_rpc_has_a_line_of_its_own() {
        let lines = lines(Duration::from_millis(20));
        let mut working = Vec::new();
        for _ in 0..AT_ONCE {
            working.push(lines.turn("/public").await.unwrap().unwrap());
        }
        let refused = lines.turn("/public").await.err().unwrap();
        assert_eq!(refused.reason(), Reason::Busy);
        assert!(lines.turn("/other").await.unwrap().is_some());
        assert!(lines.turn("/signed-in").await.unwrap().is_none());
        working.pop();
        assert!(lines.turn("/public").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_full_line_says_so_at_once_and_who_gives_up_leaves_it() {
        let lines = lines(PATIENCE);
        let mut working = Vec::new();
        for _ in 0..AT_ONCE {
            working.push(lines.turn("/public").await.unwrap().unwrap());
        }
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let lines = lines.clone();
                tokio::spawn(async move { lines.turn("/public").await.is_ok() })
            })
            .collect();
        while lines.lines["/public"].places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        // Polled once, and answered.
        let refused = lines.turn("/public").now_or_never().expect("at once");
        assert_eq!(refused.err().unwrap().reason(), Reason::Busy);
        for call in waiting {
            call.abort();
            let _ = call.await;
        }
        working.clear();
        assert!(lines.turn("/public").await.unwrap().is_some());
    }
}
