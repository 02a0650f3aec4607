//! Counts for account analytics, from memberships and the activity log.

use baton_errors::Result;
use baton_store::ReadTx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The users that are counted: all, or these users and invitees who will report to them.
pub(crate) type UserScope<'a> = Option<&'a [Uuid]>;

/// Number of members with a role and a status.
pub(crate) struct MemberGroup {
    pub(crate) role: String,
    pub(crate) status: String,
    pub(crate) count: i64,
}

/// Counts active members, and open invitations sent after `invited_since`.
pub(crate) async fn count_members(
    tx: &mut ReadTx,
    account_id: Uuid,
    users: UserScope<'_>,
    invited_since: DateTime<Utc>,
) -> Result<Vec<MemberGroup>> {
    let rows = sqlx::query_as!(
        MemberGroup,
        r#"select role, status, count(*) as "count!" from tenancy.memberships
           where account_id = $1 and (status = 'active' or (status = 'invited' and invited_at > $3))
             and ($2::uuid[] is null or user_id = any($2) or manager_id = any($2))
           group by role, status"#,
        account_id,
        users as _,
        invited_since
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}

/// Members who joined and left in a week.
pub(crate) struct WeekCounts {
    pub(crate) starts_at: DateTime<Utc>,
    pub(crate) joined: i64,
    pub(crate) left: i64,
}

/// Counts joins and leaves per week since `since`; omits weeks without any.
pub(crate) async fn count_member_weeks(
    tx: &mut ReadTx,
    account_id: Uuid,
    users: UserScope<'_>,
    since: DateTime<Utc>,
) -> Result<Vec<WeekCounts>> {
    let rows = sqlx::query_as!(
        WeekCounts,
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
        users as _,
        since
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}

/// Number of invitations per outcome.
pub(crate) struct InvitationOutcomes {
    pub(crate) open: i64,
    pub(crate) accepted: i64,
    pub(crate) expired: i64,
}

/// Counts invitations per outcome. Expired are those sent before `invited_since`, and those that ended at the age of
/// `now - invited_since` or more.
pub(crate) async fn count_invitations(
    tx: &mut ReadTx,
    account_id: Uuid,
    users: UserScope<'_>,
    invited_since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<InvitationOutcomes> {
    let row = sqlx::query_as!(
        InvitationOutcomes,
        r#"select count(*) filter (where status = 'invited' and invited_at > $3) as "open!",
                  count(*) filter (where joined_at is not null) as "accepted!",
                  count(*) filter (where joined_at is null and coalesce(left_at, $4) - invited_at >= $4 - $3) as "expired!"
           from tenancy.memberships
           where account_id = $1 and invited_by is not null
             and ($2::uuid[] is null or user_id = any($2) or manager_id = any($2))"#,
        account_id,
        users as _,
        invited_since,
        now
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(row)
}

/// Number of events of one day, one action, or one hour of the day.
pub(crate) struct ActivityCount {
    pub(crate) day: Option<DateTime<Utc>>,
    pub(crate) action: Option<String>,
    pub(crate) hour: Option<i32>,
    pub(crate) count: i64,
}

/// Counts events since `since` per day, per action and per hour of the day, in one pass over the log.
pub(crate) async fn count_activity(
    tx: &mut ReadTx,
    account_id: Uuid,
    users: UserScope<'_>,
    since: DateTime<Utc>,
) -> Result<Vec<ActivityCount>> {
    let rows = sqlx::query_as!(
        ActivityCount,
        r#"select day, action as "action?", hour, sum(count)::bigint as "count!"
           from (select date_trunc('day', at, 'UTC') as day, action,
                        extract(hour from at at time zone 'UTC')::integer as hour, count
                 from (select date_trunc('hour', occurred_at, 'UTC') as at, action, count(*) as count
                       from tenancy.activity_logs
                       where account_id = $1 and occurred_at >= $3 and ($2::uuid[] is null or actor_id = any($2))
                       group by 1, 2) by_hour) happened
           group by grouping sets ((day), (action), (hour))"#,
        account_id,
        users as _,
        since
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows)
}
