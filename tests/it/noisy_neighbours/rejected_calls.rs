//! Callers who are refused do not cost others their answers.

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

/// HTTP/2 servers close a connection with too much on it that nobody read: the gateway's connection to a service,
/// which everybody shares, must not be the one.
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

/// The same with bodies that come in crumbs, and go on coming after the refusal.
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
        let answer = channel.call(request).await.unwrap_or_else(|error| panic!("call {n}: {error:?}"));
        assert_eq!(answer.headers()["grpc-status"], "16", "call {n}: {answer:?}");
        answer.into_body().collect().await.ok();
    };
    undisturbed_by(&platform, stream::iter(0..200).map(call).buffer_unordered(4).collect::<()>()).await;
}

/// Someone works until the noise is over, and all of it is answered.
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
