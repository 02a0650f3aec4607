//! Plans: the calls that an action makes. They are decided before the first of them, and stored, so that a repetition after a
//! crash makes the same calls with the same keys.

use baton_conditions::{Facts, Field, Template, choice::Status};
use baton_errors::Reason;
use baton_rules::{
    Action, To, Verb,
    action::{MAX_NOTICE_LEN, is_template},
    moves,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The calls of one action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Index of the action.
    pub(crate) action: usize,
    /// The calls, in order.
    pub(crate) calls: Vec<Call>,
}

/// A call to another service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub(crate) enum Call {
    /// Makes a move of the lifecycle.
    Move { name: String, reason: Option<String> },
    /// Assigns the task: to the first time, or to somebody else.
    Assign { to: Uuid, reassign: bool },
    /// Changes fields of the task: those in `set` get values, those in `clear` lose theirs.
    Update { set: Map<String, Value>, clear: Vec<String>, add_tags: Vec<String>, remove_tags: Vec<String> },
    /// Comments on the task.
    Comment { body: String },
    /// Creates a task.
    Create {
        title: String,
        description: String,
        priority: Option<String>,
        due_at: Option<DateTime<Utc>>,
        assigned_to: Option<Uuid>,
        parent_task_id: Option<Uuid>,
    },
    /// Sends a message to people who see the task.
    Tell { user_ids: Vec<Uuid>, text: String },
    /// Has a URL called, with these fields.
    Webhook { url: String, sealed_secret: String, fields: Map<String, Value> },
}

/// What is known when an action is planned.
#[derive(Debug, Clone)]
pub(crate) struct Situation<'a> {
    /// Name of the rule.
    pub(crate) rule: &'a str,
    pub(crate) facts: &'a Facts,
    /// The task as it is now.
    pub(crate) task: Option<TaskNow>,
    /// The people whom the action concerns.
    pub(crate) people: Vec<Uuid>,
    pub(crate) now: DateTime<Utc>,
}

/// What plans read of a task as it is now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskNow {
    pub(crate) id: Uuid,
    pub(crate) status: Status,
    pub(crate) assignee: Option<Uuid>,
    pub(crate) due_at: Option<DateTime<Utc>>,
}

/// The people whom an action concerns, if any.
pub(crate) fn recipients(action: &Action) -> Option<&To> {
    match &action.verb {
        Verb::Notify { to, .. } | Verb::Assign { to } => Some(to),
        Verb::CreateTask { to, .. } => to.as_ref(),
        _ => None,
    }
}

/// The texts of an action.
pub(crate) fn texts(action: &Action) -> Vec<&str> {
    match &action.verb {
        Verb::Notify { message, .. } | Verb::AddComment { message } => vec![message],
        Verb::SetField { field, value: Value::String(text) } if is_template(field) => vec![text],
        Verb::CreateTask { title, message, .. } => {
            [Some(title), message.as_ref()].into_iter().flatten().map(|it| &**it).collect()
        }
        Verb::Cancel { message: Some(message) } => vec![message],
        _ => Vec::new(),
    }
}

/// The fields that an action sends as values.
pub(crate) fn sent_fields(action: &Action) -> Vec<Field> {
    match &action.verb {
        Verb::CallWebhook { fields, .. } => fields.iter().filter_map(|name| Field::from_name(name)).collect(),
        _ => Vec::new(),
    }
}

