//! The live tail: every event of the streams in the order of its stream, with its offset, as it is published.
//!
//! An offset is the id of a stream's entry as one number. It grows with every entry of a stream, also after a restart of
//! the stream server, and is the same for every process that reads the stream. Offsets of a lost stream mean nothing for
//! the one that replaces it: the epoch, a random number in the stream server, distinguishes them.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use baton_catalog::{AccessEffect, EventType};
use baton_proto::{baton::events::v1::Envelope, convert::datetime};
use baton_runtime::{Clock, Shutdown, random};
use chrono::{DateTime, TimeDelta, Utc};
use prost::Message;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;

use crate::streams::{Answer, BLOCK_TIMEOUT, PARTITIONS, Streams, stream_key};

const RETRY_DELAY: Duration = Duration::from_millis(500);
const BATCH: usize = 256;
/// Items that the reader may be behind before the streams are read no further.
const BACKLOG: usize = 1024;
/// Events older than the history by this are not live. They are published when a lost stream is filled again.
const MAX_DELAY: TimeDelta = TimeDelta::minutes(5);
/// How often the reader is told that events were skipped.
const SKIPPED_INTERVAL: Duration = Duration::from_secs(5);
/// Event ids to remember, so that each event is sent once when a batch is published twice.
const DEDUP_CAPACITY: usize = 20_000;
/// The position of a stream without new entries stays behind the stream server's time by this, because the clock of
/// another server that takes over may be behind.
const CLOCK_MARGIN: Duration = Duration::from_secs(5);
/// The key of the epoch.
const EPOCH_KEY: &str = "baton:live:epoch";
/// Replaces the epoch, unless another process has just done it. Returns the current one.
const REPLACE_EPOCH: &str = "local epoch = redis.call('get', KEYS[1]) \
    if not epoch or epoch == ARGV[1] then redis.call('set', KEYS[1], ARGV[2]) return ARGV[2] end return epoch";
/// The time of offset 0: 2026-01-01, in milliseconds since 1970.
const OFFSET_START: u64 = 1_767_225_600_000;
/// Bits of an offset for the entries of one millisecond. Together with 39 bits for the milliseconds, which suffice until
/// 2043, an offset is exact in an IEEE double, as JSON numbers are in JavaScript.
const SEQUENCE_BITS: u32 = 14;

/// What the tail reads.
#[derive(Debug)]
pub enum Item {
    /// The stream is read from here on: at the start, and again when the stream server has lost entries, or events came too
    /// late to be sent.
    Start {
        /// The stream.
        partition: u16,
        /// Distinguishes offsets from those of a lost stream.
        epoch: u64,
        /// All entries with a greater offset follow.
        floor: u64,
    },
    /// An event.
    Event {
        /// The stream.
        partition: u16,
        /// Its offset, greater than those before.
        offset: u64,
        /// The event.
        event: Box<Envelope>,
    },
    /// The stream has no entry up to this offset that was not sent.
    Idle {
        /// The stream.
        partition: u16,
        /// The offset.
        offset: u64,
    },
}

/// Starts to tail all streams until the process stops, beginning with the events of the last `history`. The reader must
/// not wait for anything: the streams are read at its speed.
pub fn start(streams: &Streams, clock: &Clock, shutdown: &Shutdown, history: Duration) -> mpsc::Receiver<Item> {
    let (sender, items) = mpsc::channel(BACKLOG);
    let seen = Arc::new(Mutex::new(Dedup::default()));
    for partition in 0..PARTITIONS {
        let tail = Tail {
            streams: streams.clone(),
            clock: clock.clone(),
            history,
            partition,
            sender: sender.clone(),
            seen: Arc::clone(&seen),
            epoch: None,
            last: EntryId::default(),
            is_caught_up: false,
            skipped_at: None,
        };
        tokio::spawn(tail.run(shutdown.clone()));
    }
    items
}

/// The offset of the first entry at this time.
pub fn offset_at(time: DateTime<Utc>) -> u64 {
    EntryId(u64::try_from(time.timestamp_millis()).unwrap_or_default(), 0).offset()
}

/// The tail of one stream.
struct Tail {
    streams: Streams,
    clock: Clock,
    history: Duration,
    partition: u16,
    sender: mpsc::Sender<Item>,
    seen: Arc<Mutex<Dedup>>,
    /// The epoch of `last`; `None` before the first connection.
    epoch: Option<u64>,
    /// The entry to continue after, kept over reconnects so that no entry is missed.
    last: EntryId,
    /// Whether the history has been read.
    is_caught_up: bool,
    /// When the reader was last told that events were skipped.
    skipped_at: Option<Instant>,
}

