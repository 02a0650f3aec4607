//! SQL of greetings.

use baton_errors::Result;
use baton_store::{Db, Page, ReadTx, Tx};

use uuid::Uuid;

use crate::{
    greeting::{Greeting, expired_before},
    visits,
};

/// Inserts a greeting. Returns `false` if the member has one.
pub(crate) async fn insert(tx: &mut Tx, greeting: &Greeting) -> Result<bool> {
    let inserted = sqlx::query!(
        "insert into example.greetings (id, account_id, user_id, created_at) values ($1, $2, $3, $4)
         on conflict on constraint greetings_account_id_user_id_key do nothing",
        greeting.id,
        tx.tenant().account_id,
        greeting.user_id,
        greeting.created_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// A page of the account's greetings, newest first, and their number.
pub(crate) async fn list(tx: &mut ReadTx, page: &Page) -> Result<(Vec<Greeting>, i64)> {
    let account_id = tx.tenant().account_id;
    let greetings = sqlx::query_as!(
        Greeting,
        "select id, user_id, created_at from example.greetings
         where account_id = $1 and id < $2 order by id desc limit $3 offset $4",
        account_id,
        page.before(),
        page.limit(),
        page.offset(),
    )
    .fetch_all(tx.connection())
    .await?;
    let count =
        sqlx::query_scalar!(r#"select count(*) as "count!" from example.greetings where account_id = $1"#, account_id);
    Ok((greetings, count.fetch_one(tx.connection()).await?))
}

/// The account's greetings after this one, oldest first, a hundred at most.
pub(crate) async fn list_after(tx: &mut ReadTx, after: Uuid) -> Result<Vec<Greeting>> {
    let account_id = tx.tenant().account_id;
    let greetings = sqlx::query_as!(
        Greeting,
        "select id, user_id, created_at from example.greetings
         where account_id = $1 and id > $2 order by id limit 100",
        account_id,
        after,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(greetings)
}

/// Deletes expired greetings, across tenants.
pub(crate) async fn delete_expired(db: Db) -> Result<()> {
    let before = expired_before(db.clock().now());
    sqlx::query!("delete from example.greetings where created_at < $1", before).execute(db.system()).await?;
    visits::delete_before(&db, before).await
}
