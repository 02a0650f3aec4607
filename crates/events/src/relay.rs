//! From the outbox to the streams.

use std::time::Duration;

use anyhow::Context;
use baton_runtime::Shutdown;
use baton_store::{Db, outbox};
use opentelemetry::{KeyValue, global};
use redis::AsyncCommands;
use uuid::Uuid;

use crate::streams::{KEPT_PER_STREAM, Streams, mark_key, partition, stream_key};

/// How often to look for events that no commit in this process announced, and for a lost stream.
const POLL: Duration = Duration::from_millis(500);
/// Wait after a failure, or while another relay leads.
const PAUSE: Duration = Duration::from_secs(1);
const BATCH: i64 = 500;

/// Publishes the outbox of `db` until the process stops, and then what is left in it.
///
/// Any number may run; one leads at a time, so that events keep their order.
pub async fn run(db: Db, streams: Streams, shutdown: Shutdown) {
    let relay = Relay { id: Uuid::new_v4(), db, streams };
    loop {
        let stopping = shutdown.stop().is_cancelled();
        let pause = match relay.publish_waiting().await {
            Ok(Progress::More) => continue,
            Ok(Progress::Done) => POLL,
            Ok(Progress::Follower) => PAUSE,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "cannot publish events; they wait in the outbox");
                PAUSE
            }
        };
        if stopping {
            break;
        }
        tokio::select! {
            () = shutdown.stop().cancelled() => {}
            () = relay.db.published() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    let _ = outbox::resign(&relay.db, relay.id).await;
}

struct Relay {
    id: Uuid,
    db: Db,
    streams: Streams,
}

enum Progress {
    More,
    Done,
    Follower,
}

impl Relay {
    async fn publish_waiting(&self) -> anyhow::Result<Progress> {
        let Some(mark) = outbox::lead(&self.db, self.id).await? else { return Ok(Progress::Follower) };
        self.ensure_mark(mark).await?;
        let waiting = outbox::waiting(&self.db, BATCH).await?;
        self.measure(&waiting).await?;
        if waiting.is_empty() {
            return Ok(Progress::Done);
        }
        let mut pipeline = redis::pipe();
        for event in &waiting {
            pipeline
                .cmd("XADD")
                .arg(stream_key(partition(event.account_id)))
                .arg("MAXLEN")
                .arg("~")
                .arg(KEPT_PER_STREAM)
                .arg("*")
                .arg("e")
                .arg(&event.envelope)
                .ignore();
        }
        let () =
            pipeline.query_async(&mut self.streams.connection()).await.context("the stream server did not answer")?;
        // A crash here publishes the batch twice; the inboxes of its readers make that one effect.
        let positions: Vec<i64> = waiting.iter().map(|event| event.position).collect();
        outbox::published(&self.db, &positions).await?;
        Ok(if waiting.len() as i64 == BATCH { Progress::More } else { Progress::Done })
    }

    /// A server without our mark has lost the streams: everything kept is published again.
    async fn ensure_mark(&self, expected: Option<Uuid>) -> anyhow::Result<()> {
        let key = mark_key(self.db.schema());
        let mut connection = self.streams.connection();
        let found: Option<String> = connection.get(&key).await.context("the stream server did not answer")?;
        if expected.is_some_and(|mark| found.as_deref() == Some(&mark.to_string())) {
            return Ok(());
        }
        let mark = Uuid::new_v4();
        let events = outbox::start_over(&self.db, self.id, mark).await?;
        if expected.is_some() {
            tracing::warn!(events, "the streams were lost; publishing again");
        }
        let () = connection.set(&key, mark.to_string()).await.context("the stream server did not answer")?;
        Ok(())
    }

    async fn measure(&self, waiting: &[outbox::Waiting]) -> anyhow::Result<()> {
        let (events, seconds) = if waiting.is_empty() { (0, 0.0) } else { outbox::lag(&self.db).await? };
        let attributes = [KeyValue::new("service", self.db.schema())];
        let meter = global::meter("baton");
        meter.i64_gauge("baton.outbox.waiting").build().record(events, &attributes);
        meter.f64_gauge("baton.outbox.lag").with_unit("s").build().record(seconds, &attributes);
        Ok(())
    }
}
