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
    client, login,
    people::{
        OTHER, addresses, all_is_sent, from, is_signed_out, is_told, link, me, passwords, refusal, reset,
        sign_in_again, users,
    },
    registration,
};

const RESET_PAGE: &str = "/reset-password";

fn change(current: &str, new: &str) -> ChangePasswordRequest {
    ChangePasswordRequest { current_password: current.to_owned(), new_password: new.to_owned() }
}

async fn confirm(world: &TestContext, token: &str, new: &str) -> Result<(), Status> {
    let request =
        ConfirmPasswordResetRequest { token: token.to_owned(), new_password: new.to_owned(), ..Default::default() };
    passwords(world).confirm_password_reset(request).await.map(drop)
}

async fn can_refresh(world: &TestContext, person: &Person) -> bool {
    let request = RefreshRequest { refresh_token: person.refresh_token.clone() };
    client(world).refresh(request).await.is_ok()
}

#[tokio::test]
async fn changing_the_password_closes_the_other_sessions_and_tells_the_person() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let (phone, ben) = (sign_in_again(&world, &ada).await, world.person("ben").await);
    // A link that was mailed before the change ends with it.
    passwords(&world).request_password_reset(reset(&ada.email)).await.unwrap();
    let mailed = link(&world, &ada.email, RESET_PAGE, 1).await;

    passwords(&world).change_password(ada.call_without_account(change(PASSWORD, OTHER))).await.unwrap();
    is_signed_out(&world, &phone).await;
    assert!(!can_refresh(&world, &phone).await);
    users(&world).get_me(ada.call_without_account(GetMeRequest {})).await.unwrap();
    assert!(can_refresh(&world, &ada).await && can_refresh(&world, &ben).await);
    assert_eq!(refusal(login(&world, &ada.email, PASSWORD).await), Reason::CredentialsInvalid);
    login(&world, &ada.email, OTHER).await.unwrap();
    is_told(&world, &ada.email, "Your password was changed").await;
    assert_eq!(refusal(confirm(&world, &mailed, "another lantern orchid").await), Reason::LinkInvalid);
}

#[tokio::test]
async fn a_password_is_changed_only_by_who_knows_it_and_to_a_good_one() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let attempt = |current: &str, new: &str| {
        let request = ada.call_without_account(change(current, new));
        let world = &world;
        async move { passwords(world).change_password(request).await }
    };
    assert_eq!(refusal(attempt("not the password", OTHER).await), Reason::ProofInvalid);
    for bad in ["password1234", "t3uywqv52wmki", "T3UYWQV52WMKI"] {
        let refused = attempt(PASSWORD, bad).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::PasswordTooWeak), "{bad}");
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "new_password");
    }
    assert_eq!(refusal(attempt(PASSWORD, "eleven char").await), Reason::ValidationFailed);
    login(&world, &ada.email, PASSWORD).await.unwrap();

    let (a, b) = tokio::join!(attempt(PASSWORD, OTHER), attempt(PASSWORD, "another lantern orchid"));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    login(&world, &ada.email, if a.is_ok() { OTHER } else { "another lantern orchid" }).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_guessed_a_few_times_only() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let mut told = Vec::new();
    for _ in 0..10 {
        let request = ada.call_without_account(change("not the password", OTHER));
        told.push(refusal(passwords(&world).change_password(request).await));
    }
    assert!(told.starts_with(&[Reason::ProofInvalid; 5]) && told.ends_with(&[Reason::TooManyAttempts]), "{told:?}");
}

#[tokio::test]
async fn a_sign_in_by_the_old_password_never_outlives_the_change() {
    let world = TestContext::start(&[]).await;
    for _ in 0..6 {
        let ada = world.person("ada").await;
        let slow = async {
            // One hash against the two of the change: begun a little later, it ends about when the change does.
            tokio::task::yield_now().await;
            login(&world, &ada.email, PASSWORD).await
        };
        let request = ada.call_without_account(change(PASSWORD, OTHER));
        let (changed, signed_in) = tokio::join!(async { passwords(&world).change_password(request).await }, slow);
        changed.unwrap();
        if let Ok(session) = signed_in {
            let thief = Person { refresh_token: session.refresh_token.unwrap(), ..ada };
            assert!(!can_refresh(&world, &thief).await);
        }
    }
}