/// Why reading ended.
enum Ended {
    /// The connection was lost.
    Lost(redis::RedisError),
    /// Nobody reads the items.
    Unread,
}

impl From<redis::RedisError> for Ended {
    fn from(error: redis::RedisError) -> Self {
        Self::Lost(error)
    }
}

impl Tail {
    async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.stop().is_cancelled() {
            let ended = tokio::select! {
                ended = self.follow() => ended,
                () = shutdown.stop().cancelled() => return,
            };
            let Err::<std::convert::Infallible, _>(Ended::Lost(error)) = ended else { return };
            tracing::warn!(%error, partition = self.partition, "the live tail was interrupted");
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// Reads the stream until the connection is lost.
    async fn follow(&mut self) -> Result<std::convert::Infallible, Ended> {
        let mut connection = self.streams.dedicated().await?;
        let stream = stream_key(self.partition);
        self.begin(&mut connection, &stream).await?;
        loop {
            let mut read = redis::cmd("XREAD");
            read.arg("COUNT").arg(BATCH);
            if self.is_caught_up {
                read.arg("BLOCK").arg(BLOCK_TIMEOUT.as_millis() as u64);
            }
            read.arg("STREAMS").arg(&stream).arg(self.last.to_string());
            let answer: Answer<Vec<Vec<u8>>> = read.query_async(&mut connection).await?;
            let Some(answer) = answer else {
                self.is_caught_up = true;
                let answered = Instant::now();
                let now = server_time(&mut connection).await?;
                // Entries of a server that lost some may have lower ids than those before.
                let is_behind = newest_before(&mut connection, &stream, "+").await? < self.last;
                if is_behind {
                    self.replace_epoch(&mut connection).await?;
                }
                if is_behind || epoch(&mut connection).await? != self.epoch {
                    self.begin(&mut connection, &stream).await?;
                } else if answered.elapsed() < CLOCK_MARGIN / 2 {
                    let offset = now.minus(CLOCK_MARGIN).offset();
                    self.send(Item::Idle { partition: self.partition, offset }).await?;
                }
                continue;
            };
            let mut has_skipped = false;
            for (id, mut fields) in answer.into_iter().flat_map(|(_, entries)| entries) {
                let Some(id) = EntryId::parse(&id) else { continue };
                self.last = id;
                let event = fields.pop().and_then(|envelope| Envelope::decode(envelope.as_slice()).ok());
                let Some(event) = event.filter(|event| self.is_first(event)) else { continue };
                if self.is_too_old(&event) {
                    has_skipped = true;
                    continue;
                }
                self.send(Item::Event { partition: self.partition, offset: id.offset(), event: Box::new(event) })
                    .await?;
            }
            // Either the stream is filled again, or events come late after a long outage.
            let is_told = self.skipped_at.is_some_and(|at| at.elapsed() < SKIPPED_INTERVAL);
            if has_skipped && self.is_caught_up && !is_told {
                self.skipped_at = Some(Instant::now());
                let (epoch, floor) = (self.epoch.unwrap_or_default(), self.last.offset());
                self.send(Item::Start { partition: self.partition, epoch, floor }).await?;
            }
        }
    }

    /// Reads the epoch. If it is new, everything begins anew: with the history at first, and with what is left when the
    /// server has lost entries.
    async fn begin(&mut self, connection: &mut MultiplexedConnection, stream: &str) -> Result<(), Ended> {
        let epoch = match epoch(connection).await? {
            Some(epoch) => epoch,
            None => set_epoch(connection, None).await?,
        };
        if self.epoch == Some(epoch) {
            return Ok(());
        }
        let from = server_time(connection).await?.minus(self.history);
        let before = newest_before(connection, stream, &from.to_string()).await?;
        self.last = match self.epoch {
            None => before,
            Some(_) => self.last.min(newest_before(connection, stream, "+").await?),
        };
        self.epoch = Some(epoch);
        self.send(Item::Start { partition: self.partition, epoch, floor: self.last.offset() }).await
    }

    /// Begins an epoch, because the server has lost entries. Its first reader to notice does it for all.
    async fn replace_epoch(&self, connection: &mut MultiplexedConnection) -> redis::RedisResult<()> {
        set_epoch(connection, self.epoch).await.map(drop)
    }

    async fn send(&self, item: Item) -> Result<(), Ended> {
        self.sender.send(item).await.map_err(|_| Ended::Unread)
    }

    /// Whether the event was not sent before.
    fn is_first(&self, event: &Envelope) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).first(&event.id)
    }

    /// Whether the event is too old to be news. One that may change somebody's access never is.
    fn is_too_old(&self, event: &Envelope) -> bool {
        let effect = EventType::of(event).map(EventType::access_effect);
        if !matches!(effect, Some(AccessEffect::None | AccessEffect::Task)) {
            return false;
        }
        let at = event.occurred_at.as_ref().and_then(datetime);
        let max_age = TimeDelta::from_std(self.history).unwrap_or_default() + MAX_DELAY;
        at.is_none_or(|at| self.clock.now() - at >= max_age)
    }
}

