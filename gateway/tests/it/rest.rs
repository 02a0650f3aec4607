//! Successful REST calls.

use baton_proto::baton::{
    api::v1::PageMeta,
    auth::v1::{GetJwksResponse, JsonWebKey, LogoutResponse},
    notification::v1::{MarkAllNotificationsReadResponse, MarkNotificationReadResponse},
    task::v1::{
        CreateTaskRequest, CreateTaskResponse, GetTaskRequest, ListTasksRequest, ListTasksResponse, PauseTaskRequest,
        StartTaskResponse, TaskPriority, TaskStatus,
    },
    tenancy::v1::{GetMemberRequest, GetMemberResponse},
};
use reqwest::Method;
use serde_json::json;

use crate::{
    fake_service::task,
    fixture::{ACCOUNT, Fixture, TASK, USER, header, json},
};

#[tokio::test]
async fn a_body_becomes_the_request_and_the_response_field_the_body() {
    let fixture = Fixture::start().await;
    fixture.service.respond("TaskService/CreateTask", |_| Ok(CreateTaskResponse { task: Some(task(TASK, 1)) }));
    let body = r#"{"title": "Write it down", "priority": "high", "due_at": "2026-01-01T02:00:00+02:00", "tags": ["a"],
        "estimated_seconds": 60, "custom_fields": {"size": {"h": 1.5}}, "assigned_to": null}"#;
    let (status, answer) = json(fixture.post_json("/v1/tasks", body)).await;

    let request: CreateTaskRequest = fixture.service.call("TaskService/CreateTask").decode();
    assert_eq!(request.title, "Write it down");
    assert_eq!(request.priority(), TaskPriority::High);
    assert_eq!(request.due_at.map(|time| time.seconds), Some(1_767_225_600));
    assert_eq!((request.tags, request.estimated_seconds, request.assigned_to), (vec!["a".to_owned()], Some(60), None));
    let fields = baton_proto::convert::to_object(request.custom_fields.expect("sent"));
    assert_eq!(json!(fields), json!({"size": {"h": 1.5}}));

    assert_eq!(status, 200);
    assert_eq!(
        answer,
        json!({
            "id": TASK, "account_id": "", "title": "Write it down", "description": "", "status": "in_progress",
            "priority": null, "due_at": "2026-01-01T00:00:00Z", "tags": ["a", "b"], "created_by": "",
            "assigned_to": null, "assigned_by": null, "accepted_at": null, "visibility": null,
            "estimated_seconds": 60, "actual_seconds": 0, "custom_fields": null, "parent_task_id": null, "version": 1,
            "created_at": null, "updated_at": null, "started_at": null, "completed_at": null, "pause_reason": null,
            "overdue": false, "archived_at": null, "canceled_at": null, "deleted_at": null, "reassignment_count": 0,
            "rank": "", "recurrence_rule": null, "recurrence_timezone": null, "series_id": null, "progress": null,
            "blocked": false, "skipped_times": [],
        })
    );
}

#[tokio::test]
async fn the_query_becomes_the_filter_and_the_page() {
    let fixture = Fixture::start().await;
    fixture.service.respond("TaskService/ListTasks", |_| {
        let meta = PageMeta {
            total_count: 1,
            page: 2,
            per_page: 5,
            total_pages: 2,
            next_page_token: String::new(),
            ..PageMeta::default()
        };
        Ok(ListTasksResponse { tasks: vec![task(TASK, 3)], meta: Some(meta) })
    });
    let query = "status=pending&status=paused&priority=high&sort=due_at&search=caf%C3%A9+%26&page=2&per_page=5";
    let (status, answer) = json(fixture.get(&format!("/v1/tasks?{query}"))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["tasks"][0]["id"], TASK);
    assert_eq!(answer["meta"]["total_count"], 1);

    let request: ListTasksRequest = fixture.service.call("TaskService/ListTasks").decode();
    let (filter, page) = (request.filter.expect("sent"), request.page.expect("sent"));
    assert_eq!(filter.status, [TaskStatus::Pending as i32, TaskStatus::Paused as i32]);
    assert_eq!(filter.search.as_deref(), Some("café &"));
    assert_eq!((page.page, page.per_page), (2, 5));
}

#[tokio::test]
async fn static_paths_win_over_parameters() {
    let fixture = Fixture::start().await;
    let service = &fixture.service;
    service.respond("NotificationService/MarkAllNotificationsRead", |_| {
        Ok(MarkAllNotificationsReadResponse { updated_count: 4 })
    });
    service.respond("NotificationService/MarkNotificationRead", |_| Ok(MarkNotificationReadResponse::default()));
    let (_, answer) = json(fixture.request(Method::PATCH, "/v1/notifications/read-all")).await;
    assert_eq!(answer, json!({"updated_count": 4}));
    let (status, answer) = json(fixture.request(Method::PATCH, &format!("/v1/notifications/{TASK}/read"))).await;
    assert_eq!((status.as_u16(), answer), (200, json!(null)));
}

