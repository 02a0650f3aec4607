//! Events about rules and executions.

use baton_catalog::Payload;
use baton_proto::baton::{
    automation::v1::{AutomationEvent, ExecutionEvent},
    tenancy::v1::{Quota, UsageChanged},
};
use baton_store::Event;
use uuid::Uuid;

use crate::{convert, execution::Execution, rule::Rule};

/// A rule was created.
pub(crate) fn created(rule: &Rule) -> Event {
    of_rule(rule, Payload::AutomationCreated)
}

/// A rule was changed.
pub(crate) fn updated(rule: &Rule) -> Event {
    of_rule(rule, Payload::AutomationUpdated)
}

/// A rule was enabled.
pub(crate) fn enabled(rule: &Rule) -> Event {
    of_rule(rule, Payload::AutomationEnabled)
}

/// A rule was disabled.
pub(crate) fn disabled(rule: &Rule) -> Event {
    of_rule(rule, Payload::AutomationDisabled)
}

/// A rule was adopted.
pub(crate) fn adopted(rule: &Rule) -> Event {
    of_rule(rule, Payload::AutomationAdopted)
}

/// A rule was deleted.
pub(crate) fn deleted(rule: &Rule) -> Event {
    of_rule(rule, Payload::AutomationDeleted)
}

/// The account has so many rules.
pub(crate) fn usage(account_id: Uuid, count: i32) -> Event {
    let payload = UsageChanged { quota: Quota::Automations.into(), user_id: String::new(), used: count };
    Event::new(Payload::UsageReported(payload), account_id, account_id)
}

fn of_rule(rule: &Rule, payload: fn(AutomationEvent) -> Payload) -> Event {
    let event = AutomationEvent {
        automation_id: rule.id.to_string(),
        created_by: rule.created_by.to_string(),
        enabled: rule.enabled,
        paused_reason: convert::rule::paused_reason(rule.paused_reason).into(),
        version: rule.version,
    };
    Event::new(payload(event), rule.account_id, rule.id)
}

/// An execution of a rule ended.
pub(crate) fn executed(rule: &Rule, execution: &Execution) -> Event {
    let event = ExecutionEvent {
        execution_id: execution.id.to_string(),
        automation_id: rule.id.to_string(),
        created_by: rule.created_by.to_string(),
        event_id: execution.occurrence.event_id.to_string(),
        task_id: execution.occurrence.task_id.map(|id| id.to_string()).unwrap_or_default(),
        status: convert::execution::status(execution.status).into(),
    };
    Event::new(Payload::AutomationExecuted(event), rule.account_id, execution.id)
}
