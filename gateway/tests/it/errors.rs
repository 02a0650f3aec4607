//! Invalid requests and failing services: each response is a problem with a reason.

use std::{convert::Infallible, time::Duration};

use baton_errors::{Error, Reason};
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use reqwest::{Body, Method};
use tonic::Status;

use crate::fixture::{Fixture, TASK, expect_problem, header, read_problem};

#[tokio::test]
async fn invalid_bodies_are_refused_without_a_call() {
    let fixture = Fixture::start().await;
    let create = |body: &str| fixture.post_json("/v1/tasks", body);
    for body in ["{", "[]", "3", "{\"title\": \"a\",}", "{'title': 'hunter2'}", "{\"title\":\"a\",\"title\":\"b\"}"] {
        let response = create(body).send().await.expect("a response");
        let (problem, _) = read_problem(response, 400, "MALFORMED_REQUEST").await;
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
    assert_eq!(expect_problem(create(r#"{"title": "a", "colour": 1}"#), 400, "UNKNOWN_FIELD").await, ["colour"]);
    assert_eq!(expect_problem(create(r#"{"title": "a", "dueAt": null}"#), 400, "UNKNOWN_FIELD").await, ["dueAt"]);
    let wrong =
        r#"{"title": 1, "priority": "HIGH", "due_at": "soon", "tags": ["a", 1], "estimated_seconds": 2147483648}"#;
    let fields = expect_problem(create(wrong), 400, "VALIDATION_FAILED").await;
    assert_eq!(fields, ["title", "priority", "due_at", "tags[1]", "estimated_seconds"]);
    for priority in ["1", "\"TASK_PRIORITY_HIGH\"", "\"unspecified\"", "\"\""] {
        let body = format!(r#"{{"title": "a", "priority": {priority}}}"#);
        assert_eq!(expect_problem(create(&body), 400, "VALIDATION_FAILED").await, ["priority"]);
    }
    assert_eq!(fixture.service.count(), 0);
}

#[tokio::test]
async fn other_media_types_are_refused() {
    let fixture = Fixture::start().await;
    let post = |content_type: &str| fixture.post("/v1/tasks").header("content-type", content_type).body("{}");
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "json", ""]
    {
        expect_problem(post(content_type), 415, "UNSUPPORTED_MEDIA_TYPE").await;
    }
    expect_problem(post("application/merge-patch+json"), 415, "UNSUPPORTED_MEDIA_TYPE").await;
    for content_type in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
        assert_ne!(post(content_type).send().await.expect("a response").status(), 415, "{content_type}");
    }
}

#[tokio::test]
async fn invalid_parameters_are_refused_by_name() {
    let fixture = Fixture::start().await;
    let list = |query: &str| fixture.get(&format!("/v1/tasks?{query}"));
    assert_eq!(expect_problem(list("state=pending"), 400, "UNKNOWN_FIELD").await, ["state"]);
    assert_eq!(expect_problem(list("filter.status=pending"), 400, "UNKNOWN_FIELD").await, ["filter.status"]);
    assert_eq!(expect_problem(list("page=1&page=2"), 400, "VALIDATION_FAILED").await, ["page"]);
    assert_eq!(expect_problem(list("page=one"), 400, "VALIDATION_FAILED").await, ["page"]);
    assert_eq!(expect_problem(list("status=done&sort=DUE_AT"), 400, "VALIDATION_FAILED").await, ["status", "sort"]);
    assert_eq!(expect_problem(list("due_from=2026-01-01"), 400, "VALIDATION_FAILED").await, ["due_from"]);
    assert_eq!(expect_problem(list("search=%ff"), 400, "VALIDATION_FAILED").await, ["search"]);
    let board = fixture.get(&format!("/v1/boards/user/{TASK}?user_id={TASK}"));
    assert_eq!(expect_problem(board, 400, "UNKNOWN_FIELD").await, ["user_id"]);
    let pause = fixture.post_json(&format!("/v1/tasks/{TASK}/pause?reason=a"), "{}");
    assert_eq!(expect_problem(pause, 400, "UNKNOWN_FIELD").await, ["reason"]);
    let pause = fixture.post_json(&format!("/v1/tasks/{TASK}/pause"), r#"{"id": "other", "reason": "a"}"#);
    assert_eq!(expect_problem(pause, 400, "UNKNOWN_FIELD").await, ["id"]);
    expect_problem(fixture.get("/v1/tasks/%ff"), 400, "VALIDATION_FAILED").await;
    expect_problem(fixture.get(&format!("/v1/tasks/{TASK}")).body("{}"), 400, "MALFORMED_REQUEST").await;
    assert_eq!(fixture.service.count(), 0);
}

#[tokio::test]
async fn repeated_security_headers_are_refused() {
    let fixture = Fixture::start().await;
    for name in ["authorization", "x-account-id", "idempotency-key", "content-type"] {
        let request = fixture.get("/v1/tasks").header(name, "a").header(name, "b");
        assert_eq!(expect_problem(request, 400, "VALIDATION_FAILED").await, [name]);
    }
    assert_eq!(fixture.service.count(), 0);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused() {
    let fixture = Fixture::start().await;
    for path in
        ["/", "/v1", "/v1/task", "/v1/tasks/", "/v2/tasks", "/v1/tasks/a/b/c", "/baton.task.v1.TaskService/GetTask"]
    {
        expect_problem(fixture.get(path), 404, "ROUTE_NOT_FOUND").await;
    }
    let response = fixture.request(Method::PUT, "/v1/tasks/1").send().await.expect("a response");
    let mut allowed: Vec<String> = header(&response, "allow").expect("Allow").split(',').map(str::to_owned).collect();
    allowed.sort();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PATCH"]);
    read_problem(response, 405, "METHOD_NOT_ALLOWED").await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let fixture = Fixture::start_with(|config| config.max_body_bytes = 1000).await;
    let body = format!(r#"{{"title": "{}"}}"#, "a".repeat(2000));
    expect_problem(fixture.post_json("/v1/tasks", &body), 413, "REQUEST_TOO_LARGE").await;
    // An endless chunked body: the gateway must refuse it before reading all of it.
    let endless =
        futures_util::stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b' '; 500]))));
    let request =
        fixture.post("/v1/tasks").header("content-type", "application/json").body(Body::wrap(StreamBody::new(endless)));
    expect_problem(request, 413, "REQUEST_TOO_LARGE").await;
    assert_eq!(fixture.service.count(), 0);
}

#[tokio::test]
async fn an_error_keeps_its_reason_fields_and_metadata() {
    let fixture = Fixture::start().await;
    fixture.service.fail("TaskService/StartTask", || {
        Error::new(Reason::TaskWrongState, "a completed task cannot be started")
            .with("from", "completed")
            .with("to", "in_progress")
            .into()
    });
    fixture.service.fail("TaskService/UpdateTask", || Error::invalid("task.title", "is empty").into());
    fixture.service.fail("TaskService/ListTasks", || {
        Error::invalid("filter.tags[0]", "is empty").field("page.per_page", "must be at most 100").into()
    });
    let start = fixture
        .post(&format!("/v1/tasks/{TASK}/start"))
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let (body, _) = read_problem(start.send().await.expect("a response"), 409, "TASK_WRONG_STATE").await;
    assert_eq!(body["detail"], "a completed task cannot be started");
    assert_eq!(body["metadata"], serde_json::json!({"from": "completed", "to": "in_progress"}));
    assert_eq!(body["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    let update = fixture.patch(&format!("/v1/tasks/{TASK}"), r#"{"title": ""}"#);
    assert_eq!(expect_problem(update, 400, "VALIDATION_FAILED").await, ["title"]);
    assert_eq!(expect_problem(fixture.get("/v1/tasks"), 400, "VALIDATION_FAILED").await, ["tags[0]", "per_page"]);
}

#[tokio::test]
async fn missing_and_invalid_tokens_are_challenged() {
    let fixture = Fixture::start().await;
    fixture.service.fail("UserService/GetMe", || Reason::TokenMissing.into_status());
    let response = fixture.get("/v1/users/me").send().await.expect("a response");
    assert_eq!(header(&response, "www-authenticate"), Some("Bearer"));
    read_problem(response, 401, "TOKEN_MISSING").await;
    fixture.service.fail("UserService/GetMe", || Reason::TokenInvalid.into_status());
    let response = fixture.get("/v1/users/me").header("authorization", "Bearer x").send().await.expect("a response");
    assert_eq!(header(&response, "www-authenticate"), Some("Bearer error=\"invalid_token\""));
    read_problem(response, 401, "TOKEN_INVALID").await;
}

#[tokio::test]
async fn busy_has_retry_after() {
    let fixture = Fixture::start().await;
    fixture.service.fail("AuthService/Login", || Reason::Busy.into_status());
    let response =
        fixture.post_json("/v1/auth/login", r#"{"email": "a", "password": "b"}"#).send().await.expect("a response");
    assert_eq!(header(&response, "retry-after"), Some("1"));
    read_problem(response, 429, "BUSY").await;
}

#[tokio::test]
async fn internal_messages_are_not_returned() {
    let fixture = Fixture::start().await;
    fixture.service.fail("TaskService/GetTask", || Status::unknown("password=hunter2"));
    let response = fixture.get(&format!("/v1/tasks/{TASK}")).send().await.expect("a response");
    let (problem, _) = read_problem(response, 500, "INTERNAL").await;
    assert!(!problem.to_string().contains("hunter2"), "{problem}");
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_503_with_retry_after() {
    let fixture = Fixture::start_with_urls(&[("task", "http://127.0.0.1:1")]).await;
    let response = fixture.get("/v1/tasks").send().await.expect("a response");
    assert_eq!(header(&response, "retry-after"), Some("1"));
    let (problem, _) = read_problem(response, 503, "UNAVAILABLE").await;
    assert!(!problem.to_string().contains("127.0.0.1"), "{problem}");
}

#[tokio::test]
async fn a_service_that_never_responds_is_a_504() {
    let fixture = Fixture::start_with(|config| config.timeout = Duration::from_millis(200)).await;
    fixture.service.respond_async("TaskService/ListTasks", |_| Box::pin(std::future::pending()));
    expect_problem(fixture.get("/v1/tasks"), 504, "DEADLINE_EXCEEDED").await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_a_408() {
    let fixture = Fixture::start().await;
    let never = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
    expect_problem(fixture.post("/v1/tasks").body(Body::wrap(StreamBody::new(never))), 408, "BODY_TIMEOUT").await;
}

/// Converts a reason to the status that services return.
trait IntoStatus {
    fn into_status(self) -> Status;
}

impl IntoStatus for Reason {
    fn into_status(self) -> Status {
        Error::from(self).into()
    }
}
