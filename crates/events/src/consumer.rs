//! From the streams into a service, in order and once.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use baton_catalog::EventType;
use baton_errors::{Error, Reason, Result};
use baton_proto::{baton::events::v1::Envelope, convert::datetime};
use baton_runtime::{Shutdown, propagation};
use baton_store::{Db, Tenant, Tx};
use futures_util::FutureExt;
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge},
};
use prost::Message;
use redis::{Script, aio::MultiplexedConnection};
use tracing::{Instrument, Span, info_span};
use uuid::Uuid;

use crate::streams::{Answer, BLOCK_TIMEOUT, PARTITIONS, Streams, lease_key, stream_key};

/// How long a holder keeps a partition without renewing. One that takes longer over an event may be
/// overtaken; the inbox makes the second wait for the first, so that costs time and no more.
const LEASE_TTL: Duration = Duration::from_secs(10);
const RENEW_INTERVAL: Duration = Duration::from_secs(3);
const RETRY_DELAY: Duration = Duration::from_millis(500);
const BATCH: usize = 64;
/// Tries of an event that fails for reasons of its own, before it is set aside.
const MAX_ATTEMPTS: u32 = 5;

/// An event that is being taken in.
#[derive(Debug)]
pub struct Delivery {
    /// What happened.
    pub event: Envelope,
    /// Goes on with the trace of what caused the event, until it is taken in.
    pub span: Span,
    id: Uuid,
    /// As it came: what is set aside lacks nothing that a newer version knows.
    envelope: Vec<u8>,
}

