//! `ETag` and conditional requests (RFC 9110, section 13).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_errors::{Error, Reason};
use baton_proto::baton::{
    auth::v1::LoginResponse,
    task::v1::{
        CreateReminderResponse, DeleteTaskResponse, GetTaskResponse, ListTasksResponse, StartTaskResponse, Task,
        UpdateCommentResponse,
    },
};
use reqwest::{Method, Response};

use crate::{
    fake_service::task,
    fixture::{ACCOUNT, Fixture, TASK, USER, expect_problem, header},
};

fn path() -> String {
    format!("/v1/tasks/{TASK}")
}

fn etag(response: &Response) -> String {
    header(response, "etag").expect("an ETag").to_owned()
}

/// An access token with the claims that the gateway reads.
fn bearer(subject: &str, id: u8) -> String {
    let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub": "{subject}", "jti": "{id}"}}"#));
    format!("Bearer e30.{claims}.c2ln")
}

async fn read(fixture: &Fixture, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = headers.iter().fold(fixture.get(path), |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("a response")
}

#[tokio::test]
async fn a_known_response_is_a_304() {
    let fixture = Fixture::start().await;
    fixture.service.respond_with_task(TASK, 7);
    let first = read(&fixture, &path(), &[]).await;
    let tag = etag(&first);
    assert!(tag.starts_with("\"7-"), "{tag}");
    let caching = |response: &Response| {
        ["etag", "cache-control", "vary"].map(|name| {
            let values = response.headers().get_all(name).iter().map(|value| value.to_str().expect("ASCII").to_owned());
            values.collect::<Vec<_>>().join(", ")
        })
    };
    let [_, cache_control, vary] = caching(&first);
    assert_eq!(cache_control, "private, no-cache");
    for name in ["authorization", "x-account-id", "accept-encoding", "origin"] {
        assert!(vary.contains(name), "{vary}");
    }

    for known in [tag.clone(), format!("W/{tag}"), format!("\"3\", {tag}"), format!(" ,{tag},"), "*".to_owned()] {
        let again = read(&fixture, &path(), &[("if-none-match", &known)]).await;
        assert_eq!(again.status(), 304, "{known}");
        assert_eq!(caching(&again), caching(&first));
        assert_eq!((header(&again, "content-type"), header(&again, "content-length")), (None, None));
        assert_eq!(again.bytes().await.expect("empty").len(), 0);
    }
    let lines = read(&fixture, &path(), &[("if-none-match", "\"3\""), ("if-none-match", &tag)]).await;
    assert_eq!(lines.status(), 304, "several lines are one list");
    // The version alone does not match the response, and dates are ignored.
    for (name, other) in [
        ("if-none-match", "\"7\""),
        ("if-none-match", "\"6\", \"77\""),
        ("if-none-match", ""),
        ("if-modified-since", "Sun, 06 Nov 2094 08:49:37 GMT"),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        assert_eq!(read(&fixture, &path(), &[(name, other)]).await.status(), 200, "{name}: {other}");
    }
    let head = fixture.request(Method::HEAD, &path()).header("if-none-match", &tag).send().await.expect("a response");
    assert_eq!((head.status().as_u16(), etag(&head)), (304, tag));
}

#[tokio::test]
async fn the_tag_changes_with_every_field() {
    let fixture = Fixture::start().await;
    let mut tags: Vec<String> = Vec::new();
    let plain = task(TASK, 7);
    for shown in [
        plain.clone(),
        Task { overdue: true, ..plain.clone() },
        Task { blocked: true, ..plain.clone() },
        Task { actual_seconds: 60, ..plain.clone() },
    ] {
        fixture.service.respond("TaskService/GetTask", move |_| Ok(GetTaskResponse { task: Some(shown.clone()) }));
        let response = match tags.last() {
            Some(tag) => read(&fixture, &path(), &[("if-none-match", tag)]).await,
            None => read(&fixture, &path(), &[]).await,
        };
        assert_eq!(response.status(), 200);
        tags.push(etag(&response));
    }
    assert!(tags.iter().all(|tag| tag.starts_with("\"7-")), "{tags:?}");
}

#[tokio::test]
async fn tags_of_another_user_or_account_do_not_match() {
    let fixture = Fixture::start().await;
    fixture.service.respond_with_task(TASK, 7);
    fixture.service.respond("TaskService/ListTasks", |_| Ok(ListTasksResponse::default()));
    let (ada, bob) = (bearer("ada", 1), bearer("bob", 1));
    for path in [path(), "/v1/tasks".to_owned()] {
        let get = async |token: &str, account: &str, known: &str| {
            let headers = [("authorization", token), ("x-account-id", account), ("if-none-match", known)];
            read(&fixture, &path, &headers).await
        };
        let tag = etag(&get(&ada, ACCOUNT, "").await);
        assert_eq!(get(&ada, ACCOUNT, &tag).await.status(), 304);
        assert_eq!(get(&bearer("ada", 2), ACCOUNT, &tag).await.status(), 304, "her next token");
        assert_eq!(get(&bob, ACCOUNT, &tag).await.status(), 200);
        assert_eq!(get(&ada, USER, &tag).await.status(), 200);
        assert_eq!(read(&fixture, &path, &[("if-none-match", &tag)]).await.status(), 200);
    }
}

#[tokio::test]
async fn lists_have_tags() {
    let fixture = Fixture::start().await;
    let list = |version| ListTasksResponse { tasks: vec![task(TASK, version)], ..ListTasksResponse::default() };
    fixture.service.respond("TaskService/ListTasks", move |_| Ok(list(1)));
    let tag = etag(&read(&fixture, "/v1/tasks", &[]).await);
    assert_eq!(read(&fixture, "/v1/tasks", &[("if-none-match", &tag)]).await.status(), 304);
    fixture.service.respond("TaskService/ListTasks", move |_| Ok(list(2)));
    assert_eq!(read(&fixture, "/v1/tasks", &[("if-none-match", &tag)]).await.status(), 200);
}

#[tokio::test]
async fn if_match_of_a_read_compares_the_version() {
    let fixture = Fixture::start().await;
    fixture.service.respond_with_task(TASK, 7);
    let tag = etag(&read(&fixture, &path(), &[]).await);
    for matching in [&*tag, "\"7\"", "\"7-other\"", "\"1\", \"7\"", "*"] {
        assert_eq!(read(&fixture, &path(), &[("if-match", matching)]).await.status(), 200, "{matching}");
    }
    for other in ["\"1\"", "W/\"7\"", &format!("W/{tag}"), ""] {
        // If-Match is evaluated before If-None-Match.
        let request = fixture.get(&path()).header("if-match", other).header("if-none-match", "*");
        let response = request.send().await.expect("a response");
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        crate::fixture::read_problem(response, 412, "PRECONDITION_FAILED").await;
    }
    // An error of the service keeps its own reason.
    fixture.service.fail("TaskService/GetTask", || Error::from(Reason::TaskNotFound).into());
    expect_problem(fixture.get(&path()).header("if-match", "\"1\""), 404, "TASK_NOT_FOUND").await;
    expect_problem(fixture.get(&path()).header("if-none-match", "*"), 404, "TASK_NOT_FOUND").await;
}

#[tokio::test]
async fn malformed_conditions_are_refused() {
    let fixture = Fixture::start().await;
    for name in ["if-match", "if-none-match"] {
        for value in ["7", "\"7", "w/\"7\"", "\"7\" \"8\"", "*, \"7\"", "'7'"] {
            expect_problem(fixture.get(&path()).header(name, value), 400, "PRECONDITION_INVALID").await;
            expect_problem(fixture.patch(&path(), "{}").header(name, value), 400, "PRECONDITION_INVALID").await;
        }
    }
    assert_eq!(fixture.service.count(), 0);
}

#[tokio::test]
async fn changes_forward_their_conditions_and_return_the_new_tag() {
    let fixture = Fixture::start().await;
    fixture.service.respond("TaskService/StartTask", |_| Ok(StartTaskResponse { task: Some(task(TASK, 8)) }));
    let request = fixture.post(&format!("{}/start", path()));
    let request = request.header("if-match", "\"7-1f\"").header("if-match", "\"6\"").header("if-none-match", "\"8\"");
    let response = request.send().await.expect("a response");
    assert_eq!(response.status(), 200, "no 304 for a change");
    assert!(etag(&response).starts_with("\"8-"));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    let call = fixture.service.call("TaskService/StartTask");
    let sent: Vec<_> = call.metadata.get_all("if-match").iter().map(|value| value.as_bytes()).collect();
    assert_eq!(sent, [&b"\"7-1f\""[..], b"\"6\""]);
    assert_eq!(call.header("if-none-match"), Some("\"8\""));

    // The next read has the same tag.
    fixture.service.respond_with_task(TASK, 8);
    assert_eq!(read(&fixture, &path(), &[("if-none-match", &etag(&response))]).await.status(), 304);
}

#[tokio::test]
async fn an_unversioned_change_is_made_only_if_its_conditions_hold() {
    let fixture = Fixture::start().await;
    fixture.service.respond("ReminderService/CreateReminder", |_| Ok(CreateReminderResponse::default()));
    fixture.service.respond("CommentService/UpdateComment", |_| Ok(UpdateCommentResponse::default()));
    let reminders = format!("/v1/tasks/{TASK}/reminders");
    let create = || fixture.post_json(&reminders, r#"{"before_seconds": 60}"#);
    for (name, value) in
        [("if-match", "\"1\""), ("if-match", "W/\"1\""), ("if-none-match", "*"), ("if-none-match", "\"1\"")]
    {
        expect_problem(create().header(name, value), 412, "PRECONDITION_FAILED").await;
    }
    assert_eq!(fixture.service.count(), 0);
    assert_eq!(create().header("if-match", "*").send().await.expect("a response").status(), 200);
    // The sign-in path has no GET.
    fixture.service.respond("AuthService/Login", |_| Ok(LoginResponse::default()));
    let login = fixture.post_json("/v1/auth/login", r#"{"email": "a@example.com", "password": "p"}"#);
    assert_eq!(login.header("if-none-match", "*").send().await.expect("a response").status(), 200);
}

#[tokio::test]
async fn unversioned_changes_and_secrets_have_no_tag() {
    let fixture = Fixture::start().await;
    fixture.service.respond("TaskService/DeleteTask", |_| Ok(DeleteTaskResponse {}));
    let response = fixture.request(Method::DELETE, &path()).send().await.expect("a response");
    assert_eq!((response.status().as_u16(), header(&response, "etag")), (200, None));
    fixture.service.respond("AuthService/Login", |_| Ok(LoginResponse::default()));
    let login = fixture.post_json("/v1/auth/login", r#"{"email": "a@example.com", "password": "p"}"#);
    let response = login.send().await.expect("a response");
    assert_eq!((header(&response, "etag"), header(&response, "cache-control")), (None, Some("no-store")));
}
