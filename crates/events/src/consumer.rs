//! From the streams into a service, in order and once.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use baton_errors::{Error, Reason, Result};
use baton_proto::{baton::events::v1::Envelope, convert::datetime};
use baton_runtime::{Shutdown, propagation};
use baton_store::{Db, Tenant, Tx};
use opentelemetry::{KeyValue, global};
use prost::Message;
use redis::{Script, aio::MultiplexedConnection};
use tracing::{Instrument, info_span};
use uuid::Uuid;

use crate::streams::{BLOCK, PARTITIONS, Streams, lease_key, stream_key};

/// How long a holder keeps a partition without renewing.
const LEASE: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(500);
const BATCH: usize = 64;
/// Tries of an event that fails for reasons of its own, before it is set aside.
const TRIES: u32 = 5;

/// What a service does with events.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Whether the service cares for events of this type (`task.assigned`).
    fn wants(&self, kind: &str) -> bool;

    /// Takes the event in. `tx` is bound to the event's account and has noted the event in the inbox: what
    /// is written in it happens once.
    ///
    /// # Errors
    /// Any; the event is tried again, and set aside after a few times unless the platform is at fault.
    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()>;
}

/// Handles all events, as group `db.schema()`, until the process stops.
///
/// Each partition has one reader per group at a time, so the events of an account are handled in order;
/// a reader that is gone is replaced when its lease ends.
pub async fn run<H: Handler>(db: Db, streams: Streams, handler: H, shutdown: Shutdown) {
    let handler = std::sync::Arc::new(handler);
    let readers: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let reader = Reader {
                id: Uuid::new_v4().to_string(),
                stream: stream_key(partition),
                lease: lease_key(partition, db.schema()),
                db: db.clone(),
                streams: streams.clone(),
                handler: std::sync::Arc::clone(&handler),
                shutdown: shutdown.clone(),
            };
            tokio::spawn(async move { reader.run().await })
        })
        .collect();
    for reader in readers {
        if let Err(error) = reader.await {
            tracing::error!(%error, "a reader of events ended");
        }
    }
}

struct Reader<H> {
    id: String,
    stream: String,
    lease: String,
    db: Db,
    streams: Streams,
    handler: std::sync::Arc<H>,
    shutdown: Shutdown,
}

/// Stream entries: id and envelope.
type Entries = Vec<(String, Vec<u8>)>;

