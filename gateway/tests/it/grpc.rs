//! Native gRPC through the gateway.

use baton_errors::{Error, Reason, reason_of};
use baton_proto::baton::task::v1::{GetTaskRequest, GetTaskResponse, task_service_client::TaskServiceClient};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::uri::PathAndQuery;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use prost::Message as _;
use tonic::{Code, Request, client::Grpc, transport::Channel};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    fake_service::{BREAK_HEADER, RawCodec, eventually, task},
    fixture::{Fixture, TASK},
};

const EXPORT: &str = "/baton.tenancy.v1.ActivityService/ExportActivityLogs";

fn channel(fixture: &Fixture) -> Channel {
    Channel::from_shared(fixture.url.clone()).expect("a URL").connect_lazy()
}

#[tokio::test]
async fn a_generated_client_calls_through_with_its_metadata() {
    let fixture = Fixture::start().await;
    fixture.service.respond_with_task(TASK, 3);
    let mut request = Request::new(GetTaskRequest { id: TASK.to_owned(), as_of: None });
    for (name, value) in [("authorization", "Bearer x"), ("x-custom", "kept"), ("x-forwarded-for", "203.0.113.7")] {
        request.metadata_mut().insert(name, value.parse().expect("ASCII"));
    }
    let response = TaskServiceClient::new(channel(&fixture)).get_task(request).await.expect("a response");
    assert_eq!(response.metadata().get("x-from-service").expect("passed on"), "yes");
    assert!(response.metadata().get("x-request-id").is_some());
    assert_eq!(response.into_inner().task, Some(task(TASK, 3)));

    let call = fixture.service.call("TaskService/GetTask");
    assert_eq!(call.header("authorization"), Some("Bearer x"));
    assert_eq!(call.header("x-custom"), Some("kept"));
    // No proxy is trusted here, so the client's claim is dropped.
    assert_eq!(call.header("x-forwarded-for"), Some("127.0.0.1"));
    assert!(call.header("x-forwarded-user-agent").expect("set").starts_with("tonic/"));
}

#[tokio::test]
async fn an_error_keeps_its_details() {
    let fixture = Fixture::start().await;
    fixture.service.fail("TaskService/GetTask", || Error::from(Reason::TaskNotFound).into());
    let request = GetTaskRequest { id: TASK.to_owned(), as_of: None };
    let status = TaskServiceClient::new(channel(&fixture)).get_task(request).await.expect_err("refused");
    assert_eq!((status.code(), reason_of(&status)), (Code::NotFound, Some(Reason::TaskNotFound)));
}

#[tokio::test]
async fn messages_of_a_stream_arrive_while_it_is_open() {
    let fixture = Fixture::start().await;
    let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(4);
    fixture.service.stream_live("ActivityService/ExportActivityLogs", receive);
    let mut client = Grpc::new(channel(&fixture));
    client.ready().await.expect("connected");
    let path = PathAndQuery::from_static(EXPORT);
    let response = client.server_streaming(Request::new(Bytes::new()), path, RawCodec).await;
    let mut messages = response.expect("opened").into_inner();
    // Each message arrives before the next one is sent: the gateway does not buffer them.
    for word in ["one", "two", "three"] {
        send.send(Bytes::from(word)).await.expect("open");
        assert_eq!(messages.next().await.expect("an answer").expect("no error"), word);
    }
    drop(send);
    assert!(messages.next().await.is_none());
    assert!(messages.trailers().await.expect("the trailers passed").is_some());
}

#[tokio::test]
async fn the_rest_body_limit_does_not_apply_to_grpc() {
    let fixture = Fixture::start_with(|config| config.max_body_bytes = 1000).await;
    let large = "x".repeat(3_000_000);
    let answer = GetTaskResponse { task: Some(task(&large, 1)) };
    fixture.service.respond("TaskService/GetTask", move |_| Ok(answer.clone()));
    let request = GetTaskRequest { id: large.clone(), as_of: None };
    let response = TaskServiceClient::new(channel(&fixture)).get_task(request).await.expect("a response");
    assert_eq!(response.into_inner().task.map(|task| task.id.len()), Some(large.len()));
}

#[tokio::test]
async fn unknown_services_are_unimplemented_in_one_frame() {
    let fixture = Fixture::start().await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    for path in ["/baton.billing.v1.BillingService/Pay", "/nothing", "/baton.task.v1.TaskService"] {
        let request = http::Request::post(format!("{}{path}", fixture.url))
            .header("content-type", "application/grpc")
            .body(http_body_util::Full::new(Bytes::from_static(&[0; 5])))
            .expect("a request");
        let response = client.request(request).await.expect("a response");
        assert_eq!(response.headers()["grpc-status"], "12", "{path}");
        assert_eq!(response.headers()["content-type"], "application/grpc", "{path}");
        // grpc-go and others accept a status in headers only if these end the stream.
        assert!(hyper::body::Body::is_end_stream(response.body()), "{path}");
    }
}

#[tokio::test]
async fn trailers_only_responses_stay_trailers_only() {
    let fixture = Fixture::start().await;
    fixture.service.fail("TaskService/GetTask", || Error::from(Reason::TaskNotFound).into());
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request = http::Request::post(format!("{}/baton.task.v1.TaskService/GetTask", fixture.url))
        .header("content-type", "application/grpc")
        .body(http_body_util::Full::new(Bytes::from_static(&[0; 5])))
        .expect("a request");
    let response = client.request(request).await.expect("a response");
    assert_eq!(response.headers()["grpc-status"], "5");
    assert!(hyper::body::Body::is_end_stream(response.body()));
}

