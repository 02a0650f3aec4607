//! Subscriptions and processed Stripe events.

use baton_errors::{Error, Result};
use baton_store::{Db, ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    account::SubscriptionTier,
    billing::{Entitlement, StripeEvent, Subscription, SubscriptionStatus},
};

/// The account of a subscription, among all tenants: Stripe's events may name no account.
pub(crate) async fn find_account(db: &Db, subscription_id: &str) -> Result<Option<Uuid>> {
    let account_id = sqlx::query_scalar!("select account_id from tenancy.subscriptions where id = $1", subscription_id)
        .fetch_optional(db.system())
        .await?;
    Ok(account_id)
}

/// The account that a Stripe customer pays for, among all tenants; `None` when there are none or several.
pub(crate) async fn find_account_of_customer(db: &Db, customer_id: &str) -> Result<Option<Uuid>> {
    let accounts = sqlx::query_scalar!(
        "select distinct account_id from tenancy.subscriptions where customer_id = $1 limit 2",
        customer_id
    )
    .fetch_all(db.system())
    .await?;
    Ok(if let [account_id] = accounts[..] { Some(account_id) } else { None })
}

/// Records that this transaction processes an event; `false` when it was processed before.
pub(crate) async fn record_event(tx: &mut Tx, event: &StripeEvent, now: DateTime<Utc>) -> Result<bool> {
    let inserted = sqlx::query!(
        "insert into tenancy.stripe_events (id, type, created_at, received_at) values ($1, $2, $3, $4)
         on conflict do nothing",
        event.id,
        event.kind,
        event.created_at,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// A subscription as it is stored.
struct Row {
    id: String,
    customer_id: String,
    status: Option<String>,
    price_id: Option<String>,
    tier: String,
    current_period_end: Option<DateTime<Utc>>,
    cancel_at_period_end: bool,
    trial_ends_at: Option<DateTime<Utc>>,
    status_at: Option<DateTime<Utc>>,
    healthy_at: Option<DateTime<Utc>>,
    failing_since: Option<DateTime<Utc>>,
    failed_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Subscription {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unknown = || Error::internal("a subscription has an unknown status or tier");
        let status = row.status.map(|name| SubscriptionStatus::from_name(&name).ok_or_else(unknown));
        Ok(Self {
            id: row.id,
            customer_id: row.customer_id,
            status: status.transpose()?,
            price_id: row.price_id,
            tier: SubscriptionTier::from_name(&row.tier).ok_or_else(unknown)?,
            current_period_end: row.current_period_end,
            cancel_at_period_end: row.cancel_at_period_end,
            trial_ends_at: row.trial_ends_at,
            status_at: row.status_at,
            healthy_at: row.healthy_at,
            failing_since: row.failing_since,
            failed_at: row.failed_at,
        })
    }
}

/// All subscriptions of an account. To change one, the caller must hold the hierarchy lock.
pub(crate) async fn list_of_account(tx: &mut ReadTx, account_id: Uuid) -> Result<Vec<Subscription>> {
    let rows = sqlx::query_as!(
        Row,
        "select id, customer_id, status, price_id, tier, current_period_end, cancel_at_period_end, trial_ends_at,
                status_at, healthy_at, failing_since, failed_at
         from tenancy.subscriptions where account_id = $1 order by id",
        account_id
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Subscription::try_from).collect()
}

/// Inserts or updates a subscription. `lapses_at` is when its grace period ends.
pub(crate) async fn save(
    tx: &mut Tx,
    account_id: Uuid,
    subscription: &Subscription,
    lapses_at: Option<DateTime<Utc>>,
) -> Result<()> {
    sqlx::query!(
        "insert into tenancy.subscriptions
             (id, account_id, customer_id, status, price_id, tier, current_period_end, cancel_at_period_end,
              trial_ends_at, status_at, healthy_at, failing_since, failed_at, lapses_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         on conflict (id) do update set
             status = excluded.status, price_id = excluded.price_id, tier = excluded.tier,
             current_period_end = excluded.current_period_end, cancel_at_period_end = excluded.cancel_at_period_end,
             trial_ends_at = excluded.trial_ends_at, status_at = excluded.status_at, healthy_at = excluded.healthy_at,
             failing_since = excluded.failing_since, failed_at = excluded.failed_at, lapses_at = excluded.lapses_at",
        subscription.id,
        account_id,
        subscription.customer_id,
        subscription.status.map(SubscriptionStatus::name),
        subscription.price_id,
        subscription.tier.name(),
        subscription.current_period_end,
        subscription.cancel_at_period_end,
        subscription.trial_ends_at,
        subscription.status_at,
        subscription.healthy_at,
        subscription.failing_since,
        subscription.failed_at,
        lapses_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// At most 100 accounts with a subscription whose grace period has ended, oldest first, of all tenants.
pub(crate) async fn list_lapsed_accounts(db: &Db, now: DateTime<Utc>) -> Result<Vec<Uuid>> {
    let accounts = sqlx::query_scalar!(
        r#"select account_id as "account_id!" from tenancy.subscriptions where lapses_at <= $1
           group by account_id order by min(lapses_at) limit 100"#,
        now
    )
    .fetch_all(db.system())
    .await?;
    Ok(accounts)
}

/// Clears `lapses_at` of an account's subscriptions whose grace period has ended. Returns the earliest of the cleared
/// times.
pub(crate) async fn clear_lapsed(tx: &mut Tx, account_id: Uuid, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    let lapsed = sqlx::query_scalar!(
        r#"update tenancy.subscriptions s set lapses_at = null
           from tenancy.subscriptions before
           where s.account_id = $1 and s.lapses_at <= $2 and before.id = s.id and before.account_id = $1
           returning before.lapses_at as "lapses_at!""#,
        account_id,
        now
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(lapsed.into_iter().min())
}

/// Saves an account's entitlement. Returns whether the tier changed.
pub(crate) async fn save_entitlement(
    tx: &mut Tx,
    account_id: Uuid,
    entitlement: Entitlement,
    now: DateTime<Utc>,
) -> Result<bool> {
    let changed = sqlx::query_scalar!(
        r#"update tenancy.accounts a
           set subscription_tier = $2, trial_ends_at = $3, subscription_ends_at = $4, updated_at = $5,
               version = a.version + 1
           from tenancy.accounts before
           where a.id = $1 and before.id = a.id
             and (a.subscription_tier, a.trial_ends_at, a.subscription_ends_at) is distinct from ($2, $3, $4)
           returning before.subscription_tier <> $2 as "changed!""#,
        account_id,
        entitlement.tier.name(),
        entitlement.trial_ends_at,
        entitlement.ends_at,
        now
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(changed.unwrap_or_default())
}
