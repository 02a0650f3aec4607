//! gzip: which answers, for whom, and what becomes of their tags. And bodies of requests that are coded.

use std::io::Read as _;

use baton_proto::baton::{
    auth::v1::LoginResponse,
    task::v1::{GetTaskResponse, ListTasksResponse},
};
use flate2::read::GzDecoder;
use reqwest::{Method, Response};

use crate::{
    gateway::{Gateway, TASK, header, problem},
    service::task,
};

async fn get(gateway: &Gateway, path: &str, accept: &str, known: &str) -> Response {
    let request = gateway.get(path).header("accept-encoding", accept).header("if-none-match", known);
    request.send().await.expect("answered")
}

async fn inflated(response: Response) -> Vec<u8> {
    let bytes = response.bytes().await.expect("a body");
    let mut plain = Vec::new();
    GzDecoder::new(&*bytes).read_to_end(&mut plain).expect("gzip");
    plain
}

#[tokio::test]
async fn large_json_is_compressed_for_those_who_accept_it() {
    let gateway = Gateway::start().await;
    let tasks = || ListTasksResponse { tasks: vec![task(TASK, 1); 20], ..ListTasksResponse::default() };
    gateway.service.on("TaskService/ListTasks", move |_| Ok(tasks()));
    gateway.service.on("TaskService/GetTask", |_| Ok(GetTaskResponse::default()));

    for accept in ["", "br", "gzip;q=0", "identity, gzip;q=0.5"] {
        let plain = get(&gateway, "/v1/tasks", accept, "").await;
        assert_eq!(header(&plain, "content-encoding"), None, "{accept}");
    }
    let plain = get(&gateway, "/v1/tasks", "", "").await;
    let plain_tag = header(&plain, "etag").expect("a tag").to_owned();
    let plain = plain.bytes().await.expect("a body");
    let gzip = get(&gateway, "/v1/tasks", "br, gzip;q=0.8", "").await;
    let gzip_tag = header(&gzip, "etag").expect("a tag").to_owned();
    assert_eq!((header(&gzip, "content-encoding"), header(&gzip, "content-length")), (Some("gzip"), None));
    assert!(header(&gzip, "vary").is_some_and(|vary| vary.contains("accept-encoding")));
    assert!(inflated(gzip).await == plain);
    // Other bytes, another strong tag.
    assert_eq!(gzip_tag, format!("{}-gzip\"", plain_tag.trim_end_matches('"')));

    for (accept, tag, status) in
        [("gzip", &gzip_tag, 304), ("", &plain_tag, 304), ("", &gzip_tag, 200), ("gzip", &plain_tag, 200)]
    {
        let again = get(&gateway, "/v1/tasks", accept, tag).await;
        assert_eq!(again.status(), status, "{accept} {tag}");
        if status == 304 {
            assert_eq!((header(&again, "etag"), header(&again, "content-encoding")), (Some(tag.as_str()), None));
            assert_eq!(again.bytes().await.expect("none").len(), 0);
        }
    }
    let head = gateway.request(Method::HEAD, "/v1/tasks").header("accept-encoding", "gzip");
    let head = head.send().await.expect("answered");
    assert_eq!((header(&head, "etag"), header(&head, "content-encoding")), (Some(gzip_tag.as_str()), Some("gzip")));
    let small = get(&gateway, &format!("/v1/tasks/{TASK}"), "gzip", "").await;
    assert_eq!(header(&small, "content-encoding"), None, "it would not get smaller");
}

#[tokio::test]
async fn answers_with_tokens_are_not_compressed() {
    let gateway = Gateway::start().await;
    let token = "t".repeat(4000);
    gateway.service.on("AuthService/Login", move |_| {
        Ok(LoginResponse { access_token: Some(token.clone()), ..LoginResponse::default() })
    });
    let login = gateway.post_json("/v1/auth/login", r#"{"email": "a@example.com", "password": "p"}"#);
    let response = login.header("accept-encoding", "gzip").send().await.expect("answered");
    assert_eq!((response.status().as_u16(), header(&response, "content-encoding")), (200, None));
}

#[tokio::test]
async fn openapi_and_documentation_are_compressed() {
    let gateway = Gateway::start().await;
    let plain = get(&gateway, "/openapi.json", "", "").await.bytes().await.expect("a body");
    let gzip = get(&gateway, "/openapi.json", "gzip", "").await;
    let tag = header(&gzip, "etag").expect("a tag").to_owned();
    let length: usize = header(&gzip, "content-length").expect("known").parse().expect("a number");
    assert!(length < plain.len() / 4, "{length} of {}", plain.len());
    assert!(inflated(gzip).await == plain);
    let again = get(&gateway, "/openapi.json", "gzip", &tag).await;
    assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, Some(tag.as_str())));
    assert_eq!(get(&gateway, "/openapi.json", "", &tag).await.status(), 200);

    let page = get(&gateway, "/docs", "gzip", "").await;
    assert_eq!(header(&page, "content-encoding"), Some("gzip"));
    assert!(inflated(page).await.starts_with(b"<!"));
}

#[tokio::test]
async fn coded_body_is_refused_with_what_is_accepted() {
    let gateway = Gateway::start().await;
    let path = format!("/v1/tasks/{TASK}");
    for coding in ["gzip", "br", "deflate, gzip", "identity, gzip"] {
        let request = gateway.patch(&path, "\x1f\u{8b}\u{8}").header("content-encoding", coding);
        let response = request.send().await.expect("answered");
        assert_eq!(header(&response, "accept-encoding"), Some("identity"));
        problem(response, 415, "UNSUPPORTED_MEDIA_TYPE").await;
    }
    assert_eq!(gateway.service.count(), 0);
    gateway.service.has_task(TASK, 1);
    let plain = gateway.get(&path).header("content-encoding", "identity").send().await.expect("answered");
    assert_eq!(plain.status(), 200);
}
