//! Collectors know what people consent to: a withdrawal is applied at each of them before it is answered, and everything is
//! told again until they know it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_clients::SubjectDataPeer;
use baton_errors::Result;
use baton_proto::{
    baton::privacy::v1::{ApplyConsentsRequest, ConsentChange},
    convert::timestamp,
};
use baton_store::Db;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use crate::store::{self, consent::StateChange};

/// How often collectors are contacted. They store nothing after ten seconds without.
pub(crate) const CONTACT_INTERVAL: Duration = Duration::from_secs(2);
/// How often a service that collects nothing is asked again: its next version may.
const ASK_INTERVAL: Duration = Duration::from_secs(30);
/// How long a withdrawal waits for a collector.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// Changes of a call.
const BATCH: usize = 500;

/// The services that may collect data. Clones share what is known about them.
#[derive(Clone)]
pub(crate) struct Collectors(Vec<Collector>);

/// A service that may collect data.
#[derive(Clone)]
pub(crate) struct Collector {
    db: Db,
    source: SubjectDataPeer,
    known: Arc<Mutex<Known>>,
}

/// What the service has said last.
#[derive(Clone, Default)]
struct Known {
    /// The purposes that it collects data for.
    purposes: Vec<String>,
    /// Up to which change it knows all.
    through: i64,
    /// When it said so; `None` if it was not reached yet.
    at: Option<Instant>,
}

impl Collectors {
    pub(crate) fn new(db: &Db, sources: &[SubjectDataPeer]) -> Self {
        let collector =
            |source: &SubjectDataPeer| Collector { db: db.clone(), source: source.clone(), known: Arc::default() };
        Self(sources.iter().map(collector).collect())
    }

    /// Each by itself.
    pub(crate) fn each(&self) -> Vec<Collector> {
        self.0.clone()
    }

    /// Applies a change at every service; `false` if one did not, and will be told again. Those that said that they collect
    /// nothing are asked as well: a new version may have begun since.
    pub(crate) async fn apply(&self, change: &StateChange) -> bool {
        let calls = self.0.iter().map(|collector| async {
            let request = ApplyConsentsRequest { changes: vec![message(change.clone())], ..Default::default() };
            let call = collector.source.apply_consents(request);
            matches!(timeout(APPLY_TIMEOUT, call).await, Ok(Ok(_)))
        });
        join_all(calls).await.into_iter().all(|applied| applied)
    }
}

impl Collector {
    /// Tells the service what it does not know, and that it knows everything once that is so.
    pub(crate) async fn contact(&self) -> Result<()> {
        let Known { purposes, through, at } = self.known().clone();
        if at.is_some_and(|at| purposes.is_empty() && at.elapsed() < ASK_INTERVAL) {
            return Ok(());
        }
        let (mut purposes, mut after) = (purposes, through);
        if purposes.is_empty() {
            (purposes, after) = self.call(ApplyConsentsRequest::default()).await?;
        }
        while !purposes.is_empty() {
            let settled = store::consent::settled(&self.db).await?;
            let changes = store::consent::changes_after(&self.db, after, &purposes, BATCH).await?;
            let complete = changes.len() < BATCH;
            let last = changes.last().map_or(after, |change| change.epoch);
            let changes = changes.into_iter().map(message).collect();
            let request = ApplyConsentsRequest { changes, through: settled.min(last), after, complete };
            let (of_response, known) = self.call(request).await?;
            if complete || of_response != purposes || known < settled.min(last) {
                // The next round begins where the service says.
                return Ok(());
            }
            after = last;
        }
        Ok(())
    }

    async fn call(&self, request: ApplyConsentsRequest) -> Result<(Vec<String>, i64)> {
        let response = self.source.apply_consents(request).await?;
        let (purposes, through) = (response.purposes, response.through);
        *self.known() = Known { purposes: purposes.clone(), through, at: Some(Instant::now()) };
        Ok((purposes, through))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No code under the lock can panic half-way.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(change: StateChange) -> ConsentChange {
    ConsentChange {
        user_id: change.user_id.to_string(),
        purpose: change.purpose,
        given: change.given,
        epoch: change.epoch,
        answered_at: Some(timestamp(change.answered_at)),
        withdrawn_epoch: change.withdrawn_epoch,
    }
}
