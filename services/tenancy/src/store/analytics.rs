//! Figures about an account, from its memberships and its activity log.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Whom figures are about: everyone, or these people and those they have invited to report to them.
pub(crate) type People<'a> = Option<&'a [Uuid]>;

/// Members of a role and a status.
pub(crate) struct Members {
    pub(crate) role: String,
    pub(crate) status: String,
    pub(crate) count: i64,
}

/// Members and open invitations: those from after `invited_since`.
pub(crate) async fn members(
    tx: &mut Tx,
    account_id: Uuid,
    people: People<'_>,
    invited_since: DateTime<Utc>,
) -> Result<Vec<Members>> {
    let rows = sqlx::query_as!(
        Members,
        r#"select role, status, count(*) as "count!" from tenancy.memberships
           where account_id = $1 and (status = 'active' or (status = 'invited' and invited_at > $3))
             and ($2::uuid[] is null or user_id = any($2) or manager_id = any($2))
           group by role, status"#,
        account_id,
        people as _,
        invited_since
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows)
}

/// Who came and who left in a week.
pub(crate) struct Week {
    pub(crate) starts_at: DateTime<Utc>,
    pub(crate) joined: i64,
    pub(crate) left: i64,
}

/// The weeks since `since` in which someone came or left.
pub(crate) async fn weeks(
    tx: &mut Tx,
    account_id: Uuid,
    people: People<'_>,
    since: DateTime<Utc>,
) -> Result<Vec<Week>> {
    let rows = sqlx::query_as!(
        Week,
        r#"select date_trunc('week', at, 'UTC') as "starts_at!", count(*) filter (where came) as "joined!",
                  count(*) filter (where not came) as "left!"
           from (select joined_at as at, true as came from tenancy.memberships
                 where account_id = $1 and joined_at >= $3
                   and ($2::uuid[] is null or user_id = any($2) or manager_id = any($2))
                 union all
                 select left_at, false from tenancy.memberships
                 where account_id = $1 and left_at >= $3 and joined_at is not null
                   and ($2::uuid[] is null or user_id = any($2) or manager_id = any($2))) moves
           group by 1"#,
        account_id,
        people as _,
        since
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows)
}

/// Invitations by what became of them.
pub(crate) struct Invitations {
    pub(crate) open: i64,
    pub(crate) accepted: i64,
    pub(crate) expired: i64,
}

/// Invitations; those from before `invited_since` have run out, and so have those that were ended at the age
/// of `now - invited_since` or more.
pub(crate) async fn invitations(
    tx: &mut Tx,
    account_id: Uuid,
    people: People<'_>,
    invited_since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Invitations> {
    let row = sqlx::query_as!(
        Invitations,
        r#"select count(*) filter (where status = 'invited' and invited_at > $3) as "open!",
                  count(*) filter (where joined_at is not null) as "accepted!",
                  count(*) filter (where joined_at is null and coalesce(left_at, $4) - invited_at >= $4 - $3) as "expired!"
           from tenancy.memberships
           where account_id = $1 and invited_by is not null
             and ($2::uuid[] is null or user_id = any($2) or manager_id = any($2))"#,
        account_id,
        people as _,
        invited_since,
        now
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(row)
}

/// A figure about one day, one action, or one hour of the day.
pub(crate) struct Figure {
    pub(crate) day: Option<DateTime<Utc>>,
    pub(crate) action: Option<String>,
    pub(crate) hour: Option<i32>,
    pub(crate) count: i64,
}

/// What happened since `since`, by day, by action and by hour of the day, in one pass over the log.
pub(crate) async fn activity(
    tx: &mut Tx,
    account_id: Uuid,
    people: People<'_>,
    since: DateTime<Utc>,
) -> Result<Vec<Figure>> {
    let rows = sqlx::query_as!(
        Figure,
        r#"select day, action as "action?", hour, sum(count)::bigint as "count!"
           from (select date_trunc('day', at, 'UTC') as day, action,
                        extract(hour from at at time zone 'UTC')::integer as hour, count
                 from (select date_trunc('hour', occurred_at, 'UTC') as at, action, count(*) as count
                       from tenancy.activity_logs
                       where account_id = $1 and occurred_at >= $3 and ($2::uuid[] is null or actor_id = any($2))
                       group by 1, 2) by_hour) happened
           group by grouping sets ((day), (action), (hour))"#,
        account_id,
        people as _,
        since
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows)
}
