//! Triggers: which events make a rule run.

use baton_catalog::EventType;
use baton_conditions::choice::Status;
use baton_errors::{Error, Result};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::schedule::{self, Schedule, Scope};

/// Keys of the conditions that belong to the trigger.
pub const KEYS: [&str; 11] = [
    "fields",
    "from",
    "to",
    "for_seconds",
    "existing",
    "before_seconds",
    "rrule",
    "time",
    "starts_at",
    "filter",
    "task_id",
];
/// How long a state may have to last: a minute to 90 days.
const FOR_SECONDS: std::ops::RangeInclusive<u32> = 60..=7_776_000;
/// How long before the due time a rule may run: five minutes to 30 days.
const BEFORE_SECONDS: std::ops::RangeInclusive<u32> = 300..=2_592_000;
/// Fields that a trigger may name.
const MAX_FIELDS: usize = 20;

/// What makes a rule run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TriggerType {
    /// A task was created.
    TaskCreated,
    /// Fields of a task changed.
    TaskUpdated,
    /// A task was assigned that was not assigned before.
    TaskAssigned,
    /// A task was assigned to somebody else.
    TaskReassigned,
    /// The assignee accepted a task.
    TaskAccepted,
    /// The assignee rejected a task.
    TaskRejected,
    /// Work on a task began.
    TaskStarted,
    /// A task was paused.
    TaskPaused,
    /// Work on a paused task went on.
    TaskResumed,
    /// A task was completed.
    TaskCompleted,
    /// A task was canceled.
    TaskCanceled,
    /// A task was archived.
    TaskArchived,
    /// A task was reopened.
    TaskReopened,
    /// The status of a task changed.
    TaskStatusChanged,
    /// A task has a new comment.
    TaskCommented,
    /// A task waits for no other open task any more.
    TaskUnblocked,
    /// A task is past its due time.
    TaskOverdue,
    /// A task is due within a day, or within another time.
    TaskDueSoon,
    /// Somebody joined the account.
    MemberJoined,
    /// A time of a schedule has come.
    Schedule,
}

