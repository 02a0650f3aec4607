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
    gateway::{Gateway, TASK},
    service::{BREAK, Raw, eventually, task},
};

const WATCH_BOARD: &str = "/baton.task.v1.BoardService/WatchBoard";

fn channel(gateway: &Gateway) -> Channel {
    Channel::from_shared(gateway.url.clone()).expect("a URL").connect_lazy()
}

#[tokio::test]
async fn a_generated_client_calls_through_with_its_metadata() {
    let gateway = Gateway::start().await;
    gateway.service.has_task(TASK, 3);
    let mut request = Request::new(GetTaskRequest { id: TASK.to_owned(), as_of: None });
    for (name, value) in [("authorization", "Bearer x"), ("x-custom", "kept"), ("x-forwarded-for", "203.0.113.7")] {
        request.metadata_mut().insert(name, value.parse().expect("ASCII"));
    }
    let response = TaskServiceClient::new(channel(&gateway)).get_task(request).await.expect("answered");
    assert_eq!(response.metadata().get("x-from-service").expect("passed on"), "yes");
    assert!(response.metadata().get("x-request-id").is_some());
    assert_eq!(response.into_inner().task, Some(task(TASK, 3)));

    let call = gateway.service.call("TaskService/GetTask");
    assert_eq!(call.header("authorization"), Some("Bearer x"));
    assert_eq!(call.header("x-custom"), Some("kept"));
    // Nobody in between is trusted here, so what the client claims is dropped.
    assert_eq!(call.header("x-forwarded-for"), Some("127.0.0.1"));
    assert!(call.header("x-forwarded-user-agent").expect("set").starts_with("tonic/"));
}

#[tokio::test]
async fn a_refusal_passes_with_its_details() {
    let gateway = Gateway::start().await;
    gateway.service.refuses("TaskService/GetTask", || Error::from(Reason::TaskNotFound).into());
    let request = GetTaskRequest { id: TASK.to_owned(), as_of: None };
    let status = TaskServiceClient::new(channel(&gateway)).get_task(request).await.expect_err("refused");
    assert_eq!((status.code(), reason_of(&status)), (Code::NotFound, Some(Reason::TaskNotFound)));
}

#[tokio::test]
async fn messages_of_a_stream_arrive_while_it_is_open() {
    let gateway = Gateway::start().await;
    let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(4);
    gateway.service.live("BoardService/WatchBoard", receive);
    let mut client = Grpc::new(channel(&gateway));
    client.ready().await.expect("connected");
    let path = PathAndQuery::from_static(WATCH_BOARD);
    let answers = client.server_streaming(Request::new(Bytes::new()), path, Raw).await;
    let mut answers = answers.expect("opened").into_inner();
    // Each comes before the next is sent: nothing is collected on the way.
    for word in ["one", "two", "three"] {
        send.send(Bytes::from(word)).await.expect("open");
        assert_eq!(answers.next().await.expect("an answer").expect("no error"), word);
    }
    drop(send);
    assert!(answers.next().await.is_none());
    assert!(answers.trailers().await.expect("the trailers passed").is_some());
}

#[tokio::test]
async fn large_messages_are_not_the_gateways_to_limit() {
    let gateway = Gateway::start_with(|config| config.max_body_bytes = 1000).await;
    let large = "x".repeat(3_000_000);
    let answer = GetTaskResponse { task: Some(task(&large, 1)) };
    gateway.service.on("TaskService/GetTask", move |_| Ok(answer.clone()));
    let request = GetTaskRequest { id: large.clone(), as_of: None };
    let response = TaskServiceClient::new(channel(&gateway)).get_task(request).await.expect("answered");
    assert_eq!(response.into_inner().task.map(|task| task.id.len()), Some(large.len()));
}

#[tokio::test]
async fn unknown_services_are_unimplemented_in_one_frame() {
    let gateway = Gateway::start().await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    for path in ["/baton.billing.v1.BillingService/Pay", "/nothing", "/baton.task.v1.TaskService"] {
        let request = http::Request::post(format!("{}{path}", gateway.url))
            .header("content-type", "application/grpc")
            .body(http_body_util::Full::new(Bytes::from_static(&[0; 5])))
            .expect("a request");
        let response = client.request(request).await.expect("answered");
        assert_eq!(response.headers()["grpc-status"], "12", "{path}");
        assert_eq!(response.headers()["content-type"], "application/grpc", "{path}");
        // grpc-go and others take a status in headers only when the stream ends with them.
        assert!(hyper::body::Body::is_end_stream(response.body()), "{path}");
    }
}

#[tokio::test]
async fn trailers_alone_stay_alone() {
    let gateway = Gateway::start().await;
    gateway.service.refuses("TaskService/GetTask", || Error::from(Reason::TaskNotFound).into());
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request = http::Request::post(format!("{}/baton.task.v1.TaskService/GetTask", gateway.url))
        .header("content-type", "application/grpc")
        .body(http_body_util::Full::new(Bytes::from_static(&[0; 5])))
        .expect("a request");
    let response = client.request(request).await.expect("answered");
    assert_eq!(response.headers()["grpc-status"], "5");
    assert!(hyper::body::Body::is_end_stream(response.body()));
}

