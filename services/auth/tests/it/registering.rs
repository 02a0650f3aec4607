use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    ChangeEmailRequest, ConfirmEmailChangeRequest, ConfirmPasswordResetRequest, RegisterRequest, VerifyEmailRequest,
};
use baton_runtime::Clock;
use baton_testkit::{Person, TestContext, eventually, reason};
use tonic::Status;

use crate::{
    PASSWORD, client, login, mailed_token,
    people::{addresses, all_is_sent, link, passwords, refusal, reset},
    registration,
};

/// A password that is not Ada's.
const STRANGERS: &str = "orchid lantern tidal";

#[tokio::test]
async fn a_person_registers_confirms_and_signs_in() {
    let world = TestContext::start(&[]).await;
    let registered = client(&world).register(registration("Ada@Example.org")).await.unwrap().into_inner().user.unwrap();
    assert_eq!((registered.email.as_str(), registered.email_verified), ("Ada@Example.org", false));

    let refused = login(&world, "ada@example.org", PASSWORD).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CredentialsInvalid));

    let token = mailed_token(&world, "ada@example.org", 1).await;
    for _ in 0..2 {
        // The second time is a retry: the same answer.
        let request = VerifyEmailRequest { token: token.clone(), password: None };
        let verified = client(&world).verify_email(request).await.unwrap().into_inner().user.unwrap();
        assert_eq!((verified.id.as_str(), verified.email_verified), (registered.id.as_str(), true));
    }
    let signed_in = login(&world, "ADA@example.org", PASSWORD).await.unwrap();
    assert_eq!(signed_in.user.unwrap().id, registered.id);

    let published: Vec<String> = published(&world).await;
    assert_eq!(published, ["user.registered", "user.verified", "session.opened"]);
}

#[tokio::test]
async fn a_known_address_answers_like_an_unknown_one_and_its_owner_is_told() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let known = client(&world).register(registration(&ada.email)).await.unwrap().into_inner().user.unwrap();
    let unknown = client(&world).register(registration("ben@example.org")).await.unwrap().into_inner().user.unwrap();
    assert_ne!(known.id, ada.user_id.to_string());
    assert_eq!((known.first_name, known.email_verified), (unknown.first_name, unknown.email_verified));

    let mail = eventually(|| async { world.mailbox().mails(Some(&ada.email)).pop() }).await;
    assert_eq!(mail.subject, "You are registered already");
    assert!(!mail.text.contains("token="));
    // Neither the password nor the names of the one who is known have changed.
    login(&world, &ada.email, PASSWORD).await.unwrap();
}

/// A registration with another password.
fn with(password: &str) -> RegisterRequest {
    RegisterRequest { password: password.to_owned(), ..registration("ADA@example.org") }
}

async fn verify(world: &TestContext, token: &str, password: Option<&str>) -> Result<(), Status> {
    let request = VerifyEmailRequest { token: token.to_owned(), password: password.map(str::to_owned) };
    client(world).verify_email(request).await.map(drop)
}

#[tokio::test]
async fn a_strangers_registration_replaces_nobodys() {
    let world = TestContext::start(&[]).await;
    client(&world).register(registration("ada@example.org")).await.unwrap();
    let own = mailed_token(&world, "ada@example.org", 1).await;
    client(&world).register(with(STRANGERS)).await.unwrap();
    let strangers = mailed_token(&world, "ada@example.org", 2).await;
    assert_ne!(own, strangers);

    // Followed by mistake, the newer link activates nothing.
    assert_eq!(refusal(verify(&world, &strangers, None).await), Reason::ProofRequired);
    assert_eq!(refusal(verify(&world, &strangers, Some(PASSWORD)).await), Reason::ProofInvalid);
    assert_eq!(refusal(login(&world, "ada@example.org", STRANGERS).await), Reason::CredentialsInvalid);

    verify(&world, &own, None).await.unwrap();
    login(&world, "ada@example.org", PASSWORD).await.unwrap();
    assert_eq!(refusal(verify(&world, &strangers, Some(STRANGERS)).await), Reason::LinkInvalid, "it ends with that");
    assert_eq!(refusal(login(&world, "ada@example.org", STRANGERS).await), Reason::CredentialsInvalid);
}

