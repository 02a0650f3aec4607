//! Calls for REST requests, with dynamic messages.

use bytes::Buf as _;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::Upstream;

/// tonic's limit is disabled: the pool limits responses.
const MAX_MESSAGE_BYTES: usize = usize::MAX;

/// Calls a unary RPC.
pub(crate) async fn unary(
    upstream: Upstream,
    rpc: PathAndQuery,
    request: Request<DynamicMessage>,
    output: MessageDescriptor,
) -> Result<DynamicMessage, Status> {
    let mut client = Grpc::new(upstream).max_decoding_message_size(MAX_MESSAGE_BYTES);
    client.ready().await?;
    client.unary(request, rpc, DynamicCodec(output)).await.map(tonic::Response::into_inner)
}

/// Calls an RPC that streams its response. It returns with the metadata, before the first message.
pub(crate) async fn streaming(
    upstream: Upstream,
    rpc: PathAndQuery,
    request: Request<DynamicMessage>,
    output: MessageDescriptor,
) -> Result<tonic::Response<Streaming<DynamicMessage>>, Status> {
    let mut client = Grpc::new(upstream.streams()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    client.ready().await?;
    client.server_streaming(request, rpc, DynamicCodec(output)).await
}

/// Encodes any message, and decodes messages of this type.
#[derive(Debug, Clone)]
struct DynamicCodec(MessageDescriptor);

impl Codec for DynamicCodec {
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

impl Encoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(to).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let decoded = DynamicMessage::decode(self.0.clone(), bytes);
        decoded.map(Some).map_err(|error| Status::internal(format!("not a {}: {error}", self.0.full_name())))
    }
}
