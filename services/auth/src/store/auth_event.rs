//! Security events: the history of users' sign-ins.

use baton_errors::Result;
use baton_runtime::Origin;
use baton_store::{Page, ReadTx, Tx};
use uuid::Uuid;

use crate::auth_event::{AuthEvent, AuthEventKind};

/// Inserts an event with the origin of the current call. `session_id` is the session that it concerns, or that caused
/// it.
pub(crate) async fn insert(tx: &mut Tx, user_id: Uuid, kind: AuthEventKind, session_id: Option<Uuid>) -> Result<()> {
    let (id, now, origin) = (tx.db().clock().new_id(), tx.db().clock().now(), Origin::current());
    sqlx::query!(
        "insert into auth.auth_events (id, user_id, kind, session_id, address, user_agent, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        id,
        user_id,
        kind.name(),
        session_id,
        origin.address.map(|address| address.to_string()),
        origin.user_agent,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Returns a page of a user's events, newest first, and the total.
pub(crate) async fn list(tx: &mut ReadTx, user_id: Uuid, page: &Page) -> Result<(Vec<AuthEvent>, i64)> {
    let rows = sqlx::query!(
        "select id, kind, session_id, address, user_agent, created_at from auth.auth_events
         where user_id = $1 and id < $2 order by id desc limit $3 offset $4",
        user_id,
        page.before(),
        page.limit(),
        page.offset()
    )
    .fetch_all(tx.connection())
    .await?;
    let total = sqlx::query_scalar!(r#"select count(*) as "count!" from auth.auth_events where user_id = $1"#, user_id)
        .fetch_one(tx.connection())
        .await?;
    let events = rows.into_iter().map(|row| AuthEvent {
        id: row.id,
        kind: AuthEventKind::from_name(&row.kind),
        session_id: row.session_id,
        address: row.address,
        user_agent: row.user_agent,
        created_at: row.created_at,
    });
    Ok((events.collect(), total))
}
