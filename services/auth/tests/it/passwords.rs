use std::time::{Duration, Instant};

use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    ChangeEmailRequest, ChangePasswordRequest, CheckSessionRequest, ConfirmPasswordResetRequest, GetMeRequest,
    LoginRequest, RefreshRequest, RegisterRequest, ResendVerificationRequest, VerifyEmailRequest,
};
use baton_testkit::{PASSWORD, Person, TestContext, eventually, reason};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::{
    client,
    helpers::{
        OTHER, addresses, assert_signed_out, from, link, me, open_another_session, passwords, refusal, reset, users,
        wait_for_all_emails, wait_for_email,
    },
    login, registration,
};

const RESET_PAGE: &str = "/reset-password";

fn change(current: &str, new: &str) -> ChangePasswordRequest {
    ChangePasswordRequest { current_password: current.to_owned(), new_password: new.to_owned() }
}

async fn confirm(context: &TestContext, token: &str, new: &str) -> Result<(), Status> {
    let request =
        ConfirmPasswordResetRequest { token: token.to_owned(), new_password: new.to_owned(), ..Default::default() };
    passwords(context).confirm_password_reset(request).await.map(drop)
}

async fn can_refresh(context: &TestContext, person: &Person) -> bool {
    let request = RefreshRequest { refresh_token: person.refresh_token.clone() };
    client(context).refresh(request).await.is_ok()
}

#[tokio::test]
async fn password_change_closes_other_sessions_and_notifies_the_user() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let (phone, ben) = (open_another_session(&context, &ada).await, context.person("ben").await);
    // The change invalidates a link that was mailed before.
    passwords(&context).request_password_reset(reset(&ada.email)).await.unwrap();
    let mailed = link(&context, &ada.email, RESET_PAGE, 1).await;

    passwords(&context).change_password(ada.call_without_account(change(PASSWORD, OTHER))).await.unwrap();
    assert_signed_out(&context, &phone).await;
    assert!(!can_refresh(&context, &phone).await);
    users(&context).get_me(ada.call_without_account(GetMeRequest {})).await.unwrap();
    assert!(can_refresh(&context, &ada).await && can_refresh(&context, &ben).await);
    assert_eq!(refusal(login(&context, &ada.email, PASSWORD).await), Reason::CredentialsInvalid);
    login(&context, &ada.email, OTHER).await.unwrap();
    wait_for_email(&context, &ada.email, "Your password was changed").await;
    assert_eq!(refusal(confirm(&context, &mailed, "another lantern orchid").await), Reason::LinkInvalid);
}

#[tokio::test]
async fn password_change_requires_the_current_password_and_a_strong_new_one() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let attempt = |current: &str, new: &str| {
        let request = ada.call_without_account(change(current, new));
        let context = &context;
        async move { passwords(context).change_password(request).await }
    };
    assert_eq!(refusal(attempt("not the password", OTHER).await), Reason::ProofInvalid);
    for bad in ["password1234", "t3uywqv52wmki", "T3UYWQV52WMKI"] {
        let refused = attempt(PASSWORD, bad).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::PasswordTooWeak), "{bad}");
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "new_password");
    }
    assert_eq!(refusal(attempt(PASSWORD, "eleven char").await), Reason::ValidationFailed);
    login(&context, &ada.email, PASSWORD).await.unwrap();

    let (a, b) = tokio::join!(attempt(PASSWORD, OTHER), attempt(PASSWORD, "another lantern orchid"));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    login(&context, &ada.email, if a.is_ok() { OTHER } else { "another lantern orchid" }).await.unwrap();
}

