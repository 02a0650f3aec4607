//! Timers: set by the dispatcher and by what enables a rule, fired here.

use baton_errors::{Error, Result};
use baton_rules::{Occurrence, Schedule, Scope};
use baton_runtime::Next;
use baton_store::{
    Db, Tenant, Tx,
    jobs::NewJob,
    timers::{self, DueTimer},
};
use chrono::TimeDelta;
use chrono_tz::Tz;
use tracing::{Instrument, info_span};
use uuid::Uuid;

use super::{
    backfill,
    dispatch::{self, Run},
    selection::{SELECT, Selection},
};
use crate::{rule::Rule, store};

/// How long the work of a selection takes, for the queue.
const SELECTION: TimeDelta = TimeDelta::seconds(1);

/// Begins to wait for what a rule that was enabled or changed waits for: the next time of its schedule, or tasks that are in its
/// state already.
///
/// # Errors
/// Those of the database.
pub(crate) async fn begin(tx: &mut Tx, rule: &Rule) -> Result<()> {
    if !rule.enabled {
        return Ok(());
    }
    let definition = rule.terms.definition("").map_err(|error| Error::internal(error.to_string()))?;
    if definition.trigger.schedule.is_some() {
        return set_next(tx, std::slice::from_ref(rule)).await;
    }
    backfill::enqueue(tx, rule, &definition.trigger).await
}

/// Sets the next times of schedules of rules. Times that have passed are left out.
async fn set_next(tx: &mut Tx, rules: &[Rule]) -> Result<()> {
    let (now, mut next) = (tx.db().clock().now(), Vec::new());
    for rule in rules {
        let Some((timezone, schedule)) = schedule_of(rule) else { continue };
        let only_task = match schedule.scope {
            Scope::Task(id) => Some(id),
            Scope::Once | Scope::Tasks(_) => None,
        };
        let at = schedule.next(timezone, now)?;
        next.extend(at.map(|at| (rule.id, Occurrence::of_schedule(rule.id, at, only_task))));
    }
    let ids: Vec<Uuid> = rules.iter().map(|rule| rule.id).collect();
    store::timer::set_next(tx, &ids, &next).await
}

/// Fires due timers: enqueues their rules. Returns the time of the next poll.
///
/// # Errors
/// Those of the database.
pub(crate) async fn poll(db: Db) -> Result<Next> {
    let mut settled = 0;
    for (account_id, due) in timers::due(&db).await? {
        let span = info_span!("timers", otel.name = "timers", account.id = %account_id);
        let ids: Vec<Uuid> = due.iter().map(|timer: &DueTimer| timer.id).collect();
        settled += timers::attempt(&db, &ids, fire(&db, account_id, &ids)).instrument(span).await;
    }
    Ok(timers::next_poll(&db, settled).await)
}

/// Fires timers of one account, and returns their number.
async fn fire(db: &Db, account_id: Uuid, ids: &[Uuid]) -> Result<usize> {
    let mut tx = db.begin(Tenant::account(account_id)).await?;
    // Rules are locked before their timers everywhere.
    let rule_ids = store::timer::rules_of(&mut tx, ids).await?;
    store::rule::lock_keys(&mut tx, &rule_ids).await?;
    let locked = timers::lock(&mut tx, ids).await?;
    let due = store::timer::get(&mut tx, &locked).await?;
    timers::mark_fired(&mut tx, &locked, &[]).await?;
    let now = db.clock().now();
    let scheduled: Vec<Uuid> = due.values().filter(|timer| timer.is_schedule).map(|timer| timer.rule_id).collect();
    let rules = store::rule::enabled_among(&mut tx, &scheduled).await?;
    let (mut runs, mut selections) = (Vec::new(), Vec::new());
    for timer in locked.iter().filter_map(|id| due.get(id)) {
        let mut occurrence = timer.occurrence.clone();
        occurrence.late |= now > timer.fires_at + timers::LATE_AFTER;
        let rule = rules.iter().find(|rule| rule.id == timer.rule_id);
        match rule.filter(|_| timer.is_schedule) {
            Some(rule) if selects(rule) => selections.push(Selection::new(rule, occurrence, now)),
            Some(rule) => runs.push(Run::new(account_id, rule.id, occurrence, now)),
            None if timer.is_schedule => {}
            None => runs.push(Run { waited: true, ..Run::new(account_id, timer.rule_id, occurrence, now) }),
        }
    }
    set_next(&mut tx, &rules).await?;
    dispatch::enqueue(&mut tx, &runs).await?;
    let positions = dispatch::positions(&mut tx, selections.len(), SELECTION).await?;
    let jobs = selections.iter().zip(positions).map(|(selection, at)| Ok(NewJob::new(SELECT, selection)?.due_at(at)));
    tx.enqueue_jobs(jobs.collect::<Result<_>>()?).await?;
    tx.commit().await?;
    Ok(locked.len())
}

/// Whether a rule's schedule runs it for several tasks.
fn selects(rule: &Rule) -> bool {
    schedule_of(rule).is_some_and(|(_, schedule)| matches!(schedule.scope, Scope::Tasks(_)))
}

/// The schedule of a rule and its time zone. A rule that does not parse has none, and does not stop others.
fn schedule_of(rule: &Rule) -> Option<(Tz, Schedule)> {
    match rule.terms.definition("") {
        Ok(definition) => Some((definition.timezone, definition.trigger.schedule?)),
        Err(error) => {
            tracing::error!(%error, rule.id = %rule.id, "a stored rule does not parse; it does not run");
            None
        }
    }
}