#[tokio::test]
async fn a_forgotten_password_is_set_anew_by_a_mailed_link_that_works_once() {
    let world = TestContext::start(&[]).await;
    let (ada, ben) = (world.person("ada").await, world.person("ben").await);
    passwords(&world).request_password_reset(reset(&ada.email.to_uppercase())).await.unwrap();
    let older = link(&world, &ada.email, RESET_PAGE, 1).await;
    passwords(&world).request_password_reset(reset(&ada.email)).await.unwrap();
    let newest = link(&world, &ada.email, RESET_PAGE, 2).await;
    assert_eq!(older, newest, "asking again ends no link");
    assert_eq!(refusal(confirm(&world, &newest, "password1234").await), Reason::PasswordTooWeak);
    let calls = (0..5).map(|_| confirm(&world, &newest, OTHER));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(refusal(confirm(&world, &newest, OTHER).await), Reason::LinkInvalid);

    is_signed_out(&world, &ada).await;
    assert!(!can_refresh(&world, &ada).await && can_refresh(&world, &ben).await);
    assert_eq!(refusal(login(&world, &ada.email, PASSWORD).await), Reason::CredentialsInvalid);
    login(&world, &ada.email, OTHER).await.unwrap();
    is_told(&world, &ada.email, "Your password was changed").await;
}

#[tokio::test]
async fn a_reset_link_ends_after_an_hour_and_serves_nothing_else() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    passwords(&world).request_password_reset(reset(&ada.email)).await.unwrap();
    let token = link(&world, &ada.email, RESET_PAGE, 1).await;
    for other in ["x", &token[1..], &format!("{token}A")] {
        assert_eq!(refusal(confirm(&world, other, OTHER).await), Reason::LinkInvalid);
    }
    let elsewhere = baton_proto::baton::auth::v1::ReactivateRequest { token: token.clone() };
    assert_eq!(refusal(users(&world).reactivate(elsewhere).await), Reason::LinkInvalid);
    let left: f64 = sqlx::query_scalar(
        "update auth.links set expires_at = expires_at - interval '1 hour'
         returning extract(epoch from expires_at - now())::float8",
    )
    .fetch_one(&world.admin())
    .await
    .unwrap();
    assert!((-60.0..=0.0).contains(&left), "it had an hour, {left}");
    assert_eq!(refusal(confirm(&world, &token, OTHER).await), Reason::LinkInvalid);
    login(&world, &ada.email, PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_reset_confirms_the_address_and_takes_it_from_whoever_registered_it() {
    // Classic account pre-hijacking: a stranger registers the address first, with a password of theirs.
    let world = TestContext::start(&[]).await;
    client(&world).register(registration("ada@example.org")).await.unwrap();
    passwords(&world).request_password_reset(reset("ada@example.org")).await.unwrap();
    let token = link(&world, "ada@example.org", RESET_PAGE, 1).await;
    confirm(&world, &token, OTHER).await.unwrap();
    assert_eq!(refusal(login(&world, "ada@example.org", PASSWORD).await), Reason::CredentialsInvalid);
    assert!(login(&world, "ada@example.org", OTHER).await.unwrap().user.unwrap().email_verified);
}

#[tokio::test]
async fn registering_again_ends_no_reset_link() {
    let world = TestContext::start(&[]).await;
    client(&world).register(registration("ada@example.org")).await.unwrap();
    passwords(&world).request_password_reset(reset("ada@example.org")).await.unwrap();
    let token = link(&world, "ada@example.org", RESET_PAGE, 1).await;
    let stranger = RegisterRequest { password: "a stranger's lantern".to_owned(), ..registration("ada@example.org") };
    client(&world).register(stranger).await.unwrap();
    confirm(&world, &token, OTHER).await.unwrap();
    login(&world, "ada@example.org", OTHER).await.unwrap();
}

#[tokio::test]
async fn strangers_who_ask_for_mails_block_nobody_and_end_no_link() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    client(&world).register(registration("ben@example.org")).await.unwrap();
    passwords(&world).request_password_reset(reset(&ada.email)).await.unwrap();
    let (own, activation) =
        (link(&world, &ada.email, RESET_PAGE, 1).await, link(&world, "ben@example.org", "/verify-email", 1).await);
    let stranger = "198.51.100.7".parse().unwrap();
    for _ in 0..20 {
        passwords(&world).request_password_reset(from(stranger, reset(&ada.email))).await.unwrap();
        let resend = ResendVerificationRequest { email: "ben@example.org".to_owned() };
        addresses(&world).resend_verification(from(stranger, resend)).await.unwrap();
        client(&world).register(from(stranger, registration(&ada.email))).await.unwrap();
    }
    // The person asks from where they are known, and is answered as ever.
    passwords(&world).request_password_reset(reset(&ada.email)).await.unwrap();
    addresses(&world)
        .resend_verification(ResendVerificationRequest { email: "ben@example.org".to_owned() })
        .await
        .unwrap();
    client(&world).register(registration(&ada.email)).await.unwrap();
    all_is_sent(&world).await;
    let mails = |email: &str, what: &str| {
        world.mailbox().mails(Some(email)).iter().filter(|mail| mail.text.contains(what)).count()
    };
    assert_eq!((mails(&ada.email, RESET_PAGE), mails("ben@example.org", "/verify-email")), (3, 4));
    assert_eq!(mails(&ada.email, "registered already"), 10);
    confirm(&world, &own, OTHER).await.unwrap();
    client(&world).verify_email(VerifyEmailRequest { token: activation, password: None }).await.unwrap();
}

