//! Members who leave: their open tasks go to whom tenancy says, each with a line in its timeline. Accounts that
//! go take theirs with them.

use baton_errors::{Error, Result};
use baton_proto::baton::{events::v1::Envelope, tenancy::v1::MemberEvent};
use baton_store::{Tenant, Tx};
use uuid::Uuid;

use crate::{
    assignment, deletion, events, store,
    store::hand_over::{Handed, Pair},
};

/// Tasks that are locked, changed and stored with a statement each.
const BATCH: i64 = 500;

/// Hands tasks over when a member has left, and has all deleted when an account is.
#[derive(Debug)]
pub(crate) struct Handler;

#[tonic::async_trait]
impl baton_events::Handler for Handler {
    fn wants(&self, kind: &str) -> bool {
        matches!(kind, "member.removed" | deletion::EVENT)
    }

    /// All batches are one transaction, and the inbox row is in it: whatever happens on the way, no task
    /// changes hands twice, and none is left behind.
    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        if event.r#type == deletion::EVENT {
            return deletion::begin(tx).await;
        }
        let payload = event.payload.as_ref().ok_or_else(|| Error::internal("the event has no payload"))?;
        let member: MemberEvent = payload.to_msg().map_err(Error::internal)?;
        // An invitation that ended leaves no tasks.
        if member.hand_over_to.is_empty() {
            return Ok(());
        }
        let id = |text: &str| text.parse::<Uuid>().map_err(Error::internal);
        let (from, to) = (id(&member.user_id)?, id(&member.hand_over_to)?);
        // Timelines and events name who removed the member, or the member who left.
        let user_id = if event.actor_id.is_empty() { from } else { id(&event.actor_id)? };
        tx.switch(Tenant { account_id: tx.tenant().account_id, user_id }).await?;
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
    let handed: Vec<Handed> = tasks
        .into_iter()
        .map(|before| {
            let mut after = before.clone();
            let kind = assignment::take_over(&mut after, from, to, now);
            (after.version, after.updated_at) = (before.version + 1, now);
            Handed { kind, changes: after.changes_since(&before), tasks: Pair { before, after } }
        })
        .collect();
    store::hand_over::save(tx, &handed).await?;
    let told = handed.iter().map(|Handed { kind, changes, tasks }| {
        events::task(*kind, Some(&tasks.before), &tasks.after, changes.keys().cloned().collect())
    });
    tx.publish_all(told.collect::<Vec<_>>()).await?;
    Ok(last)
}
