//! Collectors know what people consent to: a withdrawal is applied at each of them before it is answered, and everything is
//! told again until they know it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use baton_clients::SubjectDataPeer;
use baton_errors::Result;
use baton_proto::baton::privacy::v1::ConsentChange;
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
const BATCH: i64 = 500;

/// The services that may collect data. Clones share what is known about them.
#[derive(Clone)]
pub(crate) struct Collectors {
    db: Db,
    sources: Vec<SubjectDataPeer>,
    known: Arc<Mutex<Known>>,
}

/// The purposes that each service collects data for, and when it has said so.
type Known = BTreeMap<&'static str, (Vec<String>, Instant)>;

impl Collectors {
    pub(crate) fn new(db: Db, sources: Vec<SubjectDataPeer>) -> Self {
        Self { db, sources, known: Arc::default() }
    }

    /// Applies a change at every collector; `false` if one did not, and will be told again.
    pub(crate) async fn apply(&self, change: &StateChange) -> bool {
        let concerned = self.sources.iter().filter(|source| {
            // A service that was not reached yet may collect anything.
            self.purposes(source.name()).is_none_or(|(purposes, _)| purposes.contains(&change.purpose))
        });
        let calls = concerned.map(|source| async move {
            let call = source.apply_consents(vec![message(change.clone())], 0);
            match timeout(APPLY_TIMEOUT, call).await {
                Ok(Ok(response)) => {
                    self.note(source.name(), response.purposes);
                    true
                }
                Ok(Err(_)) | Err(_) => false,
            }
        });
        join_all(calls).await.into_iter().all(|applied| applied)
    }

    /// Contacts every collector, and tells it what it does not know.
    pub(crate) async fn contact(&self) -> Result<()> {
        let contacts = self.sources.iter().map(|source| async move {
            let idle = self.purposes(source.name());
            if idle.is_some_and(|(purposes, at)| purposes.is_empty() && at.elapsed() < ASK_INTERVAL) {
                return Ok(());
            }
            self.contact_one(source).await
        });
        // Those that cannot be reached do not keep the others from knowing.
        join_all(contacts).await.into_iter().collect()
    }

    async fn contact_one(&self, source: &SubjectDataPeer) -> Result<()> {
        let response = source.apply_consents(Vec::new(), 0).await?;
        self.note(source.name(), response.purposes.clone());
        let mut after = response.through;
        while !response.purposes.is_empty() {
            let settled = store::consent::settled(&self.db, self.db.clock().now()).await?;
            let changes = store::consent::changes_after(&self.db, after, &response.purposes, BATCH).await?;
            let (is_last, Some(last)) = (changes.len() < BATCH as usize, changes.last().map(|change| change.epoch))
            else {
                break;
            };
            let through = settled.min(last);
            source.apply_consents(changes.into_iter().map(message).collect(), through).await?;
            if is_last {
                break;
            }
            after = last;
        }
        Ok(())
    }

    fn purposes(&self, name: &str) -> Option<(Vec<String>, Instant)> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn note(&self, name: &'static str, purposes: Vec<String>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, (purposes, Instant::now()));
    }
}

fn message(StateChange { user_id, purpose, given, epoch }: StateChange) -> ConsentChange {
    ConsentChange { user_id: user_id.to_string(), purpose, given, epoch }
}
