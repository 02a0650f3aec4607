//! What is known when a condition is evaluated.

use chrono::{DateTime, Datelike as _, SecondsFormat, Timelike as _, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Number, Value as Json};
use uuid::Uuid;

use crate::{
    choice::{Priority, Role, Status, Visibility},
    field::{Field, Id, Kind},
};

/// Working hours: from 09:00 to before 17:00, Monday to Friday.
const WORKING_HOURS: std::ops::Range<u32> = 9..17;
const WORKING_DAYS: u32 = 5;

/// What is known. `None` is unknown; `Some(None)` is known to be null.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The owner of the rule: `"me"` in conditions.
    pub me: Uuid,
    /// The time of the evaluation.
    pub now: DateTime<Utc>,
    /// The timezone of the rule.
    pub timezone: Tz,
    /// The task.
    pub task: TaskFacts,
    /// The parent of the task, `Some(None)` if it has none.
    pub parent: Option<Option<Box<TaskFacts>>>,
    /// The event.
    pub event: EventFacts,
    /// The assignee of the task.
    pub assignee: AssigneeFacts,
}

/// What is known of a task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskFacts {
    /// Status.
    pub status: Option<Status>,
    /// Priority.
    pub priority: Option<Priority>,
    /// Visibility.
    pub visibility: Option<Visibility>,
    /// The user to whom it is assigned.
    pub assignee: Option<Option<Uuid>>,
    /// The user who created it.
    pub creator: Option<Uuid>,
    /// The user who assigned it.
    pub assigned_by: Option<Option<Uuid>>,
    /// The users who watch it.
    pub watchers: Option<Vec<Uuid>>,
    /// Tags.
    pub tags: Option<Vec<String>>,
    /// When it is due.
    pub due_at: Option<Option<DateTime<Utc>>>,
    /// Whether it is overdue.
    pub overdue: Option<bool>,
    /// The estimated working time, in seconds.
    pub estimated_seconds: Option<Option<i64>>,
    /// The recorded working time, in seconds.
    pub actual_seconds: Option<i64>,
    /// Whether an open task blocks it.
    pub blocked: Option<bool>,
    /// The progress of its subtasks, in percent. Null without subtasks.
    pub progress: Option<Option<u8>>,
    /// Title.
    pub title: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// When it was created.
    pub created_at: Option<DateTime<Utc>>,
    /// When it was started.
    pub started_at: Option<Option<DateTime<Utc>>>,
    /// All custom fields. One that is not in the map is null. On a list only `contains`, `is_empty`, `ne` and `not_in`
    /// may hold.
    pub custom_fields: Option<Map<String, Json>>,
}

/// What is known of the event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventFacts {
    /// The user who caused it. Null if the platform did.
    pub actor: Option<Option<Uuid>>,
    /// The status before. Null if the event does not change it.
    pub from: Option<Option<Status>>,
    /// The status after. Null if the event does not change it.
    pub to: Option<Option<Status>>,
    /// The names of the fields that changed.
    pub changed_fields: Option<Vec<String>>,
}

/// What is known of the assignee. Both are null if there is no assignee.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AssigneeFacts {
    /// The role in the account.
    pub role: Option<Option<Role>>,
    /// The manager.
    pub manager: Option<Option<Uuid>>,
}

impl Facts {
    /// Facts of which only the circumstances are known.
    pub fn new(me: Uuid, now: DateTime<Utc>, timezone: Tz) -> Self {
        Self {
            me,
            now,
            timezone,
            task: TaskFacts::default(),
            parent: None,
            event: EventFacts::default(),
            assignee: AssigneeFacts::default(),
        }
    }

    /// The value of a field as JSON. Null if it is unknown or null.
    pub fn json(&self, field: &Field) -> Json {
        self.get(field).to_json(field.definition().kind)
    }

    pub(crate) fn get(&self, field: &Field) -> Fact<'_> {
        if !field.of_parent {
            return self.own(field);
        }
        match &self.parent {
            None => Fact::Unknown,
            Some(None) => Fact::NoParent,
            Some(Some(parent)) => parent.get(field),
        }
    }

    fn own(&self, field: &Field) -> Fact<'_> {
        match field.id {
            Id::EventActor => nullable(self.event.actor, Fact::Person),
            Id::EventFrom => nullable(self.event.from, |status| Fact::Choice(status as u8)),
            Id::EventTo => nullable(self.event.to, |status| Fact::Choice(status as u8)),
            Id::EventChangedFields => known(self.event.changed_fields.as_deref(), Fact::Texts),
            Id::AssigneeRole => nullable(self.assignee.role, |role| Fact::Choice(role as u8)),
            Id::AssigneeManager => nullable(self.assignee.manager, Fact::Person),
            // 0 to 6, so no byte is lost.
            Id::Weekday => Fact::Choice(self.local().weekday().num_days_from_monday() as u8),
            Id::Hour => Fact::Number(f64::from(self.local().hour())),
            Id::WorkingHours => {
                let local = self.local();
                let works = local.weekday().num_days_from_monday() < WORKING_DAYS;
                Fact::Bool(works && WORKING_HOURS.contains(&local.hour()))
            }
            _ => self.task.get(field),
        }
    }

    fn local(&self) -> DateTime<Tz> {
        self.now.with_timezone(&self.timezone)
    }
}

