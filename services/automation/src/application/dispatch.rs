//! From events to jobs: which rules an event may run. Whether it does is decided later, with the rights of the rule's creator.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use baton_errors::{Error, Result};
use baton_rules::{Occurrence, Rule as IndexedRule, RuleIndex};
use baton_store::{Tx, jobs::NewJob};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::deletion::{self, ClosedTask};
use crate::{
    state_timer::{self, StateChange, StateTimer},
    store,
};

/// The kind of jobs that run a rule on an event.
pub(crate) const RUN: &str = "automation.run";
/// Accounts whose rules are kept.
const MAX_KEPT: usize = 1_000;
/// The distance of two runs of an account in the queue: longer than a run takes, so that an account with many of them has the later
/// positions.
const SLOT: TimeDelta = TimeDelta::seconds(1);
/// How far in the past the first position of an account is. It has no later one than now.
const HEAD_START: TimeDelta = TimeDelta::hours(1);

/// A rule to run on an event, if its conditions hold. Ids and states only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) account_id: Uuid,
    pub(crate) rule_id: Uuid,
    pub(crate) occurrence: Occurrence,
    /// Number of repetitions that were asked for.
    #[serde(default)]
    pub(crate) repetition: i32,
    pub(crate) enqueued_at: DateTime<Utc>,
    /// Whether the state that the event began has lasted as long as the rule waits.
    #[serde(default)]
    pub(crate) waited: bool,
}

impl Run {
    pub(crate) fn new(account_id: Uuid, rule_id: Uuid, occurrence: Occurrence, enqueued_at: DateTime<Utc>) -> Self {
        Self { account_id, rule_id, occurrence, repetition: 0, enqueued_at, waited: false }
    }
}

/// Finds the rules of events. It keeps the parsed rules of accounts as long as they do not change.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher(Mutex<HashMap<Uuid, Kept>>);

#[derive(Debug, Clone)]
struct Kept {
    stamp: (i64, i64),
    index: Arc<RuleIndex>,
}

impl Dispatcher {
    /// Enqueues the rules that these events of the transaction's account may run, in the order of the events.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn dispatch(&self, tx: &mut Tx, occurrences: Vec<Occurrence>) -> Result<()> {
        if occurrences.is_empty() {
            return Ok(());
        }
        let account_id = tx.tenant().account_id;
        let mut index = self.index(tx, account_id).await?;
        let waiting: Vec<Uuid> = index.waiting().map(|rule| rule.id).collect();
        if !waiting.is_empty() {
            // Rules are locked before their timers everywhere. They may have been changed before.
            store::rule::lock_keys(tx, &waiting).await?;
            index = self.index(tx, account_id).await?;
        }
        let (mut runs, mut begun, enqueued_at) = (Vec::new(), Vec::new(), tx.db().clock().now());
        for occurrence in &occurrences {
            let mut waits = Vec::new();
            for rule in index.candidates(occurrence) {
                let trigger = &rule.definition.trigger;
                match trigger.for_seconds {
                    Some(_) => waits.extend(StateTimer::of(rule.id, trigger, occurrence)),
                    None => runs.push(Run::new(account_id, rule.id, occurrence.clone(), enqueued_at)),
                }
            }
            if state_timer::sets_due_time(occurrence) {
                let timers = index
                    .before_due()
                    .iter()
                    .filter_map(|rule| StateTimer::of(rule.id, &rule.definition.trigger, occurrence));
                // A nearer due time needs no notice: whoever sets it knows it.
                waits.extend(timers.filter(|timer| timer.fires_at > occurrence.occurred_at));
            }
            begun.push((occurrence, waits));
        }
        let closed = closed(&index, account_id, &occurrences);
        let closed = closed.iter().map(|closed| NewJob::new(deletion::TASK_CLOSED, closed));
        tx.enqueue_jobs(closed.collect::<Result<_>>()?).await?;
        if index.waiting().next().is_some() {
            let left: Vec<StateChange> = occurrences.iter().filter_map(StateChange::of).collect();
            if !left.is_empty() {
                store::timer::cancel(tx, &left).await?;
            }
            store::timer::set(tx, state_timer::pending(begun), false).await?;
        }
        enqueue(tx, &runs).await
    }

    /// The enabled rules of the account.
    async fn index(&self, tx: &mut Tx, account_id: Uuid) -> Result<Arc<RuleIndex>> {
        let stamp = store::rule::stamp(tx.connection(), account_id).await?;
        if stamp.0 == 0 {
            self.kept().remove(&account_id);
            return Ok(Arc::default());
        }
        if let Some(kept) = self.kept().get(&account_id).filter(|kept| kept.stamp == stamp) {
            return Ok(Arc::clone(&kept.index));
        }
        let rules = store::rule::enabled(tx.connection(), account_id).await?;
        let indexed = rules.into_iter().filter_map(|rule| match rule.terms.definition("") {
            Ok(definition) => Some(Arc::new(IndexedRule { id: rule.id, owner: rule.created_by, definition })),
            Err(error) => {
                tracing::error!(%error, rule.id = %rule.id, "a stored rule does not parse; it does not run");
                None
            }
        });
        let index = Arc::new(RuleIndex::new(indexed));
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(account_id, Kept { stamp, index: Arc::clone(&index) });
        Ok(index)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rules that run for one task only, which one of these events has closed.
fn closed(index: &RuleIndex, account_id: Uuid, occurrences: &[Occurrence]) -> Vec<ClosedTask> {
    let is_closed = |event: &&Occurrence| event.task.as_ref().is_some_and(|task| !state_timer::is_open(&task.status));
    let tasks = occurrences.iter().filter(is_closed).filter_map(|event| Some((event.task_id?, event.occurred_at)));
    let rules =
        tasks.flat_map(|(task_id, at)| index.of_task(task_id).iter().map(move |rule_id| (*rule_id, task_id, at)));
    rules.map(|(rule_id, task_id, closed_at)| ClosedTask { account_id, rule_id, task_id, closed_at }).collect()
}

/// Enqueues runs of the transaction's account. Those on one task run one after the other, in this order.
///
/// Work is begun in the order of its due time. An account's next position in the queue moves by [`SLOT`] with each run, and never
/// lags behind [`HEAD_START`] ago: so an account with much work does not delay one with little (start-time fair queuing).
///
/// # Errors
/// Those of the database.
pub(crate) async fn enqueue(tx: &mut Tx, runs: &[Run]) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    let positions = positions(tx, runs.len(), SLOT).await?;
    let mut jobs = Vec::new();
    for (run, position) in runs.iter().zip(positions) {
        let lane = run.occurrence.task_id.unwrap_or(run.rule_id);
        let job = NewJob::new(RUN, run)?.in_lane(lane.to_string()).due_at(position);
        jobs.push(job.unique(format!("{}:{}:{}", run.rule_id, run.occurrence.event_id, run.repetition)));
    }
    tx.enqueue_jobs(jobs).await
}

/// The due times of work of the transaction's account, each of which takes so long: its next positions in the queue.
///
/// # Errors
/// Those of the database.
pub(super) async fn positions(tx: &mut Tx, count: usize, length: TimeDelta) -> Result<Vec<DateTime<Utc>>> {
    let now = tx.db().clock().now();
    let count = i32::try_from(count).map_err(Error::internal)?;
    let first = store::account::take_slots(tx, now - HEAD_START, length * count).await?;
    // Before the present of any process, whose clocks differ: in a lane, the first one is the first for all of them.
    let latest = now - TimeDelta::seconds(1);
    Ok((0..count).map(|nth| (first + length * nth).min(latest)).collect())
}
