//! The live tail: broadcasts every event to the listeners of this process, as it is published.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use baton_proto::{baton::events::v1::Envelope, convert::datetime};
use baton_runtime::{Clock, Shutdown};
use chrono::{DateTime, TimeDelta, Utc};
use prost::Message;
use redis::aio::MultiplexedConnection;
use tokio::sync::broadcast;

use crate::streams::{Answer, BLOCK_TIMEOUT, PARTITIONS, Streams, stream_key};

const RETRY_DELAY: Duration = Duration::from_millis(500);
const BATCH: usize = 256;
/// Events that a slow listener can be behind; after that it is notified that it missed some.
const BACKLOG: usize = 4096;
/// Maximum age of live events. Older events are published when a lost stream is filled again.
const MAX_EVENT_AGE: TimeDelta = TimeDelta::minutes(5);
/// Event ids to remember, so that each event is sent once when a stream is filled again.
const DEDUP_CAPACITY: usize = 20_000;

/// Starts to tail all streams, from now on, until the process stops. Subscribe to the returned channel.
pub fn start(streams: &Streams, clock: &Clock, shutdown: &Shutdown) -> broadcast::Sender<Arc<Envelope>> {
    let (sender, _) = broadcast::channel(BACKLOG);
    let seen = Arc::new(Mutex::new(Dedup::default()));
    let started = Instant::now();
    for partition in 0..PARTITIONS {
        let (streams, sender, seen) = (streams.clone(), sender.clone(), Arc::clone(&seen));
        let (clock, shutdown) = (clock.clone(), shutdown.clone());
        tokio::spawn(async move {
            let mut last = None;
            while !shutdown.stop().is_cancelled() {
                let follow = follow(&streams, &clock, partition, started, &mut last, &sender, &seen);
                let error = tokio::select! {
                    error = follow => error,
                    () = shutdown.stop().cancelled() => return,
                };
                tracing::warn!(%error, partition, "the live tail was interrupted");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        });
    }
    sender
}

/// Reads one stream until the connection is lost. `last` is the entry to continue after, kept over reconnects so that
/// no entry is missed.
async fn follow(
    streams: &Streams,
    clock: &Clock,
    partition: u16,
    started: Instant,
    last: &mut Option<EntryId>,
    sender: &broadcast::Sender<Arc<Envelope>>,
    seen: &Mutex<Dedup>,
) -> redis::RedisError {
    let followed = async {
        let mut connection = streams.dedicated().await?;
        let stream = stream_key(partition);
        loop {
            let from = match *last {
                Some(id) => id,
                None => at(&mut connection, started).await?,
            };
            *last = Some(from);
            let answer: Answer<Vec<Vec<u8>>> = redis::cmd("XREAD")
                .arg("COUNT")
                .arg(BATCH)
                .arg("BLOCK")
                .arg(BLOCK_TIMEOUT.as_millis() as u64)
                .arg("STREAMS")
                .arg(&stream)
                .arg(from.to_string())
                .query_async(&mut connection)
                .await?;
            if answer.is_none() {
                // A server that lost the stream may assign ids of an earlier time.
                *last = Some(from.min(newest(&mut connection, &stream).await?));
            }
            for (id, mut fields) in answer.into_iter().flatten().flat_map(|(_, entries)| entries) {
                *last = EntryId::parse(&id).or(*last);
                let event = fields.pop().and_then(|envelope| Envelope::decode(envelope.as_slice()).ok());
                if let Some(event) = event.filter(|event| {
                    is_live(event, clock.now()) && seen.lock().is_ok_and(|mut seen| seen.first(&event.id))
                }) {
                    // It is not an error if there is no listener.
                    let _ = sender.send(Arc::new(event));
                }
            }
        }
    };
    let Err::<std::convert::Infallible, _>(error) = followed.await;
    error
}

/// The id of an entry at that moment, by the server's clock.
async fn at(connection: &mut MultiplexedConnection, moment: Instant) -> redis::RedisResult<EntryId> {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
    let now = seconds * 1000 + micros / 1000;
    let ago = u64::try_from(moment.elapsed().as_millis()).unwrap_or_default();
    Ok(EntryId(now.saturating_sub(ago), 0))
}

/// The id of the newest entry of the stream; zero if it is empty.
async fn newest(connection: &mut MultiplexedConnection, stream: &str) -> redis::RedisResult<EntryId> {
    let newest: Vec<(String, Vec<Vec<u8>>)> =
        redis::cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1).query_async(connection).await?;
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
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

fn is_live(event: &Envelope, now: DateTime<Utc>) -> bool {
    event.occurred_at.as_ref().and_then(datetime).is_some_and(|at| now - at < MAX_EVENT_AGE)
}

/// Ids of recent events.
#[derive(Debug, Default)]
struct Dedup {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Dedup {
    fn first(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
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
