//! A receiver that uses PyPI's `standardwebhooks` accepts what arrives there. `scripts/setup --tests` installs it.

use baton_outbound::{
    Request, Target,
    signing::{SigningSecret, sign},
};
use baton_runtime::Clock;
use http::HeaderValue;
use serde_json::{Map, Value};

use crate::{
    receiver::{Names, Receiver, client},
    standard_webhooks::verify,
};

const BODY: &str = r#"{"type":"task.completed","title":"Grüße, 世界 🎉"}"#;

/// Sends a message that is signed with these secrets, and returns what arrives: headers and body.
async fn deliver(secrets: &[SigningSecret]) -> (Map<String, Value>, String) {
    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let client = client("127.0.0.0/8", &Names::default());
    let target = Target::parse(&format!("http://127.0.0.1:{}/", receiver.port()), client.allowed_networks()).unwrap();
    let clock = Clock::system();
    let headers = sign(secrets, &clock.new_id().to_string(), clock.now().timestamp(), BODY.as_bytes()).unwrap();
    let request = Request::post(&target, HeaderValue::from_static("application/json"), BODY).headers(headers);
    assert_eq!(client.send(request).await.unwrap().status, 204);
    let request = receiver.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    (crate::standard_webhooks::headers(head), body.to_owned())
}

#[tokio::test]
async fn standardwebhooks_verifies_what_arrives() {
    let (new, old, foreign) = (SigningSecret::generate(), SigningSecret::generate(), SigningSecret::generate());
    let (headers, body) = deliver(&[new.clone(), old.clone()]).await;
    for secret in [&new, &old] {
        let verified = verify(&secret.expose(), &headers, &body);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        let read: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(BODY).unwrap());
    }

    let assert_refused = |what: &str, secret: &SigningSecret, headers: &Map<String, Value>, body: &str, error: &str| {
        let refused = verify(&secret.expose(), headers, body);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && message.contains(error), "{what}: {message}");
    };
    const NO_MATCH: &str = "No matching signature found";
    assert_refused("another secret", &foreign, &headers, &body, NO_MATCH);
    assert_refused("another body", &new, &headers, &body.replace("completed", "deleted"), NO_MATCH);
    let with = |name: &str, value: String| {
        let mut headers = headers.clone();
        headers[name] = value.into();
        headers
    };
    assert_refused("another id", &new, &with("webhook-id", "other".to_owned()), &body, NO_MATCH);
    let seconds: i64 = headers["webhook-timestamp"].as_str().unwrap().parse().unwrap();
    assert_refused("another time", &new, &with("webhook-timestamp", (seconds - 1).to_string()), &body, NO_MATCH);
    let old_time = with("webhook-timestamp", (seconds - 600).to_string());
    assert_refused("an old message", &new, &old_time, &body, "Message timestamp too old");
}
