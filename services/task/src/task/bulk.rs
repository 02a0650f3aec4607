//! One change of many tasks: the rules of each single call, and who gets what only some can have.

use std::collections::{BTreeMap, HashMap};

use baton_errors::{Error, Reason, Result};
use baton_proto::baton::task::v1::{CreateTaskRequest, TaskChange};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    events::Kind,
    people::{
        assignment::{self, Member},
        visibility::Who,
    },
    schedule::series::Wish,
    task::{
        Task, Visibility,
        custom_field::{self, CustomField},
        fields::Fields,
        parts::Place,
        record::{Changed, Terms},
    },
};

/// Tasks that one call changes.
pub(crate) const MOST: usize = 1_000;

/// What to do to each task.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Start,
    Pause(String),
    Resume,
    Complete,
    Archive,
    Cancel(Option<String>),
    Reopen(Option<String>),
    Delete,
    Restore,
    Assign(Member),
    Reassign(Member),
    Update(Box<Update>),
}

impl Deed {
    /// What it is in timelines.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Start => Kind::Started,
            Self::Pause(_) => Kind::Paused,
            Self::Resume => Kind::Resumed,
            Self::Complete => Kind::Completed,
            Self::Archive => Kind::Archived,
            Self::Cancel(_) => Kind::Canceled,
            Self::Reopen(_) => Kind::Reopened,
            Self::Delete => Kind::Deleted,
            Self::Restore => Kind::Restored,
            Self::Assign(_) => Kind::Assigned,
            Self::Reassign(_) => Kind::Reassigned,
            Self::Update(_) => Kind::Updated,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Pause(reason) => Some(reason),
            Self::Cancel(reason) | Self::Reopen(reason) => reason.as_deref(),
            _ => None,
        }
    }

    /// Does it to a task that they see, by the rules of the call for one task: `rpc/task.rs` asks the same of them,
    /// and a test holds the two against each other.
    fn apply(&self, task: &mut Task, who: Who<'_>, now: DateTime<Utc>) -> Result<()> {
        match self {
            Self::Start => who.may_work_on(task).and_then(|()| task.start(now)),
            Self::Pause(reason) => who.may_work_on(task).and_then(|()| task.pause(reason.clone(), now)),
            Self::Resume => who.may_work_on(task).and_then(|()| task.resume(now)),
            Self::Complete => who.may_work_on(task).and_then(|()| task.complete(now)),
            Self::Archive => who.may_change(task).and_then(|()| task.archive(now)),
            Self::Cancel(_) => who.may_change(task).and_then(|()| task.cancel(now)),
            Self::Reopen(_) => who.may_reopen(task).and_then(|()| task.reopen()),
            Self::Delete => who.may_delete(task).map(|()| task.delete(now)),
            Self::Restore => who.may_delete(task).map(|()| task.restore()),
            Self::Assign(to) => assignment::assign(task, who, *to, now),
            Self::Reassign(to) => assignment::reassign(task, who, *to, now),
            Self::Update(update) => who.may_change(task).and_then(|()| update.apply(task, now)),
        }
    }
}

/// New values for fields.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) mask: Vec<String>,
    pub(crate) new: TaskChange,
    /// The visibility that clearing leads back to.
    pub(crate) default: Visibility,
    pub(crate) definitions: Vec<CustomField>,
    /// Where the tasks go, when they become parts of another.
    pub(crate) place: Option<Place>,
}

/// What makes a task come again: its timezone would have to be asked for, task by task.
const ONE_BY_ONE: [&str; 2] = ["recurrence_rule", "recurrence_timezone"];

