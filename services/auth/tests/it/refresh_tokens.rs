use std::collections::HashSet;

use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    CheckSessionRequest, LogoutRequest, RefreshRequest, RefreshResponse, auth_service_client::AuthServiceClient,
};
use baton_runtime::Clock;
use baton_testkit::{Person, TestContext, eventually, reason};
use chrono::TimeDelta;
use tonic::{Code, Status, transport::Channel};

use crate::client;

async fn refresh(context: &TestContext, token: &str) -> Result<RefreshResponse, Status> {
    refresh_with(client(context), token.to_owned()).await
}

async fn refresh_with(mut auth: AuthServiceClient<Channel>, refresh_token: String) -> Result<RefreshResponse, Status> {
    auth.refresh(RefreshRequest { refresh_token }).await.map(tonic::Response::into_inner)
}

/// Waits until the user's access token is refused, which must happen within a second.
async fn assert_signed_out(context: &TestContext, person: &Person) {
    let refused = eventually(|| async {
        client(context).check_session(person.call_without_account(CheckSessionRequest {})).await.err()
    })
    .await;
    assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, Some(Reason::SessionClosed)));
}

#[tokio::test]
async fn refresh_returns_the_next_pair() {
    let context = TestContext::start(&[]).await;
    let mut ada = context.person("ada").await;
    for _ in 0..3 {
        let next = refresh(&context, &ada.refresh_token).await.unwrap();
        assert_ne!(next.refresh_token, ada.refresh_token);
        assert_eq!((next.token_type.as_str(), next.expires_in), ("Bearer", 900));
        (ada.token, ada.refresh_token) = (next.access_token, next.refresh_token);
        let check = client(&context).check_session(ada.call_without_account(CheckSessionRequest {})).await.unwrap();
        assert_eq!(check.into_inner().user_id, ada.user_id.to_string());
    }
}

/// RFC 9700, section 4.14.2.
#[tokio::test]
async fn reused_token_closes_the_session_and_notifies_the_user() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let elsewhere = crate::login(&context, &ada.email, crate::PASSWORD).await.unwrap();
    let second = refresh(&context, &ada.refresh_token).await.unwrap().refresh_token;
    let third = refresh(&context, &second).await.unwrap().refresh_token;
    let reused = refresh(&context, &ada.refresh_token).await.unwrap_err();
    assert_eq!(reason(&reused), Some(Reason::TokenReused));
    for token in [&third, &second, &ada.refresh_token] {
        let refused = refresh(&context, token).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::SessionClosed), "both thief and owner are signed out");
    }
    assert_signed_out(&context, &ada).await;
    refresh(&context, elsewhere.refresh_token()).await.unwrap();

    let mail = eventually(|| async { context.mailbox().mails(Some(&ada.email)).pop() }).await;
    assert_eq!(mail.subject, "A session of yours was closed");
    let kinds: Vec<String> = sqlx::query_scalar("select kind from auth.auth_events where user_id = $1 order by id")
        .bind(ada.user_id)
        .fetch_all(&context.admin())
        .await
        .unwrap();
    assert_eq!(kinds, ["SIGNED_IN", "SIGNED_IN", "TOKEN_REUSED"]);
}

#[tokio::test]
async fn twenty_parallel_refreshes_succeed_and_any_token_continues() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let calls = (0..20).map(|_| refresh(&context, &ada.refresh_token));
    let responses = futures_util::future::join_all(calls).await;
    let tokens: HashSet<_> = responses.into_iter().map(|response| response.unwrap().refresh_token).collect();
    assert_eq!(tokens.len(), 20, "each call gets its own token");
    for token in tokens.iter().take(2) {
        refresh(&context, token).await.unwrap();
    }
}

#[tokio::test]
async fn refresh_can_be_retried_for_ten_seconds() {
    let context = TestContext::start(&[]).await;
    let (clock, auth) = start_with_fixed_clock(&context).await;
    let refresh = |token| refresh_with(auth.clone(), token);
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    for person in [&ada, &ben] {
        refresh(person.refresh_token.clone()).await.unwrap();
    }
    clock.advance(TimeDelta::seconds(10));
    refresh(ada.refresh_token.clone()).await.unwrap();
    clock.advance(TimeDelta::milliseconds(1));
    for person in [&ada, &ben] {
        let reused = refresh(person.refresh_token.clone()).await.unwrap_err();
        assert_eq!(reason(&reused), Some(Reason::TokenReused));
    }
}

/// A thief who repeats the exchange within the reuse interval gets a token of their own. The session ends as soon as
/// both have refreshed.
#[tokio::test]
async fn theft_within_the_reuse_interval_is_detected_later() {
    let context = TestContext::start(&[]).await;
    let (clock, auth) = start_with_fixed_clock(&context).await;
    let refresh = |token| refresh_with(auth.clone(), token);
    let ada = context.person("ada").await;
    let honest = refresh(ada.refresh_token.clone()).await.unwrap().refresh_token;
    let thief = refresh(ada.refresh_token.clone()).await.unwrap().refresh_token;
    clock.advance(TimeDelta::minutes(14));
    let honest = refresh(honest).await.unwrap().refresh_token;
    clock.advance(TimeDelta::minutes(1));
    let reused = refresh(thief).await.unwrap_err();
    assert_eq!(reason(&reused), Some(Reason::TokenReused));
    assert_eq!(reason(&refresh(honest).await.unwrap_err()), Some(Reason::SessionClosed));
}

/// ASVS 5.0, 7.3.1 and 7.3.2.
#[tokio::test]
async fn session_expires_when_idle_and_when_old() {
    let context = TestContext::start(&[]).await;
    let (clock, auth) = start_with_fixed_clock(&context).await;
    let refresh = |token| refresh_with(auth.clone(), token);
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    let mut token = ben.refresh_token;
    for _ in 0..6 {
        clock.advance(TimeDelta::days(29));
        token = refresh(token).await.unwrap().refresh_token;
    }
    let idle = refresh(ada.refresh_token).await.unwrap_err();
    assert_eq!(reason(&idle), Some(Reason::SessionClosed));
    clock.advance(TimeDelta::days(7));
    let old = refresh(token).await.unwrap_err();
    assert_eq!(reason(&old), Some(Reason::SessionClosed), "180 days are over");
}

/// Starts a second auth service on the same context, with a controlled clock.
async fn start_with_fixed_clock(context: &TestContext) -> (Clock, AuthServiceClient<Channel>) {
    let clock = Clock::fixed(Clock::system().now());
    let config = baton_auth::Config::from_env(&baton_auth::SPEC, &context.env()).unwrap();
    let of_service = clock.clone();
    let channel = context.spawn(|listener, stop| baton_auth::start(config, of_service, listener, stop)).await;
    (clock, AuthServiceClient::new(channel))
}

#[tokio::test]
async fn logout_closes_only_this_session_and_is_idempotent() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let elsewhere = crate::login(&context, &ada.email, crate::PASSWORD).await.unwrap();
    for token in [&ada.refresh_token, &ada.refresh_token, &"unknown".to_owned()] {
        client(&context).logout(LogoutRequest { refresh_token: token.clone() }).await.unwrap();
    }
    assert_signed_out(&context, &ada).await;
    refresh(&context, elsewhere.refresh_token()).await.unwrap();
}