impl TriggerType {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::TaskCreated,
        Self::TaskUpdated,
        Self::TaskAssigned,
        Self::TaskReassigned,
        Self::TaskAccepted,
        Self::TaskRejected,
        Self::TaskStarted,
        Self::TaskPaused,
        Self::TaskResumed,
        Self::TaskCompleted,
        Self::TaskCanceled,
        Self::TaskArchived,
        Self::TaskReopened,
        Self::TaskStatusChanged,
        Self::TaskCommented,
        Self::TaskUnblocked,
        Self::TaskOverdue,
        Self::TaskDueSoon,
        Self::MemberJoined,
        Self::Schedule,
    ];

    /// The stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::TaskCreated => "task_created",
            Self::TaskUpdated => "task_updated",
            Self::TaskAssigned => "task_assigned",
            Self::TaskReassigned => "task_reassigned",
            Self::TaskAccepted => "task_accepted",
            Self::TaskRejected => "task_rejected",
            Self::TaskStarted => "task_started",
            Self::TaskPaused => "task_paused",
            Self::TaskResumed => "task_resumed",
            Self::TaskCompleted => "task_completed",
            Self::TaskCanceled => "task_canceled",
            Self::TaskArchived => "task_archived",
            Self::TaskReopened => "task_reopened",
            Self::TaskStatusChanged => "task_status_changed",
            Self::TaskCommented => "task_commented",
            Self::TaskUnblocked => "task_unblocked",
            Self::TaskOverdue => "task_overdue",
            Self::TaskDueSoon => "task_due_soon",
            Self::MemberJoined => "member_joined",
            Self::Schedule => "schedule",
        }
    }

    /// The type with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.name() == name)
    }

    /// The beginning of the rule's sentence.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::TaskCreated => "When a task is created",
            Self::TaskUpdated => "When a task is changed",
            Self::TaskAssigned => "When a task is assigned",
            Self::TaskReassigned => "When a task is reassigned",
            Self::TaskAccepted => "When a task is accepted",
            Self::TaskRejected => "When a task is rejected",
            Self::TaskStarted => "When work on a task starts",
            Self::TaskPaused => "When a task is paused",
            Self::TaskResumed => "When work on a task resumes",
            Self::TaskCompleted => "When a task is completed",
            Self::TaskCanceled => "When a task is canceled",
            Self::TaskArchived => "When a task is archived",
            Self::TaskReopened => "When a task is reopened",
            Self::TaskStatusChanged => "When the status of a task changes",
            Self::TaskCommented => "When a task has a new comment",
            Self::TaskUnblocked => "When a task is no longer blocked",
            Self::TaskOverdue => "When a task is overdue",
            Self::TaskDueSoon => "When a task is due within a day",
            Self::MemberJoined => "When somebody joins the account",
            Self::Schedule => "On a schedule",
        }
    }

    /// Whether its events are about a task. Those of a schedule can be; see [`Trigger::has_task`].
    pub fn has_task(self) -> bool {
        !matches!(self, Self::MemberJoined | Self::Schedule)
    }

    /// What has to last for `for_seconds`; `None` for a trigger that is a moment only.
    pub fn lasting(self) -> Option<Lasting> {
        match self {
            Self::TaskCreated
            | Self::TaskStarted
            | Self::TaskPaused
            | Self::TaskResumed
            | Self::TaskCompleted
            | Self::TaskCanceled
            | Self::TaskArchived
            | Self::TaskReopened
            | Self::TaskStatusChanged => Some(Lasting::Status),
            Self::TaskAssigned | Self::TaskReassigned => Some(Lasting::Assignee),
            Self::TaskOverdue => Some(Lasting::Due),
            _ => None,
        }
    }

    /// The types that an event of this type triggers.
    pub fn of_event(kind: EventType) -> &'static [Self] {
        match kind {
            EventType::TaskCreated => &[Self::TaskCreated],
            EventType::TaskUpdated => &[Self::TaskUpdated],
            EventType::TaskAssigned => &[Self::TaskAssigned, Self::TaskUpdated],
            EventType::TaskReassigned => &[Self::TaskReassigned, Self::TaskUpdated],
            EventType::TaskAccepted => &[Self::TaskAccepted, Self::TaskUpdated],
            EventType::TaskRejected => &[Self::TaskRejected, Self::TaskUpdated],
            EventType::TaskStarted => &[Self::TaskStarted, Self::TaskStatusChanged, Self::TaskUpdated],
            EventType::TaskPaused => &[Self::TaskPaused, Self::TaskStatusChanged, Self::TaskUpdated],
            EventType::TaskResumed => &[Self::TaskResumed, Self::TaskStatusChanged, Self::TaskUpdated],
            EventType::TaskCompleted => &[Self::TaskCompleted, Self::TaskStatusChanged, Self::TaskUpdated],
            EventType::TaskCanceled => &[Self::TaskCanceled, Self::TaskStatusChanged, Self::TaskUpdated],
            EventType::TaskArchived => &[Self::TaskArchived, Self::TaskStatusChanged, Self::TaskUpdated],
            EventType::TaskReopened => &[Self::TaskReopened, Self::TaskStatusChanged, Self::TaskUpdated],
            EventType::CommentCreated => &[Self::TaskCommented],
            EventType::TaskUnblocked => &[Self::TaskUnblocked],
            EventType::TaskOverdue => &[Self::TaskOverdue],
            EventType::TaskDueSoon => &[Self::TaskDueSoon],
            EventType::MemberJoined => &[Self::MemberJoined],
            _ => &[],
        }
    }
}

/// What has to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// The status that the task has after the event.
    Status,
    /// The assignee that the task has after the event.
    Assignee,
    /// The due time of the open task, which has passed.
    Due,
}

