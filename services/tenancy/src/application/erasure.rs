//! The erasure of a person: they leave every account first, as when they deactivate their sign-in, and invitations to their
//! addresses end. Whoever is erased from one account has left it before.

use baton_runtime::Next;
use baton_store::{Db, Tenant, subject_data::Subject};

use super::offboarding;
use crate::store;

/// Ends the person's memberships, and deletes the invitations to the addresses that these have. Safe to repeat.
pub(crate) async fn before(db: Db, subject: Subject) -> anyhow::Result<Next> {
    let Subject { user_id, account_id } = subject;
    if account_id.is_none() {
        let mut tx = db.begin(Tenant::user(user_id)).await?;
        offboarding::leave_all_accounts(&mut tx, user_id).await?;
        tx.commit().await?;
    }
    store::invitation::delete_to_person(&db, subject).await?;
    Ok(Next::Wait)
}
