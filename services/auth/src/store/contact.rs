//! How to reach people.

use baton_errors::Result;
use baton_store::Tx;
use uuid::Uuid;

/// A person's name, address and timezone.
pub(crate) struct Contact {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) timezone: String,
}

/// Those of these people that there are, that confirmed their address and that are not deactivated.
pub(crate) async fn by_ids(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Contact>> {
    let contacts = sqlx::query_as!(
        Contact,
        "select id, email, first_name, last_name, timezone from auth.users
         where id = any($1) and email_verified_at is not null and deactivated_at is null",
        ids
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(contacts)
}
