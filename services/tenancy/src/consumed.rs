//! The events that the service takes in: those of all services, its own among them.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use baton_errors::Result;
use baton_events::{Delivery, Streams, consumer};
use baton_proto::baton::events::v1::Envelope;
use baton_runtime::Shutdown;
use baton_store::{Db, Tx};
use tracing::Instrument;

use crate::{
    activity::Activity,
    people, store,
    tier::Tiers,
    usage::{self, Report},
};

/// How often partitions of the activity log are made and dropped. They are weeks.
const MAKE_ROOM_EVERY: Duration = Duration::from_secs(3600);
const PAUSE: Duration = Duration::from_secs(5);

/// Handles events until the process stops, and keeps the activity log at `keep_days`. Before the first event
/// is taken in, the log has a partition for it.
pub(crate) async fn run(db: Db, streams: Streams, tiers: Tiers, keep_days: u16, shutdown: Shutdown) {
    let room = || store::activity::keep(&db, keep_days.into());
    while let Err(error) = room().await {
        tracing::warn!(%error, "cannot make room in the activity log; events wait");
        if !goes_on_after(PAUSE, &shutdown).await {
            return;
        }
    }
    let keep = async {
        while goes_on_after(MAKE_ROOM_EVERY, &shutdown).await {
            match room().await {
                Ok(0) => {}
                Ok(dropped) => tracing::info!(dropped, "dropped old weeks of the activity log"),
                Err(error) => tracing::warn!(%error, "cannot make room in the activity log; it has some ahead"),
            }
        }
    };
    tokio::join!(consumer::run(db.clone(), streams, Handler(tiers), shutdown.clone()), keep);
}

/// Waits; `false` when the process stops meanwhile.
async fn goes_on_after(pause: Duration, shutdown: &Shutdown) -> bool {
    tokio::select! {
        () = shutdown.stop().cancelled() => false,
        () = tokio::time::sleep(pause) => true,
    }
}

/// What the service does with an event.
#[derive(Debug)]
struct Handler(Tiers);

#[async_trait]
impl baton_events::Handler for Handler {
    /// The activity log has a row of everything.
    fn handles(&self, _: &str) -> bool {
        true
    }

    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        match event.r#type.as_str() {
            // A figure that follows from other events, each of which is logged.
            usage::REPORT => usage::reported(tx, &self.0, &Report::of(event)?).await,
            // What is about a person is about no account; what follows from it in each has events of its own.
            people::DEACTIVATED => people::deactivated(tx, event).await,
            people::EMAIL_CHANGED => people::email_changed(tx, event).await,
            _ => store::activity::append(tx, Activity::of(event)?.into_iter().collect()).await,
        }
    }

    /// Every change in the platform comes by here, so those of an account are logged with one statement; and of a
    /// figure that was reported again, the last report is enough.
    async fn handle_all(&self, tx: &mut Tx, events: &[&Delivery]) -> Result<()> {
        let (mut activities, mut reports) = (Vec::new(), BTreeMap::new());
        for delivery in events {
            match delivery.event.r#type.as_str() {
                usage::REPORT => {
                    let report = Report::of(&delivery.event)?;
                    reports.insert((report.quota, report.user_id), (report, &delivery.span));
                }
                people::DEACTIVATED | people::EMAIL_CHANGED => {
                    self.handle(tx, &delivery.event).instrument(delivery.span.clone()).await?;
                }
                _ => activities.extend(Activity::of(&delivery.event)?),
            }
        }
        store::activity::append(tx, activities).await?;
        for (report, span) in reports.into_values() {
            usage::reported(tx, &self.0, &report).instrument(span.clone()).await?;
        }
        Ok(())
    }
}
