//! Bulk changes: one action on many tasks, and the order in which they get scarce quota and timers.

use std::collections::{BTreeMap, HashMap};

use baton_errors::Reason;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    policy::visibility::Actor,
    task::{
        Task,
        action::TaskAction,
        change::{AccountPolicy, AppliedChange},
    },
};

/// Maximum number of tasks per call.
pub(crate) const MAX_TASKS: usize = 1_000;

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
            let id = before.id;
            match action.apply(before, actor, now) {
                Ok(change) => outcome.changed.push(change),
                Err(error) => {
                    outcome.refused.insert(id, error.reason());
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
