//! Connecting: credentials, origins, expiry and draining.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite::Error};
use uuid::Uuid;

use crate::fixture::{Fixture, ORIGIN, Socket};

#[tokio::test]
async fn a_token_is_accepted_in_query_header_and_subprotocol() {
    let fixture = Fixture::start().await;
    let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
    let mut by_query = fixture.connect(user).await;
    let ping = timeout(Duration::from_secs(5), by_query.receive_any()).await.unwrap().unwrap();
    assert_eq!(ping["type"], "ping");
    assert!((ping["message"].as_i64().unwrap() - chrono::Utc::now().timestamp()).abs() < 5);

    let mut by_header = fixture.request("");
    by_header.headers_mut().insert("authorization", format!("bearer {}", user.token).parse().unwrap());
    by_header.headers_mut().insert("x-account-id", account.to_string().parse().unwrap());
    let mut by_subprotocol = fixture.request(&format!("?account_id={account}"));
    let offered = format!("actioncable-v1-json, actioncable-unsupported, baton.token.{}", user.token);
    by_subprotocol.headers_mut().insert("sec-websocket-protocol", offered.parse().unwrap());
    // Without an account, the default account is used.
    let mut by_default = fixture.request(&format!("?token={}", user.token));
    by_default.headers_mut().insert("origin", ORIGIN.parse().unwrap());
    for request in [by_header, by_subprotocol, by_default] {
        let (socket, answer) = connect_async(request).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "actioncable-v1-json");
        assert_eq!(Socket(socket).receive().await, json!({"type": "welcome"}));
    }
}

#[tokio::test]
async fn invalid_tokens_and_non_members_are_disconnected() {
    let fixture = Fixture::start().await;
    let other = fixture.context.team().await;
    let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
    let forged = format!("{}x", user.token);
    let expired = fixture.token_expiring_in(user, -60).await;
    for query in [
        String::new(),
        "?token=".to_owned(),
        "?token=nonsense&token=twice".to_owned(),
        format!("?token={forged}&account_id={account}"),
        format!("?token={}&account_id={account}", other.owner.token),
        format!("?token={}&account_id={}", user.token, Uuid::now_v7()),
        format!("?token={}&account_id=none", user.token),
    ] {
        fixture.open(&query).await.expect_disconnect("unauthorized", false).await;
    }
    fixture
        .open(&format!("?token={expired}&account_id={account}"))
        .await
        .expect_disconnect("token_expired", false)
        .await;
}

#[tokio::test]
async fn other_origins_and_plain_requests_are_refused() {
    let fixture = Fixture::start().await;
    let query = format!("?token={}", fixture.team.user_a1.token);
    let mut request = fixture.request(&query);
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    let Err(Error::Http(answer)) = connect_async(request).await else { panic!("connected") };
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let problem: Value = serde_json::from_slice(answer.body().as_ref().unwrap()).unwrap();
    assert_eq!(problem["reason"], "ORIGIN_NOT_ALLOWED");

    let answer = reqwest::get(format!("http://{}/cable{query}", fixture.address)).await.unwrap();
    assert_eq!(answer.status(), 426);
    assert_eq!(answer.json::<Value>().await.unwrap()["reason"], "WEBSOCKET_EXPECTED");
}

#[tokio::test]
async fn an_expired_token_ends_the_connection() {
    let fixture = Fixture::start().await;
    let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
    let token = fixture.token_expiring_in(user, 3).await;
    let mut socket = fixture.open(&format!("?token={token}&account_id={account}")).await;
    assert_eq!(socket.receive().await, json!({"type": "welcome"}));
    socket.expect_disconnect("token_expired", true).await;
    fixture.connect(user).await;
}

#[tokio::test]
async fn a_draining_gateway_disconnects_all_to_reconnect() {
    let fixture = Fixture::start().await;
    let (mut one, mut two) =
        (fixture.connect(&fixture.team.user_a1).await, fixture.connect(&fixture.team.manager_a).await);
    fixture.shutdown.draining().cancel();
    one.expect_disconnect("server_restart", true).await;
    two.expect_disconnect("server_restart", true).await;
    // New sockets are refused as well.
    let query = format!("?token={}", fixture.team.user_a1.token);
    fixture.open(&query).await.expect_disconnect("server_restart", true).await;
}
