use baton_errors::Reason;
use baton_proto::baton::auth::v1::{GetMeRequest, user_service_client::UserServiceClient};
use baton_testkit::{World, reason};

use crate::{PASSWORD, login};

#[tokio::test]
async fn the_signed_in_person_is_who_the_token_says() {
    let world = World::start(&[]).await;
    let (ada, ben) = (world.person("ada").await, world.person("ben").await);
    let mut users = UserServiceClient::new(world.auth());
    for person in [&ada, &ben] {
        let me = users.get_me(person.call_without_account(GetMeRequest {})).await.unwrap().into_inner().user.unwrap();
        assert_eq!((me.id, me.email), (person.user_id.to_string(), person.email.clone()));
    }
    let refused = users.get_me(GetMeRequest {}).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TokenMissing));
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_get_the_same_answer() {
    let world = World::start(&[]).await;
    let ada = world.person("ada").await;
    let wrong = login(&world, &ada.email, "not the password").await.unwrap_err();
    let unknown = login(&world, "nobody@example.org", PASSWORD).await.unwrap_err();
    assert_eq!(reason(&wrong), Some(Reason::CredentialsInvalid));
    assert_eq!(
        (wrong.code(), wrong.message(), wrong.details()),
        (unknown.code(), unknown.message(), unknown.details())
    );
}

#[tokio::test]
async fn too_many_at_once_are_refused_and_not_kept_waiting() {
    let world = World::start(&[]).await;
    // Unknown addresses cost a full hash each; two threads and their queues take 34.
    let calls = (0..80).map(|n| {
        let world = &world;
        async move { login(world, &format!("{n}@example.org"), PASSWORD).await.unwrap_err() }
    });
    let answers = futures_util::future::join_all(calls).await;
    let count = |expected| answers.iter().filter(|status| reason(status) == Some(expected)).count();
    let (busy, served) = (count(Reason::Busy), count(Reason::CredentialsInvalid));
    assert!(busy > 0 && served >= 34, "{busy} refused, {served} served");
    assert_eq!(busy + served, 80);
}
