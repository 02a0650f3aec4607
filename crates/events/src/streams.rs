//! The connection to the stream server, and its keys.

use std::time::Duration;

use anyhow::Context;
use baton_runtime::Secret;
use redis::{
    AsyncConnectionConfig, Client,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
};
use uuid::Uuid;

/// Number of streams; an event's account selects one. A change moves accounts between streams, so it is part of the
/// contract between versions.
pub const PARTITIONS: u16 = 8;
/// Approximate maximum length of a stream. Entries that were trimmed before they were read are in the outbox for three days.
pub(crate) const MAX_STREAM_LEN: usize = 200_000;

/// The channel of updates of conversations: encoded `baton.notification.v1.PublishConversationUpdatesRequest`s.
pub const CONVERSATIONS_CHANNEL: &str = "baton:live:conversations";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The stream server. Clones share one connection; blocking reads use their own.
#[derive(Clone)]
pub struct Streams {
    client: Client,
    shared: ConnectionManager,
}

impl Streams {
    /// Opens `url` (`redis://…`). Connects on first use, and again after the connection is lost.
    ///
    /// # Errors
    /// If the URL does not parse.
    pub fn open(url: &Secret) -> anyhow::Result<Self> {
        let client = Client::open(url.expose()).context("must be a Redis URL such as redis://127.0.0.1:6379")?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let shared = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        Ok(Self { client, shared })
    }

    /// The shared connection, for commands that do not block.
    pub fn connection(&self) -> ConnectionManager {
        self.shared.clone()
    }

    /// Publishes a message on a channel of the server, which has nothing to do with the streams: it is stored nowhere, and
    /// received by those who are subscribed at the moment.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn publish_ephemeral(&self, channel: &str, message: &[u8]) -> redis::RedisResult<()> {
        redis::cmd("PUBLISH").arg(channel).arg(message).query_async(&mut self.connection()).await
    }

    /// Subscribes to such a channel.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn subscribe(&self, channel: &str) -> redis::RedisResult<redis::aio::PubSub> {
        let mut subscription = self.client.get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        Ok(subscription)
    }

    /// A separate connection, for reads that block.
    pub(crate) async fn dedicated(&self) -> redis::RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT + BLOCK_TIMEOUT));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

/// The result of a stream read: stream names and entries, each an id and its fields; nil if nothing arrived in time.
pub(crate) type Answer<Fields> = Option<Vec<(String, Vec<(String, Fields)>)>>;

/// Time that a read waits for new entries.
pub(crate) const BLOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// The partition of an account. FNV-1a, which is the same in every process and version.
pub fn partition(account_id: Uuid) -> u16 {
    let hash = account_id
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash % u64::from(PARTITIONS)) as u16
}

/// The key of a partition's stream. The braces keep a partition's keys on one node of a Redis Cluster.
pub(crate) fn stream_key(partition: u16) -> String {
    format!("baton:{{events-{partition}}}")
}

/// The key of the lease of a partition for a consumer group.
pub(crate) fn lease_key(partition: u16, group: &str) -> String {
    format!("baton:{{events-{partition}}}:lease:{group}")
}

/// The key of the marker of a service's relay.
pub(crate) fn mark_key(schema: &str) -> String {
    format!("baton:relay:{schema}:mark")
}
