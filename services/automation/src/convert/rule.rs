//! Rules in the contract.

use baton_errors::{Error, Result};
use baton_proto::{
    baton::automation::v1::{
        self as proto, Automation, AutomationChange, AutomationWarning, CreateAutomationRequest,
        TriggerType as ProtoTrigger, WarningKind,
    },
    convert::{timestamp, to_object, to_struct},
};
use baton_rules::{Action, To, TriggerType, Verb, Warning};
use chrono::{DateTime, Utc};
use prost_types::Struct;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::rule::{PausedReason, Rule, Terms};

/// A member that is stored only.
const SEALED_SECRET: &str = "sealed_secret";
/// Seconds until a new task is due, at most: ten years.
const MAX_DUE_IN: f64 = 315_360_000.0;

/// The trigger in the contract.
pub(crate) fn trigger(kind: TriggerType) -> ProtoTrigger {
    match kind {
        TriggerType::TaskCreated => ProtoTrigger::TaskCreated,
        TriggerType::TaskUpdated => ProtoTrigger::TaskUpdated,
        TriggerType::TaskAssigned => ProtoTrigger::TaskAssigned,
        TriggerType::TaskReassigned => ProtoTrigger::TaskReassigned,
        TriggerType::TaskAccepted => ProtoTrigger::TaskAccepted,
        TriggerType::TaskRejected => ProtoTrigger::TaskRejected,
        TriggerType::TaskStarted => ProtoTrigger::TaskStarted,
        TriggerType::TaskPaused => ProtoTrigger::TaskPaused,
        TriggerType::TaskResumed => ProtoTrigger::TaskResumed,
        TriggerType::TaskCompleted => ProtoTrigger::TaskCompleted,
        TriggerType::TaskCanceled => ProtoTrigger::TaskCanceled,
        TriggerType::TaskArchived => ProtoTrigger::TaskArchived,
        TriggerType::TaskReopened => ProtoTrigger::TaskReopened,
        TriggerType::TaskStatusChanged => ProtoTrigger::TaskStatusChanged,
        TriggerType::TaskCommented => ProtoTrigger::TaskCommented,
        TriggerType::TaskUnblocked => ProtoTrigger::TaskUnblocked,
        TriggerType::TaskOverdue => ProtoTrigger::TaskOverdue,
        TriggerType::TaskDueSoon => ProtoTrigger::TaskDueSoon,
        TriggerType::MemberJoined => ProtoTrigger::MemberJoined,
        TriggerType::Schedule => ProtoTrigger::Schedule,
    }
}

fn trigger_type(value: ProtoTrigger, path: &str) -> Result<TriggerType> {
    let known = TriggerType::ALL.into_iter().find(|kind| trigger(*kind) == value);
    known.ok_or_else(|| Error::invalid(format!("{path}trigger_type"), "must be a trigger"))
}

/// The reason in the contract.
pub(crate) fn paused_reason(reason: Option<PausedReason>) -> proto::PausedReason {
    match reason {
        None => proto::PausedReason::Unspecified,
        Some(PausedReason::CreatorLeft) => proto::PausedReason::CreatorLeft,
        Some(PausedReason::Refused) => proto::PausedReason::Refused,
        Some(PausedReason::LoopSuspected) => proto::PausedReason::LoopSuspected,
        Some(PausedReason::WebhookGone) => proto::PausedReason::WebhookGone,
    }
}