#[tokio::test]
async fn a_post_needs_no_body_and_the_path_binds_its_field() {
    let fixture = Fixture::start().await;
    fixture.service.respond("TaskService/StartTask", |_| Ok(StartTaskResponse { task: Some(task(TASK, 2)) }));
    let (status, _) = json(fixture.post(&format!("/v1/tasks/{TASK}/start"))).await;
    assert_eq!(status, 200);
    assert_eq!(fixture.service.call("TaskService/StartTask").decode::<PauseTaskRequest>().id, TASK);
}

#[tokio::test]
async fn path_parameters_are_decoded() {
    let fixture = Fixture::start().await;
    fixture.service.respond_with_task("x", 1);
    json(fixture.get("/v1/tasks/a%2Fb%20%C3%A9")).await;
    assert_eq!(fixture.service.call("TaskService/GetTask").decode::<GetTaskRequest>().id, "a/b é");
}

#[tokio::test]
async fn only_known_headers_are_forwarded() {
    let fixture = Fixture::start().await;
    fixture.service.respond_with_task(TASK, 1);
    let request = fixture
        .get(&format!("/v1/tasks/{TASK}"))
        .header("authorization", "Bearer abc")
        .header("x-account-id", ACCOUNT)
        .header("idempotency-key", "key-1")
        .header("if-match", "\"7\"")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("tracestate", "vendor=1")
        .header("x-request-id", "req-1")
        .header("user-agent", "curl/8")
        .header("x-forwarded-for", "203.0.113.7")
        .header("x-forwarded-user-agent", "forged")
        .header("cookie", "secret")
        .header("x-custom", "1");
    let response = request.send().await.expect("a response");
    assert_eq!(header(&response, "x-request-id"), Some("req-1"));

    let call = fixture.service.call("TaskService/GetTask");
    let expected = [
        ("authorization", "Bearer abc"),
        ("x-account-id", ACCOUNT),
        ("idempotency-key", "key-1"),
        ("if-match", "\"7\""),
        ("tracestate", "vendor=1"),
        ("x-request-id", "req-1"),
        ("x-forwarded-user-agent", "curl/8"),
        // No proxy is trusted here, so the client's claim is dropped.
        ("x-forwarded-for", "127.0.0.1"),
    ];
    for (name, value) in expected {
        assert_eq!(call.header(name), Some(value), "{name}");
    }
    // The trace continues with the gateway's span as the parent.
    let traceparent = call.header("traceparent").expect("a trace");
    assert!(traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{traceparent}");
    assert!(!traceparent.contains("b7ad6b7169203331"), "{traceparent}");
    assert_eq!((call.header("cookie"), call.header("x-custom")), (None, None));
    assert!(call.header("grpc-timeout").is_some());
}

#[tokio::test]
async fn the_account_of_the_path_overrides_the_header() {
    let fixture = Fixture::start().await;
    fixture.service.respond("MemberService/GetMember", |_| Ok(GetMemberResponse::default()));
    let request = fixture.get(&format!("/v1/accounts/{ACCOUNT}/members/{USER}")).header("x-account-id", TASK);
    json(request).await;
    let call = fixture.service.call("MemberService/GetMember");
    assert_eq!(call.header("x-account-id"), Some(ACCOUNT));
    let request: GetMemberRequest = call.decode();
    assert_eq!((request.account_id.as_str(), request.user_id.as_str()), (ACCOUNT, USER));
}

#[tokio::test]
async fn a_response_without_fields_is_an_empty_object() {
    let fixture = Fixture::start().await;
    fixture.service.respond("AuthService/Logout", |_| Ok(LogoutResponse {}));
    let (status, answer) = json(fixture.post_json("/v1/auth/logout", r#"{"refresh_token": "t"}"#)).await;
    assert_eq!((status.as_u16(), answer), (200, json!({})));
}

#[tokio::test]
async fn signing_keys_are_publicly_cacheable_and_tasks_privately() {
    let fixture = Fixture::start().await;
    fixture.service.respond("AuthService/GetJwks", |_| Ok(GetJwksResponse { keys: vec![JsonWebKey::default()] }));
    fixture.service.respond("TaskService/ListTasks", |_| Ok(ListTasksResponse::default()));
    let keys = fixture.get("/.well-known/jwks.json").send().await.expect("a response");
    assert_eq!(header(&keys, "cache-control"), Some("public, max-age=300"));
    let tag = header(&keys, "etag").expect("a tag").to_owned();
    let known = fixture.get("/.well-known/jwks.json").header("if-none-match", &tag).send().await.expect("a response");
    assert_eq!((known.status().as_u16(), header(&known, "etag")), (304, Some(tag.as_str())));
    assert_eq!(header(&known, "cache-control"), Some("public, max-age=300"));
    let other = JsonWebKey { kid: "rotated".to_owned(), ..JsonWebKey::default() };
    fixture.service.respond("AuthService/GetJwks", move |_| Ok(GetJwksResponse { keys: vec![other.clone()] }));
    let other = fixture.get("/.well-known/jwks.json").header("if-none-match", &tag).send().await.expect("a response");
    assert_eq!(other.status(), 200, "other keys have another tag");
    let list = fixture.get("/v1/tasks").send().await.expect("a response");
    assert_eq!(header(&list, "cache-control"), Some("private, no-cache"));
    assert_eq!(header(&list, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&list, "content-type"), Some("application/json"));
}
