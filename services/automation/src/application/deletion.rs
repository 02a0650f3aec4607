//! Deleted rules: their executions, which may be many, are deleted by a job.

use baton_errors::{Reason, Result};
use baton_store::{Db, Tenant, Tx};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::pausing;
use crate::{events::publish, rule::Rule, store};

/// The kind of jobs that delete the executions of a deleted rule, and the rule.
pub(crate) const CLEAR: &str = "automation.clear";
/// The kind of jobs that delete a rule that runs for one task only, because the task is closed.
pub(crate) const TASK_CLOSED: &str = "automation.task_closed";

/// The only task of a rule, which is closed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClosedTask {
    pub(crate) account_id: Uuid,
    pub(crate) rule_id: Uuid,
    pub(crate) task_id: Uuid,
    pub(crate) closed_at: DateTime<Utc>,
}

/// A deleted rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Deleted {
    pub(crate) account_id: Uuid,
    pub(crate) rule_id: Uuid,
}

/// Deletes a locked rule: cancels its executions, ends its grant, and has its history deleted.
///
/// # Errors
/// Those of the database.
pub(crate) async fn delete(tx: &mut Tx, rule: Rule) -> Result<()> {
    pausing::cancel_executions(tx, &rule).await?;
    store::rule::delete(tx, rule.id, tx.db().clock().now()).await?;
    tx.enqueue(CLEAR, &Deleted { account_id: rule.account_id, rule_id: rule.id }).await?;
    pausing::release(tx, rule.delegation_id.into_iter().collect()).await?;
    let account_id = rule.account_id;
    tx.publish(publish::deleted(&Rule { enabled: false, ..rule })).await?;
    let count = store::rule::lock_count_of_account(tx).await?;
    tx.publish(publish::usage(account_id, count)).await
}

/// Deletes a rule that runs for one task only, because the task is closed.
///
/// # Errors
/// Those of the database.
pub(crate) async fn task_closed(db: &Db, closed: ClosedTask) -> Result<()> {
    let mut tx = db.begin(Tenant::account(closed.account_id)).await?;
    let rule = store::rule::lock(&mut tx, closed.rule_id).await?;
    // It may have been reopened since, and the rule enabled again, or for another task.
    let is_its_own = |rule: &Rule| {
        let only_task = rule.terms.definition("").ok().and_then(|definition| definition.trigger.only_task());
        rule.enabled && only_task == Some(closed.task_id) && closed.closed_at >= rule.enabled_at
    };
    if let Some(rule) = rule.filter(is_its_own) {
        delete(&mut tx, rule).await?;
    }
    tx.commit().await
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
