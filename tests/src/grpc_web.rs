//! gRPC-Web, `application/grpc-web+proto`, as a browser speaks it: over HTTP/1.1, trailers in the body.

use prost::Message;
use reqwest::{
    Client, Response,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::Person;

/// The flag of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;
/// Flag and length.
const FRAME_HEAD: usize = 5;

/// Calls over gRPC-Web.
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
    /// The status that it was refused with; UNAVAILABLE when there was no whole answer.
    pub async fn call<A: Message + Default>(
        &self,
        caller: Option<(&Person, Uuid)>,
        rpc: &str,
        message: &impl Message,
    ) -> Result<A, Status> {
        let mut body = self.open(caller, rpc, message).await?;
        let mut answer = None;
        while let Some(frame) = body.next().await? {
            match frame {
                Frame::Message(bytes) => answer = Some(bytes),
                Frame::Trailers(status) if status.code() == Code::Ok => {}
                Frame::Trailers(status) => return Err(status),
            }
        }
        let answer = answer.ok_or_else(|| Status::internal("an answer without a message"))?;
        A::decode(&*answer).map_err(|error| Status::internal(error.to_string()))
    }

    /// Calls an RPC, and answers its body.
    ///
    /// # Errors
    /// The status that it was refused with in its headers; UNAVAILABLE when no answer began.
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

/// One message as gRPC sends it: a flag, the length, the message.
pub fn frame(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a message of less than 4 GiB");
    [&[0], &length.to_be_bytes()[..], &message].concat()
}

/// What a body consists of.
#[derive(Debug)]
pub enum Frame {
    /// A message, encoded.
    Message(Vec<u8>),
    /// The trailers, which are the last.
    Trailers(Status),
}

/// A body as it arrives.
#[derive(Debug)]
pub struct WebBody {
    response: Response,
    read: Vec<u8>,
}

impl WebBody {
    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// UNAVAILABLE when the body broke off.
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

/// The trailers are lines, as HTTP/1.1 has headers.
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