#[tokio::test]
async fn a_stranger_who_registers_first_keeps_nobody_out() {
    let world = TestContext::start(&[]).await;
    client(&world).register(with(STRANGERS)).await.unwrap();
    mailed_token(&world, "ada@example.org", 1).await;
    client(&world).register(registration("ada@example.org")).await.unwrap();
    let own = mailed_token(&world, "ada@example.org", 2).await;
    assert!(world.mailbox().mails(Some("ada@example.org"))[0].text.contains("registered more than once"));
    verify(&world, &own, Some(PASSWORD)).await.unwrap();
    // A repetition needs no password, and has none to check.
    verify(&world, &own, None).await.unwrap();
    login(&world, "ada@example.org", PASSWORD).await.unwrap();
    assert_eq!(refusal(login(&world, "ada@example.org", STRANGERS).await), Reason::CredentialsInvalid);
}

#[tokio::test]
async fn a_stranger_who_registers_often_exhausts_neither_the_registration_nor_the_reset() {
    let world = TestContext::start(&[]).await;
    for n in 0..12 {
        client(&world).register(with(&format!("{STRANGERS} {n}"))).await.unwrap();
    }
    // The person registers all the same. Their link is not mailed, as the address has had enough; so none of the
    // others goes without its password any more.
    client(&world).register(registration("ada@example.org")).await.unwrap();
    all_is_sent(&world).await;
    let mails = world.mailbox().mails(Some("ada@example.org"));
    assert_eq!(mails.len(), 10);
    for mail in &mails {
        let token = mail.text.split_once("?token=").unwrap().1.split_whitespace().next().unwrap();
        assert_eq!(refusal(verify(&world, token, None).await), Reason::ProofRequired);
    }
    // Whoever owns the address gets in by it.
    passwords(&world).request_password_reset(reset("ada@example.org")).await.unwrap();
    let token = link(&world, "ada@example.org", "/reset-password", 1).await;
    let request = ConfirmPasswordResetRequest { token, new_password: PASSWORD.to_owned(), ..Default::default() };
    passwords(&world).confirm_password_reset(request).await.unwrap();
    login(&world, "ada@example.org", PASSWORD).await.unwrap();
    let waiting: i64 =
        sqlx::query_scalar("select count(*) from auth.registrations").fetch_one(&world.admin()).await.unwrap();
    assert_eq!(waiting, 0);
}

#[tokio::test]
async fn registering_again_with_the_same_password_is_a_repetition() {
    let world = TestContext::start(&[]).await;
    let register = async || {
        let registered = client(&world).register(registration("ada@example.org")).await.unwrap();
        registered.into_inner().user.unwrap().id
    };
    let id = register().await;
    let first = mailed_token(&world, "ada@example.org", 1).await;
    assert_eq!(register().await, id);
    assert_eq!(mailed_token(&world, "ada@example.org", 2).await, first);
    // However often, the address is mailed a few times only.
    for _ in 0..6 {
        assert_eq!(register().await, id);
    }
    all_is_sent(&world).await;
    assert_eq!(world.mailbox().mails(Some("ada@example.org")).len(), 4);
    verify(&world, &first, None).await.unwrap();
    assert_eq!(published(&world).await, ["user.registered", "user.verified"]);
}

