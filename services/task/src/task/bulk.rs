//! Bulk changes: the rules of the single calls, and the order in which tasks get scarce quota and timers.

use std::collections::{BTreeMap, HashMap};

use baton_errors::{Error, Reason, Result};
use baton_proto::baton::task::v1::{CreateTaskRequest, TaskChange};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    policy::{
        assignment::{self, Assignee},
        visibility::Actor,
    },
    schedule::series::RecurrencePatch,
    task::{
        Task, Visibility,
        custom_field::{self, CustomField},
        event_kind::EventKind,
        fields::Fields,
        subtasks::ParentCheck,
        writer::{AccountPolicy, AppliedChange},
    },
};

/// Maximum number of tasks per call.
pub(crate) const MAX_TASKS: usize = 1_000;

/// The action to apply to each task.
#[derive(Debug, Clone)]
pub(crate) enum TaskAction {
    Start,
    Pause(String),
    Resume,
    Complete,
    Archive,
    Cancel(Option<String>),
    Reopen(Option<String>),
    Delete,
    Restore,
    Assign(Assignee),
    Reassign(Assignee),
    Update(Box<Update>),
}

impl TaskAction {
    /// The kind of its timeline entries.
    pub(crate) fn kind(&self) -> EventKind {
        match self {
            Self::Start => EventKind::Started,
            Self::Pause(_) => EventKind::Paused,
            Self::Resume => EventKind::Resumed,
            Self::Complete => EventKind::Completed,
            Self::Archive => EventKind::Archived,
            Self::Cancel(_) => EventKind::Canceled,
            Self::Reopen(_) => EventKind::Reopened,
            Self::Delete => EventKind::Deleted,
            Self::Restore => EventKind::Restored,
            Self::Assign(_) => EventKind::Assigned,
            Self::Reassign(_) => EventKind::Reassigned,
            Self::Update(_) => EventKind::Updated,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Pause(reason) => Some(reason),
            Self::Cancel(reason) | Self::Reopen(reason) => reason.as_deref(),
            _ => None,
        }
    }

    /// Applies the action to a visible task by the rules of the single call in `rpc/task.rs`. A test checks that both
    /// agree.
    fn apply(&self, task: &mut Task, actor: Actor<'_>, now: DateTime<Utc>) -> Result<()> {
        match self {
            Self::Start => actor.can_work_on(task).and_then(|()| task.start(now)),
            Self::Pause(reason) => actor.can_work_on(task).and_then(|()| task.pause(reason.clone(), now)),
            Self::Resume => actor.can_work_on(task).and_then(|()| task.resume(now)),
            Self::Complete => actor.can_work_on(task).and_then(|()| task.complete(now)),
            Self::Archive => actor.can_change(task).and_then(|()| task.archive(now)),
            Self::Cancel(_) => actor.can_change(task).and_then(|()| task.cancel(now)),
            Self::Reopen(_) => actor.can_reopen(task).and_then(|()| task.reopen()),
            Self::Delete => actor.can_delete(task).map(|()| task.delete(now)),
            Self::Restore => actor.can_delete(task).map(|()| task.restore()),
            Self::Assign(to) => assignment::assign(task, actor, *to, now),
            Self::Reassign(to) => assignment::reassign(task, actor, *to, now),
            Self::Update(update) => actor.can_change(task).and_then(|()| update.apply(task, now)),
        }
    }
}

/// New values of fields.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) mask: Vec<String>,
    pub(crate) new: TaskChange,
    /// The account's default visibility, which clearing restores.
    pub(crate) default: Visibility,
    pub(crate) definitions: Vec<CustomField>,
    /// Checks new positions in the hierarchy, when the parent changes.
    pub(crate) parent_check: Option<ParentCheck>,
}

/// Fields of recurrence: each task would need its own time zone lookup.
const SINGLE_TASK_FIELDS: [&str; 2] = ["recurrence_rule", "recurrence_timezone"];

