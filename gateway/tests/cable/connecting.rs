//! Who may connect, and what they are told when they may not.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite::Error};
use uuid::Uuid;

use crate::stage::{ORIGIN, Socket, Stage};

#[tokio::test]
async fn a_member_is_welcomed_and_pinged_whichever_way_the_token_comes() {
    let stage = Stage::set().await;
    let (user, account) = (&stage.team.user_a1, stage.team.account_id);
    let mut by_query = stage.connect(user).await;
    let ping = timeout(Duration::from_secs(5), by_query.raw()).await.unwrap().unwrap();
    assert_eq!(ping["type"], "ping");
    assert!((ping["message"].as_i64().unwrap() - chrono::Utc::now().timestamp()).abs() < 5);

    let mut by_header = stage.request("");
    by_header.headers_mut().insert("authorization", format!("bearer {}", user.token).parse().unwrap());
    by_header.headers_mut().insert("x-account-id", account.to_string().parse().unwrap());
    let mut by_subprotocol = stage.request(&format!("?account_id={account}"));
    let offered = format!("actioncable-v1-json, actioncable-unsupported, baton.token.{}", user.token);
    by_subprotocol.headers_mut().insert("sec-websocket-protocol", offered.parse().unwrap());
    // Without an account it is the default one.
    let mut by_default = stage.request(&format!("?token={}", user.token));
    by_default.headers_mut().insert("origin", ORIGIN.parse().unwrap());
    for request in [by_header, by_subprotocol, by_default] {
        let (socket, answer) = connect_async(request).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "actioncable-v1-json");
        assert_eq!(Socket(socket).next().await, json!({"type": "welcome"}));
    }
}

#[tokio::test]
async fn who_is_no_member_or_shows_no_good_token_is_sent_away() {
    let stage = Stage::set().await;
    let other = stage.world.team().await;
    let (user, account) = (&stage.team.user_a1, stage.team.account_id);
    let forged = format!("{}x", user.token);
    let expired = stage.expiring(user, -60).await;
    for query in [
        String::new(),
        "?token=".to_owned(),
        "?token=nonsense&token=twice".to_owned(),
        format!("?token={forged}&account_id={account}"),
        format!("?token={}&account_id={account}", other.owner.token),
        format!("?token={}&account_id={}", user.token, Uuid::now_v7()),
        format!("?token={}&account_id=none", user.token),
    ] {
        stage.open(&query).await.is_told_to_go("unauthorized", false).await;
    }
    stage.open(&format!("?token={expired}&account_id={account}")).await.is_told_to_go("token_expired", false).await;
}

#[tokio::test]
async fn pages_of_other_origins_and_what_is_no_websocket_are_refused() {
    let stage = Stage::set().await;
    let query = format!("?token={}", stage.team.user_a1.token);
    let mut request = stage.request(&query);
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    let Err(Error::Http(answer)) = connect_async(request).await else { panic!("connected") };
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let problem: Value = serde_json::from_slice(answer.body().as_ref().unwrap()).unwrap();
    assert_eq!(problem["reason"], "ORIGIN_NOT_ALLOWED");

    let answer = reqwest::get(format!("http://{}/cable{query}", stage.address)).await.unwrap();
    assert_eq!(answer.status(), 426);
    assert_eq!(answer.json::<Value>().await.unwrap()["reason"], "WEBSOCKET_EXPECTED");
}

#[tokio::test]
async fn a_token_that_runs_out_ends_the_connection_and_a_new_one_may_follow() {
    let stage = Stage::set().await;
    let (user, account) = (&stage.team.user_a1, stage.team.account_id);
    let token = stage.expiring(user, 3).await;
    let mut socket = stage.open(&format!("?token={token}&account_id={account}")).await;
    assert_eq!(socket.next().await, json!({"type": "welcome"}));
    socket.is_told_to_go("token_expired", true).await;
    stage.connect(user).await;
}

#[tokio::test]
async fn a_gateway_that_drains_sends_all_away_to_come_back() {
    let stage = Stage::set().await;
    let (mut one, mut two) = (stage.connect(&stage.team.user_a1).await, stage.connect(&stage.team.manager_a).await);
    stage.gateway.draining().cancel();
    one.is_told_to_go("server_restart", true).await;
    two.is_told_to_go("server_restart", true).await;
    // Still listening until it stops, but not for sockets.
    let query = format!("?token={}", stage.team.user_a1.token);
    stage.open(&query).await.is_told_to_go("server_restart", true).await;
}