/// A trigger with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Its type.
    pub kind: TriggerType,
    /// For [`TriggerType::TaskUpdated`]: one of these changed; empty for any.
    pub fields: Vec<String>,
    /// For [`TriggerType::TaskStatusChanged`]: the status before; `None` for any.
    pub from: Option<Status>,
    /// For [`TriggerType::TaskStatusChanged`]: the status after; `None` for any.
    pub to: Option<Status>,
    /// How long the state after the event has to last before the rule runs, in seconds; `None` to run at once.
    pub for_seconds: Option<u32>,
    /// With `for_seconds`: whether the time counts that a task was in the state before the rule was enabled.
    pub existing: bool,
    /// For [`TriggerType::TaskDueSoon`]: how long before the due time it runs, in seconds; `None` for a day.
    pub before_seconds: Option<u32>,
    /// For [`TriggerType::Schedule`]: when it runs.
    pub schedule: Option<Schedule>,
}

/// What an event says that a trigger looks at.
#[derive(Debug, Clone, Copy)]
pub struct EventFields<'a> {
    /// Names of the fields that changed.
    pub changed_fields: &'a [String],
    /// The status before, if it changed.
    pub from: Option<Status>,
    /// The status after, if it changed.
    pub to: Option<Status>,
}

impl Trigger {
    /// Reads the trigger's members of the conditions.
    ///
    /// # Errors
    /// VALIDATION_FAILED, naming the member.
    pub fn parse(kind: TriggerType, conditions: &Map<String, Value>, path: &str) -> Result<Self> {
        let mut trigger = Self {
            kind,
            fields: Vec::new(),
            from: None,
            to: None,
            for_seconds: None,
            existing: false,
            before_seconds: None,
            schedule: None,
        };
        if kind == TriggerType::Schedule {
            trigger.schedule = Some(Schedule::parse(conditions, path)?);
        }
        for key in KEYS {
            let Some(value) = conditions.get(key) else { continue };
            let field = format!("{path}.{key}");
            match (key, kind) {
                ("fields", TriggerType::TaskUpdated) => trigger.fields = parse_fields(value, &field)?,
                ("from", TriggerType::TaskStatusChanged) => trigger.from = Some(parse_status(value, &field)?),
                ("to", TriggerType::TaskStatusChanged) => trigger.to = Some(parse_status(value, &field)?),
                ("for_seconds", kind) if kind.lasting().is_some() => {
                    trigger.for_seconds = Some(parse_seconds(value, &FOR_SECONDS, &field)?);
                }
                ("existing", kind) if conditions.contains_key("for_seconds") && counts_existing(kind, conditions) => {
                    let wrong = || Error::invalid(&field, "must be true or false");
                    trigger.existing = value.as_bool().ok_or_else(wrong)?;
                }
                ("before_seconds", TriggerType::TaskDueSoon) => {
                    trigger.before_seconds = Some(parse_seconds(value, &BEFORE_SECONDS, &field)?);
                }
                (key, TriggerType::Schedule) if schedule::KEYS.contains(&key) => {}
                _ => return Err(Error::invalid(field, format!("does not belong to {}", kind.name()))),
            }
        }
        Ok(trigger)
    }

    /// The stored form of its members.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut members = Map::new();
        if !self.fields.is_empty() {
            members.insert("fields".to_owned(), json!(self.fields));
        }
        for (key, status) in [("from", self.from), ("to", self.to)] {
            members.extend(status.map(|status| (key.to_owned(), json!(status.name()))));
        }
        members.extend(self.for_seconds.map(|seconds| ("for_seconds".to_owned(), json!(seconds))));
        members.extend(self.existing.then(|| ("existing".to_owned(), json!(true))));
        members.extend(self.before_seconds.map(|seconds| ("before_seconds".to_owned(), json!(seconds))));
        members.extend(self.schedule.iter().flat_map(Schedule::to_json));
        members
    }

    /// Whether the rule runs for a task.
    pub fn has_task(&self) -> bool {
        let schedule = self.schedule.as_ref().is_some_and(|schedule| schedule.scope != Scope::Once);
        self.kind.has_task() || schedule
    }

    /// Whether the rule waits, after an event, until its time has come.
    pub fn waits(&self) -> bool {
        self.for_seconds.is_some() || self.before_seconds.is_some()
    }

    /// The only task for which the rule runs: it ends when that is closed.
    pub fn only_task(&self) -> Option<Uuid> {
        match &self.schedule.as_ref()?.scope {
            Scope::Task(id) => Some(*id),
            Scope::Once | Scope::Tasks(_) => None,
        }
    }

    /// Whether an event of a type of this trigger is one of its events.
    pub fn admits(&self, event: EventFields<'_>) -> bool {
        let changed = self.fields.is_empty() || self.fields.iter().any(|field| event.changed_fields.contains(field));
        let matches = |wanted: Option<Status>, actual| wanted.is_none() || wanted == actual;
        changed && matches(self.from, event.from) && matches(self.to, event.to)
    }

    /// The trigger in English.
    pub fn sentence(&self) -> String {
        let mut sentence = match (&self.schedule, self.before_seconds) {
            (Some(schedule), _) => schedule.sentence(),
            (None, Some(seconds)) => format!("When a task is due within {}", duration(seconds)),
            (None, None) => self.kind.phrase().to_owned(),
        };
        if !self.fields.is_empty() {
            sentence.push_str(&format!(" ({})", self.fields.join(", ")));
        }
        for (word, status) in [("from", self.from), ("to", self.to)] {
            if let Some(status) = status {
                sentence.push_str(&format!(" {word} {}", status.name()));
            }
        }
        if let Some(seconds) = self.for_seconds {
            let counts = if self.existing { " (counting the time before the rule)" } else { "" };
            sentence.push_str(&format!(", and stays so for {}{counts}", duration(seconds)));
        }
        sentence
    }
}

