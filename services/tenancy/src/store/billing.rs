//! Subscriptions and the events that they come from.

use baton_errors::{Error, Result};
use baton_store::{Db, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    account::SubscriptionTier,
    billing::{Outcome, Status, StripeEvent, Subscription},
};

/// Whose a subscription is. Of all tenants: Stripe's events may name no account.
pub(crate) async fn account_of(db: &Db, subscription_id: &str) -> Result<Option<Uuid>> {
    let account_id = sqlx::query_scalar!("select account_id from tenancy.subscriptions where id = $1", subscription_id)
        .fetch_optional(db.system())
        .await?;
    Ok(account_id)
}

/// The account that a customer of Stripe's pays for; `None` also when there are several. Of all tenants.
pub(crate) async fn account_of_customer(db: &Db, customer_id: &str) -> Result<Option<Uuid>> {
    let accounts = sqlx::query_scalar!(
        "select distinct account_id from tenancy.subscriptions where customer_id = $1 limit 2",
        customer_id
    )
    .fetch_all(db.system())
    .await?;
    Ok(if let [account_id] = accounts[..] { Some(account_id) } else { None })
}

/// Notes that an event is taken in by this transaction; `false` when one has before.
pub(crate) async fn note(tx: &mut Tx, event: &StripeEvent, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "insert into tenancy.stripe_events (id, type, created_at, received_at) values ($1, $2, $3, $4)
         on conflict do nothing",
        event.id,
        event.kind,
        event.made_at,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
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
        let unknown = || Error::internal("a subscription has a status or tier that is none");
        let status = row.status.map(|name| Status::from_name(&name).ok_or_else(unknown));
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

/// All subscriptions of an account. Whoever means to change one holds the account's lock.
pub(crate) async fn of_account(tx: &mut Tx, account_id: Uuid) -> Result<Vec<Subscription>> {
    let rows = sqlx::query_as!(
        Row,
        "select id, customer_id, status, price_id, tier, current_period_end, cancel_at_period_end, trial_ends_at,
                status_at, healthy_at, failing_since, failed_at
         from tenancy.subscriptions where account_id = $1 order by id",
        account_id
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Subscription::try_from).collect()
}

/// Stores a subscription, new or changed. `lapses_at` is when it wants another look.
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
        subscription.status.map(Status::name),
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
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Accounts with a subscription whose grace is over, the longest first, few at a time. Of all tenants.
pub(crate) async fn lapsed(db: &Db, now: DateTime<Utc>) -> Result<Vec<Uuid>> {
    let accounts = sqlx::query_scalar!(
        r#"select account_id as "account_id!" from tenancy.subscriptions where lapses_at <= $1
           group by account_id order by min(lapses_at) limit 100"#,
        now
    )
    .fetch_all(db.system())
    .await?;
    Ok(accounts)
}

/// Notes that an account's subscriptions whose grace is over have been looked at; answers when the first was.
pub(crate) async fn settle(tx: &mut Tx, account_id: Uuid, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    let lapsed = sqlx::query_scalar!(
        r#"update tenancy.subscriptions s set lapses_at = null
           from tenancy.subscriptions before
           where s.account_id = $1 and s.lapses_at <= $2 and before.id = s.id and before.account_id = $1
           returning before.lapses_at as "lapses_at!""#,
        account_id,
        now
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(lapsed.into_iter().min())
}

/// Sets what an account's subscriptions come to; answers whether the tier is another now.
pub(crate) async fn set_outcome(tx: &mut Tx, account_id: Uuid, outcome: Outcome, now: DateTime<Utc>) -> Result<bool> {
    let changed = sqlx::query_scalar!(
        r#"update tenancy.accounts a
           set subscription_tier = $2, trial_ends_at = $3, subscription_ends_at = $4, updated_at = $5,
               version = a.version + 1
           from tenancy.accounts before
           where a.id = $1 and before.id = a.id
             and (a.subscription_tier, a.trial_ends_at, a.subscription_ends_at) is distinct from ($2, $3, $4)
           returning before.subscription_tier <> $2 as "changed!""#,
        account_id,
        outcome.tier.name(),
        outcome.trial_ends_at,
        outcome.ends_at,
        now
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(changed.unwrap_or_default())
}

/// Forgets events that Stripe sends no more.
pub(crate) async fn forget(db: &Db, before: DateTime<Utc>) -> Result<()> {
    sqlx::query!("delete from tenancy.stripe_events where received_at < $1", before).execute(db.system()).await?;
    Ok(())
}
