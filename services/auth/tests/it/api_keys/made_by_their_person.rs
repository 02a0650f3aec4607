//! A key outlives the token that asks for it: making one takes a proof, and its person hears of it.

use baton_proto::baton::auth::v1::{
    AuthEventKind, ConfirmPasswordResetRequest, ListAuthEventsRequest, session_service_client::SessionServiceClient,
};
use baton_testkit::PASSWORD;

use super::*;
use crate::people::{OTHER, is_told, link, passwords, reset};

async fn events(world: &TestContext, person: &Person) -> Vec<(AuthEventKind, bool)> {
    let request = person.call_without_account(ListAuthEventsRequest { page: None });
    let answer = SessionServiceClient::new(world.auth()).list_auth_events(request).await.unwrap().into_inner();
    answer.events.iter().map(|event| (event.kind(), !event.session_id.is_empty())).collect()
}

async fn sign_in_was(world: &TestContext, person: &Person, ago: &str) {
    sqlx::query("update auth.sessions set created_at = now() - $2::text::interval where user_id = $1")
        .bind(person.user_id)
        .bind(ago)
        .execute(&world.admin())
        .await
        .unwrap();
}

async fn published(world: &TestContext, kind: &str) -> i64 {
    // The kind stands in the envelope as it is.
    sqlx::query_scalar("select count(*) from auth.outbox where position($1::text::bytea in envelope) > 0")
        .bind(kind)
        .fetch_one(&world.admin())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_token_alone_makes_no_key_some_time_after_the_sign_in() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    sign_in_was(&world, &ada, "14 minutes").await;
    create_with_key(&world, &ada, "once").await;
    sign_in_was(&world, &ada, "16 minutes").await;

    let attempt = |password: Option<&str>, idempotency_key: Option<&str>| {
        let scopes = ["tasks:write", "tasks:read"];
        let asked = CreateApiKeyRequest { password: password.map(str::to_owned), ..wanted(&scopes, None) };
        let mut request = ada.call_without_account(asked);
        if let Some(key) = idempotency_key {
            request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
        }
        let mut keys = keys(&world);
        async move { keys.create_api_key(request).await }
    };
    assert_eq!(refused(attempt(None, None).await), Reason::ProofRequired);
    assert_eq!(refused(attempt(None, Some("once")).await), Reason::ProofRequired, "nor shows one that was made");
    assert_eq!(refused(attempt(Some("not the password"), None).await), Reason::ProofInvalid);
    let made: i64 = sqlx::query_scalar("select count(*) from auth.api_keys").fetch_one(&world.admin()).await.unwrap();
    assert_eq!(made, 1);
    // The password is no part of what a repetition has to repeat: no hash is kept that is made of it.
    let again = attempt(Some(PASSWORD), Some("once")).await.unwrap().into_inner();
    let new = attempt(Some(PASSWORD), None).await.unwrap().into_inner();
    assert_ne!(again.key, new.key);
    assert_eq!(refusal(&world, &again.key).await, None);
}

#[tokio::test]
async fn its_person_hears_of_a_key_and_sees_how_it_came_and_went() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let made = create(&world, &ada, wanted(&[], None)).await;
    is_told(&world, &ada.email, "New API key").await;
    let delete = DeleteApiKeyRequest { id: made.id };
    keys(&world).delete_api_key(ada.call_without_account(delete)).await.unwrap();
    let expected = [(AuthEventKind::ApiKeyRevoked, true), (AuthEventKind::ApiKeyCreated, true)];
    assert_eq!(events(&world, &ada).await[..2], expected);
}

#[tokio::test]
async fn who_gets_back_in_by_mail_ends_the_keys_that_somebody_made() {
    let world = TestContext::start(&[]).await;
    let (ada, ben) = (world.person("ada").await, world.person("ben").await);
    let (first, second) =
        (create(&world, &ada, wanted(&[], None)).await, create(&world, &ada, wanted(&[], None)).await);
    let bens = create(&world, &ben, wanted(&[], None)).await;
    passwords(&world).request_password_reset(reset(&ada.email)).await.unwrap();
    let token = link(&world, &ada.email, "/reset-password", 1).await;
    let before = published(&world, "api_key.revoked").await;
    let confirm = ConfirmPasswordResetRequest { token, new_password: OTHER.to_owned(), ..Default::default() };
    passwords(&world).confirm_password_reset(confirm).await.unwrap();
    for key in [&first.key, &second.key] {
        assert_eq!(refusal(&world, key).await, Some(Reason::TokenInvalid));
    }
    assert_eq!(refusal(&world, &bens.key).await, None, "another's keys stay");
    assert_eq!(published(&world, "api_key.revoked").await - before, 2);
    let back = crate::login(&world, &ada.email, OTHER).await.unwrap().access_token.unwrap();
    let seen = events(&world, &Person { token: back, ..ada }).await;
    assert!(seen.contains(&(AuthEventKind::ApiKeyRevoked, false)), "{seen:?}");
}
