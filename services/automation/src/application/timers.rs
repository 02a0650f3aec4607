//! Timers of rules that wait for a state to last: set by the dispatcher, fired here.

use baton_errors::Result;
use baton_runtime::Next;
use baton_store::{
    Db, Tenant,
    timers::{self, DueTimer},
};
use tracing::{Instrument, info_span};
use uuid::Uuid;

use super::dispatch::{self, Run};
use crate::store;

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
    let locked = timers::lock(&mut tx, ids).await?;
    let waits = store::timer::get(&mut tx, &locked).await?;
    let now = db.clock().now();
    let runs: Vec<Run> = locked
        .iter()
        .filter_map(|id| waits.get(id))
        .map(|wait| {
            let mut occurrence = wait.occurrence.clone();
            occurrence.late |= now > wait.fires_at + timers::LATE_AFTER;
            Run { waited: true, ..Run::new(account_id, wait.rule_id, occurrence, now) }
        })
        .collect();
    dispatch::enqueue(&mut tx, &runs).await?;
    timers::mark_fired(&mut tx, &locked, &[]).await?;
    tx.commit().await?;
    Ok(locked.len())
}