impl Delivery {
    fn new(id: Uuid, event: Envelope, envelope: Vec<u8>) -> Self {
        let span = info_span!("consume", otel.name = format!("consume {}", event.r#type), otel.kind = "consumer", event.id = %id);
        propagation::continue_from_traceparent(&span, &event.traceparent);
        Self { event, span, id, envelope }
    }
}

/// What a service does with events.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Whether the service cares for events of this type (`task.assigned`).
    fn handles(&self, kind: Option<EventType>) -> bool;

    /// Takes the event in. `tx` is bound to the event's account and has noted the event in the inbox: what
    /// is written in it happens once.
    ///
    /// # Errors
    /// Any; the event is tried again, and set aside after a few times unless the platform is at fault.
    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()>;

    /// Takes in several events of one account, in their order, in one transaction: many that come at once cost little
    /// more than one. To be written where a service can do better than one after the other.
    ///
    /// # Errors
    /// Any; then they are handled one by one.
    async fn handle_all(&self, tx: &mut Tx, events: &[&Delivery]) -> Result<()> {
        let tenant = tx.tenant();
        for delivery in events {
            self.handle(tx, &delivery.event).instrument(delivery.span.clone()).await?;
            if tx.tenant() != tenant {
                tx.switch(tenant).await?;
            }
        }
        Ok(())
    }
}

/// Handles all events, as group `db.schema()`, until the process stops.
///
/// Each partition has one reader per group at a time, so the events of an account are handled in order;
/// a reader that is gone is replaced when its lease ends.
pub async fn run<H: Handler>(db: Db, streams: Streams, handler: H, shutdown: Shutdown) {
    let handler = Arc::new(handler);
    let readers: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let reader = Reader {
                id: Uuid::new_v4().to_string(),
                stream: stream_key(partition),
                lease: lease_key(partition, db.schema()),
                metrics: Metrics::new(db.schema(), partition),
                db: db.clone(),
                streams: streams.clone(),
                handler: Arc::clone(&handler),
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
    metrics: Metrics,
    db: Db,
    streams: Streams,
    handler: Arc<H>,
    shutdown: Shutdown,
}

/// An entry of the stream: its id and its envelope; none when it was trimmed before it was handled.
type Entry = (String, Option<Vec<u8>>);

impl<H: Handler> Reader<H> {
    async fn run(&self) {
        while !self.stopping() {
            if let Err(error) = self.read().await {
                tracing::warn!(error = format!("{error:#}"), stream = self.stream, "reading events was interrupted");
            }
            tokio::select! {
                () = self.shutdown.stop().cancelled() => {}
                () = tokio::time::sleep(RETRY_DELAY) => {}
            }
        }
        // Another need not wait for the lease to end. Without a server there is none to give.
        let _ = self.give_lease().await;
    }

    fn stopping(&self) -> bool {
        self.shutdown.stop().is_cancelled()
    }

    /// Holds the partition and reads it, until the lease or the connection is lost.
    async fn read(&self) -> anyhow::Result<()> {
        if !self.hold_lease().await? {
            return Ok(());
        }
        let mut held = Instant::now();
        let mut connection = self.streams.dedicated().await?;
        self.ensure_group(&mut connection).await?;
        // First what a holder before us read and did not finish, then what is new.
        let mut from = "0";
        while !self.stopping() {
            let entries = self.next(&mut connection, from).await?;
            if entries.is_empty() {
                from = ">";
                self.metrics.idle();
            }
            let mut handled = Vec::with_capacity(entries.len());
            let outcome = self.process_all(entries, &mut held, &mut handled).await;
            if !handled.is_empty() {
                let mut ack = redis::cmd("XACK");
                ack.arg(&self.stream).arg(self.db.schema()).arg(&handled);
                let () = ack.query_async(&mut connection).await?;
            }
            outcome?;
            if !self.still_holds(&mut held).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Handles entries, those of an account in their order, while we may; notes the ids of those that need not come
    /// again.
    async fn process_all(
        &self,
        entries: Vec<Entry>,
        held: &mut Instant,
        handled: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let mut wanted = Vec::with_capacity(entries.len());
        for (entry, envelope) in entries {
            match self.read_entry(envelope).await? {
                Some(delivery) => wanted.push((entry, delivery)),
                None => handled.push(entry),
            }
        }
        // A stream that was filled again brings thousands of events that were handled before: one look tells
        // them all. About the rest the inbox decides.
        let ids: Vec<Uuid> = wanted.iter().map(|(_, delivery)| delivery.id).collect();
        let known = if ids.is_empty() { Default::default() } else { self.db.handled(&ids).await? };
        let mut accounts: BTreeMap<String, (Vec<String>, Vec<Delivery>)> = BTreeMap::new();
        for (entry, delivery) in wanted {
            if known.contains(&delivery.id) {
                handled.push(entry);
            } else {
                let (entries, events) = accounts.entry(delivery.event.account_id.clone()).or_default();
                entries.push(entry);
                events.push(delivery);
            }
        }
        for (account_id, (entries, events)) in accounts {
            if self.stopping() || !self.still_holds(held).await? {
                break;
            }
            // Those of no account may be about anything, and have nothing to share a transaction for.
            if !account_id.is_empty() && events.len() > 1 && self.process_together(&events).await {
                handled.extend(entries);
                continue;
            }
            for (entry, delivery) in entries.into_iter().zip(&events) {
                if self.stopping() || !self.still_holds(held).await? {
                    break;
                }
                self.process(delivery).await?;
                handled.push(entry);
            }
        }
        Ok(())
    }

    /// Whether the partition is still ours; asks when the lease needs renewing.
    async fn still_holds(&self, held: &mut Instant) -> redis::RedisResult<bool> {
        if held.elapsed() < RENEW_INTERVAL {
            return Ok(true);
        }
        *held = Instant::now();
        self.hold_lease().await
    }

    /// Takes the lease, or renews it; `false` when another holds it.
    async fn hold_lease(&self) -> redis::RedisResult<bool> {
        Script::new(
            "local holder = redis.call('get', KEYS[1])
             if holder and holder ~= ARGV[1] then return 0 end
             redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
             return 1",
        )
        .key(&self.lease)
        .arg(&self.id)
        .arg(LEASE_TTL.as_millis() as u64)
        .invoke_async(&mut self.streams.connection())
        .await
    }

    async fn give_lease(&self) -> redis::RedisResult<()> {
        Script::new("if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0")
            .key(&self.lease)
            .arg(&self.id)
            .invoke_async(&mut self.streams.connection())
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

    async fn next(&self, connection: &mut MultiplexedConnection, from: &str) -> redis::RedisResult<Vec<Entry>> {
        // All holders read under one consumer name: so the pending entries of one that is gone are found.
        // A pending entry that was trimmed has nil for its fields.
        let answer: Answer<Option<Vec<Vec<u8>>>> = redis::cmd("XREADGROUP")
            .arg("GROUP")
            .arg(self.db.schema())
            .arg("holder")
            .arg("COUNT")
            .arg(BATCH)
            .arg("BLOCK")
            .arg(BLOCK_TIMEOUT.as_millis() as u64)
            .arg("STREAMS")
            .arg(&self.stream)
            .arg(from)
            .query_async(connection)
            .await?;
        let entries = answer.into_iter().flatten().flat_map(|(_, entries)| entries);
        Ok(entries.map(|(id, fields)| (id, fields.and_then(|mut fields| fields.pop()))).collect())
    }

    /// The event of an entry; `None` when there is nothing to do about it: it is gone, no event, or none of ours.
    async fn read_entry(&self, envelope: Option<Vec<u8>>) -> anyhow::Result<Option<Delivery>> {
        let Some(envelope) = envelope else {
            tracing::error!(stream = self.stream, "an event was trimmed before it was handled");
            self.metrics.lost();
            return Ok(None);
        };
        let event = Envelope::decode(envelope.as_slice()).ok();
        let identified = event.and_then(|event| Some((event.id.parse::<Uuid>().ok()?, event)));
        let Some((id, event)) = identified else {
            self.dead_letter(Uuid::now_v7(), &envelope, &Error::internal("an entry is no event")).await?;
            return Ok(None);
        };
        Ok(self.handler.handles(EventType::of(&event)).then(|| Delivery::new(id, event, envelope)))
    }

    /// Handles events of one account together. `false` when that fails, for whatever reason: one by one they show which
    /// of them it is.
    async fn process_together(&self, events: &[Delivery]) -> bool {
        let events: Vec<&Delivery> = events.iter().collect();
        if let Err(error) = self.handle(&events).await {
            tracing::debug!(%error, events = events.len(), "cannot handle events together");
            return false;
        }
        for delivery in events {
            self.metrics.handled(&self.db, &delivery.event);
        }
        true
    }

    /// Handles one event to its end: taken in, or set aside. Fails only where the platform does.
    async fn process(&self, delivery: &Delivery) -> anyhow::Result<()> {
        for attempt in 1.. {
            let error = match self.handle(&[delivery]).await {
                Ok(()) => break,
                Err(error) => error,
            };
            let platform = matches!(error.reason(), Reason::Unavailable | Reason::Busy | Reason::Conflict);
            tracing::warn!(%error, event.id = %delivery.id, attempt, "cannot handle an event");
            if platform && attempt >= MAX_ATTEMPTS {
                // Left pending; read again when the platform is back.
                return Err(error.into());
            }
            if attempt >= MAX_ATTEMPTS {
                self.dead_letter(delivery.id, &delivery.envelope, &error).await?;
                break;
            }
            tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
        }
        self.metrics.handled(&self.db, &delivery.event);
        Ok(())
    }

    /// Handles events of one account in one transaction, but for those that the inbox has already.
    async fn handle(&self, events: &[&Delivery]) -> Result<()> {
        let Some(first) = events.first() else { return Ok(()) };
        let account_id = first.event.account_id.parse().unwrap_or_default();
        let mut tx = self.db.begin(Tenant::account(account_id)).await?;
        let ids: Vec<Uuid> = events.iter().map(|delivery| delivery.id).collect();
        let mut new = tx.handle_once(&ids).await?;
        // A stream that was filled again has some twice, in one batch even.
        let events: Vec<&Delivery> = events.iter().copied().filter(|delivery| new.remove(&delivery.id)).collect();
        if events.is_empty() {
            return Ok(());
        }
        // A panic would end this reader, and then the next that takes the event up.
        let handled = AssertUnwindSafe(async {
            match events[..] {
                [delivery] => self.handler.handle(&mut tx, &delivery.event).instrument(delivery.span.clone()).await,
                _ => self.handler.handle_all(&mut tx, &events).await,
            }
        });
        let handled = handled.catch_unwind().await;
        handled.unwrap_or_else(|_| Err(Error::internal("the handler panicked")))?;
        tx.commit().await
    }

    async fn dead_letter(&self, event_id: Uuid, envelope: &[u8], error: &Error) -> anyhow::Result<()> {
        tracing::error!(%error, event.id = %event_id, "set an event aside as a dead letter");
        self.db.dead_letter(event_id, envelope, error).await?;
        self.metrics.dead_letter();
        Ok(())
    }
}

/// The reader's instruments, by service and partition.
struct Metrics {
    lag: Gauge<f64>,
    handled: Counter<u64>,
    dead_letters: Counter<u64>,
    lost: Counter<u64>,
    attributes: [KeyValue; 2],
}

impl Metrics {
    fn new(service: &'static str, partition: u16) -> Self {
        let meter = global::meter("baton");
        Self {
            lag: meter.f64_gauge("baton.consumer.lag").with_unit("s").build(),
            handled: meter.u64_counter("baton.events.handled").build(),
            dead_letters: meter.u64_counter("baton.events.dead_letters").build(),
            lost: meter.u64_counter("baton.events.lost").build(),
            attributes: [KeyValue::new("service", service), KeyValue::new("partition", i64::from(partition))],
        }
    }

    fn handled(&self, db: &Db, event: &Envelope) {
        let occurred = event.occurred_at.as_ref().and_then(datetime);
        let lag = occurred.map_or(0.0, |at| (db.clock().now() - at).as_seconds_f64());
        self.lag.record(lag, &self.attributes);
        self.handled.add(1, &self.attributes);
    }

    fn idle(&self) {
        self.lag.record(0.0, &self.attributes);
    }

    fn dead_letter(&self) {
        self.dead_letters.add(1, &self.attributes);
    }

    fn lost(&self) {
        self.lost.add(1, &self.attributes);
    }
}