/// Converts to the contract.
///
/// # Errors
/// INTERNAL when a stored rule does not parse.
pub(crate) fn automation(rule: Rule) -> Result<Automation> {
    let sentence = rule.terms.definition("").map_err(|error| Error::internal(error.to_string()))?.sentence();
    Ok(Automation {
        id: rule.id.to_string(),
        account_id: rule.account_id.to_string(),
        created_by: rule.created_by.to_string(),
        name: rule.name,
        description: rule.description,
        trigger_type: trigger(rule.terms.trigger_type).into(),
        trigger_conditions: Some(to_struct(rule.terms.trigger_conditions)),
        actions: rule.terms.actions.iter().map(action).collect::<Result<_>>()?,
        enabled: rule.enabled,
        timezone: rule.terms.timezone,
        sentence,
        execution_count: rule.execution_count,
        last_executed_at: rule.last_executed_at.map(timestamp),
        paused_reason: rule.paused_reason.map(|reason| paused_reason(Some(reason)).into()),
        version: rule.version,
        created_at: Some(timestamp(rule.created_at)),
        updated_at: Some(timestamp(rule.updated_at)),
        warnings: Vec::new(),
    })
}

/// The warnings about a rule. `own` are the caller's rules: others are not named.
pub(crate) fn warnings(found: Vec<Warning>, own: impl Fn(Uuid) -> bool) -> Vec<AutomationWarning> {
    let warning = |warning| match warning {
        Warning::FiresItself => AutomationWarning {
            kind: WarningKind::FiresItself.into(),
            automation_ids: Vec::new(),
            message: "The actions can fire the rule's own trigger. It does not run on events that it causes."
                .to_owned(),
        },
        Warning::Cycle(ids) => AutomationWarning {
            kind: WarningKind::Cycle.into(),
            automation_ids: ids.into_iter().filter(|id| own(*id)).map(|id| id.to_string()).collect(),
            message: "The rule and others can run each other. Such a chain ends after five executions.".to_owned(),
        },
    };
    found.into_iter().map(warning).collect()
}

fn action(action: &Action) -> Result<Struct> {
    match serde_json::to_value(action).map_err(Error::internal)? {
        Value::Object(mut members) => {
            members.remove(SEALED_SECRET);
            Ok(to_struct(members))
        }
        _ => Err(Error::internal("an action is no object")),
    }
}

/// The terms of a new rule. `account_timezone` is that of a rule that names none, `path` precedes the names of fields.
///
/// # Errors
/// VALIDATION_FAILED, naming the field.
pub(crate) fn terms(new: &CreateAutomationRequest, account_timezone: &str, path: &str) -> Result<Terms> {
    Ok(Terms {
        trigger_type: trigger_type(new.trigger_type(), path)?,
        trigger_conditions: new.trigger_conditions.clone().map(to_object).unwrap_or_default(),
        actions: actions(&new.actions, path)?,
        timezone: new.timezone.clone().unwrap_or_else(|| account_timezone.to_owned()),
    })
}

/// Parses actions: objects with a `type`, or with their short form.
fn actions(new: &[Struct], path: &str) -> Result<Vec<Action>> {
    new.iter()
        .enumerate()
        .map(|(index, action)| parse_action(action.clone(), &format!("{path}actions[{index}]")))
        .collect()
}

fn parse_action(action: Struct, path: &str) -> Result<Action> {
    let mut members = to_object(action);
    let Some(short) = members.remove("short") else { return typed_action(members, path) };
    let short_path = format!("{path}.short");
    let text = short.as_str().ok_or_else(|| Error::invalid(&short_path, "must be a text"))?;
    let continues = match members.remove("continue") {
        None => false,
        Some(Value::Bool(continues)) => continues,
        Some(_) => return Err(Error::invalid(format!("{path}.continue"), "must be true or false")),
    };
    if let Some(name) = members.keys().next() {
        return Err(Error::invalid(format!("{path}.{name}"), "must not stand beside `short`"));
    }
    Ok(Action { continues, ..Action::of_short(text, &short_path)? })
}

