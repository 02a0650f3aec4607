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

async fn refresh(world: &TestContext, token: &str) -> Result<RefreshResponse, Status> {
    let request = RefreshRequest { refresh_token: token.to_owned() };
    client(world).refresh(request).await.map(tonic::Response::into_inner)
}

/// Waits until the person's access token is refused, as it has to be within a second.
async fn is_signed_out(world: &TestContext, person: &Person) {
    let refused = eventually(|| async {
        client(world).check_session(person.call_without_account(CheckSessionRequest {})).await.err()
    })
    .await;
    assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, Some(Reason::SessionClosed)));
}

#[tokio::test]
async fn a_refresh_token_gives_the_next_pair() {
    let world = TestContext::start(&[]).await;
    let mut ada = world.person("ada").await;
    for _ in 0..3 {
        let next = refresh(&world, &ada.refresh_token).await.unwrap();
        assert_ne!(next.refresh_token, ada.refresh_token);
        assert_eq!((next.token_type.as_str(), next.expires_in), ("Bearer", 900));
        (ada.token, ada.refresh_token) = (next.access_token, next.refresh_token);
        let check = client(&world).check_session(ada.call_without_account(CheckSessionRequest {})).await.unwrap();
        assert_eq!(check.into_inner().user_id, ada.user_id.to_string());
    }
}

/// RFC 9700, section 4.14.2.
#[tokio::test]
async fn a_token_that_comes_back_after_its_successor_was_used_closes_the_session_and_tells_its_person() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let elsewhere = crate::login(&world, &ada.email, crate::PASSWORD).await.unwrap();
    let second = refresh(&world, &ada.refresh_token).await.unwrap().refresh_token;
    let third = refresh(&world, &second).await.unwrap().refresh_token;
    let reused = refresh(&world, &ada.refresh_token).await.unwrap_err();
    assert_eq!(reason(&reused), Some(Reason::TokenReused));
    for token in [&third, &second, &ada.refresh_token] {
        let refused = refresh(&world, token).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::SessionClosed), "neither thief nor owner goes on");
    }
    is_signed_out(&world, &ada).await;
    refresh(&world, elsewhere.refresh_token()).await.unwrap();

    let mail = eventually(|| async { world.mailbox().mails(Some(&ada.email)).pop() }).await;
    assert_eq!(mail.subject, "A session of yours was closed");
    let kinds: Vec<String> = sqlx::query_scalar("select kind from auth.auth_events where user_id = $1 order by id")
        .bind(ada.user_id)
        .fetch_all(&world.admin())
        .await
        .unwrap();
    assert_eq!(kinds, ["SIGNED_IN", "SIGNED_IN", "TOKEN_REUSED"]);
}

#[tokio::test]
async fn of_twenty_refreshes_at_once_all_are_answered_and_any_answer_goes_on() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let calls = (0..20).map(|_| refresh(&world, &ada.refresh_token));
    let answers = futures_util::future::join_all(calls).await;
    let tokens: HashSet<_> = answers.into_iter().map(|answer| answer.unwrap().refresh_token).collect();
    assert_eq!(tokens.len(), 20, "each call gets a token of its own");
    for token in tokens.iter().take(2) {
        refresh(&world, token).await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_answer_may_be_asked_for_again_for_ten_seconds() {
    let world = TestContext::start(&[]).await;
    let (clock, auth) = on_a_clock_of_ours(&world).await;
    let refresh = |token: String| {
        let mut auth = auth.clone();
        async move { auth.refresh(RefreshRequest { refresh_token: token }).await.map(|answer| answer.into_inner()) }
    };
    let (ada, ben) = (world.person("ada").await, world.person("ben").await);
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

/// A thief who repeats the exchange within the grace has a token of their own. It ends the session as soon as both
/// have gone on.
#[tokio::test]
async fn a_thief_inside_the_grace_is_found_out_later() {
    let world = TestContext::start(&[]).await;
    let (clock, auth) = on_a_clock_of_ours(&world).await;
    let refresh = |token: String| {
        let mut auth = auth.clone();
        async move { auth.refresh(RefreshRequest { refresh_token: token }).await.map(|answer| answer.into_inner()) }
    };
    let ada = world.person("ada").await;
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
async fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
    let world = TestContext::start(&[]).await;
    let (clock, auth) = on_a_clock_of_ours(&world).await;
    let refresh = |token: String| {
        let mut auth = auth.clone();
        async move { auth.refresh(RefreshRequest { refresh_token: token }).await.map(|answer| answer.into_inner()) }
    };
    let (ada, ben) = (world.person("ada").await, world.person("ben").await);
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

/// A second auth service of the same world, whose clock stands still until it is moved.
async fn on_a_clock_of_ours(world: &TestContext) -> (Clock, AuthServiceClient<Channel>) {
    let clock = Clock::fixed(Clock::system().now());
    let config = baton_auth::Config::from_env(&world.env()).unwrap();
    let of_service = clock.clone();
    let channel = world.spawn(|listener, stop| baton_auth::start(config, of_service, listener, stop)).await;
    (clock, AuthServiceClient::new(channel))
}

#[tokio::test]
async fn signing_out_closes_this_session_only_and_may_be_repeated() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let elsewhere = crate::login(&world, &ada.email, crate::PASSWORD).await.unwrap();
    for token in [&ada.refresh_token, &ada.refresh_token, &"unknown".to_owned()] {
        client(&world).logout(LogoutRequest { refresh_token: token.clone() }).await.unwrap();
    }
    is_signed_out(&world, &ada).await;
    refresh(&world, elsewhere.refresh_token()).await.unwrap();
}
