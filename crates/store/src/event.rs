//! Publishing an event in the transaction that makes it true.

use std::collections::HashSet;

use baton_catalog::{Partition, Payload};
use baton_errors::{Error, Result};
use baton_proto::{
    baton::events::v1::{self as proto, Envelope},
    convert::timestamp,
};
use baton_runtime::{Origin, Via, propagation};
use prost::Message;
use tracing::info_span;
use uuid::Uuid;

use crate::{Db, Tx, via};

/// Something that happened, about to be committed.
#[derive(Debug, Clone)]
pub struct Event {
    payload: Payload,
    account_id: Uuid,
    subject_id: Uuid,
}

impl Event {
    /// The event with this payload, which knows its type. `account_id` is nil for an event outside accounts;
    /// `subject_id` is the thing that it happened to.
    pub fn new(payload: Payload, account_id: Uuid, subject_id: Uuid) -> Self {
        Self { payload, account_id, subject_id }
    }
}

/// Columns of outbox rows that are to be inserted in this order.
#[must_use = "events that are not inserted are not published"]
#[derive(Debug, Default)]
pub struct OutboxRows {
    /// The ids of the events.
    pub ids: Vec<Uuid>,
    /// Their accounts; `None` for an event outside of accounts.
    pub account_ids: Vec<Option<Uuid>>,
    /// The encoded envelopes.
    pub envelopes: Vec<Vec<u8>>,
}

impl Tx {
    /// Writes the event to the outbox; it reaches the stream if and only if the transaction commits.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn publish(&mut self, event: Event) -> Result<()> {
        self.publish_all([event]).await
    }

    /// [`Tx::publish`] for several, in their order, with one statement.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn publish_all(&mut self, events: impl IntoIterator<Item = Event>) -> Result<()> {
        let OutboxRows { ids, account_ids, envelopes } = self.outbox_rows(events)?;
        if ids.is_empty() {
            return Ok(());
        }
        let insert = self.db().sql(
            "insert into {schema}.outbox (id, account_id, envelope)
             select id, account_id, envelope from unnest($1::uuid[], $2::uuid[], $3::bytea[])
             with ordinality as events (id, account_id, envelope, nth) order by nth",
        );
        sqlx::query(insert).bind(ids).bind(account_ids).bind(envelopes).execute(self.connection()).await?;
        Ok(())
    }

    /// The rows of the outbox for events, in their order: for a statement that inserts them together with other rows.
    /// [`Tx::publish_all`] is a statement of its own.
    ///
    /// # Errors
    /// INTERNAL if an event is published in the wrong partition.
    pub fn outbox_rows(&mut self, events: impl IntoIterator<Item = Event>) -> Result<OutboxRows> {
        let mut rows = OutboxRows::default();
        for event in events {
            let id = self.db().clock().new_id();
            rows.ids.push(id);
            rows.account_ids.push((!event.account_id.is_nil()).then_some(event.account_id));
            rows.envelopes.push(self.envelope(id, event)?.encode_to_vec());
            self.published = true;
        }
        Ok(rows)
    }

    fn envelope(&self, id: Uuid, event: Event) -> Result<Envelope> {
        let or_empty = |id: Uuid| if id.is_nil() { String::new() } else { id.to_string() };
        // Whoever handles the event continues the trace from here.
        let kind = event.payload.event_type();
        if (kind.partition() == Partition::Global) != event.account_id.is_nil() {
            return Err(Error::internal(format!("{kind} is published in the wrong partition")));
        }
        let span = info_span!("publish", otel.name = format!("publish {kind}"), otel.kind = "producer");
        Ok(Envelope {
            id: id.to_string(),
            r#type: kind.name().to_owned(),
            account_id: or_empty(event.account_id),
            subject_id: event.subject_id.to_string(),
            actor_id: or_empty(self.tenant().user_id),
            occurred_at: Some(timestamp(self.db().clock().now())),
            traceparent: span.in_scope(propagation::current_traceparent),
            payload: Some(event.payload.to_any().map_err(Error::internal)?),
            origin: origin(Origin::current()),
            via: Via::current().map(via::to_proto),
        })
    }

    /// Notes that this transaction handles these events. Answers those of them that none has before: for the others
    /// there is nothing left to do.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn handle_once(&mut self, events: &[Uuid]) -> Result<HashSet<Uuid>> {
        let insert = self.db().sql(
            "insert into {schema}.inbox (event_id) select unnest($1::uuid[]) on conflict do nothing returning event_id",
        );
        let new: Vec<Uuid> = sqlx::query_scalar(insert).bind(events).fetch_all(self.connection()).await?;
        Ok(new.into_iter().collect())
    }
}

fn origin(origin: Origin) -> Option<proto::Origin> {
    (origin != Origin::default()).then(|| proto::Origin {
        request_id: origin.request_id,
        address: origin.address.map(|address| address.to_string()).unwrap_or_default(),
        user_agent: origin.user_agent,
    })
}

impl Db {
    /// Which of these events this service has handled.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn handled(&self, events: &[Uuid]) -> Result<HashSet<Uuid>> {
        let select = self.sql("select event_id from {schema}.inbox where event_id = any($1)");
        let handled: Vec<Uuid> = sqlx::query_scalar(select).bind(events).fetch_all(self.system()).await?;
        Ok(handled.into_iter().collect())
    }

    /// Sets an event aside that could not be handled, for an operator to look at.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn dead_letter(&self, event_id: Uuid, envelope: &[u8], error: &Error) -> Result<()> {
        let insert = self.sql(
            "insert into {schema}.dead_letters (event_id, envelope, error) values ($1, $2, $3) on conflict do nothing",
        );
        // The reason only: a cause may quote what it choked on.
        sqlx::query(insert).bind(event_id).bind(envelope).bind(error.reason().name()).execute(self.system()).await?;
        Ok(())
    }
}
