//! Delegations.

use baton_access::DelegationSource;
use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::delegation::StoredDelegation;

/// Inserts a grant. Returns `false` when the user has `limit` grants. `store::session::lock_open` has locked the user, so
/// concurrent calls do not exceed the limit.
pub(crate) async fn insert(tx: &mut Tx, grant: &StoredDelegation, limit: i64) -> Result<bool> {
    let added = sqlx::query!(
        "insert into auth.delegations (id, user_id, service, bound_account_id, scopes, purpose, amr, created_at)
         select $1, $2, $3, $4, $5, $6, $7, $8
         where (select count(*) from auth.delegations where user_id = $2) < $9",
        grant.id,
        grant.user_id,
        grant.service,
        grant.bound_account_id,
        &grant.scopes,
        grant.purpose,
        &grant.amr,
        grant.created_at,
        limit
    )
    .execute(tx.connection())
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Lists a user's grants, newest first.
pub(crate) async fn list(tx: &mut ReadTx, user_id: Uuid) -> Result<Vec<StoredDelegation>> {
    let grants = sqlx::query_as!(
        StoredDelegation,
        "select id, user_id, service, bound_account_id, scopes, purpose, amr, created_at, last_used_at
         from auth.delegations where user_id = $1 order by created_at desc, id desc",
        user_id
    );
    Ok(grants.fetch_all(tx.connection()).await?)
}

/// Finds a service's grant whose user is confirmed and active.
pub(crate) async fn find_usable(tx: &mut ReadTx, id: Uuid, service: &str) -> Result<Option<StoredDelegation>> {
    let grant = sqlx::query_as!(
        StoredDelegation,
        "select d.id, d.user_id, d.service, d.bound_account_id, d.scopes, d.purpose, d.amr, d.created_at, d.last_used_at
         from auth.delegations d join auth.users u on u.id = d.user_id
         where d.id = $1 and d.service = $2 and u.email_verified_at is not null and u.deactivated_at is null",
        id,
        service
    );
    Ok(grant.fetch_optional(tx.connection()).await?)
}

/// Records a use, unless one was recorded after `since`.
pub(crate) async fn record_use(tx: &mut Tx, id: Uuid, now: DateTime<Utc>, since: DateTime<Utc>) -> Result<()> {
    let update = sqlx::query!(
        "update auth.delegations set last_used_at = $2 where id = $1 and (last_used_at is null or last_used_at <= $3)",
        id,
        now,
        since
    );
    update.execute(tx.connection()).await?;
    Ok(())
}

/// Deletes and returns one grant of a user.
pub(crate) async fn delete(tx: &mut Tx, id: Uuid, user_id: Uuid) -> Result<Option<StoredDelegation>> {
    let deleted = sqlx::query_as!(
        StoredDelegation,
        "delete from auth.delegations where id = $1 and user_id = $2
         returning id, user_id, service, bound_account_id, scopes, purpose, amr, created_at, last_used_at",
        id,
        user_id
    );
    Ok(deleted.fetch_optional(tx.connection()).await?)
}

/// Deletes and returns all grants of a user.
pub(crate) async fn delete_all(tx: &mut Tx, user_id: Uuid) -> Result<Vec<StoredDelegation>> {
    let deleted = sqlx::query_as!(
        StoredDelegation,
        "delete from auth.delegations where user_id = $1
         returning id, user_id, service, bound_account_id, scopes, purpose, amr, created_at, last_used_at",
        user_id
    );
    Ok(deleted.fetch_all(tx.connection()).await?)
}

/// Deletes and returns those of these grants that the service has.
pub(crate) async fn release(tx: &mut Tx, ids: &[Uuid], service: &str) -> Result<Vec<StoredDelegation>> {
    let deleted = sqlx::query_as!(
        StoredDelegation,
        "delete from auth.delegations where id = any($1) and service = $2
         returning id, user_id, service, bound_account_id, scopes, purpose, amr, created_at, last_used_at",
        ids,
        service
    );
    Ok(deleted.fetch_all(tx.connection()).await?)
}

/// The authentication methods behind a delegated token; `None` when its session, API key or grant has ended.
pub(crate) async fn authentication_methods(
    tx: &mut ReadTx,
    user_id: Uuid,
    source: DelegationSource,
    now: DateTime<Utc>,
) -> Result<Option<Vec<String>>> {
    let amr = match source {
        DelegationSource::Session(id) => {
            sqlx::query_scalar!(
                "select amr from auth.sessions
                 where id = $1 and user_id = $2 and closed_at is null and expires_at > $3",
                id,
                user_id,
                now
            )
            .fetch_optional(tx.connection())
            .await?
        }
        DelegationSource::ApiKey(id) => {
            sqlx::query_scalar!(
                "select k.amr from auth.api_keys k join auth.users u on u.id = k.user_id
                 where k.id = $1 and k.user_id = $2 and (k.expires_at is null or k.expires_at > $3)
                   and u.email_verified_at is not null and u.deactivated_at is null",
                id,
                user_id,
                now
            )
            .fetch_optional(tx.connection())
            .await?
        }
        DelegationSource::Grant(id) => {
            sqlx::query_scalar!(
                "select d.amr from auth.delegations d join auth.users u on u.id = d.user_id
                 where d.id = $1 and d.user_id = $2 and u.email_verified_at is not null and u.deactivated_at is null",
                id,
                user_id
            )
            .fetch_optional(tx.connection())
            .await?
        }
    };
    Ok(amr)
}
