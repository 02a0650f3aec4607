//! Workloads of members, each read from an index alone.

use std::collections::HashMap;

use baton_errors::Result;
use baton_store::ReadTx;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::assignee_ranking::Workload;

/// Period of completed tasks that determines the pace.
const HISTORY_WINDOW: TimeDelta = TimeDelta::days(90);
/// Latest tasks per person that determine the pace: a bound for those who complete thousands.
const MAX_SAMPLE: i64 = 50;

/// Workloads of these people at `now`; tasks due by `horizon` count as due before the task to assign. People without
/// any work are left out.
pub(crate) async fn of(
    tx: &mut ReadTx,
    people: &[Uuid],
    now: DateTime<Utc>,
    horizon: DateTime<Utc>,
) -> Result<HashMap<Uuid, Workload>> {
    let account_id = tx.tenant().account_id;
    let held = sqlx::query!(
        r#"select assigned_to as "user_id!", count(*) as "open!",
                  coalesce(sum(greatest(estimated_seconds - actual_seconds, 0)), 0) as "remaining!",
                  count(*) filter (where due_at < $3) as "overdue!",
                  count(*) filter (where due_at >= $3 and due_at <= $4) as "due_before!"
           from task.tasks
           where account_id = $1 and assigned_to = any($2) and status in ('pending', 'in_progress', 'paused')
             and deleted_at is null
           group by assigned_to"#,
        account_id,
        people,
        now,
        horizon
    )
    .fetch_all(tx.connection())
    .await?;
    let done = sqlx::query!(
        r#"select person as "user_id!", count(*) as "paced!",
                  percentile_cont(0.5) within group (order by actual_seconds::float8 / estimated_seconds) as "pace!"
           from unnest($2::uuid[]) as people (person)
           cross join lateral (
               select actual_seconds, estimated_seconds from task.tasks
               where account_id = $1 and assigned_to = person and completed_at >= $3 and completed_at is not null
                 and estimated_seconds > 0 and actual_seconds > 0 and deleted_at is null
               order by completed_at desc limit $4
           ) latest
           group by person"#,
        account_id,
        people,
        now - HISTORY_WINDOW,
        MAX_SAMPLE
    )
    .fetch_all(tx.connection())
    .await?;
    let mut loads: HashMap<Uuid, Workload> = HashMap::with_capacity(people.len());
    for row in held {
        let load = Workload {
            open: row.open,
            remaining_seconds: row.remaining,
            overdue: row.overdue,
            due_before: row.due_before,
            ..Workload::default()
        };
        loads.insert(row.user_id, load);
    }
    for row in done {
        let load = loads.entry(row.user_id).or_default();
        (load.pace, load.paced) = (Some(row.pace), row.paced);
    }
    Ok(loads)
}