#[tokio::test]
async fn wrong_current_password_is_throttled() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let mut reasons = Vec::new();
    for _ in 0..10 {
        let request = ada.call_without_account(change("not the password", OTHER));
        reasons.push(refusal(passwords(&context).change_password(request).await));
    }
    assert!(
        reasons.starts_with(&[Reason::ProofInvalid; 5]) && reasons.ends_with(&[Reason::TooManyAttempts]),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn concurrent_sign_in_does_not_survive_a_password_change() {
    let context = TestContext::start(&[]).await;
    for _ in 0..6 {
        let ada = context.person("ada").await;
        let slow = async {
            // One hash against the two of the change: started a little later, it ends at about the same time.
            tokio::task::yield_now().await;
            login(&context, &ada.email, PASSWORD).await
        };
        let request = ada.call_without_account(change(PASSWORD, OTHER));
        let (changed, signed_in) = tokio::join!(async { passwords(&context).change_password(request).await }, slow);
        changed.unwrap();
        if let Ok(session) = signed_in {
            let thief = Person { refresh_token: session.refresh_token.unwrap(), ..ada };
            assert!(!can_refresh(&context, &thief).await);
        }
    }
}

#[tokio::test]
async fn reset_link_sets_a_password_once() {
    let context = TestContext::start(&[]).await;
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    passwords(&context).request_password_reset(reset(&ada.email.to_uppercase())).await.unwrap();
    let older = link(&context, &ada.email, RESET_PAGE, 1).await;
    passwords(&context).request_password_reset(reset(&ada.email)).await.unwrap();
    let newest = link(&context, &ada.email, RESET_PAGE, 2).await;
    assert_eq!(older, newest, "a repeated request keeps the link valid");
    assert_eq!(refusal(confirm(&context, &newest, "password1234").await), Reason::PasswordTooWeak);
    let calls = (0..5).map(|_| confirm(&context, &newest, OTHER));
    let responses = futures_util::future::join_all(calls).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 1, "{responses:?}");
    assert_eq!(refusal(confirm(&context, &newest, OTHER).await), Reason::LinkInvalid);

    assert_signed_out(&context, &ada).await;
    assert!(!can_refresh(&context, &ada).await && can_refresh(&context, &ben).await);
    assert_eq!(refusal(login(&context, &ada.email, PASSWORD).await), Reason::CredentialsInvalid);
    login(&context, &ada.email, OTHER).await.unwrap();
    wait_for_email(&context, &ada.email, "Your password was changed").await;
}

#[tokio::test]
async fn reset_link_expires_after_an_hour_and_serves_one_purpose() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    passwords(&context).request_password_reset(reset(&ada.email)).await.unwrap();
    let token = link(&context, &ada.email, RESET_PAGE, 1).await;
    for other in ["x", &token[1..], &format!("{token}A")] {
        assert_eq!(refusal(confirm(&context, other, OTHER).await), Reason::LinkInvalid);
    }
    let elsewhere = baton_proto::baton::auth::v1::ReactivateRequest { token: token.clone() };
    assert_eq!(refusal(users(&context).reactivate(elsewhere).await), Reason::LinkInvalid);
    let left: f64 = sqlx::query_scalar(
        "update auth.links set expires_at = expires_at - interval '1 hour'
         returning extract(epoch from expires_at - now())::float8",
    )
    .fetch_one(&context.admin())
    .await
    .unwrap();
    assert!((-60.0..=0.0).contains(&left), "it had an hour, {left}");
    assert_eq!(refusal(confirm(&context, &token, OTHER).await), Reason::LinkInvalid);
    login(&context, &ada.email, PASSWORD).await.unwrap();
}

#[tokio::test]
async fn reset_confirms_the_address_and_replaces_a_strangers_registration() {
    // Classic account pre-hijacking: a stranger registers the address first, with a password of theirs.
    let context = TestContext::start(&[]).await;
    client(&context).register(registration("ada@example.org")).await.unwrap();
    passwords(&context).request_password_reset(reset("ada@example.org")).await.unwrap();
    let token = link(&context, "ada@example.org", RESET_PAGE, 1).await;
    confirm(&context, &token, OTHER).await.unwrap();
    assert_eq!(refusal(login(&context, "ada@example.org", PASSWORD).await), Reason::CredentialsInvalid);
    assert!(login(&context, "ada@example.org", OTHER).await.unwrap().user.unwrap().email_verified);
}

#[tokio::test]
async fn registering_again_keeps_reset_links_valid() {
    let context = TestContext::start(&[]).await;
    client(&context).register(registration("ada@example.org")).await.unwrap();
    passwords(&context).request_password_reset(reset("ada@example.org")).await.unwrap();
    let token = link(&context, "ada@example.org", RESET_PAGE, 1).await;
    let stranger = RegisterRequest { password: "a stranger's lantern".to_owned(), ..registration("ada@example.org") };
    client(&context).register(stranger).await.unwrap();
    confirm(&context, &token, OTHER).await.unwrap();
    login(&context, "ada@example.org", OTHER).await.unwrap();
}

