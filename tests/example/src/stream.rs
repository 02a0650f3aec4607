//! The stream of an account's greetings: those that exist, then each new one.

use baton_catalog::EventType;
use baton_errors::Result;
use baton_events::tail;
use baton_proto::baton::example::v1::WatchGreetingsResponse;
use baton_store::{Db, Tenant};
use futures_util::{Stream, TryStreamExt as _, stream};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc,
};
use tonic::Status;
use uuid::Uuid;

use crate::store;

/// News for every account.
pub(crate) const EVERY_ACCOUNT: Uuid = Uuid::nil();

/// Tells the streams of greetings which accounts have a new one, whichever instance of the service has created it.
pub(crate) async fn tell(mut events: mpsc::Receiver<tail::Item>, news: broadcast::Sender<Uuid>) {
    while let Some(item) = events.recv().await {
        let account_id = match item {
            tail::Item::Event { event, .. } if EventType::of(&event) == Some(EventType::GreetingCreated) => {
                event.account_id.parse().ok()
            }
            // Events may have been lost.
            tail::Item::Start { .. } => Some(EVERY_ACCOUNT),
            tail::Item::Event { .. } | tail::Item::Idle { .. } => None,
        };
        // Nobody may be listening.
        let _ = account_id.map(|account_id| news.send(account_id));
    }
}

/// The greetings of the account after this one.
pub(crate) fn greetings(
    db: &Db,
    news: &broadcast::Sender<Uuid>,
    tenant: Tenant,
    after: Uuid,
) -> impl Stream<Item = Result<WatchGreetingsResponse, Status>> + use<> {
    // Before the first read, so that nothing falls between the two.
    let state = (db.clone(), news.subscribe(), after);
    let batches = stream::try_unfold(state, move |(db, mut news, after)| async move {
        loop {
            // No connection is held while the caller reads, and none while there is nothing new.
            let mut tx = db.begin_read(tenant).await?;
            let greetings = store::list_after(&mut tx, after).await?;
            drop(tx);
            if let Some(last) = greetings.last() {
                let last = last.id;
                return Ok::<_, Status>(Some((greetings, (db, news, last))));
            }
            loop {
                match news.recv().await {
                    Ok(account_id) if ![tenant.account_id, EVERY_ACCOUNT].contains(&account_id) => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    // The service stops.
                    Err(RecvError::Closed) => return Ok(None),
                }
            }
        }
    });
    let greetings = batches.map_ok(|batch| stream::iter(batch.into_iter().map(Ok))).try_flatten();
    greetings.map_ok(|greeting| WatchGreetingsResponse { greeting: Some(greeting.into()) })
}
