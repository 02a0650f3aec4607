//! Throttling of guesses, and its effect on the users concerned (ASVS 5.0, 6.3.1).

use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    ChangeEmailRequest, ConfirmEmailChangeRequest, ConfirmPasswordResetRequest, LoginRequest, RegisterRequest,
    VerifyEmailRequest, auth_service_client::AuthServiceClient,
};
use baton_runtime::Clock;
use baton_testkit::{TestContext, reason};
use chrono::TimeDelta;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    PASSWORD, client, from,
    helpers::{OTHER, addresses, link, passwords, reset},
    registration,
};

/// An auth service with a fixed clock and few attempts per network.
async fn with_low_limit(context: &TestContext, changes: &[(&str, &str)]) -> (Clock, AuthServiceClient<Channel>) {
    let mut env = context.env();
    env.set("BATON_AUTH_ATTEMPTS_PER_ADDRESS", "10");
    for &(name, value) in changes {
        env.set(name, value);
    }
    let clock = Clock::fixed(Clock::system().now());
    let config = baton_auth::Config::from_env(&baton_auth::SPEC, &env).unwrap();
    let of_service = clock.clone();
    let channel = context.spawn(|listener, stop| baton_auth::start(config, of_service, listener, stop)).await;
    (clock, AuthServiceClient::new(channel))
}

async fn login(
    auth: &AuthServiceClient<Channel>,
    email: &str,
    password: &str,
    address: &str,
) -> Result<(), (Option<Reason>, Status)> {
    let request = LoginRequest { email: email.to_owned(), password: password.to_owned() };
    auth.clone().login(from(request, address, "curl/8.5.0")).await.map(drop).map_err(|e| (reason(&e), e))
}

fn seconds(status: &Status) -> u64 {
    status.get_details_retry_info().unwrap().retry_delay.unwrap().as_secs()
}

#[tokio::test]
async fn guesses_wait_and_unknown_addresses_wait_alike() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let (clock, auth) = with_low_limit(&context, &[]).await;
    let mut outcomes = Vec::new();
    for email in [ada.email.as_str(), "nobody@example.org"] {
        let mut waits = Vec::new();
        // Each guess comes from another network, so only the address's counter applies.
        for n in 0..12 {
            let (why, status) = login(&auth, email, "wrong", &format!("198.51.100.{n}")).await.unwrap_err();
            if why == Some(Reason::TooManyAttempts) {
                assert_eq!(status.code(), Code::ResourceExhausted);
                waits.push((n, seconds(&status), status.message().to_owned(), status.details().to_vec()));
                clock.advance(TimeDelta::seconds(seconds(&status) as i64));
            } else {
                assert_eq!(why, Some(Reason::CredentialsInvalid));
            }
        }
        outcomes.push(waits);
    }
    assert_eq!(outcomes[0], outcomes[1], "known and unknown");
    let waits: Vec<_> = outcomes[0].iter().map(|(n, wait, ..)| (*n, *wait)).collect();
    assert_eq!(waits, [(5, 1), (7, 2), (9, 4), (11, 8)], "five are free, then each waits twice as long");
}

#[tokio::test]
async fn strangers_do_not_lock_out_a_trusted_network_nor_anyone_for_good() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let (clock, auth) = with_low_limit(&context, &[]).await;
    login(&auth, &ada.email, PASSWORD, "203.0.113.7").await.unwrap();
    for n in 0..60 {
        let _ = login(&auth, &ada.email, "wrong", &format!("198.51.100.{n}")).await;
        clock.advance(TimeDelta::seconds(600));
    }
    let _ = login(&auth, &ada.email, "wrong", "198.51.100.200").await;
    let (why, status) = login(&auth, &ada.email, PASSWORD, "192.0.2.1").await.unwrap_err();
    assert_eq!(why, Some(Reason::TooManyAttempts), "an unknown network waits, even with the right password");
    assert!(seconds(&status) <= 900, "{} seconds", seconds(&status));
    login(&auth, &ada.email, PASSWORD, "203.0.113.7").await.unwrap();
    clock.advance(TimeDelta::seconds(900));
    login(&auth, &ada.email, PASSWORD, "192.0.2.1").await.unwrap();
    // The success trusts the network and resets the counter.
    login(&auth, &ada.email, PASSWORD, "192.0.2.1").await.unwrap();
}

#[tokio::test]
async fn registration_and_sign_in_do_not_reveal_whether_an_address_is_known() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let (clock, auth) = with_low_limit(&context, &[]).await;
    let mut outcomes = Vec::new();
    for email in [ada.email.as_str(), "nobody@example.org"] {
        let register = RegisterRequest { password: OTHER.to_owned(), ..registration(email) };
        auth.clone().register(from(register, "198.51.100.99", "curl/8.5.0")).await.unwrap();
        let mut responses = Vec::new();
        // Past the free attempts, where a reset counter would reveal the address too.
        for n in 0..9 {
            let (why, status) = login(&auth, email, OTHER, &format!("198.51.100.{n}")).await.unwrap_err();
            responses.push((why, status.code(), status.message().to_owned(), status.details().to_vec()));
            if why == Some(Reason::TooManyAttempts) {
                clock.advance(TimeDelta::seconds(seconds(&status) as i64));
            }
        }
        outcomes.push(responses);
    }
    assert_eq!(outcomes[0], outcomes[1], "known and unknown");
    assert_eq!(outcomes[0].iter().filter(|response| response.0 == Some(Reason::TooManyAttempts)).count(), 2);
}