impl Update {
    /// Sets the given values and clears the fields in `clear`. Refuses values that are invalid for every task.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn new(new: TaskChange, clear: Vec<String>, default: Visibility) -> Result<Self> {
        let set_paths = set_paths(&new);
        let alone = |path: &&String| SINGLE_TASK_FIELDS.contains(&path.as_str());
        if let Some(path) = set_paths.iter().chain(&clear).find(alone) {
            return Err(Error::invalid(format!("task.{path}"), "must be changed task by task"));
        }
        if let Some(index) = clear.iter().position(|path| set_paths.contains(path)) {
            return Err(Error::invalid(format!("clear[{index}]"), "must not be set as well"));
        }
        let mask: Vec<String> = set_paths.into_iter().chain(clear).collect();
        if mask.is_empty() {
            return Err(Error::invalid("task", "must set a field, unless `clear` names one"));
        }
        let update = Self { mask, new, default, definitions: Vec::new(), parent_check: None };
        update.sample_fields()?;
        Ok(update)
    }

    /// The new parent.
    pub(crate) fn parent(&self) -> Option<Uuid> {
        self.sample_fields().ok()?.parent_task_id
    }

    /// Whether the parent changes.
    pub(crate) fn changes_parent(&self) -> bool {
        self.mask.iter().any(|path| path == "parent_task_id")
    }

    /// Whether custom fields change.
    pub(crate) fn changes_custom_fields(&self) -> bool {
        self.mask.iter().any(|path| path.starts_with("custom_fields"))
    }

    /// Stores the account's current definitions.
    ///
    /// # Errors
    /// VALIDATION_FAILED when a new value does not have the defined type.
    pub(crate) fn set_definitions(&mut self, definitions: Vec<CustomField>) -> Result<()> {
        let none = serde_json::Map::new();
        custom_field::check(&definitions, Some(&none), &self.sample_fields()?.custom_fields, "task.custom_fields")?;
        self.definitions = definitions;
        Ok(())
    }

    /// The fields of a sample task after the update.
    fn sample_fields(&self) -> Result<Fields> {
        let any = CreateTaskRequest { title: "any".to_owned(), ..CreateTaskRequest::default() };
        let mut fields = Fields::new(any, self.default)?;
        fields.change(&self.mask, self.new.clone(), self.default)?;
        Ok(fields)
    }

    fn apply(&self, task: &mut Task, now: DateTime<Utc>) -> Result<()> {
        let before = task.fields.clone();
        task.fields.change(&self.mask, self.new.clone(), self.default)?;
        custom_field::check(
            &self.definitions,
            Some(&before.custom_fields),
            &task.fields.custom_fields,
            "task.custom_fields",
        )?;
        // The rule does not change, but a recurring task must keep its due time.
        RecurrencePatch::default().apply(task, None, "task.", (now, task.id))?;
        match &self.parent_check {
            Some(parent_check) if task.fields.parent_task_id != before.parent_task_id => {
                parent_check.accepts(task.id, "task.parent_task_id")
            }
            _ => Ok(()),
        }
    }
}

/// Paths of the values that are set, with one path per custom field.
fn set_paths(new: &TaskChange) -> Vec<String> {
    let plain = [
        ("title", !new.title.is_empty()),
        ("description", !new.description.is_empty()),
        ("priority", new.priority != 0),
        ("due_at", new.due_at.is_some()),
        ("tags", !new.tags.is_empty()),
        ("visibility", new.visibility != 0),
        ("estimated_seconds", new.estimated_seconds.is_some()),
        ("parent_task_id", new.parent_task_id.is_some()),
        ("recurrence_rule", new.recurrence_rule.is_some()),
        ("recurrence_timezone", new.recurrence_timezone.is_some()),
    ];
    let members = new.custom_fields.iter().flat_map(|object| object.fields.keys());
    plain
        .into_iter()
        .filter(|(_, is_there)| *is_there)
        .map(|(name, _)| name.to_owned())
        .chain(members.map(|member| format!("custom_fields.{member}")))
        .collect()
}

/// The changed tasks, and the error of each refused one.
#[derive(Debug, Default)]
pub(crate) struct BulkOutcome {
    pub(crate) changed: Vec<AppliedChange>,
    pub(crate) refused: HashMap<Uuid, Reason>,
}

impl BulkOutcome {
    /// Applies `action` to visible tasks.
    pub(crate) fn of(action: &TaskAction, tasks: Vec<Task>, actor: Actor<'_>, now: DateTime<Utc>) -> Self {
        let mut outcome = Self::default();
        for before in tasks {
            let mut after = before.clone();
            match action.apply(&mut after, actor, now) {
                Ok(()) => {
                    let reason = action.reason().map(str::to_owned);
                    outcome.changed.push(AppliedChange { before, after, kind: action.kind(), reason });
                }
                Err(error) => {
                    outcome.refused.insert(before.id, error.reason());
                }
            }
        }
        outcome
    }

    /// Whether any task starts running.
    pub(crate) fn starts_timer(&self) -> bool {
        self.changed.iter().any(starts_work)
    }

    /// Number of newly opened tasks per creator.
    pub(crate) fn opened_per_creator(&self) -> BTreeMap<Uuid, i32> {
        let mut counts = BTreeMap::new();
        for change in self.changed.iter().filter(|change| opens(change)) {
            *counts.entry(change.after.created_by).or_insert(0) += 1;
        }
        counts
    }

    /// Refuses changes beyond the limits, in order: each creator opens what `used` leaves of their quota, and with a
    /// single timer one task starts if its worker (the caller) has no other running task (`busy`).
    pub(crate) fn enforce_limits(&mut self, policy: AccountPolicy, mut used: BTreeMap<Uuid, i32>, mut busy: bool) {
        let refused = &mut self.refused;
        self.changed.retain(|change| {
            let reason = if starts_work(change) && policy.one_running_timer {
                std::mem::replace(&mut busy, true).then_some(Reason::TimerAlreadyRunning)
            } else if let Some(limit) = policy.open_tasks.filter(|_| opens(change)) {
                let used = used.entry(change.after.created_by).or_insert(0);
                let full = *used >= limit;
                *used += i32::from(!full);
                full.then_some(Reason::QuotaExceeded)
            } else {
                None
            };
            reason.is_none_or(|reason| {
                refused.insert(change.before.id, reason);
                false
            })
        });
    }
}

fn starts_work(change: &AppliedChange) -> bool {
    change.before.running_since.is_none() && change.after.running_since.is_some()
}

fn opens(change: &AppliedChange) -> bool {
    !change.before.is_open() && change.after.is_open()
}