/// The calls that an action makes; none if there is nothing to do.
///
/// # Errors
/// The reason for which it cannot be done at all.
pub(crate) fn calls(action: &Action, at: &Situation<'_>) -> Result<Vec<Call>, Reason> {
    let task = || at.task.ok_or(Reason::TaskNotFound);
    let one = |call: Call| Ok(vec![call]);
    match &action.verb {
        Verb::Notify { message, .. } => {
            if at.people.is_empty() {
                return Err(Reason::MemberNotFound);
            }
            one(Call::Tell { user_ids: at.people.clone(), text: shorten(at.render(message)?) })
        }
        Verb::Assign { .. } => {
            let (task, to) = (task()?, *at.people.first().ok_or(Reason::AssigneeInvalid)?);
            if task.assignee == Some(to) {
                Ok(Vec::new())
            } else {
                one(Call::Assign { to, reassign: task.assignee.is_some() })
            }
        }
        Verb::SetField { field, value } => {
            task()?;
            let value = match value {
                Value::String(text) if is_template(field) => at.render(text)?.into(),
                value => value.clone(),
            };
            let mut set = Map::new();
            let mut clear = Vec::new();
            if value.is_null() {
                clear.push(field.clone());
            } else {
                set.insert(field.clone(), value);
            }
            one(Call::Update { set, clear, add_tags: Vec::new(), remove_tags: Vec::new() })
        }
        Verb::AddTag { tag } => one(Call::tags(vec![tag.clone()], Vec::new())),
        Verb::RemoveTag { tag } => one(Call::tags(Vec::new(), vec![tag.clone()])),
        Verb::SetStatus { status } => {
            let to = Status::from_name(status).ok_or(Reason::ValidationFailed)?;
            at.moves(task()?, to)
        }
        Verb::Archive => Ok(single_move(task()?, Status::Archived, "archive", None)),
        Verb::Cancel { message } => {
            let reason = message.as_ref().map(|message| at.render(message)).transpose()?;
            Ok(single_move(task()?, Status::Canceled, "cancel", reason))
        }
        Verb::CallWebhook { url, sealed_secret, fields, .. } => {
            let fields = fields.iter().filter_map(|name| Some((name.clone(), at.facts.json(&Field::from_name(name)?))));
            let (url, sealed_secret) = (url.clone(), sealed_secret.clone().unwrap_or_default());
            one(Call::Webhook { url, sealed_secret, fields: fields.collect() })
        }
        Verb::AddComment { message } => task().and_then(|_| one(Call::Comment { body: at.render(message)? })),
        Verb::CreateTask { title, message, priority, due_in_seconds, to, subtask } => {
            let assigned_to = match to {
                Some(_) => Some(*at.people.first().ok_or(Reason::AssigneeInvalid)?),
                None => None,
            };
            one(Call::Create {
                title: at.render(title)?,
                description: message.as_ref().map(|message| at.render(message)).transpose()?.unwrap_or_default(),
                priority: priority.clone(),
                due_at: due_in_seconds.map(|seconds| at.now + TimeDelta::seconds(seconds.into())),
                assigned_to,
                parent_task_id: subtask.then(|| task().map(|task| task.id)).transpose()?,
            })
        }
    }
}

impl Call {
    fn tags(add_tags: Vec<String>, remove_tags: Vec<String>) -> Self {
        Self::Update { set: Map::new(), clear: Vec::new(), add_tags, remove_tags }
    }
}

impl Situation<'_> {
    /// A text with the values of its fields.
    fn render(&self, text: &str) -> Result<String, Reason> {
        let template = Template::parse(text, "").map_err(|_| Reason::ValidationFailed)?;
        let rendered = template.render(self.facts).ok_or(Reason::ValidationFailed)?;
        // Nobody is sent, and nothing is called, nothing.
        if rendered.trim().is_empty() { Err(Reason::ValidationFailed) } else { Ok(rendered) }
    }

    /// The moves that bring the task into a status. A pause needs a reason: the rule's name.
    fn moves(&self, task: TaskNow, to: Status) -> Result<Vec<Call>, Reason> {
        let path = moves::path(task.status, to).ok_or(Reason::TaskWrongState)?;
        let reason = |name: &str| (name == "pause").then(|| self.rule.to_owned());
        Ok(path.into_iter().map(|step| Call::Move { name: step.name.to_owned(), reason: reason(step.name) }).collect())
    }
}

