//! Key rotation, which signs nobody out.

use baton_auth::{Config, KeyState, KeysConfig, SPEC, signing_keys};
use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    CheckSessionRequest, GetJwksRequest, LoginRequest, auth_service_client::AuthServiceClient,
};
use baton_runtime::{Clock, Env};
use baton_testkit::{PASSWORD, Person, TestContext, eventually, reason};
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use tonic::{Status, transport::Channel};

/// Another instance, whose clock is ahead by this time.
async fn instance(context: &TestContext, env: &Env, ahead: TimeDelta) -> AuthServiceClient<Channel> {
    let (config, clock) = (Config::from_env(&SPEC, env).unwrap(), Clock::fixed(Utc::now() + ahead));
    let channel = context.spawn(|listener, shutdown| baton_auth::start(config, clock, listener, shutdown)).await;
    AuthServiceClient::new(channel)
}

/// The published key ids; the first one signs.
async fn published(auth: &AuthServiceClient<Channel>) -> Vec<String> {
    let keys = auth.clone().get_jwks(GetJwksRequest {}).await.unwrap().into_inner().keys;
    keys.into_iter().map(|key| key.kid).collect()
}

async fn check(auth: &AuthServiceClient<Channel>, person: &Person) -> Result<(), Status> {
    auth.clone().check_session(person.call_without_account(CheckSessionRequest {})).await.map(drop)
}

/// Signs in at this instance, and returns the id of the key that signed.
async fn sign_in(auth: &AuthServiceClient<Channel>, person: &Person) -> (Person, String) {
    let login = LoginRequest { email: person.email.clone(), password: PASSWORD.to_owned() };
    let token = auth.clone().login(login).await.unwrap().into_inner().access_token().to_owned();
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    (Person { token, ..person.clone() }, kid)
}

async fn states(context: &TestContext, rotate: bool) -> Vec<(String, KeyState)> {
    let config = KeysConfig::from_env(&context.env()).unwrap();
    signing_keys(&config, rotate).await.unwrap().into_iter().map(|key| (key.kid, key.state)).collect()
}

#[tokio::test]
async fn one_of_several_starting_instances_creates_the_first_key() {
    let context = TestContext::start(&[]).await;
    assert_eq!(published(&AuthServiceClient::new(context.auth())).await.len(), 1, "it has started");
    sqlx::query("delete from auth.signing_keys").execute(&context.admin()).await.unwrap();
    let env = context.env();
    let instances = join_all((0..4).map(|_| instance(&context, &env, TimeDelta::zero()))).await;
    let first = published(&instances[0]).await;
    for auth in &instances {
        assert_eq!(published(auth).await, first);
    }
    assert_eq!(states(&context, false).await, [(first[0].clone(), KeyState::Current)]);
}

#[tokio::test]
async fn key_is_published_before_it_signs_and_until_its_tokens_expire() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let (now, env) = (AuthServiceClient::new(context.auth()), context.env());
    let [(old, KeyState::Current)] = &states(&context, false).await[..] else { panic!("one key") };

    let rotated = states(&context, true).await;
    let [(first, KeyState::Current), (new, KeyState::Next)] = &rotated[..] else { panic!("{rotated:?}") };
    assert_eq!(first, old);
    assert_eq!(states(&context, true).await, rotated, "no second key while one is waiting");

    // Published at once, also by running instances. The old key still signs.
    eventually(|| async { (published(&now).await == [old.clone(), new.clone()]).then_some(()) }).await;
    assert_eq!(sign_in(&now, &ada).await.1, *old);

    // After 15 minutes the new key signs. Tokens of the old key are valid in both instances, and so are tokens of the
    // new key where the clock is behind.
    let later = instance(&context, &env, TimeDelta::minutes(15) + TimeDelta::seconds(1)).await;
    assert_eq!(published(&later).await, [new.clone(), old.clone()]);
    let (renewed, kid) = sign_in(&later, &ada).await;
    assert_eq!(kid, *new);
    check(&later, &ada).await.unwrap();
    check(&now, &renewed).await.unwrap();

    // The last token of the old key has expired, and so has the allowance for clock skew: the key is deleted.
    let almost = instance(&context, &env, TimeDelta::minutes(34)).await;
    assert_eq!(published(&almost).await.len(), 2);
    let long_after = instance(&context, &env, TimeDelta::minutes(36)).await;
    assert_eq!(published(&long_after).await, std::slice::from_ref(new));
    check(&long_after, &renewed).await.unwrap();
    let gone = check(&long_after, &ada).await.unwrap_err();
    assert_eq!(reason(&gone), Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn keys_rotate_after_the_configured_days() {
    let context = TestContext::start(&[]).await;
    let first = published(&AuthServiceClient::new(context.auth())).await;
    let mut env = context.env();
    env.set("BATON_AUTH_SIGNING_KEY_DAYS", "7");
    let before = instance(&context, &env, TimeDelta::days(7) - TimeDelta::minutes(20)).await;
    assert_eq!(published(&before).await, first);
    // Several instances find the rotation due.
    let due = TimeDelta::days(7) - TimeDelta::minutes(10);
    let instances = join_all((0..3).map(|_| instance(&context, &env, due))).await;
    for auth in &instances {
        assert_eq!(published(auth).await.len(), 2);
    }
    assert_eq!(published(&instances[0]).await[0], first[0], "the next key is not due");
    let after = instance(&context, &env, TimeDelta::days(7) + TimeDelta::minutes(10)).await;
    assert_ne!(published(&after).await[0], first[0]);
}

#[tokio::test]
async fn new_sealing_key_reseals_private_keys() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let old = context.env().get("BATON_AUTH_SEALING_KEYS").unwrap().to_owned();
    let new = format!("new:{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [9; 32]));
    let mut env = context.env();
    env.set("BATON_AUTH_SEALING_KEYS", format!("{new},{old}"));
    let both = instance(&context, &env, TimeDelta::zero()).await;
    check(&both, &ada).await.unwrap();
    env.set("BATON_AUTH_SEALING_KEYS", new);
    let without_the_old = instance(&context, &env, TimeDelta::zero()).await;
    check(&without_the_old, &ada).await.unwrap();
    assert_eq!(published(&without_the_old).await, published(&both).await);
    let private: Vec<u8> =
        sqlx::query_scalar("select sealed from auth.signing_keys").fetch_one(&context.admin()).await.unwrap();
    assert_eq!(&private[..5], [1, 3, b'n', b'e', b'w'], "sealed with the new one");
}