#[tokio::test]
async fn of_two_links_followed_at_once_one_registration_wins() {
    let world = TestContext::start(&[]).await;
    for n in 0..4 {
        let email = format!("{n}@example.org");
        client(&world).register(registration(&email)).await.unwrap();
        let first = mailed_token(&world, &email, 1).await;
        client(&world).register(RegisterRequest { email: email.clone(), ..with(STRANGERS) }).await.unwrap();
        let second = mailed_token(&world, &email, 2).await;
        let (a, b) = tokio::join!(verify(&world, &first, None), verify(&world, &second, Some(STRANGERS)));
        assert_ne!(a.is_ok(), b.is_ok(), "{a:?} {b:?}");
        let passwords = [PASSWORD, STRANGERS];
        let (won, lost) = if a.is_ok() { (0, 1) } else { (1, 0) };
        login(&world, &email, passwords[won]).await.unwrap();
        assert_eq!(refusal(login(&world, &email, passwords[lost]).await), Reason::CredentialsInvalid);
    }
}

#[tokio::test]
async fn whoever_registered_with_the_version_before_confirms_still() {
    let world = TestContext::start(&[]).await;
    client(&world).register(registration("ada@example.org")).await.unwrap();
    let token = mailed_token(&world, "ada@example.org", 1).await;
    sqlx::query(
        "with moved as (delete from auth.registrations returning *)
         insert into auth.users (id, email, email_key, password_hash, first_name, last_name, activation_nonce,
                                 created_at, updated_at)
         select id, email, email_key, password_hash, first_name, last_name, nonce, created_at, created_at from moved",
    )
    .execute(&world.admin())
    .await
    .unwrap();
    verify(&world, &token, None).await.unwrap();
    login(&world, "ada@example.org", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn an_activation_link_ends_after_a_week_and_with_a_change_of_address() {
    let world = TestContext::start(&[]).await;
    client(&world).register(registration("ada@example.org")).await.unwrap();
    let token = mailed_token(&world, "ada@example.org", 1).await;
    let verify = async || {
        let request = VerifyEmailRequest { token: token.clone(), password: None };
        client(&world).verify_email(request).await.map(|answer| answer.into_inner().user.unwrap().email)
    };
    assert_eq!(verify().await.unwrap(), "ada@example.org");
    let session = login(&world, "ada@example.org", PASSWORD).await.unwrap();
    let ada = Person {
        user_id: session.user.unwrap().id.parse().unwrap(),
        email: "ada@example.org".to_owned(),
        token: session.access_token.unwrap(),
        refresh_token: session.refresh_token.unwrap(),
    };
    let aged = async |interval: &str| {
        sqlx::query("update auth.users set created_at = now() - $1::text::interval")
            .bind(interval)
            .execute(&world.admin())
            .await
            .unwrap()
    };
    aged("7 days 1 minute").await;
    assert_eq!(reason(&verify().await.unwrap_err()), Some(Reason::LinkInvalid), "it would show the person for ever");
    aged("6 days").await;
    verify().await.unwrap();

    let change = ChangeEmailRequest { email: "new@example.org".to_owned(), password: PASSWORD.to_owned() };
    addresses(&world).change_email(ada.call_without_account(change)).await.unwrap();
    let confirm = ConfirmEmailChangeRequest { token: link(&world, "new@example.org", "/confirm-email", 1).await };
    addresses(&world).confirm_email_change(confirm).await.unwrap();
    let refused = verify().await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::LinkInvalid), "it would show the new address at the old one");
}