#[tokio::test]
async fn followed_email_link_trusts_the_network_while_strangers_guess() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let (_, auth) = with_low_limit(&context, &[]).await;
    client(&context).register(registration("ben@example.org")).await.unwrap();
    passwords(&context).request_password_reset(reset(&ada.email)).await.unwrap();
    let change = ChangeEmailRequest { email: "cyd@example.org".to_owned(), password: PASSWORD.to_owned() };
    let cyd = context.person("cyd").await;
    addresses(&context).change_email(cyd.call_without_account(change)).await.unwrap();
    let tokens = [
        link(&context, &ada.email, "/reset-password", 1).await,
        link(&context, "ben@example.org", "/verify-email", 1).await,
        link(&context, "cyd@example.org", "/confirm-email", 1).await,
    ];
    let people = [(ada.email.as_str(), OTHER), ("ben@example.org", PASSWORD), ("cyd@example.org", PASSWORD)];
    for (email, _) in people {
        for n in 0..6 {
            let _ = login(&auth, email, "wrong", &format!("198.51.100.{n}")).await;
        }
    }
    let here = "203.0.113.80";
    let [reset, activation, change] = tokens;
    let reset = ConfirmPasswordResetRequest { token: reset, new_password: OTHER.to_owned(), ..Default::default() };
    passwords(&context).confirm_password_reset(from(reset, here, "curl/8.5.0")).await.unwrap();
    let verify = VerifyEmailRequest { token: activation, password: None };
    auth.clone().verify_email(from(verify, here, "curl/8.5.0")).await.unwrap();
    let confirm = ConfirmEmailChangeRequest { token: change };
    addresses(&context).confirm_email_change(from(confirm, here, "curl/8.5.0")).await.unwrap();
    for (email, password) in people {
        let (why, _) = login(&auth, email, password, "203.0.113.81").await.unwrap_err();
        assert_eq!(why, Some(Reason::TooManyAttempts), "{email} from elsewhere");
        login(&auth, email, password, here).await.unwrap();
    }
}

#[tokio::test]
async fn one_network_cannot_try_many_addresses() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let (_, auth) = with_low_limit(&context, &[]).await;
    // Right passwords do not count, so signing in to one's own account buys no guesses.
    for n in 0..10 {
        login(&auth, &ada.email, PASSWORD, "198.51.100.1").await.unwrap();
        let (why, _) = login(&auth, &format!("{n}@example.org"), "Spring2026!", "198.51.100.1").await.unwrap_err();
        assert_eq!(why, Some(Reason::CredentialsInvalid), "{n}");
    }
    let (why, _) = login(&auth, "10@example.org", "Spring2026!", "198.51.100.1").await.unwrap_err();
    assert_eq!(why, Some(Reason::TooManyAttempts));
    let (why, _) = login(&auth, "10@example.org", "Spring2026!", "198.51.100.2").await.unwrap_err();
    assert_eq!(why, Some(Reason::CredentialsInvalid));
}

#[tokio::test]
async fn two_instances_share_counters() {
    let context = TestContext::start(&[]).await;
    let ((_, one), (_, two)) = (with_low_limit(&context, &[]).await, with_low_limit(&context, &[]).await);
    for n in 0..5 {
        let auth = if n % 2 == 0 { &one } else { &two };
        let (why, _) = login(auth, "ada@example.org", "wrong", &format!("198.51.100.{n}")).await.unwrap_err();
        assert_eq!(why, Some(Reason::CredentialsInvalid));
    }
    for auth in [&one, &two] {
        let (why, _) = login(auth, "ada@example.org", "wrong", "198.51.100.9").await.unwrap_err();
        assert_eq!(why, Some(Reason::TooManyAttempts));
    }
}

#[tokio::test]
async fn sign_in_and_throttling_work_without_redis() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let (_, auth) = with_low_limit(&context, &[("BATON_REDIS_URL", "redis://127.0.0.1:1")]).await;
    login(&auth, &ada.email, PASSWORD, "203.0.113.7").await.unwrap();
    for n in 0..5 {
        let (why, _) = login(&auth, &ada.email, "wrong", &format!("198.51.100.{n}")).await.unwrap_err();
        assert_eq!(why, Some(Reason::CredentialsInvalid));
    }
    let (why, _) = login(&auth, &ada.email, PASSWORD, "198.51.100.9").await.unwrap_err();
    assert_eq!(why, Some(Reason::TooManyAttempts));
    login(&auth, &ada.email, PASSWORD, "203.0.113.7").await.unwrap();
}

#[tokio::test]
async fn redis_keys_reveal_neither_address_nor_network() {
    let context = TestContext::start(&[]).await;
    let (_, auth) = with_low_limit(&context, &[]).await;
    let _ = login(&auth, "ada@example.org", "wrong", "198.51.100.77").await;
    let mut redis = redis::Client::open(context.redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("baton:{throttle}:*").query_async(&mut redis).await.unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    for key in &keys {
        assert!(!key.contains("ada") && !key.contains("198"), "{key}");
        let ends_in: i64 = redis::cmd("TTL").arg(key).query_async(&mut redis).await.unwrap();
        assert!((1..=3600).contains(&ends_in), "{key} is forgotten in {ends_in} seconds");
    }
}

#[tokio::test]
async fn parallel_attempts_are_counted_before_any_response() {
    let context = TestContext::start(&[]).await;
    let (_, auth) = with_low_limit(&context, &[("BATON_AUTH_ATTEMPTS_PER_ADDRESS", "1000")]).await;
    let calls = (0..50).map(|n| {
        let auth = &auth;
        async move { login(auth, "ada@example.org", "wrong", &format!("198.51.100.{n}")).await.unwrap_err().0 }
    });
    let responses = futures_util::future::join_all(calls).await;
    let admitted = responses.iter().filter(|&&why| why == Some(Reason::CredentialsInvalid)).count();
    assert_eq!(admitted, 5, "a burst does not bypass the limit: {responses:?}");
}
