//! Members who leave: their open tasks go to whom tenancy says, each with a line in its timeline, and so do others when
//! they are open again. Accounts that go take theirs with them.

use std::collections::{BTreeSet, HashMap};

use baton_errors::{Error, Result};
use baton_proto::baton::{events::v1::Envelope, tenancy::v1::MemberEvent};
use baton_store::{Tenant, Tx};
use uuid::Uuid;

use crate::{
    people::assignment,
    store,
    task::{
        Task,
        record::{self, Changed},
    },
    upkeep::deletion,
};

/// Tasks that are locked, changed and stored with a statement each.
const BATCH: i64 = 500;

/// What a member becomes by joining.
const JOINED: &str = "member.joined";

/// Hands tasks over when a member has left, and has all deleted when an account is.
#[derive(Debug)]
pub(crate) struct Handler;

#[tonic::async_trait]
impl baton_events::Handler for Handler {
    fn handles(&self, kind: &str) -> bool {
        matches!(kind, "member.removed" | JOINED | deletion::EVENT)
    }

    /// All batches are one transaction, and the inbox row is in it: whatever happens on the way, no task
    /// changes hands twice, and none is left behind.
    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        if event.r#type == deletion::EVENT {
            return deletion::begin(tx).await;
        }
        let payload = event.payload.as_ref().ok_or_else(|| Error::internal("the event has no payload"))?;
        let member: MemberEvent = payload.to_msg().map_err(Error::internal)?;
        let id = |text: &str| text.parse::<Uuid>().map_err(Error::internal);
        if event.r#type == JOINED {
            return store::hand_over::came_back(tx, id(&member.user_id)?).await;
        }
        // An invitation that ended leaves no tasks.
        if member.hand_over_to.is_empty() {
            return Ok(());
        }
        let (from, to) = (id(&member.user_id)?, id(&member.hand_over_to)?);
        // Timelines and events name who removed the member, or the member who left.
        let user_id = if event.actor_id.is_empty() { from } else { id(&event.actor_id)? };
        tx.switch(Tenant { account_id: tx.tenant().account_id, user_id }).await?;
        store::hand_over::left(tx, from, to).await?;
        store::watcher::forget(tx, from).await?;
        store::view::forget(tx, from).await?;
        let mut after = Uuid::nil();
        while let Some(last) = hand_over(tx, from, to, after).await? {
            after = last;
        }
        Ok(())
    }
}

/// Hands the next tasks over; answers the last of them, or `None` when there are no more.
async fn hand_over(tx: &mut Tx, from: Uuid, to: Uuid, after: Uuid) -> Result<Option<Uuid>> {
    let now = tx.db().clock().now();
    let tasks = store::hand_over::lock(tx, from, after, BATCH).await?;
    let last = tasks.last().map(|task| task.id);
    let handed = tasks.into_iter().map(|before| {
        let mut after = before.clone();
        let kind = assignment::take_over(&mut after, from, to, now);
        Changed { before, after, kind, reason: None }
    });
    record::hand_over(tx, handed.collect()).await?;
    Ok(last)
}

/// Gives tasks that are open again to who has had the work of their people since these left; answers all as they are
/// then. [`store::hand_over::hold`] comes before.
pub(crate) async fn catch_up(tx: &mut Tx, mut tasks: Vec<Task>) -> Result<Vec<Task>> {
    let people: BTreeSet<Uuid> = tasks.iter().flat_map(concerned).flatten().collect();
    let people: Vec<Uuid> = people.into_iter().collect();
    let heirs = store::hand_over::heirs(tx, &people).await?;
    let now = tx.db().clock().now();
    let handed = tasks.iter().filter_map(|before| {
        let (from, to) = concerned(before).into_iter().flatten().find_map(|from| Some((from, *heirs.get(&from)?)))?;
        let mut after = before.clone();
        let kind = assignment::take_over(&mut after, from, to, now);
        Some(Changed { before: before.clone(), after, kind, reason: None })
    });
    let handed = record::hand_over(tx, handed.collect()).await?.into_iter();
    let mut handed: HashMap<Uuid, Task> = handed.map(|task| (task.id, task)).collect();
    for task in &mut tasks {
        if let Some(handed) = handed.remove(&task.id) {
            *task = handed;
        }
    }
    Ok(tasks)
}

/// Who an open task could not do without: whose work it is, and who it goes back to if its holder does not accept it.
fn concerned(task: &Task) -> [Option<Uuid>; 2] {
    let offered_by = task.assigned_by.filter(|_| task.accepted_at.is_none());
    if task.is_open() { [Some(task.worker()), offered_by] } else { [None, None] }
}
