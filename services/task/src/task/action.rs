//! Actions on tasks.

use baton_errors::Result;
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
        change::AppliedChange,
        custom_field::{self, CustomField},
        event_kind::EventKind,
        fields::{Fields, NewValues, required},
        subtasks::ParentCheck,
    },
};

/// An action on a task: its rule, its change and its event. A single call applies it to one task, a bulk change to many.
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
    Accept,
    Reject(Option<String>),
    Update(Box<Update>),
}

impl TaskAction {
    /// The kind of its timeline entries and events.
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
            Self::Accept => EventKind::Accepted,
            Self::Reject(_) => EventKind::Rejected,
            Self::Update(_) => EventKind::Updated,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Pause(reason) => Some(reason),
            Self::Cancel(reason) | Self::Reopen(reason) | Self::Reject(reason) => reason.as_deref(),
            _ => None,
        }
    }

    /// Applies the action to a visible task.
    ///
    /// # Errors
    /// Those of the rule, such as TASK_CHANGE_NOT_ALLOWED and TASK_WRONG_STATE.
    pub(crate) fn apply(&self, before: Task, actor: Actor<'_>, now: DateTime<Utc>) -> Result<AppliedChange> {
        let mut after = before.clone();
        self.change(&mut after, actor, now)?;
        Ok(AppliedChange { before, after, kind: self.kind(), reason: self.reason().map(str::to_owned) })
    }

    fn change(&self, task: &mut Task, actor: Actor<'_>, now: DateTime<Utc>) -> Result<()> {
        match self {
            Self::Start => actor.can_work_on(task).and_then(|()| task.start(now)),
            Self::Pause(reason) => {
                actor.can_work_on(task)?;
                task.pause(required(reason.clone(), "reason")?, now)
            }
            Self::Resume => actor.can_work_on(task).and_then(|()| task.resume(now)),
            Self::Complete => actor.can_work_on(task).and_then(|()| task.complete(now)),
            Self::Archive => actor.can_change(task).and_then(|()| task.archive(now)),
            Self::Cancel(_) => actor.can_change(task).and_then(|()| task.cancel(now)),
            Self::Reopen(_) => actor.can_reopen(task).and_then(|()| task.reopen()),
            Self::Delete => actor.can_delete(task).map(|()| task.delete(now)),
            Self::Restore => actor.can_delete(task).map(|()| task.restore()),
            Self::Assign(to) => assignment::assign(task, actor, *to, now),
            Self::Reassign(to) => assignment::reassign(task, actor, *to, now),
            Self::Accept => assignment::accept(task, actor, now),
            Self::Reject(_) => assignment::reject(task, actor, now),
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
    pub(crate) recurrence: RecurrencePatch,
    /// The time zone of a rule without one.
    pub(crate) timezone: Option<String>,
    /// The id of a series that the rule starts; the task's if there is none.
    pub(crate) series_id: Option<Uuid>,
    /// The account's custom fields, when some change.
    pub(crate) definitions: Vec<CustomField>,
    /// Tags to add to those of the task.
    pub(crate) add_tags: Vec<String>,
    /// Tags to remove.
    pub(crate) remove_tags: Vec<String>,
    /// Checks new positions in the hierarchy, when the parent changes.
    pub(crate) parent_check: Option<ParentCheck>,
}

impl Update {
    /// Sets the fields in `mask` from `new`.
    pub(crate) fn new(mask: Vec<String>, new: NewValues, default: Visibility) -> Self {
        Self {
            mask,
            new,
            default,
            recurrence: RecurrencePatch::default(),
            timezone: None,
            series_id: None,
            definitions: Vec::new(),
            add_tags: Vec::new(),
            remove_tags: Vec::new(),
            parent_check: None,
        }
    }

    /// Refuses values that are invalid for every task.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn check(&self) -> Result<()> {
        self.sample_fields().map(drop)
    }

    /// The new parent.
    pub(crate) fn parent(&self) -> Option<Uuid> {
        self.new.parent_task_id.filter(|_| self.changes_parent())
    }

    /// Whether the parent changes.
    pub(crate) fn changes_parent(&self) -> bool {
        self.mask.iter().any(|path| path == "parent_task_id")
    }

    /// Whether tags are added to those of the task, or removed.
    fn changes_tags(&self) -> bool {
        !self.add_tags.is_empty() || !self.remove_tags.is_empty()
    }

    /// Whether custom fields change.
    pub(crate) fn changes_custom_fields(&self) -> bool {
        self.mask.iter().any(|path| path.starts_with("custom_fields"))
    }

    /// Sets the account's definitions, and refuses values that are invalid for every task.
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
        if !self.mask.is_empty() || !self.changes_tags() {
            fields.change(&self.mask, &self.new, self.default)?;
        }
        Ok(fields)
    }

    fn apply(&self, task: &mut Task, now: DateTime<Utc>) -> Result<()> {
        let before = task.fields.clone();
        if !self.mask.is_empty() || self.recurrence.is_empty() && !self.changes_tags() {
            task.fields.change(&self.mask, &self.new, self.default)?;
        }
        if self.changes_tags() {
            task.fields.change_tags(&self.add_tags, &self.remove_tags)?;
        }
        // Without a new rule too: a recurring task must keep its due time.
        let series_id = self.series_id.unwrap_or(task.id);
        self.recurrence.clone().apply(task, self.timezone.as_deref(), "task.", (now, series_id))?;
        if let Some(parent_check) = &self.parent_check
            && task.fields.parent_task_id != before.parent_task_id
        {
            parent_check.accepts(task.id, "task.parent_task_id")?;
        }
        let (was, is) = (&before.custom_fields, &task.fields.custom_fields);
        custom_field::check(&self.definitions, Some(was), is, "task.custom_fields")
    }
}
