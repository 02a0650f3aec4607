//! A gRPC-Web client (`application/grpc-web+proto`) as in a browser: HTTP/1.1, trailers in the body.

use prost::Message;
use reqwest::{
    Client, Response,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::Person;

/// Flag of the trailers frame.
const TRAILERS: u8 = 0x80;
/// Size of a frame's flag and length.
const FRAME_HEAD: usize = 5;

/// A gRPC-Web client.
#[derive(Debug, Clone)]
pub struct GrpcWeb {
    client: Client,
    root: String,
}

impl GrpcWeb {
    pub(crate) fn new(client: Client, root: String) -> Self {
        Self { client, root }
    }

    /// Calls a unary RPC: `/baton.task.v1.TaskService/GetTask`.
    ///
    /// # Errors
    /// The status of the refusal; UNAVAILABLE if the response is incomplete.
    pub async fn call<A: Message + Default>(
        &self,
        caller: Option<(&Person, Uuid)>,
        rpc: &str,
        message: &impl Message,
    ) -> Result<A, Status> {
        let mut body = self.open(caller, rpc, message).await?;
        let mut response = None;
        while let Some(frame) = body.next().await? {
            match frame {
                Frame::Message(bytes) => response = Some(bytes),
                Frame::Trailers(status) if status.code() == Code::Ok => {}
                Frame::Trailers(status) => return Err(status),
            }
        }
        let response = response.ok_or_else(|| Status::internal("an answer without a message"))?;
        A::decode(&*response).map_err(|error| Status::internal(error.to_string()))
    }

    /// Calls an RPC and returns its response body.
    ///
    /// # Errors
    /// The status in the response headers; UNAVAILABLE if there is no response.
    pub async fn open(
        &self,
        caller: Option<(&Person, Uuid)>,
        rpc: &str,
        message: &impl Message,
    ) -> Result<WebBody, Status> {
        let mut request = self
            .client
            .post(format!("{}{rpc}", self.root))
            .header("content-type", "application/grpc-web+proto")
            .body(frame(message));
        if let Some((person, account_id)) = caller {
            request = request.bearer_auth(&person.token).header("x-account-id", account_id.to_string());
        }
        let response = request.send().await.map_err(broken)?;
        if response.status() != 200 {
            return Err(Status::unknown(format!("HTTP status {}", response.status())));
        }
        match Status::from_header_map(response.headers()) {
            Some(status) if status.code() != Code::Ok => Err(status),
            _ => Ok(WebBody { response, read: Vec::new() }),
        }
    }
}

/// Encodes one message as a gRPC frame: flag, length, message.
pub fn frame(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a message of less than 4 GiB");
    [&[0], &length.to_be_bytes()[..], &message].concat()
}

/// A frame of a body.
#[derive(Debug)]
pub enum Frame {
    /// A message, encoded.
    Message(Vec<u8>),
    /// The trailers, the last frame.
    Trailers(Status),
}

/// A response body that is still being received.
#[derive(Debug)]
pub struct WebBody {
    response: Response,
    read: Vec<u8>,
}

impl WebBody {
    /// Returns the next frame; `None` at the end.
    ///
    /// # Errors
    /// UNAVAILABLE if the body breaks off.
    pub async fn next(&mut self) -> Result<Option<Frame>, Status> {
        loop {
            if let Some(frame) = self.whole_frame() {
                return Ok(Some(frame));
            }
            match self.response.chunk().await.map_err(broken)? {
                Some(chunk) => self.read.extend_from_slice(&chunk),
                None if self.read.is_empty() => return Ok(None),
                None => return Err(Status::unavailable("the body ended within a frame")),
            }
        }
    }

    fn whole_frame(&mut self) -> Option<Frame> {
        let head: [u8; FRAME_HEAD] = self.read.get(..FRAME_HEAD)?.try_into().ok()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let end = FRAME_HEAD + length;
        let content = self.read.get(FRAME_HEAD..end)?.to_vec();
        self.read.drain(..end);
        Some(if head[0] & TRAILERS == 0 { Frame::Message(content) } else { Frame::Trailers(status(&content)) })
    }
}

/// Parses the trailers, which are encoded as HTTP/1.1 headers.
fn status(trailers: &[u8]) -> Status {
    let text = String::from_utf8_lossy(trailers);
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let headers: HeaderMap = lines
        .filter_map(|(name, value)| {
            Some((name.trim().parse::<HeaderName>().ok()?, value.trim().parse::<HeaderValue>().ok()?))
        })
        .collect();
    Status::from_header_map(&headers).unwrap_or_else(|| Status::internal("trailers without a status"))
}

fn broken(error: reqwest::Error) -> Status {
    Status::unavailable(format!("no whole answer: {error:?}"))
}
