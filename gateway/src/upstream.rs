//! The services behind the gateway: one lazily connected channel each, and the unary call that REST makes.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Buf as _;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

use crate::config::Config;

/// A page of a hundred tasks with long descriptions is larger than tonic's default of 4 MiB.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// Channels to the services, by proto package.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams(HashMap<&'static str, Channel>);

impl Upstreams {
    /// Channels that connect when they are first used, and again whenever they broke.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let channel = |(package, url): (&'static str, &str)| {
            let endpoint = Endpoint::from_shared(url.to_owned()).with_context(|| format!("the URL of {package}"))?;
            let endpoint = endpoint
                .connect_timeout(Duration::from_secs(3))
                .tcp_nodelay(true)
                .tcp_keepalive(Some(Duration::from_secs(30)))
                // Notices a dead peer while nothing is sent, as behind a firewall that forgot the connection.
                .http2_keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .keep_alive_while_idle(true)
                // The windows grow with the connection's speed; one of 64 KiB would throttle it.
                .http2_adaptive_window(true);
            Ok((package, endpoint.connect_lazy()))
        };
        config.upstreams().into_iter().map(channel).collect::<Result<_>>().map(Self)
    }

    /// The channel to the service that answers this package.
    pub(crate) fn of(&self, package: &str) -> Option<Channel> {
        self.0.get(package).cloned()
    }

    /// All packages and their channels.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, Channel)> {
        self.0.iter().map(|(package, channel)| (*package, channel.clone()))
    }
}

/// Calls a unary RPC.
pub(crate) async fn unary(
    channel: Channel,
    rpc: PathAndQuery,
    request: Request<DynamicMessage>,
    answer: MessageDescriptor,
) -> Result<DynamicMessage, Status> {
    let mut client = Grpc::new(channel).max_decoding_message_size(LARGEST_ANSWER);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.unary(request, rpc, Dynamic(answer)).await.map(tonic::Response::into_inner)
}

/// Calls an RPC that streams its answer.
pub(crate) async fn streaming(
    channel: Channel,
    rpc: PathAndQuery,
    request: Request<DynamicMessage>,
    answer: MessageDescriptor,
) -> Result<Streaming<DynamicMessage>, Status> {
    let mut client = Grpc::new(channel).max_decoding_message_size(LARGEST_ANSWER);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.server_streaming(request, rpc, Dynamic(answer)).await.map(tonic::Response::into_inner)
}

/// Encodes any message, decodes those of this type.
#[derive(Debug, Clone)]
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(to).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let decoded = DynamicMessage::decode(self.0.clone(), bytes);
        decoded.map(Some).map_err(|error| Status::internal(format!("not a {}: {error}", self.0.full_name())))
    }
}
