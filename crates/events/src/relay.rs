//! The relay: publishes the outbox to the streams.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use anyhow::Context;
use baton_runtime::Shutdown;
use baton_store::{
    Db,
    outbox::{self, Leadership},
};
use chrono::TimeDelta;
use opentelemetry::{KeyValue, global, metrics::Gauge};
use redis::{AsyncCommands, Script};
use uuid::Uuid;

use crate::streams::{MAX_STREAM_LEN, PARTITIONS, Streams, mark_key, partition, stream_key};

/// Interval of the check for events that no commit in this process announced, and for a lost stream.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Delay after a failure, or while another relay leads.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Interval of the renewal of the leadership, whose lease is 15 seconds.
const RENEW_INTERVAL: Duration = Duration::from_secs(4);
/// Delay after a batch, in which more commits make the next batch larger. A batch costs its database a commit and every
/// reader a round trip, however many events it contains.
const BATCH_DELAY: Duration = Duration::from_millis(10);
const MEASURE_INTERVAL: Duration = Duration::from_secs(2);
/// How long events are in the streams, once everybody has handled them: they say where requests came from.
const MAX_STREAM_AGE: TimeDelta = TimeDelta::days(3);
/// Interval in which older events are trimmed.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);
const BATCH_SIZE: i64 = 500;

/// Trims entries of a stream that are older than a time, in milliseconds, and that every group has read and acknowledged: a
/// service that was down for days still gets what it has missed.
static TRIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('EXISTS', KEYS[1]) == 0 then return end
local ms, seq = tonumber(ARGV[1]), 0
local function keep(id)
  local of_ms, of_seq = string.match(id, '^(%d+)-(%d+)$')
  of_ms, of_seq = tonumber(of_ms), tonumber(of_seq)
  if of_ms < ms or of_ms == ms and of_seq < seq then ms, seq = of_ms, of_seq end
end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local of = {}
  for n = 1, #group, 2 do of[group[n]] = group[n + 1] end
  local pending = redis.call('XPENDING', KEYS[1], of['name'])
  if pending[1] > 0 then keep(pending[2]) else keep(of['last-delivered-id']) end
end
redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%.0f-%.0f', ms, seq))
",
    )
});