impl Update {
    /// Values that are there are set, and what `clear` names is cleared. What is wrong for every task is refused here.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn new(new: TaskChange, clear: Vec<String>, default: Visibility) -> Result<Self> {
        let given = given(&new);
        let alone = |path: &&String| ONE_BY_ONE.contains(&path.as_str());
        if let Some(path) = given.iter().chain(&clear).find(alone) {
            return Err(Error::invalid(format!("task.{path}"), "is changed one by one"));
        }
        if let Some(index) = clear.iter().position(|path| given.contains(path)) {
            return Err(Error::invalid(format!("clear[{index}]"), "is set as well"));
        }
        let mask: Vec<String> = given.into_iter().chain(clear).collect();
        if mask.is_empty() {
            return Err(Error::invalid("task", "sets nothing, and nothing is cleared"));
        }
        let update = Self { mask, new, default, definitions: Vec::new(), place: None };
        update.fields_of_any()?;
        Ok(update)
    }

    /// The task that they shall be parts of.
    pub(crate) fn parent(&self) -> Option<Uuid> {
        self.fields_of_any().ok()?.parent_task_id
    }

    /// Whether they come to other places in the hierarchy.
    pub(crate) fn moves(&self) -> bool {
        self.mask.iter().any(|path| path == "parent_task_id")
    }

    /// Whether members of `custom_fields` change.
    pub(crate) fn notes(&self) -> bool {
        self.mask.iter().any(|path| path.starts_with("custom_fields"))
    }

    /// Keeps the definitions that hold now.
    ///
    /// # Errors
    /// VALIDATION_FAILED when a new value has not the form that is defined.
    pub(crate) fn by_definitions(&mut self, definitions: Vec<CustomField>) -> Result<()> {
        let none = serde_json::Map::new();
        custom_field::check(&definitions, Some(&none), &self.fields_of_any()?.custom_fields, "task.custom_fields")?;
        self.definitions = definitions;
        Ok(())
    }

    /// The fields of some task after the change.
    fn fields_of_any(&self) -> Result<Fields> {
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
        // Nothing is wished, but a task that comes again needs its due time.
        Wish::default().grant(task, None, "task.", (now, task.id))?;
        match &self.place {
            Some(place) if task.fields.parent_task_id != before.parent_task_id => {
                place.takes(task.id, "task.parent_task_id")
            }
            _ => Ok(()),
        }
    }
}

/// Names of the values that are there; members of `custom_fields` one by one.
fn given(new: &TaskChange) -> Vec<String> {
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

/// What a deed makes of tasks, and what is wrong with each of the others.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) changed: Vec<Changed>,
    pub(crate) refused: HashMap<Uuid, Reason>,
}

impl Done {
    /// Does `deed` to each of these tasks, which they see.
    pub(crate) fn of(deed: &Deed, tasks: Vec<Task>, who: Who<'_>, now: DateTime<Utc>) -> Self {
        let mut done = Self::default();
        for before in tasks {
            let mut after = before.clone();
            match deed.apply(&mut after, who, now) {
                Ok(()) => {
                    let reason = deed.reason().map(str::to_owned);
                    done.changed.push(Changed { before, after, kind: deed.kind(), reason });
                }
                Err(error) => {
                    done.refused.insert(before.id, error.reason());
                }
            }
        }
        done
    }

    /// Whether work begins on any task.
    pub(crate) fn begins_work(&self) -> bool {
        self.changed.iter().any(begins)
    }

    /// Who has how many more open tasks after it.
    pub(crate) fn opens(&self) -> BTreeMap<Uuid, i32> {
        let mut counts = BTreeMap::new();
        for change in self.changed.iter().filter(|change| opens(change)) {
            *counts.entry(change.after.created_by).or_insert(0) += 1;
        }
        counts
    }

    /// Refuses what there is no room for: as many are opened as `used` leaves of the quota, and one begun if nobody
    /// works on two at once and the worker, who is the caller, is not at work (`busy`) on another. The first come first.
    pub(crate) fn within(&mut self, terms: Terms, mut used: BTreeMap<Uuid, i32>, mut busy: bool) {
        let refused = &mut self.refused;
        self.changed.retain(|change| {
            let why = if begins(change) && terms.one_running_timer {
                std::mem::replace(&mut busy, true).then_some(Reason::TimerAlreadyRunning)
            } else if let Some(limit) = terms.open_tasks.filter(|_| opens(change)) {
                let used = used.entry(change.after.created_by).or_insert(0);
                let full = *used >= limit;
                *used += i32::from(!full);
                full.then_some(Reason::QuotaExceeded)
            } else {
                None
            };
            why.is_none_or(|why| {
                refused.insert(change.before.id, why);
                false
            })
        });
    }
}

fn begins(change: &Changed) -> bool {
    change.before.running_since.is_none() && change.after.running_since.is_some()
}

fn opens(change: &Changed) -> bool {
    !change.before.is_open() && change.after.is_open()
}
