//! Deleted rules: their executions, which may be many, are deleted by a job.

use baton_errors::{Reason, Result};
use baton_store::Db;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store;

/// The kind of jobs that delete the executions of a deleted rule, and the rule.
pub(crate) const CLEAR: &str = "automation.clear";

/// A deleted rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Deleted {
    pub(crate) account_id: Uuid,
    pub(crate) rule_id: Uuid,
}

/// Deletes the executions of a deleted rule, some at a time, and then the rule.
///
/// # Errors
/// Those of the database; the job is repeated.
pub(crate) async fn clear(db: &Db, deleted: Deleted) -> Result<()> {
    // Whoever has deleted the rule waits for what is under way, by these rows.
    if store::execution::is_acting_in_system(db, deleted.account_id, deleted.rule_id).await? {
        return Err(Reason::Unavailable.into());
    }
    while store::execution::clear(db, deleted.account_id, deleted.rule_id).await? {}
    Ok(())
}
