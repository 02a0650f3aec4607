//! Requests that are wrong, and services that say no: always a problem with a reason, never a 500.

use std::{convert::Infallible, time::Duration};

use baton_errors::{Error, Reason};
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use reqwest::{Body, Method};
use tonic::Status;

use crate::gateway::{Gateway, TASK, header, problem, refused};

#[tokio::test]
async fn wrong_bodies_are_refused_before_any_service_is_asked() {
    let gateway = Gateway::start().await;
    let create = |body: &str| gateway.post_json("/v1/tasks", body);
    for body in ["{", "[]", "3", "{\"title\": \"a\",}", "{'title': 'hunter2'}", "{\"title\":\"a\",\"title\":\"b\"}"] {
        let response = create(body).send().await.expect("answered");
        let (problem, _) = problem(response, 400, "MALFORMED_REQUEST").await;
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
    assert_eq!(refused(create(r#"{"title": "a", "colour": 1}"#), 400, "UNKNOWN_FIELD").await, ["colour"]);
    assert_eq!(refused(create(r#"{"title": "a", "dueAt": null}"#), 400, "UNKNOWN_FIELD").await, ["dueAt"]);
    let wrong =
        r#"{"title": 1, "priority": "HIGH", "due_at": "soon", "tags": ["a", 1], "estimated_seconds": 2147483648}"#;
    let fields = refused(create(wrong), 400, "VALIDATION_FAILED").await;
    assert_eq!(fields, ["title", "priority", "due_at", "tags[1]", "estimated_seconds"]);
    for priority in ["1", "\"TASK_PRIORITY_HIGH\"", "\"unspecified\"", "\"\""] {
        let body = format!(r#"{{"title": "a", "priority": {priority}}}"#);
        assert_eq!(refused(create(&body), 400, "VALIDATION_FAILED").await, ["priority"]);
    }
    assert_eq!(gateway.service.count(), 0);
}

#[tokio::test]
async fn other_media_types_are_refused() {
    let gateway = Gateway::start().await;
    let post = |content_type: &str| gateway.post("/v1/tasks").header("content-type", content_type).body("{}");
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "json", ""]
    {
        refused(post(content_type), 415, "UNSUPPORTED_MEDIA_TYPE").await;
    }
    refused(post("application/merge-patch+json"), 415, "UNSUPPORTED_MEDIA_TYPE").await;
    for content_type in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
        assert_ne!(post(content_type).send().await.expect("answered").status(), 415, "{content_type}");
    }
}

#[tokio::test]
async fn wrong_parameters_are_refused_by_their_names() {
    let gateway = Gateway::start().await;
    let list = |query: &str| gateway.get(&format!("/v1/tasks?{query}"));
    assert_eq!(refused(list("state=pending"), 400, "UNKNOWN_FIELD").await, ["state"]);
    assert_eq!(refused(list("filter.status=pending"), 400, "UNKNOWN_FIELD").await, ["filter.status"]);
    assert_eq!(refused(list("page=1&page=2"), 400, "VALIDATION_FAILED").await, ["page"]);
    assert_eq!(refused(list("page=one"), 400, "VALIDATION_FAILED").await, ["page"]);
    assert_eq!(refused(list("status=done&sort=DUE_AT"), 400, "VALIDATION_FAILED").await, ["status", "sort"]);
    assert_eq!(refused(list("due_from=2026-01-01"), 400, "VALIDATION_FAILED").await, ["due_from"]);
    assert_eq!(refused(list("search=%ff"), 400, "VALIDATION_FAILED").await, ["search"]);
    let board = gateway.get(&format!("/v1/boards/user/{TASK}?user_id={TASK}"));
    assert_eq!(refused(board, 400, "UNKNOWN_FIELD").await, ["user_id"]);
    let pause = gateway.post_json(&format!("/v1/tasks/{TASK}/pause?reason=a"), "{}");
    assert_eq!(refused(pause, 400, "UNKNOWN_FIELD").await, ["reason"]);
    let pause = gateway.post_json(&format!("/v1/tasks/{TASK}/pause"), r#"{"id": "other", "reason": "a"}"#);
    assert_eq!(refused(pause, 400, "UNKNOWN_FIELD").await, ["id"]);
    refused(gateway.get("/v1/tasks/%ff"), 400, "VALIDATION_FAILED").await;
    refused(gateway.get(&format!("/v1/tasks/{TASK}")).body("{}"), 400, "MALFORMED_REQUEST").await;
    assert_eq!(gateway.service.count(), 0);
}

#[tokio::test]
async fn headers_that_decide_may_come_once() {
    let gateway = Gateway::start().await;
    for name in ["authorization", "x-account-id", "idempotency-key", "content-type"] {
        let request = gateway.get("/v1/tasks").header(name, "a").header(name, "b");
        assert_eq!(refused(request, 400, "VALIDATION_FAILED").await, [name]);
    }
    assert_eq!(gateway.service.count(), 0);
}

#[tokio::test]
async fn there_is_nothing_elsewhere() {
    let gateway = Gateway::start().await;
    for path in
        ["/", "/v1", "/v1/task", "/v1/tasks/", "/v2/tasks", "/v1/tasks/a/b/c", "/baton.task.v1.TaskService/GetTask"]
    {
        refused(gateway.get(path), 404, "ROUTE_NOT_FOUND").await;
    }
    let response = gateway.request(Method::PUT, "/v1/tasks/1").send().await.expect("answered");
    let mut allowed: Vec<String> = header(&response, "allow").expect("Allow").split(',').map(str::to_owned).collect();
    allowed.sort();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PATCH"]);
    problem(response, 405, "METHOD_NOT_ALLOWED").await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_comes() {
    let gateway = Gateway::start_with(|config| config.max_body_bytes = 1000).await;
    let body = format!(r#"{{"title": "{}"}}"#, "a".repeat(2000));
    refused(gateway.post_json("/v1/tasks", &body), 413, "REQUEST_TOO_LARGE").await;
    // Endless and chunked: who reads all of it before refusing never answers.
    let endless =
        futures_util::stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b' '; 500]))));
    let request =
        gateway.post("/v1/tasks").header("content-type", "application/json").body(Body::wrap(StreamBody::new(endless)));
    refused(request, 413, "REQUEST_TOO_LARGE").await;
    assert_eq!(gateway.service.count(), 0);
}

#[tokio::test]
async fn a_refusal_keeps_its_reason_fields_and_metadata() {
    let gateway = Gateway::start().await;
    gateway.service.refuses("TaskService/StartTask", || {
        Error::new(Reason::TaskWrongState, "a completed task cannot be started")
            .with("from", "completed")
            .with("to", "in_progress")
            .into()
    });
    gateway.service.refuses("TaskService/UpdateTask", || Error::invalid("task.title", "is empty").into());
    gateway.service.refuses("TaskService/ListTasks", || {
        Error::invalid("filter.tags[0]", "is empty").field("page.per_page", "must be at most 100").into()
    });
    let start = gateway
        .post(&format!("/v1/tasks/{TASK}/start"))
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let (body, _) = problem(start.send().await.expect("answered"), 409, "TASK_WRONG_STATE").await;
    assert_eq!(body["detail"], "a completed task cannot be started");
    assert_eq!(body["metadata"], serde_json::json!({"from": "completed", "to": "in_progress"}));
    assert_eq!(body["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    let update = gateway.patch(&format!("/v1/tasks/{TASK}"), r#"{"title": ""}"#);
    assert_eq!(refused(update, 400, "VALIDATION_FAILED").await, ["title"]);
    assert_eq!(refused(gateway.get("/v1/tasks"), 400, "VALIDATION_FAILED").await, ["tags[0]", "per_page"]);
}

#[tokio::test]
async fn a_missing_and_a_bad_token_are_challenged() {
    let gateway = Gateway::start().await;
    gateway.service.refuses("UserService/GetMe", || Reason::TokenMissing.into_status());
    let response = gateway.get("/v1/users/me").send().await.expect("answered");
    assert_eq!(header(&response, "www-authenticate"), Some("Bearer"));
    problem(response, 401, "TOKEN_MISSING").await;
    gateway.service.refuses("UserService/GetMe", || Reason::TokenInvalid.into_status());
    let response = gateway.get("/v1/users/me").header("authorization", "Bearer x").send().await.expect("answered");
    assert_eq!(header(&response, "www-authenticate"), Some("Bearer error=\"invalid_token\""));
    problem(response, 401, "TOKEN_INVALID").await;
}

#[tokio::test]
async fn a_busy_service_is_asked_again_later() {
    let gateway = Gateway::start().await;
    gateway.service.refuses("AuthService/Login", || Reason::Busy.into_status());
    let response =
        gateway.post_json("/v1/auth/login", r#"{"email": "a", "password": "b"}"#).send().await.expect("answered");
    assert_eq!(header(&response, "retry-after"), Some("1"));
    problem(response, 429, "BUSY").await;
}

#[tokio::test]
async fn what_no_caller_should_read_is_not_sent() {
    let gateway = Gateway::start().await;
    gateway.service.refuses("TaskService/GetTask", || Status::unknown("password=hunter2"));
    let response = gateway.get(&format!("/v1/tasks/{TASK}")).send().await.expect("answered");
    let (problem, _) = problem(response, 500, "INTERNAL").await;
    assert!(!problem.to_string().contains("hunter2"), "{problem}");
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_503_to_try_again() {
    let gateway = Gateway::start_with(|config| config.task_url = "http://127.0.0.1:1".to_owned()).await;
    let response = gateway.get("/v1/tasks").send().await.expect("answered");
    assert_eq!(header(&response, "retry-after"), Some("1"));
    let (problem, _) = problem(response, 503, "UNAVAILABLE").await;
    assert!(!problem.to_string().contains("127.0.0.1"), "{problem}");
}

#[tokio::test]
async fn a_service_that_never_answers_is_a_504() {
    let gateway = Gateway::start_with(|config| config.timeout = Duration::from_millis(200)).await;
    gateway.service.on_later("TaskService/ListTasks", |_| Box::pin(std::future::pending()));
    refused(gateway.get("/v1/tasks"), 504, "DEADLINE_EXCEEDED").await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_a_408() {
    let gateway = Gateway::start().await;
    let never = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
    refused(gateway.post("/v1/tasks").body(Body::wrap(StreamBody::new(never))), 408, "BODY_TIMEOUT").await;
}

/// A status as services make it.
trait IntoStatus {
    fn into_status(self) -> Status;
}

impl IntoStatus for Reason {
    fn into_status(self) -> Status {
        Error::from(self).into()
    }
}
