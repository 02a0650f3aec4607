//! PATCH as JSON Merge Patch, up to the mask that the service gets.

use baton_proto::baton::task::v1::{UpdateTaskRequest, UpdateTaskResponse};
use reqwest::Method;
use serde_json::json;

use crate::{
    gateway::{Gateway, TASK, refused},
    service::task,
};

async fn patched(body: &str) -> (UpdateTaskRequest, Vec<String>) {
    let gateway = Gateway::start().await;
    gateway.service.on("TaskService/UpdateTask", |_| Ok(UpdateTaskResponse { task: Some(task(TASK, 2)) }));
    let response = gateway.patch(&format!("/v1/tasks/{TASK}"), body).send().await.expect("answered");
    assert_eq!(response.status(), 200);
    let request: UpdateTaskRequest = gateway.service.call("TaskService/UpdateTask").as_a();
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
async fn free_fields_merge_by_member() {
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
async fn what_is_no_patch_reaches_no_service() {
    let gateway = Gateway::start().await;
    let path = format!("/v1/tasks/{TASK}");
    assert_eq!(refused(gateway.patch(&path, r#"{"status": "paused"}"#), 400, "UNKNOWN_FIELD").await, ["status"]);
    assert_eq!(
        refused(gateway.patch(&path, r#"{"update_mask": "title"}"#), 400, "UNKNOWN_FIELD").await,
        ["update_mask"]
    );
    assert_eq!(refused(gateway.patch(&path, r#"{"title": 3}"#), 400, "VALIDATION_FAILED").await, ["title"]);
    refused(gateway.patch(&path, "[]"), 400, "MALFORMED_REQUEST").await;
    refused(gateway.patch(&path, ""), 400, "MALFORMED_REQUEST").await;
    refused(gateway.patch(&format!("{path}?update_mask=title"), "{}"), 400, "UNKNOWN_FIELD").await;
    let text = gateway.request(Method::PATCH, &path).header("content-type", "text/plain").body("{}");
    refused(text, 415, "UNSUPPORTED_MEDIA_TYPE").await;
    assert_eq!(gateway.service.count(), 0);
}
