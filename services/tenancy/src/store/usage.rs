//! Usage of quotas, and warnings that were sent.

use baton_access::Limits;
use baton_errors::{Error, Result};
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    account::SubscriptionTier,
    tier::{Plan, Quota},
};

/// A plan as it is stored.
struct Row {
    subscription_tier: String,
    max_users: Option<i32>,
    max_open_tasks_per_user: Option<i32>,
    max_storage_mebibytes: Option<i32>,
    max_ai_tokens_per_month: Option<i32>,
    max_api_requests_per_hour: Option<i32>,
    max_automations: Option<i32>,
    max_automation_executions_per_hour: Option<i32>,
}

impl TryFrom<Row> for Plan {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let tier = SubscriptionTier::from_name(&row.subscription_tier);
        Ok(Self {
            tier: tier.ok_or_else(|| Error::internal("an account has an unknown tier"))?,
            overrides: Limits {
                users: row.max_users,
                open_tasks_per_user: row.max_open_tasks_per_user,
                storage_mebibytes: row.max_storage_mebibytes,
                ai_tokens_per_month: row.max_ai_tokens_per_month,
                api_requests_per_hour: row.max_api_requests_per_hour,
                automations: row.max_automations,
                automation_executions_per_hour: row.max_automation_executions_per_hour,
            },
        })
    }
}

/// Loads an account's plan.
pub(crate) async fn get_plan(tx: &mut ReadTx, account_id: Uuid) -> Result<Option<Plan>> {
    let row = sqlx::query_as!(
        Row,
        "select subscription_tier, max_users, max_open_tasks_per_user, max_storage_mebibytes, max_ai_tokens_per_month,
                max_api_requests_per_hour, max_automations, max_automation_executions_per_hour
         from tenancy.accounts where id = $1",
        account_id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Plan::try_from).transpose()
}

/// Number of taken seats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seats {
    /// Seats of active members.
    pub(crate) members: i64,
    /// Seats of active members and of open invitations.
    pub(crate) taken: i64,
}

/// Counts taken seats. Open invitations are those sent after `open_since`. To take a seat, the caller must hold the
/// hierarchy lock.
pub(crate) async fn count_seats(tx: &mut ReadTx, account_id: Uuid, open_since: DateTime<Utc>) -> Result<Seats> {
    let seats = sqlx::query_as!(
        Seats,
        r#"select count(*) filter (where status = 'active') as "members!", count(*) as "taken!"
           from tenancy.memberships
           where account_id = $1 and (status = 'active' or status = 'invited' and invited_at > $2)"#,
        account_id,
        open_since
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(seats)
}

/// Saves the usage of a quota; `false` when the account no longer exists.
pub(crate) async fn save(tx: &mut Tx, quota: Quota, user_id: Uuid, used: i32, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "insert into tenancy.usage (account_id, quota, user_id, used, changed_at)
         select id, $2, $3, $4, $5 from tenancy.accounts where id = $1
         on conflict (account_id, quota, user_id) do update set used = excluded.used, changed_at = excluded.changed_at",
        tx.tenant().account_id,
        quota.name(),
        user_id,
        used,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The highest usage of a quota.
pub(crate) struct PeakUsage {
    pub(crate) quota: String,
    pub(crate) used: i32,
    pub(crate) changed_at: DateTime<Utc>,
}

/// Loads the highest usage of each reported quota, over all users.
pub(crate) async fn peak_usage(tx: &mut ReadTx, account_id: Uuid) -> Result<Vec<PeakUsage>> {
    let reported: Vec<_> =
        Quota::ALL.into_iter().filter(|quota| quota.is_reported()).map(|quota| quota.name().to_owned()).collect();
    let peaks = sqlx::query_as!(
        PeakUsage,
        r#"select u.quota as "quota!", u.used as "used!", u.changed_at as "changed_at!"
           from unnest($2::text[]) as reported (quota)
           cross join lateral (
               select quota, used, changed_at from tenancy.usage
               where account_id = $1 and quota = reported.quota order by used desc limit 1
           ) u"#,
        account_id,
        &reported
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(peaks)
}

/// Records the warning thresholds (80 and 100 percent) that usage has reached, and resets those that it has fallen well
/// below. Returns the newly reached ones: a unique index ensures one warning per threshold.
pub(crate) async fn record_thresholds(
    tx: &mut Tx,
    quota: Quota,
    user_id: Uuid,
    percent: i32,
    now: DateTime<Utc>,
) -> Result<Vec<i32>> {
    let account_id = tx.tenant().account_id;
    // Hysteresis: usage that oscillates around a threshold causes one warning.
    const RESET_MARGIN: i32 = 10;
    sqlx::query!(
        "delete from tenancy.usage_warnings where account_id = $1 and quota = $2 and user_id = $3 and percent > $4::integer",
        account_id,
        quota.name(),
        user_id,
        percent.saturating_add(RESET_MARGIN)
    )
    .execute(tx.connection())
    .await?;
    let reached = sqlx::query_scalar!(
        r#"insert into tenancy.usage_warnings (account_id, quota, user_id, percent, warned_at)
           select $1, $2, $3, threshold, $5 from unnest(array[80, 100]::smallint[]) as threshold where threshold <= $4::integer
           on conflict on constraint usage_warnings_once do nothing returning percent::integer as "percent!""#,
        account_id,
        quota.name(),
        user_id,
        percent,
        now
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(reached)
}

/// User ids of the account's active owners.
pub(crate) async fn list_owners(tx: &mut ReadTx, account_id: Uuid) -> Result<Vec<Uuid>> {
    let owners = sqlx::query_scalar!(
        r#"select user_id as "user_id!" from tenancy.memberships
           where account_id = $1 and status = 'active' and role = 'owner' order by joined_at, id"#,
        account_id
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(owners)
}