#[tokio::test]
async fn a_reset_link_is_replaced_when_little_is_left_of_it() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    passwords(&world).request_password_reset(reset(&ada.email)).await.unwrap();
    let first = link(&world, &ada.email, RESET_PAGE, 1).await;
    for (left, same) in [("31 minutes", true), ("29 minutes", false)] {
        sqlx::query("update auth.links set expires_at = now() + $1::text::interval")
            .bind(left)
            .execute(&world.admin())
            .await
            .unwrap();
        passwords(&world).request_password_reset(reset(&ada.email)).await.unwrap();
        let newest = link(&world, &ada.email, RESET_PAGE, if same { 2 } else { 3 }).await;
        assert_eq!(newest == first, same, "{left}");
    }
}

#[tokio::test]
async fn who_asks_for_mails_to_many_addresses_waits_and_nobody_else() {
    let world = TestContext::start(&[]).await;
    let (ada, ben) = (world.person("ada").await, world.person("ben").await);
    let ask = async |person: &Person, email: &str| {
        let request = ChangeEmailRequest { email: email.to_owned(), password: PASSWORD.to_owned() };
        addresses(&world).change_email(person.call_without_account(request)).await
    };
    for _ in 0..5 {
        ask(&ada, "shared@example.org").await.unwrap();
    }
    assert_eq!(refusal(ask(&ada, "shared@example.org").await), Reason::TooManyAttempts);
    ask(&ben, "shared@example.org").await.unwrap();
}

