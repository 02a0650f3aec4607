//! gzip of responses and their tags, and compressed request bodies.

use std::io::Read as _;

use baton_proto::baton::{
    auth::v1::LoginResponse,
    task::v1::{GetTaskResponse, ListTasksResponse},
};
use flate2::read::GzDecoder;
use reqwest::{Method, Response};

use crate::{
    fake_service::task,
    fixture::{Fixture, TASK, header, read_problem},
};

async fn get(fixture: &Fixture, path: &str, accept: &str, known: &str) -> Response {
    let request = fixture.get(path).header("accept-encoding", accept).header("if-none-match", known);
    request.send().await.expect("a response")
}

async fn inflated(response: Response) -> Vec<u8> {
    let bytes = response.bytes().await.expect("a body");
    let mut plain = Vec::new();
    GzDecoder::new(&*bytes).read_to_end(&mut plain).expect("gzip");
    plain
}

#[tokio::test]
async fn large_json_is_compressed_if_accepted() {
    let fixture = Fixture::start().await;
    let tasks = || ListTasksResponse { tasks: vec![task(TASK, 1); 20], ..ListTasksResponse::default() };
    fixture.service.respond("TaskService/ListTasks", move |_| Ok(tasks()));
    fixture.service.respond("TaskService/GetTask", |_| Ok(GetTaskResponse::default()));

    for accept in ["", "br", "gzip;q=0", "identity, gzip;q=0.5"] {
        let plain = get(&fixture, "/v1/tasks", accept, "").await;
        assert_eq!(header(&plain, "content-encoding"), None, "{accept}");
    }
    let plain = get(&fixture, "/v1/tasks", "", "").await;
    let plain_tag = header(&plain, "etag").expect("a tag").to_owned();
    let plain = plain.bytes().await.expect("a body");
    let gzip = get(&fixture, "/v1/tasks", "br, gzip;q=0.8", "").await;
    let gzip_tag = header(&gzip, "etag").expect("a tag").to_owned();
    assert_eq!((header(&gzip, "content-encoding"), header(&gzip, "content-length")), (Some("gzip"), None));
    assert!(header(&gzip, "vary").is_some_and(|vary| vary.contains("accept-encoding")));
    assert!(inflated(gzip).await == plain);
    // Different bytes have a different strong tag.
    assert_eq!(gzip_tag, format!("{}-gzip\"", plain_tag.trim_end_matches('"')));

    for (accept, tag, status) in
        [("gzip", &gzip_tag, 304), ("", &plain_tag, 304), ("", &gzip_tag, 200), ("gzip", &plain_tag, 200)]
    {
        let again = get(&fixture, "/v1/tasks", accept, tag).await;
        assert_eq!(again.status(), status, "{accept} {tag}");
        if status == 304 {
            assert_eq!((header(&again, "etag"), header(&again, "content-encoding")), (Some(tag.as_str()), None));
            assert_eq!(again.bytes().await.expect("none").len(), 0);
        }
    }
    let head = fixture.request(Method::HEAD, "/v1/tasks").header("accept-encoding", "gzip");
    let head = head.send().await.expect("a response");
    assert_eq!((header(&head, "etag"), header(&head, "content-encoding")), (Some(gzip_tag.as_str()), Some("gzip")));
    let small = get(&fixture, &format!("/v1/tasks/{TASK}"), "gzip", "").await;
    assert_eq!(header(&small, "content-encoding"), None, "too small to compress");
}

#[tokio::test]
async fn responses_with_tokens_are_not_compressed() {
    let fixture = Fixture::start().await;
    let token = "t".repeat(4000);
    fixture.service.respond("AuthService/Login", move |_| {
        Ok(LoginResponse { access_token: Some(token.clone()), ..LoginResponse::default() })
    });
    let login = fixture.post_json("/v1/auth/login", r#"{"email": "a@example.com", "password": "p"}"#);
    let response = login.header("accept-encoding", "gzip").send().await.expect("a response");
    assert_eq!((response.status().as_u16(), header(&response, "content-encoding")), (200, None));
}

#[tokio::test]
async fn openapi_and_documentation_are_compressed() {
    let fixture = Fixture::start().await;
    let plain = get(&fixture, "/openapi.json", "", "").await.bytes().await.expect("a body");
    let gzip = get(&fixture, "/openapi.json", "gzip", "").await;
    let tag = header(&gzip, "etag").expect("a tag").to_owned();
    let length: usize = header(&gzip, "content-length").expect("known").parse().expect("a number");
    assert!(length < plain.len() / 4, "{length} of {}", plain.len());
    assert!(inflated(gzip).await == plain);
    let again = get(&fixture, "/openapi.json", "gzip", &tag).await;
    assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, Some(tag.as_str())));
    assert_eq!(get(&fixture, "/openapi.json", "", &tag).await.status(), 200);

    let page = get(&fixture, "/docs", "gzip", "").await;
    assert_eq!(header(&page, "content-encoding"), Some("gzip"));
    assert!(inflated(page).await.starts_with(b"<!"));
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_accept_encoding() {
    let fixture = Fixture::start().await;
    let path = format!("/v1/tasks/{TASK}");
    for coding in ["gzip", "br", "deflate, gzip", "identity, gzip"] {
        let request = fixture.patch(&path, "\x1f\u{8b}\u{8}").header("content-encoding", coding);
        let response = request.send().await.expect("a response");
        assert_eq!(header(&response, "accept-encoding"), Some("identity"));
        read_problem(response, 415, "UNSUPPORTED_MEDIA_TYPE").await;
    }
    assert_eq!(fixture.service.count(), 0);
    fixture.service.respond_with_task(TASK, 1);
    let plain = fixture.get(&path).header("content-encoding", "identity").send().await.expect("a response");
    assert_eq!(plain.status(), 200);
}
