//! Looks up members by handle or user id, with their managers.

use baton_errors::Result;
use baton_store::ReadTx;
use uuid::Uuid;

use crate::member::FoundMember;

/// Active members with these handles or user ids, each once.
pub(crate) async fn find(tx: &mut ReadTx, handles: &[String], user_ids: &[Uuid]) -> Result<Vec<FoundMember>> {
    let rows = sqlx::query!(
        r#"with recursive found as (
               select user_id, handle, role, manager_id from tenancy.memberships
               where account_id = $1 and status = 'active' and handle = any($2)
               union
               select user_id, handle, role, manager_id from tenancy.memberships
               where account_id = $1 and status = 'active' and user_id = any($3)
           ), above as (
               select user_id, manager_id, 1 as step from found where manager_id is not null
               union all
               select a.user_id, m.manager_id, a.step + 1 from above a
               join tenancy.memberships m on m.account_id = $1 and m.status = 'active' and m.user_id = a.manager_id
               where m.manager_id is not null
           )
           select f.user_id as "user_id!", f.handle as "handle!", f.role as "role!",
                  array(select a.manager_id from above a where a.user_id = f.user_id order by a.step) as "above!: Vec<Uuid>"
           from found f"#,
        tx.tenant().account_id,
        handles,
        user_ids
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter()
        .map(|row| {
            let role = super::member::parse_role(&row.role)?;
            Ok(FoundMember { user_id: row.user_id, handle: row.handle, role, above: row.above })
        })
        .collect()
}
