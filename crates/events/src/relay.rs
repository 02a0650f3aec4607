//! From the outbox to the streams.

use std::time::{Duration, Instant};

use anyhow::Context;
use baton_runtime::Shutdown;
use baton_store::{
    Db,
    outbox::{self, Leadership},
};
use opentelemetry::{KeyValue, global, metrics::Gauge};
use redis::AsyncCommands;
use uuid::Uuid;

use crate::streams::{KEPT_PER_STREAM, Streams, mark_key, partition, stream_key};

/// How often to look for events that no commit in this process announced, and for a lost stream.
const POLL: Duration = Duration::from_millis(500);
/// Wait after a failure, or while another relay leads.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// How often to renew the lead, which lasts 15 seconds.
const RENEW_INTERVAL: Duration = Duration::from_secs(4);
/// Wait after a batch: what is committed meanwhile makes the next one. Each costs its database a commit and every reader
/// a round, however many events it has.
const BATCH_DELAY: Duration = Duration::from_millis(10);
const MEASURE_EVERY: Duration = Duration::from_secs(2);
const BATCH: i64 = 500;

/// Publishes the outbox of `db` until the process stops, and then what is left in it.
///
/// Any number may run; one leads at a time, so that events keep their order.
pub async fn run(db: Db, streams: Streams, shutdown: Shutdown) {
    let mut relay = Relay::new(db, streams);
    loop {
        let stopping = shutdown.stop().is_cancelled();
        let pause = match relay.publish_waiting().await {
            Ok(Progress::More) => continue,
            Ok(Progress::Some) => {
                tokio::time::sleep(BATCH_DELAY).await;
                continue;
            }
            Ok(Progress::Done) => POLL,
            Ok(Progress::Follower) => RETRY_DELAY,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "cannot publish events; they wait in the outbox");
                relay.led = None;
                RETRY_DELAY
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
    let _ = outbox::release(&relay.db, relay.id).await;
}

struct Relay {
    id: Uuid,
    db: Db,
    streams: Streams,
    /// What is known since the lead was last renewed.
    led: Option<(Leadership, Instant)>,
    measured: Option<Instant>,
    waiting: Gauge<i64>,
    lag: Gauge<f64>,
}

enum Progress {
    /// There is more to publish.
    More,
    /// Something was published, which took a while.
    Some,
    Done,
    Follower,
}

impl Relay {
    fn new(db: Db, streams: Streams) -> Self {
        let meter = global::meter("baton");
        Self {
            id: Uuid::new_v4(),
            db,
            streams,
            led: None,
            measured: None,
            waiting: meter.i64_gauge("baton.outbox.waiting").build(),
            lag: meter.f64_gauge("baton.outbox.lag").with_unit("s").build(),
        }
    }

    async fn publish_waiting(&mut self) -> anyhow::Result<Progress> {
        let Some(led) = self.lead().await? else { return Ok(Progress::Follower) };
        self.measure().await?;
        let Some(held) = self.held(led).await? else { return Ok(Progress::More) };
        let waiting = outbox::waiting(&self.db, BATCH).await?;
        if waiting.is_empty() {
            return Ok(Progress::Done);
        }
        let batch = held + 1;
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
        // Only over the mark that was found: a server that lost it meanwhile must not look whole.
        pipeline
            .cmd("EVAL")
            .arg("if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('set', KEYS[1], ARGV[2]) return 1 end return 0")
            .arg(1)
            .arg(mark_key(self.db.schema()))
            .arg(mark(Leadership { batch: held, ..led }))
            .arg(mark(Leadership { batch, ..led }));
        let (marked,): (bool,) =
            pipeline.query_async(&mut self.streams.connection()).await.context("the stream server did not answer")?;
        if !marked {
            return Ok(Progress::More);
        }
        // A crash here publishes the batch twice; the inboxes of its readers make that one effect.
        let positions: Vec<i64> = waiting.iter().map(|event| event.position).collect();
        outbox::published(&self.db, &positions, batch).await?;
        if let Some((led, _)) = &mut self.led {
            led.batch = batch;
        }
        Ok(if waiting.len() as i64 == BATCH { Progress::More } else { Progress::Some })
    }

    /// Leads, if nobody else does. A lead that is lost between two renewals costs no more than a batch
    /// that is published twice.
    async fn lead(&mut self) -> anyhow::Result<Option<Leadership>> {
        if let Some((led, renewed)) = self.led
            && renewed.elapsed() < RENEW_INTERVAL
        {
            return Ok(Some(led));
        }
        let renewed = Instant::now();
        let led = outbox::acquire_leadership(&self.db, self.id).await?;
        self.led = led.map(|led| (led, renewed));
        Ok(led)
    }

    /// The last batch that the server holds, if that is all that was published. One without our mark was
    /// emptied, one with the mark of an older batch went back in time (a restart from a dump, a failover to
    /// a replica that was behind): `None` until the batches after that one are waiting again.
    async fn held(&mut self, led: Leadership) -> anyhow::Result<Option<i64>> {
        let key = mark_key(self.db.schema());
        let mut connection = self.streams.connection();
        let found: Option<String> = connection.get(&key).await.context("the stream server did not answer")?;
        let held = found.as_deref().and_then(|found| batch_of(led.mark, found));
        if held.is_some_and(|held| held >= led.batch) {
            return Ok(held);
        }
        let kept = held.unwrap_or_default();
        let events = outbox::unpublish(&self.db, kept).await?;
        if events > 0 {
            tracing::warn!(events, "the stream server lost events; they will be published again");
            return Ok(None);
        }
        // Read anew from the database, which now says `kept` as well.
        self.led = None;
        let () = connection
            .set(&key, mark(Leadership { batch: kept, ..led }))
            .await
            .context("the stream server did not answer")?;
        Ok(None)
    }

    async fn measure(&mut self) -> anyhow::Result<()> {
        if self.measured.is_some_and(|at| at.elapsed() < MEASURE_EVERY) {
            return Ok(());
        }
        self.measured = Some(Instant::now());
        let (events, seconds) = outbox::lag(&self.db).await?;
        let attributes = [KeyValue::new("service", self.db.schema())];
        self.waiting.record(events, &attributes);
        self.lag.record(seconds, &attributes);
        Ok(())
    }
}

/// What the server is left beside the events.
fn mark(led: Leadership) -> String {
    format!("{}:{}", led.mark, led.batch)
}

/// The batch of a mark; `None` for another outbox's, or none at all.
fn batch_of(mark: Uuid, found: &str) -> Option<i64> {
    let (found, batch) = found.split_once(':')?;
    if found.parse() == Ok(mark) { batch.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_of_this_outbox_count() {
        let [ours, other] = [1, 2].map(Uuid::from_u128);
        assert_eq!(batch_of(ours, &mark(Leadership { mark: ours, batch: 7 })), Some(7));
        assert_eq!(batch_of(ours, &mark(Leadership { mark: other, batch: 7 })), None);
        assert_eq!(batch_of(ours, &ours.to_string()), None);
    }
}
