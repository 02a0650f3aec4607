//! Guessing passwords, and what it must not do to those whose passwords are guessed (ASVS 5.0, 6.3.1).

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
    people::{OTHER, addresses, link, passwords, reset},
    registration,
};

/// An auth service of this world with a clock that stands still, and few attempts per network.
async fn strict(world: &TestContext, changes: &[(&str, &str)]) -> (Clock, AuthServiceClient<Channel>) {
    let mut env = world.env();
    env.set("BATON_AUTH_ATTEMPTS_PER_ADDRESS", "10");
    for &(name, value) in changes {
        env.set(name, value);
    }
    let clock = Clock::fixed(Clock::system().now());
    let config = baton_auth::Config::from_env(&env).unwrap();
    let of_service = clock.clone();
    let channel = world.spawn(|listener, stop| baton_auth::start(config, of_service, listener, stop)).await;
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
async fn guesses_have_to_wait_and_unknown_addresses_wait_alike() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let (clock, auth) = strict(&world, &[]).await;
    let mut told = Vec::new();
    for email in [ada.email.as_str(), "nobody@example.org"] {
        let mut waits = Vec::new();
        // Each guess from another network: only the address has them in common.
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
        told.push(waits);
    }
    assert_eq!(told[0], told[1], "known and unknown");
    let waits: Vec<_> = told[0].iter().map(|(n, wait, ..)| (*n, *wait)).collect();
    assert_eq!(waits, [(5, 1), (7, 2), (9, 4), (11, 8)], "five are free, then each waits twice as long");
}

#[tokio::test]
async fn a_stranger_locks_nobody_out_where_they_are_known_and_nobody_for_good() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let (clock, auth) = strict(&world, &[]).await;
    login(&auth, &ada.email, PASSWORD, "203.0.113.7").await.unwrap();
    for n in 0..60 {
        let _ = login(&auth, &ada.email, "wrong", &format!("198.51.100.{n}")).await;
        clock.advance(TimeDelta::seconds(600));
    }
    let _ = login(&auth, &ada.email, "wrong", "198.51.100.200").await;
    let (why, status) = login(&auth, &ada.email, PASSWORD, "192.0.2.1").await.unwrap_err();
    assert_eq!(why, Some(Reason::TooManyAttempts), "a new place waits, even with the right password");
    assert!(seconds(&status) <= 900, "{} seconds", seconds(&status));
    login(&auth, &ada.email, PASSWORD, "203.0.113.7").await.unwrap();
    clock.advance(TimeDelta::seconds(900));
    login(&auth, &ada.email, PASSWORD, "192.0.2.1").await.unwrap();
    // It was right: its network is known from now on, and the count starts over.
    login(&auth, &ada.email, PASSWORD, "192.0.2.1").await.unwrap();
}

#[tokio::test]
async fn registering_an_address_and_signing_in_tells_nobody_whether_it_is_known() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let (clock, auth) = strict(&world, &[]).await;
    let mut told = Vec::new();
    for email in [ada.email.as_str(), "nobody@example.org"] {
        let register = RegisterRequest { password: OTHER.to_owned(), ..registration(email) };
        auth.clone().register(from(register, "198.51.100.99", "curl/8.5.0")).await.unwrap();
        let mut answers = Vec::new();
        // Past the free attempts: a tally that starts over would tell as well.
        for n in 0..9 {
            let (why, status) = login(&auth, email, OTHER, &format!("198.51.100.{n}")).await.unwrap_err();
            answers.push((why, status.code(), status.message().to_owned(), status.details().to_vec()));
            if why == Some(Reason::TooManyAttempts) {
                clock.advance(TimeDelta::seconds(seconds(&status) as i64));
            }
        }
        told.push(answers);
    }
    assert_eq!(told[0], told[1], "known and unknown");
    assert_eq!(told[0].iter().filter(|answer| answer.0 == Some(Reason::TooManyAttempts)).count(), 2);
}

#[tokio::test]
async fn a_link_in_a_mail_opens_a_new_network_while_strangers_guess() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let (_, auth) = strict(&world, &[]).await;
    client(&world).register(registration("ben@example.org")).await.unwrap();
    passwords(&world).request_password_reset(reset(&ada.email)).await.unwrap();
    let change = ChangeEmailRequest { email: "cyd@example.org".to_owned(), password: PASSWORD.to_owned() };
    let cyd = world.person("cyd").await;
    addresses(&world).change_email(cyd.call_without_account(change)).await.unwrap();
    let tokens = [
        link(&world, &ada.email, "/reset-password", 1).await,
        link(&world, "ben@example.org", "/verify-email", 1).await,
        link(&world, "cyd@example.org", "/confirm-email", 1).await,
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
    passwords(&world).confirm_password_reset(from(reset, here, "curl/8.5.0")).await.unwrap();
    let verify = VerifyEmailRequest { token: activation, password: None };
    auth.clone().verify_email(from(verify, here, "curl/8.5.0")).await.unwrap();
    let confirm = ConfirmEmailChangeRequest { token: change };
    addresses(&world).confirm_email_change(from(confirm, here, "curl/8.5.0")).await.unwrap();
    for (email, password) in people {
        let (why, _) = login(&auth, email, password, "203.0.113.81").await.unwrap_err();
        assert_eq!(why, Some(Reason::TooManyAttempts), "{email} from elsewhere");
        login(&auth, email, password, here).await.unwrap();
    }
}

#[tokio::test]
async fn one_network_does_not_go_through_many_addresses() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let (_, auth) = strict(&world, &[]).await;
    // Right passwords do not count, so signing in to an account of one's own buys no guesses.
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
async fn two_instances_count_together() {
    let world = TestContext::start(&[]).await;
    let ((_, one), (_, two)) = (strict(&world, &[]).await, strict(&world, &[]).await);
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
async fn without_redis_people_sign_in_and_guesses_wait_still() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let (_, auth) = strict(&world, &[("BATON_REDIS_URL", "redis://127.0.0.1:1")]).await;
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
async fn what_is_counted_by_cannot_be_read_in_redis() {
    let world = TestContext::start(&[]).await;
    let (_, auth) = strict(&world, &[]).await;
    let _ = login(&auth, "ada@example.org", "wrong", "198.51.100.77").await;
    let mut redis = redis::Client::open(world.redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("baton:{throttle}:*").query_async(&mut redis).await.unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    for key in &keys {
        assert!(!key.contains("ada") && !key.contains("198"), "{key}");
        let ends_in: i64 = redis::cmd("TTL").arg(key).query_async(&mut redis).await.unwrap();
        assert!((1..=3600).contains(&ends_in), "{key} is forgotten in {ends_in} seconds");
    }
}

#[tokio::test]
async fn attempts_at_once_are_counted_before_any_is_answered() {
    let world = TestContext::start(&[]).await;
    let (_, auth) = strict(&world, &[("BATON_AUTH_ATTEMPTS_PER_ADDRESS", "1000")]).await;
    let calls = (0..50).map(|n| {
        let auth = &auth;
        async move { login(auth, "ada@example.org", "wrong", &format!("198.51.100.{n}")).await.unwrap_err().0 }
    });
    let answers = futures_util::future::join_all(calls).await;
    let heard = answers.iter().filter(|&&why| why == Some(Reason::CredentialsInvalid)).count();
    assert_eq!(heard, 5, "a burst is no way around: {answers:?}");
}
