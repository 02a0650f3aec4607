//! Members to whom a member may assign tasks.

use baton_access::{
    Membership, Role,
    relation_policy::{self, Relation},
};
use baton_errors::Result;
use baton_store::ReadTx;
use uuid::Uuid;

use crate::member::Assignee;

/// Maximal number of assignees in a response.
const MAX_ASSIGNEES: i64 = 1_000;

/// Active members to whom this member may assign tasks by [`relation_policy::TASKS`], without the member. Direct
/// reports come first, then the order of joining.
pub(crate) async fn list(tx: &mut ReadTx, user_id: Uuid, membership: &Membership) -> Result<Vec<Assignee>> {
    let assignable_roles = |relation| -> Vec<String> {
        let allowed = |of: &Role| relation_policy::allows(relation_policy::TASKS, membership.role, *of, relation);
        Role::ALL.into_iter().filter(allowed).map(|role| role.name().to_owned()).collect()
    };
    let reports: Vec<Uuid> = membership.reports.iter().copied().collect();
    let rows = sqlx::query!(
        r#"select user_id as "user_id!", role from tenancy.memberships
           where account_id = $1 and status = 'active' and user_id <> $2
             and (role = any($3) or (role = any($4) and user_id = any($5)))
           order by (manager_id = $2) desc nulls last, joined_at, id limit $6"#,
        membership.account_id,
        user_id,
        &assignable_roles(Relation::Other),
        &assignable_roles(Relation::Report),
        &reports,
        MAX_ASSIGNEES
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter()
        .map(|row| Ok(Assignee { user_id: row.user_id, role: super::member::parse_role(&row.role)? }))
        .collect()
}
