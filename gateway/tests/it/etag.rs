//! Versions as `ETag`s.

use baton_proto::baton::task::v1::{DeleteTaskResponse, StartTaskResponse};
use reqwest::Method;

use crate::{
    gateway::{Gateway, TASK, header},
    service::task,
};

#[tokio::test]
async fn a_version_is_an_etag_and_a_known_one_is_not_sent_again() {
    let gateway = Gateway::start().await;
    gateway.service.has_task(TASK, 7);
    let path = format!("/v1/tasks/{TASK}");
    let response = gateway.get(&path).send().await.expect("answered");
    assert_eq!(header(&response, "etag"), Some("\"7\""));
    assert_eq!(header(&response, "cache-control"), Some("private, no-cache"));

    for known in ["\"7\"", "W/\"7\"", "\"3\", \"7\"", "*"] {
        let response = gateway.get(&path).header("if-none-match", known).send().await.expect("answered");
        assert_eq!(response.status(), 304, "{known}");
        assert_eq!(header(&response, "etag"), Some("\"7\""));
        assert_eq!(response.bytes().await.expect("empty").len(), 0);
    }
    for other in ["\"6\"", "7", "\"77\""] {
        let response = gateway.get(&path).header("if-none-match", other).send().await.expect("answered");
        assert_eq!(response.status(), 200, "{other}");
    }
}

#[tokio::test]
async fn changes_answer_the_new_etag_but_never_304() {
    let gateway = Gateway::start().await;
    gateway.service.on("TaskService/StartTask", |_| Ok(StartTaskResponse { task: Some(task(TASK, 8)) }));
    let request = gateway.post(&format!("/v1/tasks/{TASK}/start")).header("if-none-match", "\"8\"");
    let response = request.send().await.expect("answered");
    assert_eq!((response.status().as_u16(), header(&response, "etag")), (200, Some("\"8\"")));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
}

#[tokio::test]
async fn what_has_no_version_has_no_etag() {
    let gateway = Gateway::start().await;
    gateway.service.on("TaskService/DeleteTask", |_| Ok(DeleteTaskResponse {}));
    let response = gateway.request(Method::DELETE, &format!("/v1/tasks/{TASK}")).send().await.expect("answered");
    assert_eq!((response.status().as_u16(), header(&response, "etag")), (200, None));
}
