//! Reauthentication: sensitive calls require a fresh proof of identity.

use baton_access::ApiKey;
use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    AuthEventKind, CheckSessionRequest, CreateApiKeyRequest, DeleteApiKeyRequest, ListAuthEventsRequest,
    ReauthenticateRequest, UnlinkIdentityRequest, api_key_service_client::ApiKeyServiceClient,
    identity_service_client::IdentityServiceClient, session_service_client::SessionServiceClient,
};
use baton_testkit::{PASSWORD, Person, TestContext};
use chrono::{TimeDelta, Utc};
use tonic::{Status, transport::Channel};

use crate::{client, helpers::refusal, mfa::Fixture};

fn sessions(channel: Channel) -> SessionServiceClient<Channel> {
    SessionServiceClient::new(channel)
}

/// Ages the user's sign-in until it is no longer fresh.
async fn age(context: &TestContext, person: &Person) {
    sqlx::query(
        "update auth.sessions set created_at = created_at - interval '15 minutes', proved_at = null
         where user_id = $1",
    )
    .bind(person.user_id)
    .execute(&context.admin())
    .await
    .unwrap();
}

async fn reauthenticate(
    channel: Channel,
    person: &Person,
    password: Option<&str>,
    code: Option<&str>,
) -> Result<TimeDelta, Status> {
    let request = ReauthenticateRequest { password: password.map(str::to_owned), code: code.map(str::to_owned) };
    let response = sessions(channel).reauthenticate(person.call_without_account(request)).await?.into_inner();
    let until = baton_proto::convert::datetime(&response.fresh_until.unwrap()).unwrap();
    Ok(until - Utc::now())
}

async fn make_key(context: &TestContext, person: &Person) -> Result<String, Status> {
    let request = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
    let response =
        ApiKeyServiceClient::new(context.auth()).create_api_key(person.call_without_account(request)).await?;
    Ok(response.into_inner().id)
}

async fn delete_key(context: &TestContext, person: &Person, id: &str) -> Result<(), Status> {
    let request = DeleteApiKeyRequest { id: id.to_owned() };
    ApiKeyServiceClient::new(context.auth()).delete_api_key(person.call_without_account(request)).await.map(drop)
}

#[tokio::test]
async fn old_sign_in_requires_reauthentication_in_the_same_session() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let id = make_key(&context, &ada).await.unwrap();
    age(&context, &ada).await;
    assert_eq!(refusal(delete_key(&context, &ada, &id).await), Reason::ReauthenticationRequired);
    assert_eq!(refusal(make_key(&context, &ada).await), Reason::ProofRequired);
    let unlink = ada.call_without_account(UnlinkIdentityRequest { provider: "acme".to_owned() });
    let unlinked = IdentityServiceClient::new(context.auth()).unlink_identity(unlink).await;
    assert_eq!(refusal(unlinked), Reason::ReauthenticationRequired);

    assert_eq!(refusal(reauthenticate(context.auth(), &ada, None, None).await), Reason::ProofRequired);
    assert_eq!(refusal(reauthenticate(context.auth(), &ada, Some("wrong"), None).await), Reason::ProofInvalid);
    assert_eq!(refusal(delete_key(&context, &ada, &id).await), Reason::ReauthenticationRequired);
    let fresh_for = reauthenticate(context.auth(), &ada, Some(PASSWORD), None).await.unwrap();
    assert!(fresh_for > TimeDelta::minutes(14) && fresh_for <= TimeDelta::minutes(15), "{fresh_for}");
    delete_key(&context, &ada, &id).await.unwrap();
    make_key(&context, &ada).await.unwrap();

    // The proof counts in this session only, and expires like a sign-in.
    let other = crate::helpers::open_another_session(&context, &ada).await;
    age(&context, &ada).await;
    reauthenticate(context.auth(), &other, Some(PASSWORD), None).await.unwrap();
    assert_eq!(refusal(delete_key(&context, &ada, &id).await), Reason::ReauthenticationRequired);
    assert_eq!(refusal(delete_key(&context, &other, &id).await), Reason::ApiKeyNotFound);

    let request = ada.call_without_account(ListAuthEventsRequest::default());
    let events = sessions(context.auth()).list_auth_events(request).await.unwrap().into_inner().events;
    assert_eq!(events.iter().filter(|event| event.kind() == AuthEventKind::Reauthenticated).count(), 2);
}

#[tokio::test]
async fn wrong_passwords_are_throttled() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let mut reasons = Vec::new();
    for _ in 0..7 {
        reasons.push(refusal(reauthenticate(context.auth(), &ada, Some("wrong"), None).await));
    }
    assert!(
        reasons.starts_with(&[Reason::ProofInvalid; 5]) && reasons.ends_with(&[Reason::TooManyAttempts]),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn second_factor_is_required_where_enabled() {
    let fixture = Fixture::start().await;
    let (ada, app, recovery) = fixture.person_with_mfa("ada").await;
    // The session was opened with the password only, and the second factor was enabled in it.
    let mut reset = fixture.context.admin().acquire().await.unwrap();
    sqlx::query("update auth.sessions set amr = '{pwd}'").execute(&mut *reset).await.unwrap();
    let by = async |password: Option<&str>, code: Option<&str>| {
        reauthenticate(fixture.channel(), &ada, password, code).await.map(drop)
    };
    assert_eq!(refusal(by(Some(PASSWORD), None).await), Reason::ProofRequired, "one factor of two");
    assert_eq!(refusal(by(None, Some(&app.wrong_code(&fixture.clock))).await), Reason::ProofInvalid);
    by(None, Some(&app.code(&fixture.clock, 0))).await.unwrap();
    by(None, Some(&recovery[0])).await.unwrap();
    assert_eq!(refusal(by(None, Some(&recovery[0])).await), Reason::ProofInvalid, "it works once");
    sqlx::query("update auth.sessions set amr = '{pwd,otp,mfa}'").execute(&mut *reset).await.unwrap();
    by(Some(PASSWORD), None).await.unwrap();
}

#[tokio::test]
async fn api_key_is_no_proof_of_identity() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let request = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
    let key = ApiKeyServiceClient::new(context.auth()).create_api_key(ada.call_without_account(request)).await.unwrap();
    let key = key.into_inner();
    assert!(ApiKey::parse(&key.key).is_some());
    let script = Person { token: key.key, ..ada.clone() };
    assert_eq!(refusal(delete_key(&context, &script, &key.id).await), Reason::SessionRequired);
    assert_eq!(refusal(reauthenticate(context.auth(), &script, Some(PASSWORD), None).await), Reason::SessionRequired);
    let checked = client(&context).check_session(script.call_without_account(CheckSessionRequest {})).await.unwrap();
    assert_eq!(checked.into_inner().proved_at, None);
}