impl TaskFacts {
    /// What is known by these facts, or else by the others.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            status: self.status.or(other.status),
            priority: self.priority.or(other.priority),
            visibility: self.visibility.or(other.visibility),
            assignee: self.assignee.or(other.assignee),
            creator: self.creator.or(other.creator),
            assigned_by: self.assigned_by.or(other.assigned_by),
            watchers: self.watchers.or(other.watchers),
            tags: self.tags.or(other.tags),
            due_at: self.due_at.or(other.due_at),
            overdue: self.overdue.or(other.overdue),
            estimated_seconds: self.estimated_seconds.or(other.estimated_seconds),
            actual_seconds: self.actual_seconds.or(other.actual_seconds),
            blocked: self.blocked.or(other.blocked),
            progress: self.progress.or(other.progress),
            title: self.title.or(other.title),
            description: self.description.or(other.description),
            created_at: self.created_at.or(other.created_at),
            started_at: self.started_at.or(other.started_at),
            custom_fields: self.custom_fields.or(other.custom_fields),
        }
    }

    fn get(&self, field: &Field) -> Fact<'_> {
        match field.id {
            Id::Status => known(self.status, |status| Fact::Choice(status as u8)),
            Id::Priority => known(self.priority, |priority| Fact::Choice(priority as u8)),
            Id::Visibility => known(self.visibility, |visibility| Fact::Choice(visibility as u8)),
            Id::Assignee => nullable(self.assignee, Fact::Person),
            Id::Creator => known(self.creator, Fact::Person),
            Id::AssignedBy => nullable(self.assigned_by, Fact::Person),
            Id::Watchers => known(self.watchers.as_deref(), Fact::People),
            Id::Tags => known(self.tags.as_deref(), Fact::Texts),
            Id::DueAt => nullable(self.due_at, Fact::Time),
            Id::Overdue => known(self.overdue, Fact::Bool),
            Id::EstimatedSeconds => nullable(self.estimated_seconds, |seconds| Fact::Number(seconds as f64)),
            Id::ActualSeconds => known(self.actual_seconds, |seconds| Fact::Number(seconds as f64)),
            Id::Blocked => known(self.blocked, Fact::Bool),
            Id::Progress => nullable(self.progress, |percent| Fact::Number(f64::from(percent))),
            Id::Title => known(self.title.as_deref(), Fact::Text),
            Id::Description => known(self.description.as_deref(), Fact::Text),
            Id::CreatedAt => known(self.created_at, Fact::Time),
            Id::StartedAt => nullable(self.started_at, Fact::Time),
            Id::CustomFields => known(self.custom_fields.as_ref(), |fields| custom(fields, field)),
            // Fields of other scopes are no fields of a task.
            Id::EventActor
            | Id::EventFrom
            | Id::EventTo
            | Id::EventChangedFields
            | Id::AssigneeRole
            | Id::AssigneeManager
            | Id::Weekday
            | Id::Hour
            | Id::WorkingHours => Fact::Unknown,
        }
    }
}

fn known<'a, T>(fact: Option<T>, to_fact: impl FnOnce(T) -> Fact<'a>) -> Fact<'a> {
    fact.map_or(Fact::Unknown, to_fact)
}

fn nullable<'a, T>(fact: Option<Option<T>>, to_fact: impl FnOnce(T) -> Fact<'a>) -> Fact<'a> {
    known(fact, |fact| fact.map_or(Fact::Null, to_fact))
}

fn custom<'a>(fields: &'a Map<String, Json>, field: &Field) -> Fact<'a> {
    match field.key.as_deref().and_then(|key| fields.get(key)) {
        None | Some(Json::Null) => Fact::Null,
        Some(Json::Bool(value)) => Fact::Bool(*value),
        Some(Json::Number(value)) => value.as_f64().map_or(Fact::Null, Fact::Number),
        Some(Json::String(value)) => Fact::Text(value),
        Some(other) => Fact::Json(other),
    }
}

/// One fact, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fact<'a> {
    Unknown,
    /// A field of the parent, of a task that has none.
    NoParent,
    Null,
    Bool(bool),
    Number(f64),
    Text(&'a str),
    /// The index of a name.
    Choice(u8),
    Person(Uuid),
    People(&'a [Uuid]),
    Texts(&'a [String]),
    Time(DateTime<Utc>),
    /// A list or an object in a custom field.
    Json(&'a Json),
}

impl Fact<'_> {
    /// As JSON. Null if it is unknown or null.
    pub(crate) fn to_json(self, kind: Kind) -> Json {
        match self {
            Self::Unknown | Self::NoParent | Self::Null => Json::Null,
            Self::Bool(value) => value.into(),
            Self::Number(value) => number(value),
            Self::Text(value) => value.into(),
            Self::Choice(index) => choice_name(kind, index).into(),
            Self::Person(id) => id.to_string().into(),
            Self::People(ids) => ids.iter().map(Uuid::to_string).collect(),
            Self::Texts(texts) => texts.iter().map(String::as_str).collect(),
            Self::Time(time) => rfc3339(time).into(),
            Self::Json(value) => value.clone(),
        }
    }
}

/// The name of a choice by its index.
pub(crate) fn choice_name(kind: Kind, index: u8) -> &'static str {
    match kind {
        Kind::Choice { names, .. } => names.get(usize::from(index)).copied().unwrap_or_default(),
        _ => "",
    }
}

/// A number as JSON: without a fraction if it has none.
pub(crate) fn number(value: f64) -> Json {
    /// 2 to the power of 53: up to here, each integer is a double.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < MAX_EXACT {
        // Integral and in range, so nothing is lost.
        return (value as i64).into();
    }
    Number::from_f64(value).map_or(Json::Null, Json::Number)
}

/// A time in UTC, with as many digits as it has.
pub(crate) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
