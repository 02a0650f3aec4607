use baton_errors::Reason;
use baton_proto::baton::auth::v1::{CheckSessionRequest, LogoutRequest, RefreshRequest, RefreshResponse};
use baton_testkit::{Person, World, eventually, reason};
use tonic::{Code, Status};

use crate::client;

async fn refresh(world: &World, token: &str) -> Result<RefreshResponse, Status> {
    let request = RefreshRequest { refresh_token: token.to_owned() };
    client(world).refresh(request).await.map(tonic::Response::into_inner)
}

/// Waits until the person's access token is refused, as it has to be within a second.
async fn is_signed_out(world: &World, person: &Person) {
    let refused = eventually(|| async {
        client(world).check_session(person.call_without_account(CheckSessionRequest {})).await.err()
    })
    .await;
    assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, Some(Reason::SessionClosed)));
}

#[tokio::test]
async fn a_refresh_token_gives_the_next_pair() {
    let world = World::start(&[]).await;
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

#[tokio::test]
async fn a_second_use_of_a_refresh_token_closes_the_session() {
    let world = World::start(&[]).await;
    let ada = world.person("ada").await;
    let next = refresh(&world, &ada.refresh_token).await.unwrap();
    let reused = refresh(&world, &ada.refresh_token).await.unwrap_err();
    assert_eq!(reason(&reused), Some(Reason::TokenReused));
    let thief = refresh(&world, &next.refresh_token).await.unwrap_err();
    assert_eq!(reason(&thief), Some(Reason::SessionClosed));
    is_signed_out(&world, &ada).await;
}

#[tokio::test]
async fn of_many_refreshes_at_once_one_wins_and_the_rest_counts_as_reuse() {
    let world = World::start(&[]).await;
    let ada = world.person("ada").await;
    let calls = (0..10).map(|_| refresh(&world, &ada.refresh_token));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(|e| reason(e) == Some(Reason::TokenReused)));
}

#[tokio::test]
async fn signing_out_closes_this_session_only_and_may_be_repeated() {
    let world = World::start(&[]).await;
    let ada = world.person("ada").await;
    let elsewhere = crate::login(&world, &ada.email, crate::PASSWORD).await.unwrap();
    for token in [&ada.refresh_token, &ada.refresh_token, &"unknown".to_owned()] {
        client(&world).logout(LogoutRequest { refresh_token: token.clone() }).await.unwrap();
    }
    is_signed_out(&world, &ada).await;
    refresh(&world, &elsewhere.refresh_token).await.unwrap();
}
