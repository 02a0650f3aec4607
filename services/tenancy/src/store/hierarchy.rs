//! The hierarchy of an account, for the gateway.

use baton_access::Role;
use baton_errors::{Error, Result};
use baton_store::{Db, ReadTx};
use uuid::Uuid;

use super::member::parse_role;
use crate::account::AccountStatus;

/// What decides whether the members of an account may act.
pub(crate) struct HierarchyAccount {
    pub(crate) status: AccountStatus,
    pub(crate) require_second_factor: bool,
}

/// An active member.
pub(crate) struct HierarchyMember {
    pub(crate) user_id: Uuid,
    pub(crate) role: Role,
    pub(crate) manager_id: Option<Uuid>,
}

/// Loads the account; `None` when there is none.
pub(crate) async fn get_account(tx: &mut ReadTx, account_id: Uuid) -> Result<Option<HierarchyAccount>> {
    let row = sqlx::query!("select status, require_second_factor from tenancy.accounts where id = $1", account_id)
        .fetch_optional(tx.connection())
        .await?;
    row.map(|row| {
        let status = AccountStatus::from_name(&row.status);
        let status = status.ok_or_else(|| Error::internal("an account has an unknown status"))?;
        Ok(HierarchyAccount { status, require_second_factor: row.require_second_factor })
    })
    .transpose()
}

/// Loads the active members with a user id greater than `after`, by user id, at most `limit`.
pub(crate) async fn list(tx: &mut ReadTx, account_id: Uuid, after: Uuid, limit: i64) -> Result<Vec<HierarchyMember>> {
    let rows = sqlx::query!(
        r#"select user_id as "user_id!", role, manager_id from tenancy.memberships
           where account_id = $1 and status = 'active' and user_id > $2
           order by user_id limit $3"#,
        account_id,
        after,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(HierarchyMember { user_id: row.user_id, role: parse_role(&row.role)?, manager_id: row.manager_id })
        })
        .collect()
}

/// The highest tier and role of users, of all accounts that they belong to.
pub(crate) async fn standings(db: &Db, user_ids: &[Uuid]) -> Result<Vec<(Uuid, String, String)>> {
    let rows = sqlx::query!(
        r#"select distinct on (m.user_id) m.user_id as "user_id!", a.subscription_tier as tier, m.role
           from tenancy.memberships m join tenancy.accounts a on a.id = m.account_id
           where m.user_id = any($1) and m.status = 'active'
           order by m.user_id, array_position(array['enterprise', 'pro', 'free'], a.subscription_tier),
                    array_position(array['owner', 'super_manager', 'manager', 'user'], m.role)"#,
        user_ids,
    );
    let rows = rows.fetch_all(db.system()).await?;
    Ok(rows.into_iter().map(|row| (row.user_id, row.tier, row.role)).collect())
}
