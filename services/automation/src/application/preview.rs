//! Tests of rules: what a rule would do, with the caller's rights. Nothing is changed.

use baton_clients::ActingCredentials;
use baton_conditions::{Facts, LeafVerdict};
use baton_errors::{Error, Reason, Result};
use baton_rules::{Definition, Occurrence, Rule as IndexedRule, RuleIndex};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::situation;
use crate::{
    clients::task::TaskClient,
    convert,
    execution::{ExecutionStatus, Outcome},
    plan::Call,
    rule::Rule,
};

/// What a rule would do.
#[derive(Debug, Clone)]
pub(crate) struct Preview {
    pub(crate) matches: bool,
    pub(crate) conditions: Vec<LeafVerdict>,
    /// Outcome of each action, and its description.
    pub(crate) actions: Vec<(Outcome, String)>,
}

/// On what a rule is tested.
#[derive(Debug, Clone, Copy)]
pub(crate) enum On {
    /// Its trigger, fired by the caller now; for a task, if it is about tasks.
    Now(Option<Uuid>),
    /// A past event of a task.
    Event(Uuid),
}

/// Tests a rule of the caller on something.
///
/// # Errors
/// TASK_NOT_FOUND, UNAVAILABLE, and those of ended rights.
pub(crate) async fn preview(
    tasks: &TaskClient,
    credentials: &ActingCredentials,
    (rule, definition, may_call_urls): (&Rule, &Definition, bool),
    on: On,
    now: DateTime<Utc>,
) -> Result<Preview> {
    let needs = situation::needs(definition);
    let (fires, facts, task_id) = match on {
        On::Now(task_id) => (true, facts_of_trigger(definition, credentials.user_id, task_id, now), task_id),
        On::Event(id) => {
            let past = tasks.event(credentials, id).await?;
            let past = convert::history::past_event(&past, past.before.as_ref())?;
            let indexed = IndexedRule { id: rule.id, owner: credentials.user_id, definition: definition.clone() };
            let index = RuleIndex::new([indexed.into()]);
            let fired = past.occurrences.iter().find(|occurrence| index.candidates(occurrence).next().is_some());
            let Some(occurrence) = fired.or(past.occurrences.first()) else {
                return Err(Error::invalid("event_id", "must be an event that can fire a trigger"));
            };
            let mut facts = occurrence.facts(credentials.user_id, definition.timezone);
            facts.task = facts.task.or(past.after);
            (fired.is_some(), facts, Some(past.task_id))
        }
    };
    let observed = situation::observe(tasks, credentials, facts, task_id, needs).await?;
    let observed = observed.ok_or_else(|| Error::from(Reason::TaskNotFound))?;
    let mut actions = Vec::new();
    for action in &definition.actions {
        let mut outcome = Outcome::pending(action);
        let planned = situation::plan(tasks, credentials, action, (&rule.name, now), &observed).await?;
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
        matches: fires && definition.condition.evaluate(&observed.facts) == Some(true),
        conditions: definition.condition.explain(&observed.facts),
        actions,
    })
}

/// What is known when the caller fires the rule's trigger now.
fn facts_of_trigger(definition: &Definition, caller: Uuid, task_id: Option<Uuid>, now: DateTime<Utc>) -> Facts {
    let occurrence = Occurrence {
        event_id: Uuid::nil(),
        kind: String::new(),
        occurred_at: now,
        actor: Some(caller),
        task_id,
        task: None,
        changed_fields: definition.trigger.fields.clone(),
        late: false,
        depth: 0,
        rule_id: None,
        in_state_since: None,
    };
    let mut facts = occurrence.facts(caller, definition.timezone);
    (facts.event.from, facts.event.to) = (Some(definition.trigger.from), Some(definition.trigger.to));
    facts
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
