//! gRPC-Web, with frames made by hand (the clients of others have tests of their own).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_errors::{Error, Reason};
use baton_proto::baton::task::v1::{GetTaskRequest, GetTaskResponse};
use prost::Message as _;
use reqwest::{Method, Response};

use crate::gateway::{Gateway, TASK, header};

const GET_TASK: &str = "/baton.task.v1.TaskService/GetTask";
/// The flag of a frame that holds trailers.
const TRAILERS: u8 = 0x80;

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short");
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// The frames of a body: flag and payload.
fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [flag, a, b, c, d, rest @ ..] = body {
        let (payload, rest) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        frames.push((*flag, payload.to_vec()));
        body = rest;
    }
    frames
}

/// Trailers as a map would have them.
fn trailer(payload: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(payload).expect("text");
    let lines = text.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned()).next()
}

async fn call(gateway: &Gateway, path: &str, content_type: &str, body: Vec<u8>) -> Response {
    let request = gateway.post(path).header("content-type", content_type).header("x-grpc-web", "1").body(body);
    request.send().await.expect("answered")
}

#[tokio::test]
async fn binary_and_text_answer_in_their_own_dialect() {
    let gateway = Gateway::start().await;
    gateway.service.has_task(TASK, 3);
    let request = frame(&GetTaskRequest { id: TASK.to_owned(), as_of: None }.encode_to_vec());

    let response = call(&gateway, GET_TASK, "application/grpc-web+proto", request.clone()).await;
    assert_eq!(header(&response, "content-type"), Some("application/grpc-web+proto"));
    let binary = frames(&response.bytes().await.expect("read"));

    let encoded = STANDARD.encode(&request).into_bytes();
    let request = gateway
        .post(GET_TASK)
        .header("content-type", "application/grpc-web-text")
        .header("accept", "application/grpc-web-text")
        .body(encoded);
    let response = request.send().await.expect("answered");
    assert!(header(&response, "content-type").expect("a type").starts_with("application/grpc-web-text"));
    let text = response.bytes().await.expect("read");
    // Each piece is padded on its own.
    let text: Vec<u8> = text.chunks(4).flat_map(|quad| STANDARD.decode(quad).expect("base64")).collect();

    for frames in [binary, frames(&text)] {
        let [(0, message), (TRAILERS, trailers)] = &frames[..] else { panic!("{frames:?}") };
        let task = GetTaskResponse::decode(message.as_slice()).expect("the answer").task.expect("a task");
        assert_eq!((task.id.as_str(), task.version), (TASK, 3));
        assert_eq!(trailer(trailers, "grpc-status").as_deref(), Some("0"));
    }
    let asked: GetTaskRequest = gateway.service.calls("TaskService/GetTask")[1].as_a();
    assert_eq!(asked.id, TASK);
}

/// The status, wherever the dialect allows it: in a frame of trailers, or in the headers of an empty answer.
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
async fn refusals_have_their_status() {
    let gateway = Gateway::start().await;
    gateway.service.refuses("TaskService/GetTask", || Error::from(Reason::TaskNotFound).into());
    let body = frame(&GetTaskRequest { id: TASK.to_owned(), as_of: None }.encode_to_vec());
    assert_eq!(status_of(call(&gateway, GET_TASK, "application/grpc-web", body.clone()).await).await, "5");
    let unknown = call(&gateway, "/baton.billing.v1.BillingService/Pay", "application/grpc-web", body).await;
    assert_eq!(header(&unknown, "content-type"), Some("application/grpc-web+proto"));
    assert_eq!(status_of(unknown).await, "12");
}

#[tokio::test]
async fn browsers_may_call_from_listed_origins() {
    let gateway = Gateway::start().await;
    gateway.service.has_task(TASK, 1);
    let preflight = gateway
        .request(Method::OPTIONS, GET_TASK)
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-grpc-web,x-user-agent");
    let response = preflight.send().await.expect("answered");
    assert_eq!(header(&response, "access-control-allow-origin"), Some("https://app.example.com"));
    let body = frame(&GetTaskRequest { id: TASK.to_owned(), as_of: None }.encode_to_vec());
    let call = gateway.post(GET_TASK).header("content-type", "application/grpc-web").body(body);
    let response = call.header("origin", "https://app.example.com").send().await.expect("answered");
    assert!(header(&response, "access-control-expose-headers").expect("exposed").contains("grpc-status"));
}

#[tokio::test]
async fn dialects_that_nobody_speaks_are_refused() {
    let gateway = Gateway::start().await;
    // The second is native gRPC, but this client speaks HTTP/1.1.
    for content_type in ["application/grpc-web+json", "application/grpc", "application/grpc+json"] {
        assert_eq!(call(&gateway, GET_TASK, content_type, frame(&[])).await.status(), 415, "{content_type}");
    }
    assert_eq!(gateway.service.count(), 0);
}