#[tokio::test]
async fn nobody_learns_from_a_reset_whether_an_address_is_known() {
    const ROUNDS: usize = 60;
    let world = TestContext::start(&[]).await;
    let mut resets = [Vec::new(), Vec::new()];
    let mut resends = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let (known, unknown) = (format!("{round}-ada@example.org"), format!("{round}-nobody@example.org"));
        sqlx::query(
            "insert into auth.users (id, email, email_key, first_name, last_name, activation_nonce, created_at, updated_at)
             values (gen_random_uuid(), $1, $1, 'K', 'K', gen_random_uuid(), now(), now())",
        )
        .bind(&known)
        .execute(&world.admin())
        .await
        .unwrap();
        // In turns, so that a busy machine slows both alike.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let email = [&known, &unknown][which].clone();
            // Every attempt from an address of its own: none is to wait.
            let address = format!("198.51.100.{}", round * 2 + which).parse().unwrap();
            let begun = Instant::now();
            let answer = passwords(&world).request_password_reset(from(address, reset(&email))).await.unwrap();
            resets[which].push(begun.elapsed());
            assert_eq!(answer.into_inner(), Default::default());
            let begun = Instant::now();
            let resend = from(address, ResendVerificationRequest { email });
            let answer = addresses(&world).resend_verification(resend).await.unwrap();
            resends[which].push(begun.elapsed());
            assert_eq!(answer.into_inner(), Default::default());
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
    // Not by chance: for both the same is written, and a mail more or less is sent beside the call.
    let written = eventually(|| async {
        let inserted: Option<i64> = sqlx::query_scalar(
            "select n_tup_ins from pg_stat_user_tables where schemaname = 'auth' and relname = 'jobs'",
        )
        .fetch_one(&world.admin())
        .await
        .unwrap();
        inserted.filter(|&inserted| inserted >= 4 * ROUNDS as i64)
    })
    .await;
    assert_eq!(written, 4 * ROUNDS as i64);
    all_is_sent(&world).await;
    assert!(world.mailbox().mails(Some("0-nobody@example.org")).is_empty());
}

#[tokio::test]
async fn a_hash_by_older_parameters_is_renewed_when_its_person_signs_in() {
    let world = TestContext::start(&[]).await;
    let hash = async || -> String {
        sqlx::query_scalar("select password_hash from auth.users").fetch_one(&world.admin()).await.unwrap()
    };
    // The test kit stores a cheap one, and signs in.
    let ada = world.person("ada").await;
    let renewed = hash().await;
    assert!(renewed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{renewed}");
    assert!(can_refresh(&world, &ada).await, "that is no change of password");
    login(&world, &ada.email, PASSWORD).await.unwrap();
    assert_eq!(hash().await, renewed);
    assert_eq!(me(&world, &ada).await.sign_in_count, 2);
}

/// A sign-in whose texts are any bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct RawLogin {
    #[prost(bytes = "vec", tag = "1")]
    email: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    password: Vec<u8>,
}

async fn raw_login(world: &TestContext, password: &[u8]) -> Status {
    let mut grpc = tonic::client::Grpc::new(world.auth());
    grpc.ready().await.unwrap();
    let message = RawLogin { email: b"ada@example.org".to_vec(), password: password.to_vec() };
    let path = http::uri::PathAndQuery::from_static("/baton.auth.v1.AuthService/Login");
    let codec = tonic_prost::ProstCodec::<RawLogin, ()>::default();
    grpc.unary(Request::new(message), path, codec).await.unwrap_err()
}

#[tokio::test]
async fn what_is_no_password_is_refused_by_its_name_before_anything_is_hashed() {
    let world = TestContext::start(&[]).await;
    let megabyte = vec![b'x'; 1 << 20];
    let begun = Instant::now();
    for password in [&b"\xff\xfe not utf-8"[..], b"nul\0 in the middle", &megabyte, b""] {
        let refused = raw_login(&world, password).await;
        assert_eq!(reason(&refused), Some(Reason::ValidationFailed), "{refused:?}");
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "password");
        assert!(refused.message().len() < 200, "nothing of it comes back");
    }
    for _ in 0..20 {
        raw_login(&world, &megabyte).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    let nul = RegisterRequest { password: "nul\0 lantern orchid".to_owned(), ..registration("ada@example.org") };
    assert_eq!(refusal(client(&world).register(nul).await), Reason::ValidationFailed);
    // The longest that is taken is hashed as a whole.
    let ada = world.person("ada").await;
    let longest: String = (0..60).map(|n| format!("größe{} ", n * n)).collect::<String>().chars().take(256).collect();
    passwords(&world).change_password(ada.call_without_account(change(PASSWORD, &longest))).await.unwrap();
    client(&world).check_session(ada.call_without_account(CheckSessionRequest {})).await.unwrap();
    let shorter: String = longest.chars().take(255).collect();
    assert_eq!(refusal(login(&world, &ada.email, &shorter).await), Reason::CredentialsInvalid);
    let request = LoginRequest { email: ada.email.clone(), password: longest };
    client(&world).login(request).await.unwrap();
}
