//! PATCH as JSON Merge Patch, with the mask that the service receives.

use baton_proto::baton::task::v1::{UpdateTaskRequest, UpdateTaskResponse};
use reqwest::Method;
use serde_json::json;

use crate::{
    fake_service::task,
    fixture::{Fixture, TASK, expect_problem},
};

async fn patched(body: &str) -> (UpdateTaskRequest, Vec<String>) {
    let fixture = Fixture::start().await;
    fixture.service.respond("TaskService/UpdateTask", |_| Ok(UpdateTaskResponse { task: Some(task(TASK, 2)) }));
    let response = fixture.patch(&format!("/v1/tasks/{TASK}"), body).send().await.expect("a response");
    assert_eq!(response.status(), 200);
    let request: UpdateTaskRequest = fixture.service.call("TaskService/UpdateTask").decode();
    let mask = request.update_mask.clone().map(|mask| mask.paths).unwrap_or_default();
    (request, mask)
}

#[tokio::test]
async fn the_keys_are_the_mask() {
    let (request, mask) = patched(r#"{"title": "New", "due_at": null}"#).await;
    assert_eq!(mask, ["title", "due_at"]);
    assert_eq!(request.id, TASK);
    let change = request.task.expect("sent");
    assert_eq!((change.title.as_str(), change.due_at), ("New", None));
}

#[tokio::test]
async fn struct_fields_merge_by_member() {
    let (request, mask) = patched(r#"{"custom_fields": {"size": 3, "old": null, "deep": {"a": 1}}}"#).await;
    assert_eq!(mask, ["custom_fields.size", "custom_fields.old", "custom_fields.deep"]);
    let fields = request.task.and_then(|task| task.custom_fields).expect("sent");
    assert_eq!(json!(baton_proto::convert::to_object(fields)), json!({"size": 3, "deep": {"a": 1}}));
}

#[tokio::test]
async fn an_empty_patch_is_an_empty_mask() {
    let (request, mask) = patched("{}").await;
    assert_eq!(mask, Vec::<String>::new());
    assert!(request.task.is_some());
}

#[tokio::test]
async fn invalid_patches_are_refused_without_a_call() {
    let fixture = Fixture::start().await;
    let path = format!("/v1/tasks/{TASK}");
    assert_eq!(expect_problem(fixture.patch(&path, r#"{"status": "paused"}"#), 400, "UNKNOWN_FIELD").await, ["status"]);
    assert_eq!(
        expect_problem(fixture.patch(&path, r#"{"update_mask": "title"}"#), 400, "UNKNOWN_FIELD").await,
        ["update_mask"]
    );
    assert_eq!(expect_problem(fixture.patch(&path, r#"{"title": 3}"#), 400, "VALIDATION_FAILED").await, ["title"]);
    expect_problem(fixture.patch(&path, "[]"), 400, "MALFORMED_REQUEST").await;
    expect_problem(fixture.patch(&path, ""), 400, "MALFORMED_REQUEST").await;
    expect_problem(fixture.patch(&format!("{path}?update_mask=title"), "{}"), 400, "UNKNOWN_FIELD").await;
    let text = fixture.request(Method::PATCH, &path).header("content-type", "text/plain").body("{}");
    expect_problem(text, 415, "UNSUPPORTED_MEDIA_TYPE").await;
    assert_eq!(fixture.service.count(), 0);
}