#[tokio::test]
async fn email_requests_of_strangers_block_nobody_and_invalidate_no_link() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    client(&context).register(registration("ben@example.org")).await.unwrap();
    passwords(&context).request_password_reset(reset(&ada.email)).await.unwrap();
    let (own, activation) =
        (link(&context, &ada.email, RESET_PAGE, 1).await, link(&context, "ben@example.org", "/verify-email", 1).await);
    let stranger = "198.51.100.7".parse().unwrap();
    for _ in 0..20 {
        passwords(&context).request_password_reset(from(stranger, reset(&ada.email))).await.unwrap();
        let resend = ResendVerificationRequest { email: "ben@example.org".to_owned() };
        addresses(&context).resend_verification(from(stranger, resend)).await.unwrap();
        client(&context).register(from(stranger, registration(&ada.email))).await.unwrap();
    }
    // The user asks from a trusted network and gets the usual response.
    passwords(&context).request_password_reset(reset(&ada.email)).await.unwrap();
    addresses(&context)
        .resend_verification(ResendVerificationRequest { email: "ben@example.org".to_owned() })
        .await
        .unwrap();
    client(&context).register(registration(&ada.email)).await.unwrap();
    wait_for_all_emails(&context).await;
    let mails = |email: &str, what: &str| {
        context.mailbox().mails(Some(email)).iter().filter(|mail| mail.text.contains(what)).count()
    };
    assert_eq!((mails(&ada.email, RESET_PAGE), mails("ben@example.org", "/verify-email")), (3, 4));
    assert_eq!(mails(&ada.email, "registered already"), 10);
    confirm(&context, &own, OTHER).await.unwrap();
    client(&context).verify_email(VerifyEmailRequest { token: activation, password: None }).await.unwrap();
}

#[tokio::test]
async fn reset_link_is_replaced_shortly_before_it_expires() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    passwords(&context).request_password_reset(reset(&ada.email)).await.unwrap();
    let first = link(&context, &ada.email, RESET_PAGE, 1).await;
    for (left, same) in [("31 minutes", true), ("29 minutes", false)] {
        sqlx::query("update auth.links set expires_at = now() + $1::text::interval")
            .bind(left)
            .execute(&context.admin())
            .await
            .unwrap();
        passwords(&context).request_password_reset(reset(&ada.email)).await.unwrap();
        let newest = link(&context, &ada.email, RESET_PAGE, if same { 2 } else { 3 }).await;
        assert_eq!(newest == first, same, "{left}");
    }
}

#[tokio::test]
async fn only_the_network_that_requests_many_emails_is_throttled() {
    let context = TestContext::start(&[]).await;
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    let ask = async |person: &Person, email: &str| {
        let request = ChangeEmailRequest { email: email.to_owned(), password: PASSWORD.to_owned() };
        addresses(&context).change_email(person.call_without_account(request)).await
    };
    for _ in 0..5 {
        ask(&ada, "shared@example.org").await.unwrap();
    }
    assert_eq!(refusal(ask(&ada, "shared@example.org").await), Reason::TooManyAttempts);
    ask(&ben, "shared@example.org").await.unwrap();
}