/// The current epoch; `None` in a server without one.
async fn epoch(connection: &mut MultiplexedConnection) -> redis::RedisResult<Option<u64>> {
    redis::cmd("GET").arg(EPOCH_KEY).query_async(connection).await
}

/// Sets a new epoch in place of `before`, and returns the current one.
async fn set_epoch(connection: &mut MultiplexedConnection, before: Option<u64>) -> redis::RedisResult<u64> {
    // 53 bits: a number in JSON, too.
    let epoch = u64::from_be_bytes(random::bytes::<8>()) >> 11;
    redis::cmd("EVAL")
        .arg(REPLACE_EPOCH)
        .arg(1)
        .arg(EPOCH_KEY)
        .arg(before.map(|epoch| epoch.to_string()).unwrap_or_default())
        .arg(epoch)
        .query_async(connection)
        .await
}

/// The server's time, as the id of an entry that it would add first.
async fn server_time(connection: &mut MultiplexedConnection) -> redis::RedisResult<EntryId> {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
    Ok(EntryId(seconds * 1000 + micros / 1000, 0))
}

/// The id of the newest entry up to `end`; zero if there is none.
async fn newest_before(connection: &mut MultiplexedConnection, stream: &str, end: &str) -> redis::RedisResult<EntryId> {
    let newest: Vec<(String, Vec<Vec<u8>>)> =
        redis::cmd("XREVRANGE").arg(stream).arg(end).arg("-").arg("COUNT").arg(1).query_async(connection).await?;
    Ok(newest.first().and_then(|(id, _)| EntryId::parse(id)).unwrap_or_default())
}

/// Id of a stream entry: milliseconds, and a sequence number within them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct EntryId(u64, u64);

impl EntryId {
    fn parse(id: &str) -> Option<Self> {
        let (milliseconds, number) = id.split_once('-')?;
        Some(Self(milliseconds.parse().ok()?, number.parse().ok()?))
    }

    fn offset(self) -> u64 {
        (self.0.saturating_sub(OFFSET_START) << SEQUENCE_BITS) + self.1
    }

    fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)), 0)
    }
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// Ids of recent events.
#[derive(Debug, Default)]
struct Dedup {
    ids: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Dedup {
    fn first(&mut self, id: &str) -> bool {
        let id: Arc<str> = id.into();
        if !self.ids.insert(Arc::clone(&id)) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > DEDUP_CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_ordered_by_time_and_sequence_number() {
        let id = |text| EntryId::parse(text).unwrap();
        assert!(id("9-5") < id("10-0") && id("10-9") < id("10-10") && EntryId::default() < id("0-1"));
        assert_eq!(id("1767225600000-3").to_string(), "1767225600000-3");
        assert_eq!(EntryId::parse("5"), None);
    }

    #[test]
    fn offsets_keep_the_order_and_are_exact_in_a_double() {
        let id = |text| EntryId::parse(text).unwrap();
        let ids = ["0-1", "1767225600000-1", "1767225600000-2", "1767225600001-0", "2300000000000-16383"].map(id);
        assert!(ids.windows(2).all(|pair| pair[0].offset() < pair[1].offset() || pair[0].0 == 0), "{ids:?}");
        assert!(ids[4].offset() < 1 << 53);
        let time = DateTime::from_timestamp_millis(1_767_225_600_005).unwrap();
        assert_eq!(offset_at(time), id("1767225600005-0").offset());
        assert_eq!(id("1767225605000-7").minus(CLOCK_MARGIN), id("1767225600000-0"));
    }

    #[test]
    fn event_is_first_once_and_memory_is_bounded() {
        let mut seen = Dedup::default();
        assert!(seen.first("a"));
        assert!(!seen.first("a"));
        for n in 0..DEDUP_CAPACITY * 2 {
            seen.first(&n.to_string());
        }
        assert!(seen.ids.len() <= DEDUP_CAPACITY && seen.order.len() <= DEDUP_CAPACITY);
    }
}
