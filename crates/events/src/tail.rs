//! The live tail: every event, as it is published, to whoever listens in this process.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use baton_proto::{baton::events::v1::Envelope, convert::datetime};
use baton_runtime::Shutdown;
use chrono::{TimeDelta, Utc};
use prost::Message;
use redis::aio::MultiplexedConnection;
use tokio::sync::broadcast;

use crate::streams::{BLOCK, PARTITIONS, Streams, stream_key};

const PAUSE: Duration = Duration::from_millis(500);
const BATCH: usize = 256;
/// Events that a slow listener may be behind before it is told that it missed some.
const BACKLOG: usize = 4096;
/// Older events are not live any more: they come again when a lost stream is filled.
const LIVE_FOR: TimeDelta = TimeDelta::minutes(5);
/// Ids remembered, to pass each event on once when a stream is filled again.
const REMEMBERED: usize = 20_000;

/// Starts to tail all streams, from now on, until the process stops. Subscribe to the answer.
pub fn start(streams: &Streams, shutdown: &Shutdown) -> broadcast::Sender<Arc<Envelope>> {
    let (sender, _) = broadcast::channel(BACKLOG);
    let seen = Arc::new(Mutex::new(Seen::default()));
    for partition in 0..PARTITIONS {
        let (streams, sender, seen, shutdown) = (streams.clone(), sender.clone(), Arc::clone(&seen), shutdown.clone());
        tokio::spawn(async move {
            let mut last = None;
            while !shutdown.stop().is_cancelled() {
                if let Err(error) = follow(&streams, partition, &mut last, &sender, &seen, &shutdown).await {
                    tracing::warn!(%error, partition, "the live tail was interrupted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
    }
    sender
}

/// Follows one stream. `last` is the id to read on from, kept over reconnects so that nothing is missed.
async fn follow(
    streams: &Streams,
    partition: u16,
    last: &mut Option<String>,
    sender: &broadcast::Sender<Arc<Envelope>>,
    seen: &Mutex<Seen>,
    shutdown: &Shutdown,
) -> redis::RedisResult<()> {
    let mut connection = streams.dedicated().await?;
    let stream = stream_key(partition);
    while !shutdown.stop().is_cancelled() {
        let from = match last {
            Some(id) => id.clone(),
            None => newest(&mut connection, &stream).await?,
        };
        let answer: Option<Vec<(String, Vec<(String, Vec<Vec<u8>>)>)>> = redis::cmd("XREAD")
            .arg("COUNT")
            .arg(BATCH)
            .arg("BLOCK")
            .arg(BLOCK.as_millis() as u64)
            .arg("STREAMS")
            .arg(&stream)
            .arg(&from)
            .query_async(&mut connection)
            .await?;
        *last = Some(from);
        for (id, mut fields) in answer.into_iter().flatten().flat_map(|(_, entries)| entries) {
            *last = Some(id);
            let event = fields.pop().and_then(|envelope| Envelope::decode(envelope.as_slice()).ok());
            if let Some(event) =
                event.filter(|event| is_live(event) && seen.lock().is_ok_and(|mut seen| seen.first(&event.id)))
            {
                // Nobody listening is no error.
                let _ = sender.send(Arc::new(event));
            }
        }
    }
    Ok(())
}

async fn newest(connection: &mut MultiplexedConnection, stream: &str) -> redis::RedisResult<String> {
    let newest: Vec<(String, Vec<Vec<u8>>)> =
        redis::cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1).query_async(connection).await?;
    Ok(newest.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id))
}

fn is_live(event: &Envelope) -> bool {
    event.occurred_at.as_ref().and_then(datetime).is_some_and(|at| Utc::now() - at < LIVE_FOR)
}

/// Ids that came by lately.
#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    fn first(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
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
    fn an_event_counts_as_first_once_and_memory_is_bounded() {
        let mut seen = Seen::default();
        assert!(seen.first("a"));
        assert!(!seen.first("a"));
        for n in 0..REMEMBERED * 2 {
            seen.first(&n.to_string());
        }
        assert!(seen.ids.len() <= REMEMBERED && seen.order.len() <= REMEMBERED);
    }
}
