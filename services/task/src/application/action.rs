//! Locks of actions on tasks.

use baton_errors::Result;
use baton_store::Tx;
use uuid::Uuid;

use crate::{
    policy::visibility::Actor,
    store,
    task::{Task, event_kind::EventKind},
};

/// Locks the tasks that an action of this kind changes, ordered by id. Tasks that the actor does not see are left out,
/// and so are those in the trash, unless the action restores them.
///
/// # Errors
/// Those of the database.
pub(crate) async fn lock(tx: &mut Tx, actor: Actor<'_>, kind: EventKind, ids: &[Uuid]) -> Result<Vec<Task>> {
    if kind.reopens() {
        store::offboarding::lock_departures_shared(tx).await?;
    }
    let mut tasks = match kind {
        EventKind::Restored => store::task::lock_all_in_trash(tx, ids).await?,
        _ => store::task::lock_all(tx, ids).await?,
    };
    tasks.retain(|task| actor.can_see(task));
    Ok(tasks)
}