/// Whether a task that is in the state shows that the trigger has led to it: not how it was reopened or resumed, or from where it came.
fn counts_existing(kind: TriggerType, conditions: &Map<String, Value>) -> bool {
    match kind {
        TriggerType::TaskReopened | TriggerType::TaskResumed | TriggerType::TaskReassigned => false,
        TriggerType::TaskStatusChanged => conditions.contains_key("to") && !conditions.contains_key("from"),
        _ => true,
    }
}

/// A duration in its largest unit without a rest.
fn duration(seconds: u32) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (count, unit) = units
        .into_iter()
        .find(|(length, _)| seconds.is_multiple_of(*length))
        .map_or((seconds, "second"), |(length, unit)| (seconds / length, unit));
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// A number of seconds within a range. Numbers of the contract are doubles.
fn parse_seconds(value: &Value, range: &std::ops::RangeInclusive<u32>, field: &str) -> Result<u32> {
    let (min, max) = (f64::from(*range.start()), f64::from(*range.end()));
    let whole = value.as_f64().filter(|seconds| seconds.fract() == 0.0 && (min..=max).contains(seconds));
    // Whole and in range, so nothing is lost.
    whole
        .map(|seconds| seconds as u32)
        .ok_or_else(|| Error::invalid(field, format!("must be a whole number from {min} to {max}")))
}

fn parse_fields(value: &Value, field: &str) -> Result<Vec<String>> {
    let wrong = || Error::invalid(field, format!("must be a list of 1 to {MAX_FIELDS} names of fields"));
    let names = value.as_array().filter(|names| (1..=MAX_FIELDS).contains(&names.len())).ok_or_else(wrong)?;
    names.iter().map(|name| name.as_str().filter(|name| is_name(name)).map(str::to_owned).ok_or_else(wrong)).collect()
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'.';
    (1..=100).contains(&name.len()) && name.bytes().all(fits)
}

