//! Tests of rules: what a rule would do, with the caller's rights. Nothing is changed.

use baton_clients::ActingCredentials;
use baton_conditions::LeafVerdict;
use baton_errors::{Error, Reason, Result};
use baton_rules::{Definition, Occurrence};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::situation;
use crate::{
    clients::task::TaskClient,
    convert,
    execution::{ExecutionStatus, Outcome},
    plan::Call,
};

/// What a rule would do.
#[derive(Debug, Clone)]
pub(crate) struct Preview {
    pub(crate) matches: bool,
    pub(crate) conditions: Vec<LeafVerdict>,
    /// Outcome of each action, and its description.
    pub(crate) actions: Vec<(Outcome, String)>,
}

/// Tests a rule on a task, as if its trigger were fired by the caller now.
///
/// # Errors
/// TASK_NOT_FOUND, UNAVAILABLE, and those of ended rights.
pub(crate) async fn preview(
    tasks: &TaskClient,
    credentials: &ActingCredentials,
    (name, definition, may_call_urls): (&str, &Definition, bool),
    task_id: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<Preview> {
    let occurrence = Occurrence {
        event_id: Uuid::nil(),
        kind: String::new(),
        occurred_at: now,
        actor: Some(credentials.user_id),
        task_id,
        task: None,
        changed_fields: definition.trigger.fields.clone(),
        late: false,
        depth: 0,
        rule_id: None,
    };
    let mut facts = occurrence.facts(credentials.user_id, definition.timezone);
    facts.event.from = Some(definition.trigger.from);
    facts.event.to = Some(definition.trigger.to);
    let needs = situation::needs(definition);
    let observed = situation::observe(tasks, credentials, facts, task_id, needs).await?;
    let observed = observed.ok_or_else(|| Error::from(Reason::TaskNotFound))?;
    let mut actions = Vec::new();
    for action in &definition.actions {
        let mut outcome = Outcome::pending(action);
        let planned = situation::plan(tasks, credentials, action, (name, now), &observed).await?;
        let verdict = match planned {
            Ok(calls) if !may_call_urls && calls.iter().any(|call| matches!(call, Call::Webhook { .. })) => {
                Err(Reason::WebhookNotAllowed)
            }
            Ok(calls) => dry_run(tasks, credentials, &calls, task_id).await?,
            Err(reason) => Err(reason),
        };
        match verdict {
            Ok(()) => (outcome.outcome, outcome.task_id) = (ExecutionStatus::Succeeded, task_id),
            Err(reason) => outcome.fail(reason),
        }
        actions.push((outcome, action.sentence()));
    }
    Ok(Preview {
        matches: definition.condition.evaluate(&observed.facts) == Some(true),
        conditions: definition.condition.explain(&observed.facts),
        actions,
    })
}

/// Whether the first of the calls would succeed. The second move of a status can only be tried after the first; a comment and a
/// message need no more than the task; and a new task cannot be tried at all.
async fn dry_run(
    tasks: &TaskClient,
    credentials: &ActingCredentials,
    calls: &[Call],
    task_id: Option<Uuid>,
) -> Result<std::result::Result<(), Reason>> {
    let Some(request) = calls.first().zip(task_id).and_then(|(call, task_id)| convert::task::change(call, task_id))
    else {
        return Ok(Ok(()));
    };
    let request = baton_proto::baton::task::v1::ChangeTasksRequest { dry_run: true, ..request };
    tasks.change(credentials, &request, Uuid::new_v4()).await
}