#[tokio::test]
async fn reset_request_does_not_reveal_whether_an_address_is_known() {
    const ROUNDS: usize = 60;
    let context = TestContext::start(&[]).await;
    let mut resets = [Vec::new(), Vec::new()];
    let mut resends = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let (known, unknown) = (format!("{round}-ada@example.org"), format!("{round}-nobody@example.org"));
        sqlx::query(
            "insert into auth.users (id, email, email_key, first_name, last_name, activation_nonce, created_at, updated_at)
             values (gen_random_uuid(), $1, $1, 'K', 'K', gen_random_uuid(), now(), now())",
        )
        .bind(&known)
        .execute(&context.admin())
        .await
        .unwrap();
        // Alternately, so that a busy machine slows both alike.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let email = [&known, &unknown][which].clone();
            // Every attempt comes from another address, so none is throttled.
            let address = format!("198.51.100.{}", round * 2 + which).parse().unwrap();
            let begun = Instant::now();
            let response = passwords(&context).request_password_reset(from(address, reset(&email))).await.unwrap();
            resets[which].push(begun.elapsed());
            assert_eq!(response.into_inner(), Default::default());
            let begun = Instant::now();
            let resend = from(address, ResendVerificationRequest { email });
            let response = addresses(&context).resend_verification(resend).await.unwrap();
            resends[which].push(begun.elapsed());
            assert_eq!(response.into_inner(), Default::default());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    for times in [resets, resends] {
        let [mut known, mut unknown] = times;
        let (known, unknown) = (median(&mut known), median(&mut unknown));
        let far = known.abs_diff(unknown);
        assert!(far < known.min(unknown) / 2 || far < Duration::from_millis(1), "{known:?} {unknown:?}");
    }
    // Not by chance: both cases write the same rows, and emails are sent in the background.
    let written = eventually(|| async {
        let inserted: Option<i64> = sqlx::query_scalar(
            "select n_tup_ins from pg_stat_user_tables where schemaname = 'auth' and relname = 'jobs'",
        )
        .fetch_one(&context.admin())
        .await
        .unwrap();
        inserted.filter(|&inserted| inserted >= 4 * ROUNDS as i64)
    })
    .await;
    assert_eq!(written, 4 * ROUNDS as i64);
    wait_for_all_emails(&context).await;
    assert!(context.mailbox().mails(Some("0-nobody@example.org")).is_empty());
}

#[tokio::test]
async fn outdated_hash_is_renewed_at_sign_in() {
    let context = TestContext::start(&[]).await;
    let hash = async || -> String {
        sqlx::query_scalar("select password_hash from auth.users").fetch_one(&context.admin()).await.unwrap()
    };
    // The test kit stores a cheap hash, and signs in.
    let ada = context.person("ada").await;
    let renewed = hash().await;
    assert!(renewed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{renewed}");
    assert!(can_refresh(&context, &ada).await, "that is no change of password");
    login(&context, &ada.email, PASSWORD).await.unwrap();
    assert_eq!(hash().await, renewed);
    assert_eq!(me(&context, &ada).await.sign_in_count, 2);
}

/// A login request whose texts are arbitrary bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct RawLogin {
    #[prost(bytes = "vec", tag = "1")]
    email: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    password: Vec<u8>,
}

async fn raw_login(context: &TestContext, password: &[u8]) -> Status {
    let mut grpc = tonic::client::Grpc::new(context.auth());
    grpc.ready().await.unwrap();
    let message = RawLogin { email: b"ada@example.org".to_vec(), password: password.to_vec() };
    let path = http::uri::PathAndQuery::from_static("/baton.auth.v1.AuthService/Login");
    let codec = tonic_prost::ProstCodec::<RawLogin, ()>::default();
    grpc.unary(Request::new(message), path, codec).await.unwrap_err()
}

#[tokio::test]
async fn malformed_password_is_refused_with_its_field_before_hashing() {
    let context = TestContext::start(&[]).await;
    let megabyte = vec![b'x'; 1 << 20];
    let begun = Instant::now();
    for password in [&b"\xff\xfe not utf-8"[..], b"nul\0 in the middle", &megabyte, b""] {
        let refused = raw_login(&context, password).await;
        assert_eq!(reason(&refused), Some(Reason::ValidationFailed), "{refused:?}");
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "password");
        assert!(refused.message().len() < 200, "nothing is returned");
    }
    for _ in 0..20 {
        raw_login(&context, &megabyte).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    let nul = RegisterRequest { password: "nul\0 lantern orchid".to_owned(), ..registration("ada@example.org") };
    assert_eq!(refusal(client(&context).register(nul).await), Reason::ValidationFailed);
    // The longest accepted password is hashed in full.
    let ada = context.person("ada").await;
    let longest: String = (0..60).map(|n| format!("größe{} ", n * n)).collect::<String>().chars().take(256).collect();
    passwords(&context).change_password(ada.call_without_account(change(PASSWORD, &longest))).await.unwrap();
    client(&context).check_session(ada.call_without_account(CheckSessionRequest {})).await.unwrap();
    let shorter: String = longest.chars().take(255).collect();
    assert_eq!(refusal(login(&context, &ada.email, &shorter).await), Reason::CredentialsInvalid);
    let request = LoginRequest { email: ada.email.clone(), password: longest };
    client(&context).login(request).await.unwrap();
}