/// Publishes the outbox of `db` until the process stops, and then the rest of it.
///
/// Several may run. One of them leads at a time, which keeps the order of events.
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
            Ok(Progress::Done) => POLL_INTERVAL,
            Ok(Progress::Follower) => RETRY_DELAY,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "cannot publish events; they wait in the outbox");
                relay.leadership = None;
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
    /// The leadership, and the time of its last renewal.
    leadership: Option<(Leadership, Instant)>,
    measured: Option<Instant>,
    trimmed: Option<Instant>,
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
            leadership: None,
            measured: None,
            trimmed: None,
            waiting: meter.i64_gauge("baton.outbox.waiting").build(),
            lag: meter.f64_gauge("baton.outbox.lag").with_unit("s").build(),
        }
    }

    async fn publish_waiting(&mut self) -> anyhow::Result<Progress> {
        let Some(leadership) = self.acquire_leadership().await? else { return Ok(Progress::Follower) };
        self.measure().await?;
        if let Err(error) = self.trim().await {
            // Events are published nevertheless.
            tracing::warn!(error = format!("{error:#}"), "cannot trim the streams");
        }
        let Some(last_batch) = self.last_batch_in_stream(leadership).await? else { return Ok(Progress::More) };
        let waiting = outbox::waiting(&self.db, BATCH_SIZE).await?;
        if waiting.is_empty() {
            return Ok(Progress::Done);
        }
        let batch = last_batch + 1;
        let mut pipeline = redis::pipe();
        for event in &waiting {
            pipeline
                .cmd("XADD")
                .arg(stream_key(partition(event.account_id)))
                .arg("MAXLEN")
                .arg("~")
                .arg(MAX_STREAM_LEN)
                .arg("*")
                .arg("e")
                .arg(&event.envelope)
                .ignore();
        }
        // Replaces only the marker that was read: a server that lost it meanwhile must not look complete.
        pipeline
            .cmd("EVAL")
            .arg("if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('set', KEYS[1], ARGV[2]) return 1 end return 0")
            .arg(1)
            .arg(mark_key(self.db.schema()))
            .arg(stream_marker(Leadership { batch: last_batch, ..leadership }))
            .arg(stream_marker(Leadership { batch, ..leadership }));
        let (marked,): (bool,) =
            pipeline.query_async(&mut self.streams.connection()).await.context("the stream server does not respond")?;
        if !marked {
            return Ok(Progress::More);
        }
        // After a crash here the batch is published twice; the inboxes of its readers deduplicate it.
        let positions: Vec<i64> = waiting.iter().map(|event| event.position).collect();
        outbox::published(&self.db, &positions, batch).await?;
        if let Some((leadership, _)) = &mut self.leadership {
            leadership.batch = batch;
        }
        Ok(if waiting.len() as i64 == BATCH_SIZE { Progress::More } else { Progress::Some })
    }

    /// Acquires or renews the leadership, unless another relay has it. If it is lost between two renewals, at most one
    /// batch is published twice.
    async fn acquire_leadership(&mut self) -> anyhow::Result<Option<Leadership>> {
        if let Some((leadership, renewed)) = self.leadership
            && renewed.elapsed() < RENEW_INTERVAL
        {
            return Ok(Some(leadership));
        }
        let renewed = Instant::now();
        let leadership = outbox::acquire_leadership(&self.db, self.id).await?;
        self.leadership = leadership.map(|leadership| (leadership, renewed));
        Ok(leadership)
    }

    /// The last batch in the stream server, if that is the last published one. A server without our marker was emptied;
    /// a server with the marker of an older batch was reset (a restart from a dump, a failover to a replica that was
    /// behind). Then the later batches are marked as unpublished, and the result is `None` until that is complete.
    async fn last_batch_in_stream(&mut self, leadership: Leadership) -> anyhow::Result<Option<i64>> {
        let key = mark_key(self.db.schema());
        let mut connection = self.streams.connection();
        let found: Option<String> = connection.get(&key).await.context("the stream server does not respond")?;
        let last_batch = found.as_deref().and_then(|found| batch_of(leadership.mark, found));
        if last_batch.is_some_and(|last_batch| last_batch >= leadership.batch) {
            return Ok(last_batch);
        }
        let kept = last_batch.unwrap_or_default();
        let events = outbox::unpublish(&self.db, kept).await?;
        if events > 0 {
            tracing::warn!(events, "the stream server lost events; they will be published again");
            return Ok(None);
        }
        // The next leadership is read from the database, whose last batch is `kept` now.
        self.leadership = None;
        let () = connection
            .set(&key, stream_marker(Leadership { batch: kept, ..leadership }))
            .await
            .context("the stream server does not respond")?;
        Ok(None)
    }

    /// Trims what is too old from all streams, as far as every consumer group has handled it.
    async fn trim(&mut self) -> anyhow::Result<()> {
        if self.trimmed.is_some_and(|at| at.elapsed() < TRIM_INTERVAL) {
            return Ok(());
        }
        self.trimmed = Some(Instant::now());
        let oldest = (self.db.clock().now() - MAX_STREAM_AGE).timestamp_millis();
        let mut connection = self.streams.connection();
        for partition in 0..PARTITIONS {
            let trimmed: Result<(), _> =
                TRIM.key(stream_key(partition)).arg(oldest).invoke_async(&mut connection).await;
            trimmed.context("the stream server does not respond")?;
        }
        Ok(())
    }

    async fn measure(&mut self) -> anyhow::Result<()> {
        if self.measured.is_some_and(|at| at.elapsed() < MEASURE_INTERVAL) {
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

/// The marker that is stored in the stream server.
fn stream_marker(leadership: Leadership) -> String {
    format!("{}:{}", leadership.mark, leadership.batch)
}

/// The batch of a marker; `None` if it is another outbox's, or malformed.
fn batch_of(mark: Uuid, found: &str) -> Option<i64> {
    let (found, batch) = found.split_once(':')?;
    if found.parse() == Ok(mark) { batch.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_of_another_outbox_is_ignored() {
        let [ours, other] = [1, 2].map(Uuid::from_u128);
        assert_eq!(batch_of(ours, &stream_marker(Leadership { mark: ours, batch: 7 })), Some(7));
        assert_eq!(batch_of(ours, &stream_marker(Leadership { mark: other, batch: 7 })), None);
        assert_eq!(batch_of(ours, &ours.to_string()), None);
    }
}
