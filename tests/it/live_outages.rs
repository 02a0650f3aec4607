//! Live updates while Postgres restarts: every client receives what is committed afterwards, or is told to read the state
//! again. No client is left in silence. `gateway/tests/live/outage.rs` has the outages of Redis.

use std::{process::Command, time::Duration};

use baton_embedded::{Options, Postgres, PostgresBinaries};
use baton_tests::{Person, Platform, eventually};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};
use uuid::Uuid;

const SOCKETS: usize = 20;
const TIMEOUT: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Kills a connection's process, after which Postgres closes all connections and recovers.
async fn crash(url: &str) {
    let mut conn = PgConnection::connect(url).await.unwrap();
    let pid: i32 = sqlx::query_scalar(
        "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() limit 1",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    eventually("the connection to end", || async {
        // A new one may come before the old one has ended.
        PgConnection::connect(url).await.is_err().then_some(())
    })
    .await;
    eventually("Postgres to accept connections again", || async { PgConnection::connect(url).await.ok() }).await;
}

async fn connect(platform: &Platform, person: &Person, account_id: Uuid, identifier: &str) -> Socket {
    let url = format!("ws://{}/cable?token={}&account_id={account_id}", platform.address(), person.token);
    let (mut socket, _) = connect_async(url).await.unwrap();
    let subscribe = json!({"command": "subscribe", "identifier": identifier}).to_string();
    socket.send(Message::text(subscribe)).await.unwrap();
    let confirmed = async {
        while let Some(Ok(message)) = socket.next().await {
            if message.to_text().is_ok_and(|text| text.contains("confirm_subscription")) {
                return;
            }
        }
    };
    timeout(TIMEOUT, confirmed).await.expect("the subscription is confirmed");
    socket
}

/// Receives until the event of this version. Returns the versions before it, and whether the client was told to read the
/// state again after the first.
async fn receive_until(socket: &mut Socket, version: i64) -> (Vec<i64>, bool) {
    let (mut versions, mut resync) = (Vec::new(), false);
    let deadline = Instant::now() + TIMEOUT;
    loop {
        // Heartbeats go on even if nothing else does.
        let message = timeout_at(deadline, socket.next()).await.expect("no silence").expect("an open socket").unwrap();
        let Ok(message) = serde_json::from_str::<Value>(message.to_text().unwrap()) else { continue };
        assert_ne!(message["type"], "disconnect", "{message}");
        resync |= !versions.is_empty() && message["message"]["event"] == "resync";
        if let Some(received) = message["message"]["version"].as_i64() {
            versions.push(received);
            if received >= version {
                return (versions, resync);
            }
        }
    }
}

#[tokio::test]
async fn open_sockets_outlive_a_restart_of_postgres() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = PostgresBinaries::find().unwrap();
    // Durable: a server that forgets its last commits has failed over, which is another story.
    let postgres = Postgres::start(&binaries, &folder.path().join("postgres"), Options::kept()).await.unwrap();
    let url = postgres.url("postgres", Postgres::SUPERUSER);
    let platform = Platform::start_with(&[("BATON_DATABASE_URL", &url)]).await;
    let owner = platform.person("owner").await;
    let account_id = owner.create_account("Restarted").await;
    let owner = owner.at(account_id);
    let task = owner.create_task("Goes on").await;
    let path = format!("/v1/tasks/{task}");
    let identifier = json!({"channel": "TaskChannel", "task_id": task}).to_string();
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(connect(&platform, &owner, account_id, &identifier).await);
    }
    let rename = || owner.patch(&path, &json!({"title": Uuid::new_v4()}));
    let first = rename().ok().await["version"].as_i64().unwrap();
    for socket in &mut sockets {
        receive_until(socket, first).await;
    }
    for _ in 0..2 {
        crash(&url).await;
        let last = eventually("a change after the restart", || async {
            let response = rename().send().await;
            (response.status == 200).then(|| response.json()["version"].as_i64().unwrap())
        })
        .await;
        for socket in &mut sockets {
            let (versions, resync) = receive_until(socket, last).await;
            let in_order = versions.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(in_order && versions.last() == Some(&last), "{versions:?}");
            assert!(!resync, "nothing was lost, so nobody reads the state again");
        }
        // New sockets as well.
        let mut new = connect(&platform, &owner, account_id, &identifier).await;
        eventually("a change for the new socket", || async { (rename().send().await.status == 200).then_some(()) })
            .await;
        assert!(receive_until(&mut new, last + 1).await.0.last() > Some(&last));
        for socket in &mut sockets {
            receive_until(socket, last + 1).await;
        }
    }
}
