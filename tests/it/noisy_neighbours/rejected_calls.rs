//! Refused calls do not affect calls of others.

use std::sync::atomic::{AtomicBool, Ordering};

use baton_proto::baton::task::v1::{CreateTaskRequest, task_service_client::TaskServiceClient};
use baton_tests::{Platform, grpc::info};
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Bytes, Service, http},
};

/// HTTP/2 servers close a connection with too much unread data. The gateway's shared connection to a service must not
/// be closed for this.
#[tokio::test]
async fn thousand_calls_without_a_token_break_no_other_call() {
    let platform = Platform::start().await;
    let client = TaskServiceClient::new(platform.grpc());
    let call = async |n: usize| {
        let request = CreateTaskRequest { title: format!("Noise {n}"), ..CreateTaskRequest::default() };
        let refused = client.clone().create_task(request).await.unwrap_err();
        assert_eq!((refused.code(), &*info(&refused).reason), (Code::Unauthenticated, "TOKEN_MISSING"), "call {n}");
    };
    undisturbed_by(&platform, stream::iter(0..1000).map(call).buffer_unordered(16).collect::<()>()).await;
}

/// Bodies in tiny chunks, which continue after the refusal.
#[tokio::test]
async fn bodies_in_tiny_chunks_break_no_other_call() {
    let platform = Platform::start().await;
    let call = async |n: usize| {
        let crumbs =
            stream::repeat_with(|| Ok::<_, Status>(http_body::Frame::data(Bytes::from_static(&[0])))).take(400);
        let request = http::Request::post(format!("{}/baton.task.v1.TaskService/CreateTask", platform.url()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(StreamBody::new(crumbs)))
            .unwrap();
        let mut channel = platform.grpc();
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let response = channel.call(request).await.unwrap_or_else(|error| panic!("call {n}: {error:?}"));
        assert_eq!(response.headers()["grpc-status"], "16", "call {n}: {response:?}");
        response.into_body().collect().await.ok();
    };
    undisturbed_by(&platform, stream::iter(0..200).map(call).buffer_unordered(4).collect::<()>()).await;
}

/// A user works until the noise is over, and every call succeeds.
async fn undisturbed_by(platform: &Platform, noise: impl Future<Output = ()>) {
    let team = platform.team().await;
    let over = AtomicBool::new(false);
    let work = async {
        let mut done = 0;
        while !over.load(Ordering::SeqCst) {
            team.user.post("/v1/tasks", &json!({"title": format!("Task {done}")})).ok().await;
            done += 1;
        }
        done
    };
    let noise = async {
        noise.await;
        over.store(true, Ordering::SeqCst);
    };
    let (done, ()) = tokio::join!(work, noise);
    assert_eq!(team.user.get("/v1/tasks").ok().await["meta"]["total_count"], done);
}
