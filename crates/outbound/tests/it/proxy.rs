//! The environment's proxies are not used.

use std::{env, process::Command};

use crate::receiver::{Names, Receiver, Untouched, call, client};

const URL: &str = "BATON_OUTBOUND_TEST_URL";

/// The test starts itself with proxies in its environment, which cannot be set in a process that has threads.
#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    if let Ok(url) = env::var(URL) {
        let response = call(&client("127.0.0.0/8", &Names::of(&[&["127.0.0.1"]])), &url).await.unwrap();
        assert_eq!(response.status, 204);
        return;
    }
    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let listener = Untouched::listen().await;
    let proxy = format!("http://127.0.0.1:{}", listener.port());
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "proxy::proxies_of_the_environment_are_not_used"]);
    child.env(URL, format!("http://receiver.example:{}/", receiver.port()));
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        child.env(name, &proxy).env(name.to_uppercase(), &proxy);
    }
    child.env_remove("no_proxy").env_remove("NO_PROXY");
    let ran = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    assert_eq!(receiver.requests().len(), 1);
    listener.assert("of a proxy").await;
}
