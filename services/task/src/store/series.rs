//! Instances of series.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::NaiveDateTime;
use uuid::Uuid;

use crate::schedule::series::Instance;

/// Starts series with tasks, or restarts their rules; a restarted task keeps its number. An instance that was claimed
/// before its task existed is kept.
pub(super) async fn start(tx: &mut Tx, instances: &[Instance]) -> Result<()> {
    if instances.is_empty() {
        return Ok(());
    }
    let tasks: Vec<Uuid> = instances.iter().map(|one| one.task_id).collect();
    let series: Vec<Uuid> = instances.iter().map(|one| one.series_id).collect();
    let starts: Vec<NaiveDateTime> = instances.iter().map(|one| one.starts).collect();
    let again: Vec<bool> = instances.iter().map(|one| one.again).collect();
    sqlx::query!(
        "with new as (
             select * from unnest($2::uuid[], $3::uuid[], $4::timestamp[], $5::boolean[])
                  as new (task_id, series_id, starts, again)
         ), begun as (
             update task.occurrences o set starts = new.starts, falls = new.starts
             from new where new.again and o.account_id = $1 and o.task_id = new.task_id
         )
         insert into task.occurrences (account_id, task_id, series_id, nth, starts, falls)
         select $1, task_id, series_id, 1, starts, starts from new
         on conflict (account_id, task_id) do nothing",
        tx.tenant().account_id,
        &tasks,
        &series,
        &starts,
        &again,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The instance of a task, if it has one.
pub(crate) async fn instance_of(tx: &mut ReadTx, task_id: Uuid) -> Result<Option<Instance>> {
    let account_id = tx.tenant().account_id;
    let instance = sqlx::query_as!(
        Instance,
        r#"select task_id, series_id, nth, starts, falls, false as "again!"
           from task.occurrences where account_id = $1 and task_id = $2"#,
        account_id,
        task_id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(instance)
}

/// Whether the task after this instance exists.
pub(crate) async fn has_next(tx: &mut ReadTx, instance: &Instance) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let has_next = sqlx::query_scalar!(
        r#"select exists (
               select from task.occurrences where account_id = $1 and series_id = $2 and nth = $3
           ) as "has_next!""#,
        account_id,
        instance.series_id,
        instance.nth + 1
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(has_next)
}

/// Claims an instance for a task to be created; `false` if another transaction has it. Of concurrent claims one
/// succeeds.
pub(crate) async fn claim(tx: &mut Tx, instance: &Instance) -> Result<bool> {
    let Instance { task_id, series_id, nth, starts, falls, again: _ } = instance;
    let taken = sqlx::query!(
        "insert into task.occurrences (account_id, task_id, series_id, nth, starts, falls)
         values ($1, $2, $3, $4, $5, $6) on conflict on constraint occurrences_nth do nothing",
        tx.tenant().account_id,
        task_id,
        series_id,
        nth,
        starts,
        falls
    )
    .execute(tx.connection())
    .await?;
    Ok(taken.rows_affected() == 1)
}