#[tokio::test]
async fn a_service_that_is_down_or_silent_has_a_status() {
    let gateway = Gateway::start_with(|config| config.auth_url = "http://127.0.0.1:1".to_owned()).await;
    gateway.service.on_later("TaskService/GetTask", |_| Box::pin(std::future::pending()));
    let mut users = baton_proto::baton::auth::v1::user_service_client::UserServiceClient::new(channel(&gateway));
    let status = users.get_me(baton_proto::baton::auth::v1::GetMeRequest {}).await.expect_err("down");
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::Unavailable)));

    // By hand: tonic's own client would give up first.
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let mut frame = vec![0, 0, 0, 0, 38];
    frame.extend(GetTaskRequest { id: TASK.to_owned(), as_of: None }.encode_to_vec());
    let request = http::Request::post(format!("{}/baton.task.v1.TaskService/GetTask", gateway.url))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "200m")
        .body(http_body_util::Full::new(Bytes::from(frame)))
        .expect("a request");
    let response = client.request(request).await.expect("answered");
    assert_eq!(response.headers()["grpc-status"], "4");
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_with_a_status() {
    let gateway = Gateway::start().await;
    let mut client = Grpc::new(channel(&gateway));
    client.ready().await.expect("connected");
    let path = PathAndQuery::from_static(WATCH_BOARD);
    let mut request = Request::new(Bytes::new());
    request.metadata_mut().insert(BREAK, "yes".parse().expect("ASCII"));
    let answers = client.server_streaming(request, path, Raw).await.expect("opened");
    let mut answers = answers.into_inner();
    assert_eq!(answers.next().await.expect("an answer").expect("no error"), "one");
    let status = answers.next().await.expect("an end").expect_err("broken off");
    assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::Unavailable)));
    assert!(answers.next().await.is_none(), "a body ends with its first error");
}

#[tokio::test]
async fn a_caller_who_leaves_is_gone_for_the_service_too() {
    struct Left(std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl Drop for Left {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Release);
        }
    }
    let gateway = Gateway::start().await;
    let left = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = left.clone();
    gateway.service.on_later("TaskService/GetTask", move |_| {
        let guard = Left(flag.clone());
        Box::pin(async move {
            let _guard = guard;
            std::future::pending().await
        })
    });
    let mut client = TaskServiceClient::new(channel(&gateway));
    let call = tokio::spawn(async move { client.get_task(GetTaskRequest { id: TASK.to_owned(), as_of: None }).await });
    eventually("the call arrived", async || !gateway.service.calls("TaskService/GetTask").is_empty()).await;
    call.abort();
    eventually("the service noticed", async || left.load(std::sync::atomic::Ordering::Acquire)).await;
}

#[tokio::test]
async fn repeated_security_headers_are_refused() {
    let gateway = Gateway::start().await;
    let mut request = Request::new(GetTaskRequest { id: TASK.to_owned(), as_of: None });
    request.metadata_mut().append("authorization", "Bearer a".parse().expect("ASCII"));
    request.metadata_mut().append("authorization", "Bearer b".parse().expect("ASCII"));
    let status = TaskServiceClient::new(channel(&gateway)).get_task(request).await.expect_err("refused");
    assert_eq!(reason_of(&status), Some(Reason::ValidationFailed));
    assert_eq!(gateway.service.count(), 0);
}

#[tokio::test]
async fn reflection_tells_the_contract() {
    let gateway = Gateway::start().await;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol("baton.task.v1.TaskService".to_owned())),
    };
    let mut client = ServerReflectionClient::new(channel(&gateway));
    let mut answers = client.server_reflection_info(tokio_stream::iter([ask])).await.expect("opened").into_inner();
    let answer = answers.next().await.expect("an answer").expect("no error").message_response;
    let Some(MessageResponse::FileDescriptorResponse(files)) = answer else { panic!("{answer:?}") };
    assert!(!files.file_descriptor_proto.is_empty());
}

#[tokio::test]
async fn rpcs_for_services_are_closed_and_not_shown_unless_switched_on() {
    let path = "/baton.auth.v1.InternalService/BatchGetUsers";
    for (is_open, code) in [(false, Code::Unimplemented), (true, Code::PermissionDenied)] {
        let gateway = Gateway::start_with(|config| config.internal_rpcs = is_open).await;
        gateway.service.refuses("InternalService/BatchGetUsers", || Error::from(Reason::ServiceOnly).into());
        let mut client = Grpc::new(channel(&gateway));
        client.ready().await.expect("connected");
        let call = client.unary(Request::new(Bytes::new()), PathAndQuery::from_static(path), Raw).await;
        assert_eq!(call.expect_err("refused").code(), code);
        let names = list_services(&gateway).await;
        assert_eq!(names.iter().any(|name| name.contains("Internal")), is_open, "{names:?}");
        assert!(names.iter().any(|name| name == "baton.task.v1.TaskService"), "{names:?}");
    }
}

#[tokio::test]
async fn reflection_is_not_there_unless_switched_on() {
    let gateway = Gateway::start_with(|config| config.reflection = false).await;
    let request = tokio_stream::iter(Vec::<ServerReflectionRequest>::new());
    let answer = ServerReflectionClient::new(channel(&gateway)).server_reflection_info(request).await;
    assert_eq!(answer.expect_err("refused").code(), Code::Unimplemented);
}

/// The services that reflection lists, in its older version.
async fn list_services(gateway: &Gateway) -> Vec<String> {
    use tonic_reflection::pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel(gateway));
    let answers = client.server_reflection_info(tokio_stream::iter([request]));
    let answer = answers.await.expect("answered").into_inner().message().await.expect("no error").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    list.service.into_iter().map(|service| service.name).collect()
}
