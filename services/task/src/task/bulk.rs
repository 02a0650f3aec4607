//! Bulk changes: the rules of the single calls, and the order in which tasks get scarce quota and timers.

use std::collections::{BTreeMap, HashMap};

use baton_errors::{Reason, Result};
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
        change::{AccountPolicy, AppliedChange},
        custom_field::{self, CustomField},
        event_kind::EventKind,
        fields::{Fields, NewValues},
        subtasks::ParentCheck,
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
    pub(crate) new: NewValues,
    /// The account's default visibility, which clearing restores.
    pub(crate) default: Visibility,
    pub(crate) definitions: Vec<CustomField>,
    /// Checks new positions in the hierarchy, when the parent changes.
    pub(crate) parent_check: Option<ParentCheck>,
}

impl Update {
    /// Sets the fields in `mask` from `new`. Refuses values that are invalid for every task.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn new(mask: Vec<String>, new: NewValues, default: Visibility) -> Result<Self> {
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
        let any = NewValues { title: "any".to_owned(), ..NewValues::default() };
        let mut fields = Fields::new(any, self.default)?;
        fields.change(&self.mask, &self.new, self.default)?;
        Ok(fields)
    }

    fn apply(&self, task: &mut Task, now: DateTime<Utc>) -> Result<()> {
        let before = task.fields.clone();
        task.fields.change(&self.mask, &self.new, self.default)?;
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
