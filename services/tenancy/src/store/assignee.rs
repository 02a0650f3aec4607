//! Whom a member may hand tasks to.

use baton_access::{
    Membership, Role,
    relation_policy::{self, Relation},
};
use baton_errors::Result;
use baton_proto::baton::tenancy::v1 as proto;
use baton_store::Tx;
use uuid::Uuid;

/// Members that one answer names at most.
const MOST: i64 = 1_000;

/// A member whom tasks can be handed to.
pub(crate) struct Assignee {
    user_id: Uuid,
    role: Role,
}

/// The active members whom this one may hand tasks to by [`relation_policy::TASKS`], but for themselves: those who report
/// to them directly before others, and of each those who joined first.
pub(crate) async fn list(tx: &mut Tx, user_id: Uuid, membership: &Membership) -> Result<Vec<Assignee>> {
    let reached = |relation| -> Vec<String> {
        let reached = |of: &Role| relation_policy::allows(relation_policy::TASKS, membership.role, *of, relation);
        Role::ALL.into_iter().filter(reached).map(|role| role.name().to_owned()).collect()
    };
    let reports: Vec<Uuid> = membership.reports.iter().copied().collect();
    let rows = sqlx::query!(
        r#"select user_id as "user_id!", role from tenancy.memberships
           where account_id = $1 and status = 'active' and user_id <> $2
             and (role = any($3) or (role = any($4) and user_id = any($5)))
           order by (manager_id = $2) desc nulls last, joined_at, id limit $6"#,
        membership.account_id,
        user_id,
        &reached(Relation::Other),
        &reached(Relation::Report),
        &reports,
        MOST
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(|row| Ok(Assignee { user_id: row.user_id, role: super::member::role(&row.role)? })).collect()
}

impl From<Assignee> for proto::Assignee {
    fn from(assignee: Assignee) -> Self {
        Self { user_id: assignee.user_id.to_string(), role: assignee.role.to_proto().into() }
    }
}
