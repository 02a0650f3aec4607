//! gRPC-Web, with hand-made frames (`tests/` covers published clients).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_errors::{Error, Reason};
use baton_proto::baton::task::v1::{GetTaskRequest, GetTaskResponse};
use prost::Message as _;
use reqwest::{Method, Response};

use crate::fixture::{Fixture, TASK, header};

const GET_TASK: &str = "/baton.task.v1.TaskService/GetTask";
/// The flag of a frame with trailers.
const TRAILERS: u8 = 0x80;

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short");
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// Splits a body into frames: flag and payload.
fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [flag, a, b, c, d, rest @ ..] = body {
        let (payload, rest) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        frames.push((*flag, payload.to_vec()));
        body = rest;
    }
    frames
}

/// Returns a trailer.
fn trailer(payload: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(payload).expect("text");
    let lines = text.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned()).next()
}

async fn call(fixture: &Fixture, path: &str, content_type: &str, body: Vec<u8>) -> Response {
    let request = fixture.post(path).header("content-type", content_type).header("x-grpc-web", "1").body(body);
    request.send().await.expect("a response")
}

#[tokio::test]
async fn binary_and_text_requests_get_their_own_format() {
    let fixture = Fixture::start().await;
    fixture.service.respond_with_task(TASK, 3);
    let request = frame(&GetTaskRequest { id: TASK.to_owned(), as_of: None }.encode_to_vec());

    let response = call(&fixture, GET_TASK, "application/grpc-web+proto", request.clone()).await;
    assert_eq!(header(&response, "content-type"), Some("application/grpc-web+proto"));
    let binary = frames(&response.bytes().await.expect("read"));

    let encoded = STANDARD.encode(&request).into_bytes();
    let request = fixture
        .post(GET_TASK)
        .header("content-type", "application/grpc-web-text")
        .header("accept", "application/grpc-web-text")
        .body(encoded);
    let response = request.send().await.expect("a response");
    assert!(header(&response, "content-type").expect("a type").starts_with("application/grpc-web-text"));
    let text = response.bytes().await.expect("read");
    // Each chunk is padded separately.
    let text: Vec<u8> = text.chunks(4).flat_map(|quad| STANDARD.decode(quad).expect("base64")).collect();

    for frames in [binary, frames(&text)] {
        let [(0, message), (TRAILERS, trailers)] = &frames[..] else { panic!("{frames:?}") };
        let task = GetTaskResponse::decode(message.as_slice()).expect("the answer").task.expect("a task");
        assert_eq!((task.id.as_str(), task.version), (TASK, 3));
        assert_eq!(trailer(trailers, "grpc-status").as_deref(), Some("0"));
    }
    let asked: GetTaskRequest = fixture.service.calls("TaskService/GetTask")[1].decode();
    assert_eq!(asked.id, TASK);
}

/// Returns the status: from a frame of trailers, or from the headers of an empty response.
async fn status_of(response: Response) -> String {
    assert_eq!(response.status(), 200);
    if let Some(status) = header(&response, "grpc-status") {
        return status.to_owned();
    }
    let frames = frames(&response.bytes().await.expect("read"));
    let (flag, payload) = frames.last().expect("trailers");
    assert_eq!(*flag, TRAILERS);
    trailer(payload, "grpc-status").expect("a status")
}

#[tokio::test]
async fn errors_have_a_status() {
    let fixture = Fixture::start().await;
    fixture.service.fail("TaskService/GetTask", || Error::from(Reason::TaskNotFound).into());
    let body = frame(&GetTaskRequest { id: TASK.to_owned(), as_of: None }.encode_to_vec());
    assert_eq!(status_of(call(&fixture, GET_TASK, "application/grpc-web", body.clone()).await).await, "5");
    let unknown = call(&fixture, "/baton.billing.v1.BillingService/Pay", "application/grpc-web", body).await;
    assert_eq!(header(&unknown, "content-type"), Some("application/grpc-web+proto"));
    assert_eq!(status_of(unknown).await, "12");
}

#[tokio::test]
async fn browsers_may_call_from_configured_origins() {
    let fixture = Fixture::start().await;
    fixture.service.respond_with_task(TASK, 1);
    let preflight = fixture
        .request(Method::OPTIONS, GET_TASK)
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-grpc-web,x-user-agent");
    let response = preflight.send().await.expect("a response");
    assert_eq!(header(&response, "access-control-allow-origin"), Some("https://app.example.com"));
    let body = frame(&GetTaskRequest { id: TASK.to_owned(), as_of: None }.encode_to_vec());
    let call = fixture.post(GET_TASK).header("content-type", "application/grpc-web").body(body);
    let response = call.header("origin", "https://app.example.com").send().await.expect("a response");
    assert!(header(&response, "access-control-expose-headers").expect("exposed").contains("grpc-status"));
}

#[tokio::test]
async fn unsupported_content_types_are_refused() {
    let fixture = Fixture::start().await;
    // The second is native gRPC, but this client speaks HTTP/1.1.
    for content_type in ["application/grpc-web+json", "application/grpc", "application/grpc+json"] {
        assert_eq!(call(&fixture, GET_TASK, content_type, frame(&[])).await.status(), 415, "{content_type}");
    }
    assert_eq!(fixture.service.count(), 0);
}