fn parse_status(value: &Value, field: &str) -> Result<Status> {
    let status = value.as_str().and_then(Status::from_name);
    status.ok_or_else(|| Error::invalid(field, "must be the name of a status, such as paused"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: TriggerType, conditions: Value) -> Result<Trigger> {
        Trigger::parse(kind, conditions.as_object().unwrap(), "trigger_conditions")
    }

    #[test]
    fn members_belong_to_their_trigger() {
        let updated = parse(TriggerType::TaskUpdated, json!({"fields": ["due_at"], "priority": "high"})).unwrap();
        assert_eq!(updated.to_json(), *json!({"fields": ["due_at"]}).as_object().unwrap());
        let moved = parse(TriggerType::TaskStatusChanged, json!({"from": "paused", "to": "completed"})).unwrap();
        assert_eq!(moved.sentence(), "When the status of a task changes from paused to completed");
        for (kind, conditions) in [
            (TriggerType::TaskCreated, json!({"fields": ["due_at"]})),
            (TriggerType::TaskUpdated, json!({"fields": []})),
            (TriggerType::TaskUpdated, json!({"fields": ["Due at"]})),
            (TriggerType::TaskStatusChanged, json!({"from": "asleep"})),
            (TriggerType::TaskPaused, json!({"to": "paused"})),
            (TriggerType::TaskPaused, json!({"for_seconds": 59})),
            (TriggerType::TaskPaused, json!({"for_seconds": 60.5})),
            (TriggerType::TaskPaused, json!({"for_seconds": 7_776_001})),
            (TriggerType::TaskPaused, json!({"existing": true})),
            (TriggerType::TaskReassigned, json!({"for_seconds": 60, "existing": true})),
            (TriggerType::TaskResumed, json!({"for_seconds": 60, "existing": true})),
            (TriggerType::TaskStatusChanged, json!({"for_seconds": 60, "existing": true})),
            (
                TriggerType::TaskStatusChanged,
                json!({"for_seconds": 60, "existing": true, "to": "paused", "from": "pending"}),
            ),
            (TriggerType::TaskPaused, json!({"for_seconds": 60, "existing": "yes"})),
            (TriggerType::TaskUnblocked, json!({"for_seconds": 60})),
            (TriggerType::TaskCommented, json!({"for_seconds": 60})),
            (TriggerType::TaskDueSoon, json!({"for_seconds": 600})),
            (TriggerType::TaskOverdue, json!({"before_seconds": 600})),
            (TriggerType::TaskDueSoon, json!({"before_seconds": 299})),
            (TriggerType::TaskDueSoon, json!({"rrule": "FREQ=DAILY"})),
            (TriggerType::Schedule, json!({})),
        ] {
            assert!(parse(kind, conditions.clone()).is_err(), "{kind:?} {conditions}");
        }
    }

    #[test]
    fn state_has_to_last_for_seconds() {
        let paused = parse(TriggerType::TaskPaused, json!({"for_seconds": 7200.0})).unwrap();
        assert_eq!(paused.sentence(), "When a task is paused, and stays so for 2 hours");
        assert_eq!(paused.to_json(), *json!({"for_seconds": 7200}).as_object().unwrap());
        let existing = parse(TriggerType::TaskPaused, json!({"for_seconds": 60, "existing": true})).unwrap();
        assert_eq!(
            existing.sentence(),
            "When a task is paused, and stays so for 1 minute (counting the time before the rule)"
        );
        assert_eq!(existing.to_json(), *json!({"for_seconds": 60, "existing": true}).as_object().unwrap());
        assert!(!parse(TriggerType::TaskPaused, json!({"for_seconds": 60, "existing": false})).unwrap().existing);
        for (seconds, text) in [(60, "1 minute"), (90, "90 seconds"), (86_400, "1 day"), (7_776_000, "90 days")] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn due_time_is_announced_before() {
        let soon = parse(TriggerType::TaskDueSoon, json!({"before_seconds": 7200.0})).unwrap();
        assert_eq!(soon.sentence(), "When a task is due within 2 hours");
        assert_eq!(soon.to_json(), *json!({"before_seconds": 7200}).as_object().unwrap());
    }

    #[test]
    fn event_is_admitted_by_changed_fields_and_status() {
        let changed = ["due_at".to_owned(), "status".to_owned()];
        let event = EventFields { changed_fields: &changed, from: Some(Status::Paused), to: Some(Status::Completed) };
        let updated = |fields: &[&str]| parse(TriggerType::TaskUpdated, json!({"fields": fields})).unwrap();
        assert!(updated(&["title", "due_at"]).admits(event) && !updated(&["title"]).admits(event));
        let moved = |from: &str| parse(TriggerType::TaskStatusChanged, json!({"from": from})).unwrap();
        assert!(moved("paused").admits(event) && !moved("pending").admits(event));
    }

    #[test]
    fn names_are_unique() {
        for kind in TriggerType::ALL {
            assert_eq!(TriggerType::from_name(kind.name()), Some(kind));
        }
    }
}