#[tokio::test]
async fn who_never_confirms_is_forgotten_after_eight_days() {
    let world = TestContext::start(&[]).await;
    for (email, confirmed, registered, asked_again) in [
        ("gone@example.org", false, 8, None),
        ("gone-too@example.org", false, 20, Some(9)),
        ("young@example.org", false, 7, None),
        ("waits@example.org", false, 20, Some(6)),
        ("confirmed@example.org", true, 20, None),
    ] {
        sqlx::query(
            "insert into auth.users (id, email, email_key, first_name, last_name, activation_nonce, email_verified_at,
                                     created_at, updated_at, activation_at)
             values (gen_random_uuid(), $1, $1, 'A', 'B', gen_random_uuid(), case when $2 then now() end,
                     now() - make_interval(days => $3, mins => 1), now(), now() - make_interval(days => $4))",
        )
        .bind(email)
        .bind(confirmed)
        .bind(registered)
        .bind(asked_again)
        .execute(&world.admin())
        .await
        .unwrap();
    }
    for (email, age) in [("gone@example.com", 8), ("waits@example.com", 7)] {
        sqlx::query(
            "insert into auth.registrations
                 (id, email, email_key, password_hash, first_name, last_name, nonce, linked_at, created_at)
             values (gen_random_uuid(), $1, $1, '', 'A', 'B', gen_random_uuid(),
                     now() - make_interval(days => $2, mins => 1), now() - interval '30 days')",
        )
        .bind(email)
        .bind(age)
        .execute(&world.admin())
        .await
        .unwrap();
    }
    // One that starts sweeps at once.
    let config = baton_auth::Config::from_env(&world.env()).unwrap();
    world.spawn(|listener, stop| baton_auth::start(config, Clock::system(), listener, stop)).await;
    let left = eventually(|| async {
        let left: Vec<String> =
            sqlx::query_scalar("select email from auth.users order by email").fetch_all(&world.admin()).await.unwrap();
        (left.len() < 5).then_some(left)
    })
    .await;
    assert_eq!(left, ["confirmed@example.org", "waits@example.org", "young@example.org"]);
    let waiting = eventually(|| async {
        let waiting: Vec<String> =
            sqlx::query_scalar("select email from auth.registrations").fetch_all(&world.admin()).await.unwrap();
        (waiting.len() < 2).then_some(waiting)
    })
    .await;
    assert_eq!(waiting, ["waits@example.com"]);
}

#[tokio::test]
async fn what_is_wrong_is_told_and_nothing_is_stored() {
    let world = TestContext::start(&[]).await;
    let good = registration("ada@example.org");
    for (bad, expected) in [
        (RegisterRequest { email: "not an address".into(), ..good.clone() }, Reason::ValidationFailed),
        (RegisterRequest { password: "short".into(), ..good.clone() }, Reason::ValidationFailed),
        (RegisterRequest { password: "password1234".into(), ..good.clone() }, Reason::PasswordTooWeak),
        (RegisterRequest { first_name: String::new(), ..good.clone() }, Reason::ValidationFailed),
        (RegisterRequest { last_name: "nul\0".into(), ..good.clone() }, Reason::ValidationFailed),
        (RegisterRequest { email: "john..doe@example.com".into(), ..good.clone() }, Reason::ValidationFailed),
        (RegisterRequest { first_name: "\u{3164}".into(), ..good.clone() }, Reason::ValidationFailed),
        (RegisterRequest { first_name: "You won\nSign in".into(), ..good.clone() }, Reason::ValidationFailed),
        (RegisterRequest { last_name: "\u{202e}nimda".into(), ..good.clone() }, Reason::ValidationFailed),
    ] {
        let refused = client(&world).register(bad).await.unwrap_err();
        assert_eq!(reason(&refused), Some(expected), "{refused:?}");
    }
    let stored: i64 =
        sqlx::query_scalar("select (select count(*) from auth.users) + (select count(*) from auth.registrations)")
            .fetch_one(&world.admin())
            .await
            .unwrap();
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn an_invented_link_confirms_nothing() {
    let world = TestContext::start(&[]).await;
    for token in ["x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let refused =
            client(&world).verify_email(VerifyEmailRequest { token: token.into(), password: None }).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::LinkInvalid));
    }
}

/// The types of the events in the outbox, in order. The payloads must not hold the address.
async fn published(world: &TestContext) -> Vec<String> {
    let envelopes: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from auth.outbox order by position")
        .fetch_all(&world.admin())
        .await
        .unwrap();
    envelopes
        .into_iter()
        .map(|envelope| {
            assert!(!String::from_utf8_lossy(&envelope).contains("xample.org"), "an event holds an address");
            <baton_proto::baton::events::v1::Envelope as prost::Message>::decode(envelope.as_slice()).unwrap().r#type
        })
        .collect()
}
