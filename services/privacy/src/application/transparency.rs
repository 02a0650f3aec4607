//! The logs of answers to consents and of receipts: Merkle trees with signed checkpoints.

use std::{collections::BTreeMap, time::Duration};

use baton_audit::{Batch, LogKeys};
use baton_errors::Result;
use baton_runtime::Next;
use baton_store::Db;
use uuid::Uuid;

use crate::store;

/// Time between two checkpoints of a log.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// A log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Consents,
    Receipts,
}

impl Log {
    /// Its id, which is part of its checkpoints' origin.
    pub(crate) fn id(self) -> Uuid {
        match self {
            Self::Consents => Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001),
            Self::Receipts => Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0002),
        }
    }
}

/// Takes in what waits.
pub(crate) async fn advance(db: Db, keys: std::sync::Arc<LogKeys>) -> Result<Next> {
    let (consents, receipts) = store::transparency::pending(&db).await?;
    let logs = [(Log::Consents, consents), (Log::Receipts, receipts)];
    let waiting: Vec<Uuid> = logs.into_iter().filter(|(_, waits)| *waits).map(|(log, _)| log.id()).collect();
    if waiting.is_empty() {
        return Ok(Next::Wait);
    }
    let now = db.clock().now();
    let mut batch = Batch::lock(&db, &waiting, now).await?;
    let sizes: BTreeMap<Uuid, u64> = batch.sizes().collect();
    let mut leaves = BTreeMap::new();
    for (log, size) in sizes {
        let taken = if log == Log::Consents.id() {
            store::transparency::take_consents(batch.connection(), size).await?
        } else {
            store::transparency::take_receipts(batch.connection(), size).await?
        };
        leaves.insert(log, taken);
    }
    let taken = leaves.len();
    // Locked elsewhere: whoever has the lock does it. Rows of a damaged tree get no place.
    if taken == 0 || batch.append(leaves, &keys, now).await?.len() < taken {
        return Ok(Next::Wait);
    }
    batch.commit().await?;
    Ok(Next::Again)
}
