//! Invitations: memberships that are not yet accepted.

use std::collections::HashMap;

use baton_access::Role;
use baton_errors::Result;
use baton_store::{Db, ReadTx, Tx, subject_data::Subject};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::member::Row;
use crate::member::{Member, email_key};

/// Inserts invitations. Skips taken addresses, and returns the inserted ids.
pub(crate) async fn add_all(tx: &mut Tx, invited: &[Member]) -> Result<Vec<Uuid>> {
    let Some(first) = invited.first() else { return Ok(Vec::new()) };
    let ids: Vec<Uuid> = invited.iter().map(|member| member.id).collect();
    let emails: Vec<String> = invited.iter().map(|member| member.email.clone()).collect();
    let keys: Vec<String> = invited.iter().map(|member| email_key(&member.email)).collect();
    let roles: Vec<String> = invited.iter().map(|member| member.role.name().to_owned()).collect();
    let managers: Vec<Option<Uuid>> = invited.iter().map(|member| member.manager_id).collect();
    let added = sqlx::query_scalar!(
        "insert into tenancy.memberships
             (id, account_id, email, email_key, role, status, manager_id, invited_by, invited_at)
         select id, $1, email, email_key, role, 'invited', manager_id, $2, $3
         from unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::uuid[])
              as invited (id, email, email_key, role, manager_id)
         on conflict (account_id, email_key) where status in ('invited', 'active') do nothing
         returning id",
        first.account_id,
        first.invited_by,
        first.invited_at,
        &ids,
        &emails,
        &keys,
        &roles,
        &managers as &[Option<Uuid>],
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(added)
}

/// Addresses that were sent an invitation after `since` that has ended without acceptance. Returns the last sending
/// time by `email_key`. Accepted invitations do not count: their recipients wanted them.
pub(crate) async fn list_recently_mailed(
    tx: &mut ReadTx,
    account_id: Uuid,
    emails: &[String],
    since: DateTime<Utc>,
) -> Result<HashMap<String, DateTime<Utc>>> {
    let keys: Vec<String> = emails.iter().map(|email| email_key(email)).collect();
    let rows = sqlx::query!(
        r#"select email_key, max(invited_at) as "mailed_at!" from tenancy.memberships
           where account_id = $1 and email_key = any($2) and invited_at > $3
             and status = 'removed' and joined_at is null
           group by email_key"#,
        account_id,
        &keys,
        since
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.email_key, row.mailed_at)).collect())
}

/// Ends open invitations to these addresses that were sent at or before `before`. Returns them.
pub(crate) async fn end_for_emails(
    tx: &mut Tx,
    account_id: Uuid,
    emails: &[String],
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Member>> {
    let keys: Vec<String> = emails.iter().map(|email| email_key(email)).collect();
    let rows = sqlx::query_as!(
        Row,
        "update tenancy.memberships set status = 'removed', left_at = $4, version = version + 1
         where account_id = $1 and email_key = any($2) and status = 'invited' and invited_at <= $3
         returning id, account_id, user_id, email, role, status, manager_id, can_reassign_tasks, invited_by,
                   invited_at, joined_at, left_at, handle, version",
        account_id,
        &keys,
        before,
        now
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Member::try_from).collect()
}

/// Ends all open invitations of the account that were sent at or before `before`. Returns them.
pub(crate) async fn end_expired(
    tx: &mut Tx,
    account_id: Uuid,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Member>> {
    let rows = sqlx::query_as!(
        Row,
        "update tenancy.memberships set status = 'removed', left_at = $3, version = version + 1
         where account_id = $1 and status = 'invited' and invited_at <= $2
         returning id, account_id, user_id, email, role, status, manager_id, can_reassign_tasks, invited_by,
                   invited_at, joined_at, left_at, handle, version",
        account_id,
        before,
        now
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Member::try_from).collect()
}

/// Ends the open invitations of an inviter into roles other than `roles`. Returns them.
pub(crate) async fn end_by_inviter(
    tx: &mut Tx,
    account_id: Uuid,
    inviter: Uuid,
    roles: &[Role],
    now: DateTime<Utc>,
) -> Result<Vec<Member>> {
    let roles: Vec<String> = roles.iter().map(|role| role.name().to_owned()).collect();
    let rows = sqlx::query_as!(
        Row,
        "update tenancy.memberships set status = 'removed', left_at = $4, version = version + 1
         where account_id = $1 and invited_by = $2 and status = 'invited' and not role = any($3)
         returning id, account_id, user_id, email, role, status, manager_id, can_reassign_tasks, invited_by,
                   invited_at, joined_at, left_at, handle, version",
        account_id,
        inviter,
        &roles,
        now
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Member::try_from).collect()
}

/// At most 100 accounts with open invitations that were sent at or before `before`, of all tenants.
pub(crate) async fn list_accounts_with_expired(db: &Db, before: DateTime<Utc>) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        "select distinct account_id from tenancy.memberships where status = 'invited' and invited_at <= $1 limit 100",
        before
    )
    .fetch_all(db.system())
    .await?;
    Ok(ids)
}

/// Records that `inviter` resends an invitation, as its next version, and updates `member`.
pub(crate) async fn resend(tx: &mut Tx, member: &mut Member, inviter: Uuid, now: DateTime<Utc>) -> Result<()> {
    member.version = sqlx::query_scalar!(
        "update tenancy.memberships set invited_at = $3, invited_by = $4, version = version + 1
         where account_id = $1 and id = $2 returning version",
        member.account_id,
        member.id,
        now,
        inviter
    )
    .fetch_one(tx.connection())
    .await?;
    (member.invited_at, member.invited_by) = (now, Some(inviter));
    Ok(())
}

/// Deletes the invitations, of all accounts, to the addresses that a person's memberships have.
pub(crate) async fn delete_to_person(db: &Db, subject: Subject) -> Result<()> {
    sqlx::query!(
        "delete from tenancy.memberships where user_id is null and ($2::uuid is null or account_id = $2) and email_key in (
             select email_key from tenancy.memberships where user_id = $1 and email_key is not null)",
        subject.user_id,
        subject.account_id,
    )
    .execute(db.system())
    .await?;
    Ok(())
}
