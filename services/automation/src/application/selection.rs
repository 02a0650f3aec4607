//! Schedules that run a rule for several tasks: a job lists them with the rights of the rule's creator.

use baton_clients::is_access_revoked;
use baton_errors::{Error, Reason, Result};
use baton_rules::{Occurrence, Scope, schedule::MAX_TASKS};
use baton_store::Tenant;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    dispatch::{self, Run},
    run::Runner,
};
use crate::{convert, execution::RETRY_FOR, rule::Rule, store};

/// The kind of jobs that do so.
pub(crate) const SELECT: &str = "automation.select";

/// A time of a schedule, of which the tasks are not listed yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Selection {
    account_id: Uuid,
    rule_id: Uuid,
    occurrence: Occurrence,
    enqueued_at: DateTime<Utc>,
}

impl Selection {
    pub(crate) fn new(rule: &Rule, occurrence: Occurrence, enqueued_at: DateTime<Utc>) -> Self {
        Self { account_id: rule.account_id, rule_id: rule.id, occurrence, enqueued_at }
    }
}

/// Enqueues the rule for each of its tasks, up to 100.
///
/// # Errors
/// UNAVAILABLE, and others; the job is repeated.
pub(crate) async fn run(runner: &Runner, selection: Selection) -> Result<()> {
    let Selection { account_id, rule_id, occurrence, enqueued_at } = selection;
    let mut tx = runner.db.begin_read(Tenant::account(account_id)).await?;
    let rule = store::rule::get(&mut tx, rule_id).await?;
    drop(tx);
    // What the rule does now: it may have been changed since.
    let Some(rule) = rule.filter(|rule| rule.enabled && rule.enabled_at <= occurrence.occurred_at) else {
        return Ok(());
    };
    let definition = rule.terms.definition("").map_err(|error| Error::internal(error.to_string()))?;
    let Some(Scope::Tasks(selection)) = definition.trigger.schedule.map(|schedule| schedule.scope) else {
        return Ok(());
    };
    let now = runner.db.clock().now();
    let tasks = async {
        let credentials = runner.credentials_of(&rule, 1).await?;
        let filter = convert::task::filter(&selection);
        runner.tasks.list(&credentials, filter, String::new()).await
    };
    let tasks = match tasks.await {
        Err(error) if is_access_revoked(error.reason()) => return runner.handle_revocation(&rule, error).await,
        Err(error) if is_definite(error.reason()) || now > enqueued_at + RETRY_FOR => {
            tracing::warn!(%error, rule.id = %rule_id, "a time of a schedule is left out");
            return Ok(());
        }
        tasks => tasks?.0,
    };
    let ids = tasks.iter().filter_map(|task| task.id.parse().ok()).take(MAX_TASKS);
    let runs = ids.map(|task_id| {
        let of_task = Occurrence::of_schedule(rule_id, occurrence.occurred_at, Some(task_id));
        Run::new(account_id, rule_id, Occurrence { late: occurrence.late, ..of_task }, now)
    });
    let runs: Vec<Run> = runs.collect();
    let mut tx = runner.db.begin(Tenant::account(account_id)).await?;
    dispatch::enqueue(&mut tx, &runs).await?;
    tx.commit().await
}

/// Whether another attempt would have the same answer.
fn is_definite(reason: Reason) -> bool {
    matches!(reason, Reason::ValidationFailed | Reason::ScopeMissing | Reason::PermissionMissing)
}