/// The move that brings a task into a status; none if it has it. Whether it can be made, the task service says.
fn single_move(task: TaskNow, to: Status, name: &str, reason: Option<String>) -> Vec<Call> {
    let step = || Call::Move { name: name.to_owned(), reason: reason.map(shorten) };
    if task.status == to { Vec::new() } else { vec![step()] }
}

/// At most so much of a text as people are sent.
fn shorten(text: String) -> String {
    match text.char_indices().nth(MAX_NOTICE_LEN) {
        None => text,
        Some(_) => text.chars().take(MAX_NOTICE_LEN - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use baton_conditions::TaskFacts;
    use chrono_tz::Tz;
    use serde_json::json;

    use super::*;

    fn plan(action: Value, status: Status, people: &[u128]) -> Result<Vec<Call>, Reason> {
        let mut facts = Facts::new(Uuid::nil(), DateTime::UNIX_EPOCH, Tz::UTC);
        facts.task = TaskFacts { title: Some("Ship it".to_owned()), ..TaskFacts::default() };
        let people = people.iter().copied().map(Uuid::from_u128).collect();
        let task = TaskNow { id: Uuid::from_u128(7), status, assignee: Some(Uuid::from_u128(1)), due_at: None };
        let at = Situation { rule: "Rule", facts: &facts, task: Some(task), people, now: DateTime::UNIX_EPOCH };
        calls(&serde_json::from_value(action).unwrap(), &at)
    }

    #[test]
    fn texts_are_rendered_and_cut() {
        let notify = |message: &str| json!({"type": "notify", "to": "manager", "message": message});
        let text = |calls: Vec<Call>| match &calls[..] {
            [Call::Tell { text, .. }] => text.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(plan(notify("Look: {{title}}"), Status::Paused, &[2]).unwrap()), "Look: Ship it");
        let long = text(plan(notify(&"x".repeat(501)), Status::Paused, &[2]).unwrap());
        assert_eq!((long.chars().count(), long.chars().last()), (500, Some('…')));
        assert_eq!(plan(notify("x"), Status::Paused, &[]), Err(Reason::MemberNotFound));
        assert_eq!(plan(notify("{{description}}"), Status::Paused, &[2]), Err(Reason::ValidationFailed), "unknown");
    }

    #[test]
    fn what_is_so_already_makes_no_call() {
        assert_eq!(plan(json!({"type": "assign", "to": "me"}), Status::Pending, &[1]), Ok(vec![]));
        assert_eq!(plan(json!({"type": "set_status", "status": "paused"}), Status::Paused, &[]), Ok(vec![]));
    }

    #[test]
    fn status_is_reached_by_two_moves_or_not_at_all() {
        let paused = |from| plan(json!({"type": "set_status", "status": "paused"}), from, &[]);
        let step =
            |name: &str, reason: Option<&str>| Call::Move { name: name.to_owned(), reason: reason.map(str::to_owned) };
        assert_eq!(paused(Status::Pending), Ok(vec![step("start", None), step("pause", Some("Rule"))]));
        assert_eq!(paused(Status::Completed), Err(Reason::TaskWrongState));
    }

    #[test]
    fn stored_plan_is_read_as_it_was() {
        let calls = plan(
            json!({"type": "create_task", "title": "{{title}} again", "due_in_seconds": 60, "subtask": true}),
            Status::Paused,
            &[],
        );
        let plan = Plan { action: 1, calls: calls.unwrap() };
        assert_eq!(serde_json::from_value::<Plan>(serde_json::to_value(&plan).unwrap()).unwrap(), plan);
        let Call::Create { title, parent_task_id, due_at, .. } = &plan.calls[0] else { panic!("{plan:?}") };
        assert_eq!((title.as_str(), *parent_task_id), ("Ship it again", Some(Uuid::from_u128(7))));
        assert_eq!(due_at.map(|at| at.timestamp()), Some(60));
    }
}
