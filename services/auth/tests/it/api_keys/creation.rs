//! Creation of API keys: a key outlives its access token, so it takes a proof, and the user is notified.

use baton_proto::baton::auth::v1::{
    AuthEventKind, ConfirmPasswordResetRequest, ListAuthEventsRequest, session_service_client::SessionServiceClient,
};
use baton_testkit::PASSWORD;

use super::*;
use crate::helpers::{OTHER, link, passwords, reset, wait_for_email};

async fn events(context: &TestContext, person: &Person) -> Vec<(AuthEventKind, bool)> {
    let request = person.call_without_account(ListAuthEventsRequest { page: None });
    let response = SessionServiceClient::new(context.auth()).list_auth_events(request).await.unwrap().into_inner();
    response.events.iter().map(|event| (event.kind(), !event.session_id.is_empty())).collect()
}

async fn sign_in_was(context: &TestContext, person: &Person, ago: &str) {
    sqlx::query("update auth.sessions set created_at = now() - $2::text::interval where user_id = $1")
        .bind(person.user_id)
        .bind(ago)
        .execute(&context.admin())
        .await
        .unwrap();
}

async fn published(context: &TestContext, kind: &str) -> i64 {
    // The envelope names the event type verbatim.
    sqlx::query_scalar("select count(*) from auth.outbox where position($1::text::bytea in envelope) > 0")
        .bind(kind)
        .fetch_one(&context.admin())
        .await
        .unwrap()
}

#[tokio::test]
async fn creation_without_a_fresh_sign_in_requires_a_proof() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    sign_in_was(&context, &ada, "14 minutes").await;
    create_with_key(&context, &ada, "once").await;
    sign_in_was(&context, &ada, "16 minutes").await;

    let attempt = |password: Option<&str>, idempotency_key: Option<&str>| {
        let scopes = ["tasks:write", "tasks:read"];
        let asked = CreateApiKeyRequest { password: password.map(str::to_owned), ..wanted(&scopes, None) };
        let mut request = ada.call_without_account(asked);
        if let Some(key) = idempotency_key {
            request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
        }
        let mut keys = keys(&context);
        async move { keys.create_api_key(request).await }
    };
    assert_eq!(refused(attempt(None, None).await), Reason::ProofRequired);
    assert_eq!(refused(attempt(None, Some("once")).await), Reason::ProofRequired, "nor returns an existing one");
    assert_eq!(refused(attempt(Some("not the password"), None).await), Reason::ProofInvalid);
    let made: i64 = sqlx::query_scalar("select count(*) from auth.api_keys").fetch_one(&context.admin()).await.unwrap();
    assert_eq!(made, 1);
    // A retry need not repeat the password, since no hash of it is stored.
    let again = attempt(Some(PASSWORD), Some("once")).await.unwrap().into_inner();
    let new = attempt(Some(PASSWORD), None).await.unwrap().into_inner();
    assert_ne!(again.key, new.key);
    assert_eq!(refusal(&context, &again.key).await, None);
}

#[tokio::test]
async fn creation_and_deletion_are_notified_and_listed() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let made = create(&context, &ada, wanted(&[], None)).await;
    wait_for_email(&context, &ada.email, "New API key").await;
    let delete = DeleteApiKeyRequest { id: made.id };
    keys(&context).delete_api_key(ada.call_without_account(delete)).await.unwrap();
    let expected = [(AuthEventKind::ApiKeyRevoked, true), (AuthEventKind::ApiKeyCreated, true)];
    assert_eq!(events(&context, &ada).await[..2], expected);
}

#[tokio::test]
async fn password_reset_deletes_all_keys() {
    let context = TestContext::start(&[]).await;
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    let (first, second) =
        (create(&context, &ada, wanted(&[], None)).await, create(&context, &ada, wanted(&[], None)).await);
    let bens = create(&context, &ben, wanted(&[], None)).await;
    passwords(&context).request_password_reset(reset(&ada.email)).await.unwrap();
    let token = link(&context, &ada.email, "/reset-password", 1).await;
    let before = published(&context, "api_key.revoked").await;
    let confirm = ConfirmPasswordResetRequest { token, new_password: OTHER.to_owned(), ..Default::default() };
    passwords(&context).confirm_password_reset(confirm).await.unwrap();
    for key in [&first.key, &second.key] {
        assert_eq!(refusal(&context, key).await, Some(Reason::TokenInvalid));
    }
    assert_eq!(refusal(&context, &bens.key).await, None, "another's keys stay");
    assert_eq!(published(&context, "api_key.revoked").await - before, 2);
    let back = crate::login(&context, &ada.email, OTHER).await.unwrap().access_token.unwrap();
    let seen = events(&context, &Person { token: back, ..ada }).await;
    assert!(seen.contains(&(AuthEventKind::ApiKeyRevoked, false)), "{seen:?}");
}