fn typed_action(mut members: Map<String, Value>, path: &str) -> Result<Action> {
    let member = |name: &str| format!("{path}.{name}");
    // Null is as good as absent, except as a value.
    members.retain(|name, value| !value.is_null() || name == "value");
    let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
    if !Verb::NAMES.contains(&kind) {
        return Err(Error::invalid(member("type"), format!("must be {}", Verb::NAMES.join(", "))));
    }
    if let Some(to) = members.get("to") {
        let to = To::try_from(to.as_str().unwrap_or_default().to_owned());
        to.map_err(|problem| Error::invalid(member("to"), problem))?;
    }
    if let Some(seconds) = members.get("due_in_seconds") {
        // Numbers of the contract are doubles.
        let whole = seconds.as_f64().filter(|seconds| seconds.fract() == 0.0 && (0.0..=MAX_DUE_IN).contains(seconds));
        let whole = whole.ok_or_else(|| {
            Error::invalid(member("due_in_seconds"), format!("must be a whole number from 0 to {MAX_DUE_IN}"))
        })?;
        members.insert("due_in_seconds".to_owned(), Value::from(whole as i64));
    }
    if members.contains_key(SEALED_SECRET) {
        return Err(Error::invalid(member(SEALED_SECRET), "must not be given; give `secret`"));
    }
    let given: Vec<String> = members.keys().cloned().collect();
    let wrong = |error: serde_json::Error| {
        // serde names a missing member only: "missing field `to`".
        let problem = error.to_string();
        let missing = problem.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        match missing {
            Some(name) => Error::invalid(member(name), "must be given"),
            None => Error::invalid(path, format!("must be an action: {problem}")),
        }
    };
    let action: Action = serde_json::from_value(Value::Object(members)).map_err(wrong)?;
    let known = serde_json::to_value(&action).map_err(Error::internal)?;
    let is_known = |name: &String| known.get(name).is_some() || name == "continue";
    match given.iter().find(|name| !is_known(name)) {
        Some(name) => Err(Error::invalid(member(name), format!("does not belong to {}", action.type_name()))),
        None => Ok(action),
    }
}

/// Changes the fields of a rule that the mask names.
///
/// # Errors
/// VALIDATION_FAILED, naming the field.
pub(crate) fn change(
    rule: &mut Rule,
    mask: &[String],
    new: AutomationChange,
    (account_timezone, now): (&str, DateTime<Utc>),
) -> Result<()> {
    const PATH: &str = "automation.";
    let invalid = |field: &str, problem: &str| Err(Error::invalid(format!("{PATH}{field}"), problem));
    if mask.is_empty() {
        return Err(Error::invalid("update_mask", "must name at least one field"));
    }
    let conditions = new.trigger_conditions.clone().map(to_object).unwrap_or_default();
    let mut terms = rule.terms.clone();
    for path in mask {
        match path.as_str() {
            "name" if new.name.is_empty() => return invalid("name", "must not be empty"),
            "name" => rule.name.clone_from(&new.name),
            "description" => rule.description.clone_from(&new.description),
            "trigger_type" => terms.trigger_type = trigger_type(new.trigger_type(), PATH)?,
            "trigger_conditions" => terms.trigger_conditions.clone_from(&conditions),
            "actions" => terms.actions = actions(&new.actions, PATH)?,
            "timezone" if new.timezone.is_empty() => account_timezone.clone_into(&mut terms.timezone),
            "timezone" => terms.timezone.clone_from(&new.timezone),
            path => match path.strip_prefix("trigger_conditions.") {
                // A merge patch names members one by one.
                Some(member) => match conditions.get(member) {
                    Some(value) => drop(terms.trigger_conditions.insert(member.to_owned(), value.clone())),
                    None => drop(terms.trigger_conditions.remove(member)),
                },
                None => return Err(Error::invalid("update_mask", format!("`{path}` is no field of a rule"))),
            },
        }
    }
    if terms != rule.terms {
        let trigger = |terms: &Terms| {
            let conditions = terms.trigger_conditions.clone();
            (terms.trigger_type, conditions, terms.timezone.clone())
        };
        // A schedule that has begun long ago, or is over, stays so.
        let now = (trigger(&terms) != trigger(&rule.terms)).then_some(now);
        rule.terms = terms.canonical(now, PATH)?.0;
    }
    Ok(())
}
