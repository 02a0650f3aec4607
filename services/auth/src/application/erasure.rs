//! The erasure of a person: their sessions end first, and everybody is told who follows them.

use baton_runtime::Next;
use baton_store::{Db, Tenant, subject_data::Subject};

use super::{delegation, sessions};

/// Closes the person's sessions, and ends their grants. Sign-ins belong to no account, so the erasure from one leaves them.
pub(crate) async fn before(db: Db, subject: Subject) -> anyhow::Result<Next> {
    let Subject { user_id, account_id: None } = subject else { return Ok(Next::Wait) };
    let mut tx = db.begin(Tenant::user(user_id)).await?;
    sessions::close_all(&mut tx, user_id, None, "deleted").await?;
    delegation::end_all(&mut tx, user_id).await?;
    tx.commit().await?;
    Ok(Next::Wait)
}
