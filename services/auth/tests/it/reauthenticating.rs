//! What a stolen token must not do takes a fresh proof of identity.

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

use crate::{client, people::refusal, second_factor::Stage};

fn sessions(channel: Channel) -> SessionServiceClient<Channel> {
    SessionServiceClient::new(channel)
}

/// Lets the person's sign-in be so long ago that it proves nothing any more.
async fn age(world: &TestContext, person: &Person) {
    sqlx::query(
        "update auth.sessions set created_at = created_at - interval '15 minutes', proved_at = null
         where user_id = $1",
    )
    .bind(person.user_id)
    .execute(&world.admin())
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
    let answer = sessions(channel).reauthenticate(person.call_without_account(request)).await?.into_inner();
    let until = baton_proto::convert::datetime(&answer.fresh_until.unwrap()).unwrap();
    Ok(until - Utc::now())
}

async fn make_key(world: &TestContext, person: &Person) -> Result<String, Status> {
    let request = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
    let answer = ApiKeyServiceClient::new(world.auth()).create_api_key(person.call_without_account(request)).await?;
    Ok(answer.into_inner().id)
}

async fn delete_key(world: &TestContext, person: &Person, id: &str) -> Result<(), Status> {
    let request = DeleteApiKeyRequest { id: id.to_owned() };
    ApiKeyServiceClient::new(world.auth()).delete_api_key(person.call_without_account(request)).await.map(drop)
}

#[tokio::test]
async fn an_old_sign_in_proves_nothing_until_the_password_is_repeated() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let id = make_key(&world, &ada).await.unwrap();
    age(&world, &ada).await;
    assert_eq!(refusal(delete_key(&world, &ada, &id).await), Reason::ReauthenticationRequired);
    assert_eq!(refusal(make_key(&world, &ada).await), Reason::ProofRequired);
    let unlink = ada.call_without_account(UnlinkIdentityRequest { provider: "acme".to_owned() });
    let unlinked = IdentityServiceClient::new(world.auth()).unlink_identity(unlink).await;
    assert_eq!(refusal(unlinked), Reason::ReauthenticationRequired);

    assert_eq!(refusal(reauthenticate(world.auth(), &ada, None, None).await), Reason::ProofRequired);
    assert_eq!(refusal(reauthenticate(world.auth(), &ada, Some("wrong"), None).await), Reason::ProofInvalid);
    assert_eq!(refusal(delete_key(&world, &ada, &id).await), Reason::ReauthenticationRequired);
    let fresh_for = reauthenticate(world.auth(), &ada, Some(PASSWORD), None).await.unwrap();
    assert!(fresh_for > TimeDelta::minutes(14) && fresh_for <= TimeDelta::minutes(15), "{fresh_for}");
    delete_key(&world, &ada, &id).await.unwrap();
    make_key(&world, &ada).await.unwrap();

    // It is a proof in this session only, and ends like a sign-in's.
    let other = crate::people::sign_in_again(&world, &ada).await;
    age(&world, &ada).await;
    reauthenticate(world.auth(), &other, Some(PASSWORD), None).await.unwrap();
    assert_eq!(refusal(delete_key(&world, &ada, &id).await), Reason::ReauthenticationRequired);
    assert_eq!(refusal(delete_key(&world, &other, &id).await), Reason::ApiKeyNotFound);

    let request = ada.call_without_account(ListAuthEventsRequest::default());
    let events = sessions(world.auth()).list_auth_events(request).await.unwrap().into_inner().events;
    assert_eq!(events.iter().filter(|event| event.kind() == AuthEventKind::Reauthenticated).count(), 2);
}

#[tokio::test]
async fn a_password_that_is_guessed_has_to_wait() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let mut told = Vec::new();
    for _ in 0..7 {
        told.push(refusal(reauthenticate(world.auth(), &ada, Some("wrong"), None).await));
    }
    assert!(told.starts_with(&[Reason::ProofInvalid; 5]) && told.ends_with(&[Reason::TooManyAttempts]), "{told:?}");
}

#[tokio::test]
async fn who_has_a_second_factor_proves_it_too() {
    let stage = Stage::set().await;
    let (ada, app, recovery) = stage.protected("ada").await;
    // The session was opened by the password alone, and the second factor switched on in it.
    let mut reset = stage.world.admin().acquire().await.unwrap();
    sqlx::query("update auth.sessions set amr = '{pwd}'").execute(&mut *reset).await.unwrap();
    let by = async |password: Option<&str>, code: Option<&str>| {
        reauthenticate(stage.channel(), &ada, password, code).await.map(drop)
    };
    assert_eq!(refusal(by(Some(PASSWORD), None).await), Reason::ProofRequired, "one factor of two");
    assert_eq!(refusal(by(None, Some(&app.wrong_code(&stage.clock))).await), Reason::ProofInvalid);
    by(None, Some(&app.code(&stage.clock, 0))).await.unwrap();
    by(None, Some(&recovery[0])).await.unwrap();
    assert_eq!(refusal(by(None, Some(&recovery[0])).await), Reason::ProofInvalid, "it works once");
    sqlx::query("update auth.sessions set amr = '{pwd,otp,mfa}'").execute(&mut *reset).await.unwrap();
    by(Some(PASSWORD), None).await.unwrap();
}

#[tokio::test]
async fn an_api_key_proves_nobodys_identity() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let request = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
    let key = ApiKeyServiceClient::new(world.auth()).create_api_key(ada.call_without_account(request)).await.unwrap();
    let key = key.into_inner();
    assert!(ApiKey::parse(&key.key).is_some());
    let script = Person { token: key.key, ..ada.clone() };
    assert_eq!(refusal(delete_key(&world, &script, &key.id).await), Reason::SessionRequired);
    assert_eq!(refusal(reauthenticate(world.auth(), &script, Some(PASSWORD), None).await), Reason::SessionRequired);
    let checked = client(&world).check_session(script.call_without_account(CheckSessionRequest {})).await.unwrap();
    assert_eq!(checked.into_inner().proved_at, None);
}
