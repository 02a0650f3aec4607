//! Signing keys come and go, and nobody is signed out.

use baton_auth::{Config, KeyState, KeysConfig, signing_keys};
use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    CheckSessionRequest, GetJwksRequest, LoginRequest, auth_service_client::AuthServiceClient,
};
use baton_runtime::{Clock, Env};
use baton_testkit::{PASSWORD, Person, TestContext, eventually, reason};
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use tonic::{Status, transport::Channel};

/// Another instance, whose clock stands at that time from now.
async fn instance(world: &TestContext, env: &Env, ahead: TimeDelta) -> AuthServiceClient<Channel> {
    let (config, clock) = (Config::from_env(env).unwrap(), Clock::fixed(Utc::now() + ahead));
    let channel = world.spawn(|listener, shutdown| baton_auth::start(config, clock, listener, shutdown)).await;
    AuthServiceClient::new(channel)
}

/// The published key ids; the first signs.
async fn published(auth: &AuthServiceClient<Channel>) -> Vec<String> {
    let keys = auth.clone().get_jwks(GetJwksRequest {}).await.unwrap().into_inner().keys;
    keys.into_iter().map(|key| key.kid).collect()
}

async fn check(auth: &AuthServiceClient<Channel>, person: &Person) -> Result<(), Status> {
    auth.clone().check_session(person.call_without_account(CheckSessionRequest {})).await.map(drop)
}

/// Signs in at this instance, and answers the key that signed.
async fn sign_in(auth: &AuthServiceClient<Channel>, person: &Person) -> (Person, String) {
    let login = LoginRequest { email: person.email.clone(), password: PASSWORD.to_owned() };
    let token = auth.clone().login(login).await.unwrap().into_inner().access_token().to_owned();
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    (Person { token, ..person.clone() }, kid)
}

async fn states(world: &TestContext, rotate: bool) -> Vec<(String, KeyState)> {
    let config = KeysConfig::from_env(&world.env()).unwrap();
    signing_keys(&config, rotate).await.unwrap().into_iter().map(|key| (key.kid, key.state)).collect()
}

#[tokio::test]
async fn of_instances_that_start_at_once_one_makes_the_first_key() {
    let world = TestContext::start(&[]).await;
    assert_eq!(published(&AuthServiceClient::new(world.auth())).await.len(), 1, "it has started");
    sqlx::query("delete from auth.signing_keys").execute(&world.admin()).await.unwrap();
    let env = world.env();
    let instances = join_all((0..4).map(|_| instance(&world, &env, TimeDelta::zero()))).await;
    let first = published(&instances[0]).await;
    for auth in &instances {
        assert_eq!(published(auth).await, first);
    }
    assert_eq!(states(&world, false).await, [(first[0].clone(), KeyState::Current)]);
}

#[tokio::test]
async fn a_rotated_key_is_known_before_it_signs_and_the_old_one_until_its_tokens_have_expired() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let (now, env) = (AuthServiceClient::new(world.auth()), world.env());
    let [(old, KeyState::Current)] = &states(&world, false).await[..] else { panic!("one key") };

    let rotated = states(&world, true).await;
    let [(first, KeyState::Current), (new, KeyState::Next)] = &rotated[..] else { panic!("{rotated:?}") };
    assert_eq!(first, old);
    assert_eq!(states(&world, true).await, rotated, "while one waits there is nothing to do");

    // Published at once, by instances that were there before too; the old one still signs.
    eventually(|| async { (published(&now).await == [old.clone(), new.clone()]).then_some(()) }).await;
    assert_eq!(sign_in(&now, &ada).await.1, *old);

    // A quarter of an hour later the new one signs. A token of the old one is good, there and here; and so is one of
    // the new one where the clock is behind.
    let later = instance(&world, &env, TimeDelta::minutes(15) + TimeDelta::seconds(1)).await;
    assert_eq!(published(&later).await, [new.clone(), old.clone()]);
    let (renewed, kid) = sign_in(&later, &ada).await;
    assert_eq!(kid, *new);
    check(&later, &ada).await.unwrap();
    check(&now, &renewed).await.unwrap();

    // Its last token has expired, and the clocks had five minutes to differ: the old key goes.
    let almost = instance(&world, &env, TimeDelta::minutes(34)).await;
    assert_eq!(published(&almost).await.len(), 2);
    let long_after = instance(&world, &env, TimeDelta::minutes(36)).await;
    assert_eq!(published(&long_after).await, std::slice::from_ref(new));
    check(&long_after, &renewed).await.unwrap();
    let gone = check(&long_after, &ada).await.unwrap_err();
    assert_eq!(reason(&gone), Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn keys_rotate_by_themselves_after_their_days() {
    let world = TestContext::start(&[]).await;
    let first = published(&AuthServiceClient::new(world.auth())).await;
    let mut env = world.env();
    env.set("BATON_AUTH_SIGNING_KEY_DAYS", "7");
    let before = instance(&world, &env, TimeDelta::days(7) - TimeDelta::minutes(20)).await;
    assert_eq!(published(&before).await, first);
    // Several find that it is time.
    let due = TimeDelta::days(7) - TimeDelta::minutes(10);
    let instances = join_all((0..3).map(|_| instance(&world, &env, due))).await;
    for auth in &instances {
        assert_eq!(published(auth).await.len(), 2);
    }
    assert_eq!(published(&instances[0]).await[0], first[0], "the next one waits for its time");
    let after = instance(&world, &env, TimeDelta::days(7) + TimeDelta::minutes(10)).await;
    assert_ne!(published(&after).await[0], first[0]);
}

#[tokio::test]
async fn with_a_new_sealing_key_in_front_private_halves_are_sealed_anew() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let old = world.env().get("BATON_AUTH_SEALING_KEYS").unwrap().to_owned();
    let new = format!("new:{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [9; 32]));
    let mut env = world.env();
    env.set("BATON_AUTH_SEALING_KEYS", format!("{new},{old}"));
    let both = instance(&world, &env, TimeDelta::zero()).await;
    check(&both, &ada).await.unwrap();
    env.set("BATON_AUTH_SEALING_KEYS", new);
    let without_the_old = instance(&world, &env, TimeDelta::zero()).await;
    check(&without_the_old, &ada).await.unwrap();
    assert_eq!(published(&without_the_old).await, published(&both).await);
    let private: Vec<u8> =
        sqlx::query_scalar("select sealed from auth.signing_keys").fetch_one(&world.admin()).await.unwrap();
    assert_eq!(&private[..5], [1, 3, b'n', b'e', b'w'], "sealed with the new one");
}
