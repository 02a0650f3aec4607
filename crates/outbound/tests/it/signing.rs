//! A receiver that uses PyPI's `standardwebhooks` accepts what arrives there. `scripts/setup --tests` installs it.

use std::{
    env,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use baton_outbound::{
    Request, Target,
    signing::{SigningSecret, sign},
};
use baton_runtime::Clock;
use http::HeaderValue;
use serde_json::{Map, Value, json};

use crate::receiver::{Names, Receiver, client};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/standard_webhooks.py");
/// The version that `scripts/setup` installs.
const VERSION: &str = "1.1.0";
const BODY: &str = r#"{"type":"task.completed","title":"Grüße, 世界 🎉"}"#;

/// A Python with standardwebhooks: the first on the PATH, to which `scripts/env.sh` adds the one of `scripts/setup`.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let import = "import sys, importlib.metadata as m; sys.exit(m.version('standardwebhooks') != sys.argv[1])";
    let has_package = |python: &PathBuf| {
        let tried = Command::new(python).args(["-c", import, VERSION]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join("python3")).find(has_package);
    found.unwrap_or_else(|| panic!("no standardwebhooks {VERSION}: run scripts/setup --tests, and this by ./test"))
});

/// Verifies a received message with a secret.
fn verify(secret: &SigningSecret, headers: &Map<String, Value>, body: &str) -> Output {
    let message = json!({"secret": secret.expose(), "headers": headers, "body": body});
    let pipes =
        Command::new(&*PYTHON).arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = pipes.unwrap();
    child.stdin.take().unwrap().write_all(message.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

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
    let headers = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
    (headers.map(|(name, value)| (name.to_owned(), value.into())).collect(), body.to_owned())
}

#[tokio::test]
async fn standardwebhooks_verifies_what_arrives() {
    let (new, old, foreign) = (SigningSecret::generate(), SigningSecret::generate(), SigningSecret::generate());
    let (headers, body) = deliver(&[new.clone(), old.clone()]).await;
    for secret in [&new, &old] {
        let verified = verify(secret, &headers, &body);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        let read: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(BODY).unwrap());
    }

    let assert_refused = |what: &str, secret: &SigningSecret, headers: &Map<String, Value>, body: &str, error: &str| {
        let refused = verify(secret, headers, body);
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
