//! Accounts.

use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_store::{Db, ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::account::{Account, AccountStatus, Branding, SubscriptionTier};

/// An account as it is stored.
struct Row {
    id: Uuid,
    name: String,
    slug: String,
    brand_primary_color: Option<String>,
    brand_accent_color: Option<String>,
    brand_logo_url: Option<String>,
    subscription_tier: String,
    status: String,
    suspended_at: Option<DateTime<Utc>>,
    deletes_at: Option<DateTime<Utc>>,
    trial_ends_at: Option<DateTime<Utc>>,
    subscription_ends_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

impl TryFrom<Row> for Account {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unknown = || Error::internal("an account has an unknown tier or status");
        Ok(Self {
            id: row.id,
            name: row.name,
            slug: row.slug,
            branding: Branding {
                primary_color: row.brand_primary_color,
                accent_color: row.brand_accent_color,
                logo_url: row.brand_logo_url,
            },
            subscription_tier: SubscriptionTier::from_name(&row.subscription_tier).ok_or_else(unknown)?,
            status: AccountStatus::from_name(&row.status).ok_or_else(unknown)?,
            suspended_at: row.suspended_at,
            deletes_at: row.deletes_at,
            trial_ends_at: row.trial_ends_at,
            subscription_ends_at: row.subscription_ends_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

/// Inserts an account; `false` when its slug is taken.
pub(crate) async fn create(tx: &mut Tx, account: &Account) -> Result<bool> {
    let done = sqlx::query!(
        "insert into tenancy.accounts (id, name, slug, subscription_tier, status, created_at, updated_at, version)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict on constraint accounts_slug_unique do nothing",
        account.id,
        account.name,
        account.slug,
        account.subscription_tier.name(),
        account.status.name(),
        account.created_at,
        account.updated_at,
        account.version,
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Loads an account.
pub(crate) async fn get(tx: &mut ReadTx, account_id: Uuid) -> Result<Option<Account>> {
    let row = sqlx::query_as!(
        Row,
        "select id, name, slug, brand_primary_color, brand_accent_color, brand_logo_url, subscription_tier, status,
                suspended_at, deletes_at, trial_ends_at, subscription_ends_at, created_at, updated_at, version
         from tenancy.accounts where id = $1",
        account_id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Account::try_from).transpose()
}

/// Loads an account and takes the hierarchy lock ([`lock_hierarchy`]).
pub(crate) async fn lock(tx: &mut Tx, account_id: Uuid) -> Result<Option<Account>> {
    let row = sqlx::query_as!(
        Row,
        "select id, name, slug, brand_primary_color, brand_accent_color, brand_logo_url, subscription_tier, status,
                suspended_at, deletes_at, trial_ends_at, subscription_ends_at, created_at, updated_at, version
         from tenancy.accounts where id = $1 for no key update",
        account_id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Account::try_from).transpose()
}

/// Saves the fields that users change as the next version, and sets `account.version`. Fields of billing (tier, dates)
/// stay unchanged.
///
/// # Errors
/// SLUG_TAKEN.
pub(crate) async fn save(tx: &mut Tx, account: &mut Account) -> Result<()> {
    account.version = sqlx::query_scalar!(
        "update tenancy.accounts
         set name = $2, slug = $3, brand_primary_color = $4, brand_accent_color = $5, brand_logo_url = $6, status = $7,
             suspended_at = $8, deletes_at = $9, updated_at = $10, version = version + 1
         where id = $1 returning version",
        account.id,
        account.name,
        account.slug,
        account.branding.primary_color,
        account.branding.accent_color,
        account.branding.logo_url,
        account.status.name(),
        account.suspended_at,
        account.deletes_at,
        account.updated_at,
    )
    .fetch_one(tx.connection())
    .await
    .map_err(|error| match violated_constraint(&error) {
        Some("accounts_slug_unique") => Reason::SlugTaken.into(),
        _ => Error::from(error),
    })?;
    Ok(())
}

/// Deletes an account and its memberships; `false` when no deletion is due.
pub(crate) async fn delete(tx: &mut Tx, account_id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!("delete from tenancy.accounts where id = $1 and deletes_at <= $2", account_id, now)
        .execute(tx.connection())
        .await?;
    Ok(done.rows_affected() == 1)
}

/// At most 100 accounts whose deletion is due, oldest first, of all tenants.
pub(crate) async fn list_due_for_deletion(db: &Db, now: DateTime<Utc>) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        "select id from tenancy.accounts where deletes_at <= $1 order by deletes_at limit 100",
        now
    )
    .fetch_all(db.system())
    .await?;
    Ok(ids)
}

/// Takes the hierarchy lock: until the transaction ends, no other changes roles and managers or takes seats.
pub(crate) async fn lock_hierarchy(tx: &mut Tx, account_id: Uuid) -> Result<()> {
    sqlx::query_scalar!("select id from tenancy.accounts where id = $1 for no key update", account_id)
        .fetch_optional(tx.connection())
        .await?;
    Ok(())
}

/// An account with the caller's membership, which is the sort key of the list.
pub(crate) struct JoinedAccount {
    pub(crate) account: Account,
    pub(crate) joined_at: DateTime<Utc>,
    pub(crate) membership_id: Uuid,
}

/// Accounts of a user in the order of joining, after the key `after`.
pub(crate) async fn list_of_user(
    tx: &mut ReadTx,
    user_id: Uuid,
    after: (DateTime<Utc>, Uuid),
    limit: i64,
    offset: i64,
) -> Result<Vec<JoinedAccount>> {
    let rows = sqlx::query!(
        r#"select a.id, a.name, a.slug, a.brand_primary_color, a.brand_accent_color, a.brand_logo_url,
                  a.subscription_tier, a.status, a.suspended_at, a.deletes_at, a.trial_ends_at,
                  a.subscription_ends_at, a.created_at, a.updated_at, a.version,
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
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter()
        .map(|row| {
            let account = Row {
                id: row.id,
                name: row.name,
                slug: row.slug,
                brand_primary_color: row.brand_primary_color,
                brand_accent_color: row.brand_accent_color,
                brand_logo_url: row.brand_logo_url,
                subscription_tier: row.subscription_tier,
                status: row.status,
                suspended_at: row.suspended_at,
                deletes_at: row.deletes_at,
                trial_ends_at: row.trial_ends_at,
                subscription_ends_at: row.subscription_ends_at,
                created_at: row.created_at,
                updated_at: row.updated_at,
                version: row.version,
            };
            Ok(JoinedAccount {
                account: account.try_into()?,
                joined_at: row.joined_at,
                membership_id: row.membership_id,
            })
        })
        .collect()
}

/// Number of accounts of a user.
pub(crate) async fn count_of_user(tx: &mut ReadTx, user_id: Uuid) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from tenancy.memberships where user_id = $1 and status = 'active'"#,
        user_id
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(count)
}

/// Counts the free accounts that a user owns, including suspended ones and those scheduled for deletion. Takes an
/// advisory lock, so that the user's accounts are counted and created one at a time.
pub(crate) async fn lock_and_count_free(tx: &mut Tx, user_id: Uuid) -> Result<i64> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('tenancy.accounts:' || $1, 0))", user_id.to_string())
        .execute(tx.connection())
        .await?;
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from tenancy.memberships m join tenancy.accounts a on a.id = m.account_id
           where m.user_id = $1 and m.status = 'active' and m.role = 'owner' and a.subscription_tier = 'free'"#,
        user_id
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(count)
}
