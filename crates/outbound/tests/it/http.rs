//! What is on the wire.

use baton_outbound::{MAX_REQUEST_LEN, Request, Target};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::receiver::{Names, Receiver, Untouched, allowed, call, client, post};

const LOOPBACK: &str = "127.0.0.0/8";

#[tokio::test]
async fn a_request_has_these_lines_and_no_others() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok").await;
    let client = client(LOOPBACK, &Names::of(&[&["127.0.0.1"]]));
    let response = call(&client, &format!("http://Receiver.example:{}/hook?a=b", receiver.port())).await.unwrap();
    assert_eq!((response.status.as_u16(), &response.body[..]), (200, &b"ok"[..]));
    assert_eq!(response.headers["x-a"], "b");

    let request = receiver.requests().remove(0);
    let mut lines: Vec<&str> = request.lines().collect();
    assert_eq!(lines.remove(0), "POST /hook?a=b HTTP/1.1");
    assert_eq!(lines.pop(), Some(r#"{"a":1}"#));
    lines.sort_unstable();
    let host = format!("host: receiver.example:{}", receiver.port());
    let agent = concat!("user-agent: Baton-Webhooks/", env!("CARGO_PKG_VERSION"));
    let expected = ["", "connection: close", "content-length: 7", "content-type: application/json", &host, agent];
    assert_eq!(lines, expected);
}

/// Otherwise they could end the request early, and begin another.
#[tokio::test]
async fn headers_about_the_connection_are_dropped() {
    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let client = client(LOOPBACK, &Names::default());
    let target = format!("http://127.0.0.1:{}/", receiver.port());
    let target = Target::parse(&target, client.allowed_networks()).unwrap();
    let mut headers = HeaderMap::new();
    for name in
        ["host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "cookie", "referer", "te"]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("0"));
    }
    headers.insert("user-agent", HeaderValue::from_static("curl/8"));
    headers.insert("x-kept", HeaderValue::from_static("0"));
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    client.send(post(&target).headers(headers)).await.unwrap();

    let request = receiver.requests().remove(0);
    let mut zero: Vec<&str> = request.lines().filter(|line| line.ends_with(": 0")).collect();
    assert_eq!(zero.pop(), Some("x-kept: 0"));
    assert!(zero.is_empty() && !request.contains("curl"), "{request}");
    assert!(request.contains("content-type: text/plain") && !request.contains("application/json"), "{request}");
}

#[tokio::test]
async fn too_large_requests_get_no_connection() {
    let (listener, client) = (Untouched::listen().await, client(LOOPBACK, &Names::default()));
    let target = format!("http://127.0.0.1:{}/", listener.port());
    let target = Target::parse(&target, &allowed(LOOPBACK)).unwrap();
    let request = Request::post(&target, HeaderValue::from_static("text/plain"), vec![b'x'; MAX_REQUEST_LEN + 1]);
    assert_eq!(client.send(request).await.unwrap_err().reason(), "request_too_large");
    listener.assert("for a large request").await;

    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let target = Target::parse(&format!("http://127.0.0.1:{}/", receiver.port()), &allowed(LOOPBACK)).unwrap();
    let request = Request::post(&target, HeaderValue::from_static("text/plain"), vec![b'x'; MAX_REQUEST_LEN]);
    assert_eq!(client.send(request).await.unwrap().status, 204);
    assert!(receiver.requests()[0].ends_with("xxx"));
}

#[tokio::test]
async fn every_call_has_a_connection_of_its_own() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n").await;
    let client = client(LOOPBACK, &Names::default());
    for calls in 1..4 {
        call(&client, &format!("http://127.0.0.1:{}/", receiver.port())).await.unwrap();
        assert_eq!((receiver.connections(), receiver.requests().len()), (calls, calls));
    }
}
