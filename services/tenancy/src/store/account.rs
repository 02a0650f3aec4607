//! Accounts.

use baton_errors::{Error, Result};
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::account::{Account, AccountStatus, Settings, SubscriptionTier};

/// Stores a new account; `false` when another has its slug.
pub(crate) async fn create(tx: &mut Tx, account: &Account) -> Result<bool> {
    let done = sqlx::query!(
        "insert into tenancy.accounts (id, name, slug, subscription_tier, status, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict on constraint accounts_slug_unique do nothing",
        account.id,
        account.name,
        account.slug,
        account.subscription_tier.name(),
        account.status.name(),
        account.created_at,
        account.updated_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps roles and managers as they are until the transaction ends. Others may hold them too.
pub(crate) async fn hold_hierarchy(tx: &mut Tx, account_id: Uuid) -> Result<()> {
    sqlx::query_scalar!("select id from tenancy.accounts where id = $1 for share", account_id)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(())
}

/// Keeps others from changing or holding roles and managers until the transaction ends: what is read
/// after this stays true.
pub(crate) async fn lock_hierarchy(tx: &mut Tx, account_id: Uuid) -> Result<()> {
    sqlx::query_scalar!("select id from tenancy.accounts where id = $1 for no key update", account_id)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(())
}

/// The account's settings.
pub(crate) async fn settings(tx: &mut Tx, account_id: Uuid) -> Result<Option<Settings>> {
    let settings =
        sqlx::query_as!(Settings, "select managers_may_reassign from tenancy.accounts where id = $1", account_id)
            .fetch_optional(&mut **tx)
            .await?;
    Ok(settings)
}

/// The account's settings, locked: of several who merge a change at once, one goes first.
pub(crate) async fn lock_settings(tx: &mut Tx, account_id: Uuid) -> Result<Option<Settings>> {
    let settings = sqlx::query_as!(
        Settings,
        "select managers_may_reassign from tenancy.accounts where id = $1 for no key update",
        account_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(settings)
}

/// Stores settings.
pub(crate) async fn save_settings(tx: &mut Tx, account_id: Uuid, settings: Settings, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update tenancy.accounts set managers_may_reassign = $2, updated_at = $3 where id = $1",
        account_id,
        settings.managers_may_reassign,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// An account, and the caller's place in it, which the list is sorted by.
pub(crate) struct Joined {
    pub(crate) account: Account,
    pub(crate) joined_at: DateTime<Utc>,
    pub(crate) membership_id: Uuid,
}

/// The accounts that a person belongs to, in the order in which they joined, right after `after`.
pub(crate) async fn of_user(
    tx: &mut Tx,
    user_id: Uuid,
    after: (DateTime<Utc>, Uuid),
    limit: i64,
    offset: i64,
) -> Result<Vec<Joined>> {
    let rows = sqlx::query!(
        r#"select a.id, a.name, a.slug, a.subscription_tier, a.status, a.created_at, a.updated_at,
                  m.id as membership_id, m.joined_at as "joined_at!"
           from tenancy.memberships m join tenancy.accounts a on a.id = m.account_id
           where m.user_id = $1 and m.status = 'active' and (m.joined_at, m.id) > ($2, $3)
           order by m.joined_at, m.id limit $4 offset $5"#,
        user_id,
        after.0,
        after.1,
        limit,
        offset
    )
    .fetch_all(&mut **tx)
    .await?;
    let unknown = || Error::internal("an account has a tier or status that is none");
    rows.into_iter()
        .map(|row| {
            let account = Account {
                id: row.id,
                name: row.name,
                slug: row.slug,
                subscription_tier: SubscriptionTier::from_name(&row.subscription_tier).ok_or_else(unknown)?,
                status: AccountStatus::from_name(&row.status).ok_or_else(unknown)?,
                created_at: row.created_at,
                updated_at: row.updated_at,
            };
            Ok(Joined { account, joined_at: row.joined_at, membership_id: row.membership_id })
        })
        .collect()
}

/// How many accounts a person belongs to.
pub(crate) async fn count_of_user(tx: &mut Tx, user_id: Uuid) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from tenancy.memberships where user_id = $1 and status = 'active'"#,
        user_id
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(count)
}
