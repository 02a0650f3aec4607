//! The rows that new and changed tasks write, all of them in one step. Tasks, timelines and assignment histories have no
//! other writer, so that none of them can lack the others.

use std::collections::BTreeMap;

use baton_errors::Result;
use baton_store::{Event, Tx};
use uuid::Uuid;

use crate::{
    assignment_history::AssignmentChange,
    schedule::follow_ups::FollowUps,
    store,
    task::{Task, event_kind::EventKind, event_log::LogEntry, time_entry::TimerChange},
};

/// A batch of new tasks and of changes of locked tasks.
#[must_use = "nothing is stored until `write`"]
#[derive(Debug)]
pub(crate) struct TaskBatch {
    /// One per task. Those of the kind `created` have new tasks.
    pub(crate) entries: Vec<LogEntry>,
    /// The assignment changes of the entries.
    pub(crate) assignments: Vec<AssignmentChange>,
    pub(crate) timers: Vec<TimerChange>,
    pub(crate) follow_ups: FollowUps,
    /// Pairs of a task and a new one that gets its reminders.
    pub(crate) reminders: Vec<(Uuid, Uuid)>,
    /// Changes in the number of open tasks per creator.
    pub(crate) opened: BTreeMap<Uuid, i32>,
    pub(crate) events: Vec<Event>,
}

impl TaskBatch {
    /// Writes the batch: rows, timer intervals, timelines, assignment histories, reminders, timers, counters and events.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn write(self, tx: &mut Tx) -> Result<()> {
        let Self { entries, assignments, timers, follow_ups, reminders, opened, events } = self;
        let (new, changed): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.kind == EventKind::Created);
        let (new, changed) = (tasks(&new), tasks(&changed));
        store::task::insert_all(tx, &new).await?;
        store::task::save_all(tx, &changed).await?;
        store::time_entry::apply_timer_changes(tx, &timers).await?;
        store::timeline::append(tx, &entries).await?;
        store::assignment_history::record(tx, assignments).await?;
        for (from, to) in reminders {
            store::reminder::copy(tx, from, to).await?;
        }
        store::timer::set(tx, &follow_ups.timers).await?;
        store::timer::set_reminders(tx, &follow_ups.due).await?;
        store::series::start(tx, &follow_ups.instances).await?;
        store::quota_counters::record_changes(tx, &opened).await?;
        tx.publish_all(events).await
    }
}

fn tasks<'a>(entries: &[&'a LogEntry]) -> Vec<&'a Task> {
    entries.iter().map(|entry| &entry.after).collect()
}
