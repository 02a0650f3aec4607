//! Checkpoints of the activity logs: every few seconds, what was logged is added to the Merkle tree of its account.

use std::{sync::Arc, time::Duration};

use baton_audit::LogKeys;
use baton_errors::Result;
use baton_runtime::Next;
use baton_store::Db;
use uuid::Uuid;

use crate::store::{self, audit::Advance};

/// Time between two checkpoints of a log.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// Adds to the trees what was logged since their last checkpoints: once around all accounts, so that none waits for busy ones.
pub(crate) async fn sweep(db: Db, keys: Arc<LogKeys>) -> Result<Next> {
    let (mut after, mut any_left) = (Uuid::nil(), false);
    loop {
        let Advance { last, more } = store::audit::advance(&db, &keys, after).await?;
        any_left |= more;
        match last {
            Some(last) => after = last,
            None => return Ok(if any_left { Next::Again } else { Next::Wait }),
        }
    }
}