#[tokio::test]
async fn a_service_that_is_down_or_silent_has_a_status() {
    let fixture = Fixture::start_with_urls(&[("auth", "http://127.0.0.1:1")]).await;
    fixture.service.respond_async("TaskService/GetTask", |_| Box::pin(std::future::pending()));
    let mut users = baton_proto::baton::auth::v1::user_service_client::UserServiceClient::new(channel(&fixture));
    let status = users.get_me(baton_proto::baton::auth::v1::GetMeRequest {}).await.expect_err("down");
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::Unavailable)));

    // Without tonic's client, whose own timeout would fire first.
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let mut frame = vec![0, 0, 0, 0, 38];
    frame.extend(GetTaskRequest { id: TASK.to_owned(), as_of: None }.encode_to_vec());
    let request = http::Request::post(format!("{}/baton.task.v1.TaskService/GetTask", fixture.url))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "200m")
        .body(http_body_util::Full::new(Bytes::from(frame)))
        .expect("a request");
    let response = client.request(request).await.expect("a response");
    assert_eq!(response.headers()["grpc-status"], "4");
}

#[tokio::test]
async fn an_aborted_response_ends_with_a_status() {
    let fixture = Fixture::start().await;
    let mut client = Grpc::new(channel(&fixture));
    client.ready().await.expect("connected");
    let path = PathAndQuery::from_static(EXPORT);
    let mut request = Request::new(Bytes::new());
    request.metadata_mut().insert(BREAK_HEADER, "yes".parse().expect("ASCII"));
    let response = client.server_streaming(request, path, RawCodec).await.expect("opened");
    let mut messages = response.into_inner();
    assert_eq!(messages.next().await.expect("an answer").expect("no error"), "one");
    let status = messages.next().await.expect("an end").expect_err("broken off");
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::Unavailable)));
    assert!(messages.next().await.is_none(), "a body ends with its first error");
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_service() {
    struct Left(std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl Drop for Left {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Release);
        }
    }
    let fixture = Fixture::start().await;
    let left = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = left.clone();
    fixture.service.respond_async("TaskService/GetTask", move |_| {
        let guard = Left(flag.clone());
        Box::pin(async move {
            let _guard = guard;
            std::future::pending().await
        })
    });
    let mut client = TaskServiceClient::new(channel(&fixture));
    let call = tokio::spawn(async move { client.get_task(GetTaskRequest { id: TASK.to_owned(), as_of: None }).await });
    eventually("the call arrived", async || !fixture.service.calls("TaskService/GetTask").is_empty()).await;
    call.abort();
    eventually("the service noticed", async || left.load(std::sync::atomic::Ordering::Acquire)).await;
}

#[tokio::test]
async fn repeated_security_headers_are_refused() {
    let fixture = Fixture::start().await;
    let mut request = Request::new(GetTaskRequest { id: TASK.to_owned(), as_of: None });
    request.metadata_mut().append("authorization", "Bearer a".parse().expect("ASCII"));
    request.metadata_mut().append("authorization", "Bearer b".parse().expect("ASCII"));
    let status = TaskServiceClient::new(channel(&fixture)).get_task(request).await.expect_err("refused");
    assert_eq!(reason_of(&status), Some(Reason::ValidationFailed));
    assert_eq!(fixture.service.count(), 0);
}

#[tokio::test]
async fn reflection_returns_the_contract() {
    let fixture = Fixture::start().await;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol("baton.task.v1.TaskService".to_owned())),
    };
    let mut client = ServerReflectionClient::new(channel(&fixture));
    let mut messages = client.server_reflection_info(tokio_stream::iter([ask])).await.expect("opened").into_inner();
    let answer = messages.next().await.expect("an answer").expect("no error").message_response;
    let Some(MessageResponse::FileDescriptorResponse(files)) = answer else { panic!("{answer:?}") };
    assert!(!files.file_descriptor_proto.is_empty());
}

#[tokio::test]
async fn internal_rpcs_are_hidden_unless_enabled() {
    let path = "/baton.auth.v1.InternalService/BatchGetUsers";
    for (is_open, code) in [(false, Code::Unimplemented), (true, Code::PermissionDenied)] {
        let fixture = Fixture::start_with(|config| config.internal_rpcs = is_open).await;
        fixture.service.fail("InternalService/BatchGetUsers", || Error::from(Reason::ServiceOnly).into());
        let mut client = Grpc::new(channel(&fixture));
        client.ready().await.expect("connected");
        let call = client.unary(Request::new(Bytes::new()), PathAndQuery::from_static(path), RawCodec).await;
        assert_eq!(call.expect_err("refused").code(), code);
        let names = list_services(&fixture).await;
        assert_eq!(names.iter().any(|name| name.contains("Internal")), is_open, "{names:?}");
        assert!(names.iter().any(|name| name == "baton.task.v1.TaskService"), "{names:?}");
    }
}

#[tokio::test]
async fn reflection_is_off_unless_enabled() {
    let fixture = Fixture::start_with(|config| config.reflection = false).await;
    let request = tokio_stream::iter(Vec::<ServerReflectionRequest>::new());
    let answer = ServerReflectionClient::new(channel(&fixture)).server_reflection_info(request).await;
    assert_eq!(answer.expect_err("refused").code(), Code::Unimplemented);
}

/// Returns the services that reflection v1alpha lists.
async fn list_services(fixture: &Fixture) -> Vec<String> {
    use tonic_reflection::pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel(fixture));
    let response = client.server_reflection_info(tokio_stream::iter([request]));
    let answer =
        response.await.expect("a response").into_inner().message().await.expect("no error").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    list.service.into_iter().map(|service| service.name).collect()
}
