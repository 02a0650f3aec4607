//! What is left of an account that was deleted. By the system's role, as all that nobody asks for.

use baton_errors::Result;
use baton_store::Db;
use uuid::Uuid;

/// Deletes notifications, few at a time; answers how many.
pub(crate) async fn notifications(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "delete from notification.notifications where id = any(array(
             select id from notification.notifications where account_id = $1 limit $2))",
        account_id,
        limit
    )
    .execute(db.system())
    .await?;
    Ok(done.rows_affected())
}

/// Whether anything is left.
pub(crate) async fn remains(db: &Db, account_id: Uuid) -> Result<bool> {
    let remains = sqlx::query_scalar!(
        r#"select exists (select from notification.notifications where account_id = $1) as "remains!""#,
        account_id
    )
    .fetch_one(db.system())
    .await?;
    Ok(remains)
}