impl<H: Handler> Reader<H> {
    async fn run(&self) {
        while !self.stopping() {
            if let Err(error) = self.read().await {
                tracing::warn!(error = format!("{error:#}"), stream = self.stream, "reading events was interrupted");
            }
            tokio::select! {
                () = self.shutdown.stop().cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    fn stopping(&self) -> bool {
        self.shutdown.stop().is_cancelled()
    }

    /// Holds the partition and reads it, until the lease or the connection is lost.
    async fn read(&self) -> anyhow::Result<()> {
        let mut connection = self.streams.dedicated().await?;
        if !self.take_lease(&mut connection).await? {
            return Ok(());
        }
        self.ensure_group(&mut connection).await?;
        let mut renewed = Instant::now();
        // First what a holder before us read and did not finish, then what is new.
        let mut from = "0";
        while !self.stopping() {
            let entries = self.next(&mut connection, from).await?;
            if entries.is_empty() {
                from = ">";
            }
            for (id, envelope) in entries {
                if renewed.elapsed() > RENEW_EVERY {
                    if !self.renew_lease(&mut connection).await? {
                        return Ok(());
                    }
                    renewed = Instant::now();
                }
                self.take_in(&envelope).await?;
                let () = redis::cmd("XACK")
                    .arg(&self.stream)
                    .arg(self.db.schema())
                    .arg(&id)
                    .query_async(&mut connection)
                    .await?;
                if self.stopping() {
                    break;
                }
            }
            if renewed.elapsed() > RENEW_EVERY {
                if !self.renew_lease(&mut connection).await? {
                    return Ok(());
                }
                renewed = Instant::now();
            }
        }
        self.give_lease(&mut connection).await?;
        Ok(())
    }

    async fn take_lease(&self, connection: &mut MultiplexedConnection) -> redis::RedisResult<bool> {
        let set: Option<String> = redis::cmd("SET")
            .arg(&self.lease)
            .arg(&self.id)
            .arg("NX")
            .arg("PX")
            .arg(LEASE.as_millis() as u64)
            .query_async(connection)
            .await?;
        Ok(set.is_some())
    }

    async fn renew_lease(&self, connection: &mut MultiplexedConnection) -> redis::RedisResult<bool> {
        Script::new(
            "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0",
        )
        .key(&self.lease)
        .arg(&self.id)
        .arg(LEASE.as_millis() as u64)
        .invoke_async(connection)
        .await
    }

    async fn give_lease(&self, connection: &mut MultiplexedConnection) -> redis::RedisResult<()> {
        Script::new("if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0")
            .key(&self.lease)
            .arg(&self.id)
            .invoke_async(connection)
            .await
    }

    async fn ensure_group(&self, connection: &mut MultiplexedConnection) -> redis::RedisResult<()> {
        let created: redis::RedisResult<()> = redis::cmd("XGROUP")
            .arg("CREATE")
            .arg(&self.stream)
            .arg(self.db.schema())
            .arg("0")
            .arg("MKSTREAM")
            .query_async(connection)
            .await;
        match created {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            other => other,
        }
    }

    async fn next(&self, connection: &mut MultiplexedConnection, from: &str) -> redis::RedisResult<Entries> {
        // All holders read under one consumer name: so the pending entries of one that is gone are found.
        let answer: Option<Vec<(String, Vec<(String, Option<Vec<Vec<u8>>>)>)>> = redis::cmd("XREADGROUP")
            .arg("GROUP")
            .arg(self.db.schema())
            .arg("holder")
            .arg("COUNT")
            .arg(BATCH)
            .arg("BLOCK")
            .arg(BLOCK.as_millis() as u64)
            .arg("STREAMS")
            .arg(&self.stream)
            .arg(from)
            .query_async(connection)
            .await?;
        let entries = answer.into_iter().flatten().flat_map(|(_, entries)| entries);
        // A pending entry that was trimmed has no fields left; acknowledging it is all there is to do.
        Ok(entries.map(|(id, fields)| (id, fields.and_then(|mut f| f.pop()).unwrap_or_default())).collect())
    }

    /// Handles one entry to its end: taken in, not ours, or set aside. Fails only where the platform does.
    async fn take_in(&self, envelope: &[u8]) -> anyhow::Result<()> {
        let Ok(event) = Envelope::decode(envelope) else {
            tracing::error!(stream = self.stream, "an entry is no event; skipped");
            return Ok(());
        };
        let (Ok(event_id), true) = (event.id.parse::<Uuid>(), self.handler.wants(&event.r#type)) else { return Ok(()) };
        let account_id = event.account_id.parse().unwrap_or_default();
        let span = info_span!("consume", otel.name = format!("consume {}", event.r#type), otel.kind = "consumer", event.id = %event_id);
        propagation::continue_from_traceparent(&span, &event.traceparent);
        for attempt in 1.. {
            let error = match self.handle(event_id, account_id, &event).instrument(span.clone()).await {
                Ok(()) => break,
                Err(error) => error,
            };
            let platform = matches!(error.reason(), Reason::Unavailable | Reason::Busy | Reason::Conflict);
            tracing::warn!(%error, event.id = %event_id, attempt, "cannot handle an event");
            if platform && attempt >= TRIES {
                // Left pending; read again when the platform is back.
                return Err(error.into());
            }
            if attempt >= TRIES {
                self.set_aside(event_id, envelope, &error).await?;
                break;
            }
            tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
        }
        self.measure(&event);
        Ok(())
    }

    async fn handle(&self, event_id: Uuid, account_id: Uuid, event: &Envelope) -> Result<()> {
        let mut tx = self.db.begin(Tenant::account(account_id)).await?;
        if tx.handle_once(event_id).await? {
            self.handler.handle(&mut tx, event).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn set_aside(&self, event_id: Uuid, envelope: &[u8], error: &Error) -> anyhow::Result<()> {
        tracing::error!(%error, event.id = %event_id, "set an event aside as a dead letter");
        self.db.set_aside(event_id, envelope, error).await?;
        self.count("baton.events.dead_letters");
        Ok(())
    }

    fn measure(&self, event: &Envelope) {
        let occurred = event.occurred_at.as_ref().and_then(datetime);
        let lag = occurred.map_or(0.0, |at| (self.db.clock().now() - at).as_seconds_f64());
        let attributes = [KeyValue::new("service", self.db.schema())];
        global::meter("baton").f64_gauge("baton.consumer.lag").with_unit("s").build().record(lag, &attributes);
        self.count("baton.events.handled");
    }

    fn count(&self, name: &'static str) {
        let attributes = [KeyValue::new("service", self.db.schema())];
        global::meter("baton").u64_counter(name).build().add(1, &attributes);
    }
}
