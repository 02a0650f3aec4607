use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    ChangeEmailRequest, ConfirmEmailChangeRequest, ConfirmPasswordResetRequest, RegisterRequest, VerifyEmailRequest,
};
use baton_runtime::Clock;
use baton_testkit::{Person, TestContext, eventually, reason};
use tonic::Status;

use crate::{
    PASSWORD, client,
    helpers::{addresses, link, passwords, refusal, reset, wait_for_all_emails},
    login, mailed_token, registration,
};

/// A password that is not Ada's.
const STRANGERS: &str = "orchid lantern tidal";

#[tokio::test]
async fn user_registers_confirms_and_signs_in() {
    let context = TestContext::start(&[]).await;
    let registered =
        client(&context).register(registration("Ada@Example.org")).await.unwrap().into_inner().user.unwrap();
    assert_eq!((registered.email.as_str(), registered.email_verified), ("Ada@Example.org", false));

    let refused = login(&context, "ada@example.org", PASSWORD).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CredentialsInvalid));

    let token = mailed_token(&context, "ada@example.org", 1).await;
    for _ in 0..2 {
        // The second call is a retry: the same response.
        let request = VerifyEmailRequest { token: token.clone(), password: None };
        let verified = client(&context).verify_email(request).await.unwrap().into_inner().user.unwrap();
        assert_eq!((verified.id.as_str(), verified.email_verified), (registered.id.as_str(), true));
    }
    let signed_in = login(&context, "ADA@example.org", PASSWORD).await.unwrap();
    assert_eq!(signed_in.user.unwrap().id, registered.id);

    let published: Vec<String> = published(&context).await;
    assert_eq!(published, ["user.registered", "user.verified", "session.opened"]);
}

#[tokio::test]
async fn known_address_gets_the_same_response_and_its_owner_is_notified() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let known = client(&context).register(registration(&ada.email)).await.unwrap().into_inner().user.unwrap();
    let unknown = client(&context).register(registration("ben@example.org")).await.unwrap().into_inner().user.unwrap();
    assert_ne!(known.id, ada.user_id.to_string());
    assert_eq!((known.first_name, known.email_verified), (unknown.first_name, unknown.email_verified));

    let mail = eventually(|| async { context.mailbox().mails(Some(&ada.email)).pop() }).await;
    assert_eq!(mail.subject, "You are registered already");
    assert!(!mail.text.contains("token="));
    // The confirmed user's password and names have not changed.
    login(&context, &ada.email, PASSWORD).await.unwrap();
}

/// A registration with another password.
fn with(password: &str) -> RegisterRequest {
    RegisterRequest { password: password.to_owned(), ..registration("ADA@example.org") }
}

async fn verify(context: &TestContext, token: &str, password: Option<&str>) -> Result<(), Status> {
    let request = VerifyEmailRequest { token: token.to_owned(), password: password.map(str::to_owned) };
    client(context).verify_email(request).await.map(drop)
}

#[tokio::test]
async fn strangers_registration_replaces_no_other() {
    let context = TestContext::start(&[]).await;
    client(&context).register(registration("ada@example.org")).await.unwrap();
    let own = mailed_token(&context, "ada@example.org", 1).await;
    client(&context).register(with(STRANGERS)).await.unwrap();
    let strangers = mailed_token(&context, "ada@example.org", 2).await;
    assert_ne!(own, strangers);

    // The newer link alone, followed by mistake, activates nothing.
    assert_eq!(refusal(verify(&context, &strangers, None).await), Reason::ProofRequired);
    assert_eq!(refusal(verify(&context, &strangers, Some(PASSWORD)).await), Reason::ProofInvalid);
    assert_eq!(refusal(login(&context, "ada@example.org", STRANGERS).await), Reason::CredentialsInvalid);

    verify(&context, &own, None).await.unwrap();
    login(&context, "ada@example.org", PASSWORD).await.unwrap();
    assert_eq!(
        refusal(verify(&context, &strangers, Some(STRANGERS)).await),
        Reason::LinkInvalid,
        "it is invalid afterwards"
    );
    assert_eq!(refusal(login(&context, "ada@example.org", STRANGERS).await), Reason::CredentialsInvalid);
}

#[tokio::test]
async fn strangers_earlier_registration_does_not_block_the_owner() {
    let context = TestContext::start(&[]).await;
    client(&context).register(with(STRANGERS)).await.unwrap();
    mailed_token(&context, "ada@example.org", 1).await;
    client(&context).register(registration("ada@example.org")).await.unwrap();
    let own = mailed_token(&context, "ada@example.org", 2).await;
    assert!(context.mailbox().mails(Some("ada@example.org"))[0].text.contains("registered more than once"));
    verify(&context, &own, Some(PASSWORD)).await.unwrap();
    // A repeated verification needs no password, and checks none.
    verify(&context, &own, None).await.unwrap();
    login(&context, "ada@example.org", PASSWORD).await.unwrap();
    assert_eq!(refusal(login(&context, "ada@example.org", STRANGERS).await), Reason::CredentialsInvalid);
}

#[tokio::test]
async fn strangers_registrations_exhaust_neither_registration_nor_reset() {
    let context = TestContext::start(&[]).await;
    for n in 0..12 {
        client(&context).register(with(&format!("{STRANGERS} {n}"))).await.unwrap();
    }
    // The user registers all the same. Their link is not mailed, since the address has reached its cap. From then on
    // every other link requires its password.
    client(&context).register(registration("ada@example.org")).await.unwrap();
    wait_for_all_emails(&context).await;
    let mails = context.mailbox().mails(Some("ada@example.org"));
    assert_eq!(mails.len(), 10);
    for mail in &mails {
        let token = mail.text.split_once("?token=").unwrap().1.split_whitespace().next().unwrap();
        assert_eq!(refusal(verify(&context, token, None).await), Reason::ProofRequired);
    }
    // The owner of the address gets in with it.
    passwords(&context).request_password_reset(reset("ada@example.org")).await.unwrap();
    let token = link(&context, "ada@example.org", "/reset-password", 1).await;
    let request = ConfirmPasswordResetRequest { token, new_password: PASSWORD.to_owned(), ..Default::default() };
    passwords(&context).confirm_password_reset(request).await.unwrap();
    login(&context, "ada@example.org", PASSWORD).await.unwrap();
    let waiting: i64 =
        sqlx::query_scalar("select count(*) from auth.registrations").fetch_one(&context.admin()).await.unwrap();
    assert_eq!(waiting, 0);
}

#[tokio::test]
async fn registering_again_with_the_same_password_is_a_retry() {
    let context = TestContext::start(&[]).await;
    let register = async || {
        let registered = client(&context).register(registration("ada@example.org")).await.unwrap();
        registered.into_inner().user.unwrap().id
    };
    let id = register().await;
    let first = mailed_token(&context, "ada@example.org", 1).await;
    assert_eq!(register().await, id);
    assert_eq!(mailed_token(&context, "ada@example.org", 2).await, first);
    // The address gets a few emails only, however often.
    for _ in 0..6 {
        assert_eq!(register().await, id);
    }
    wait_for_all_emails(&context).await;
    assert_eq!(context.mailbox().mails(Some("ada@example.org")).len(), 4);
    verify(&context, &first, None).await.unwrap();
    assert_eq!(published(&context).await, ["user.registered", "user.verified"]);
}

#[tokio::test]
async fn one_of_two_links_followed_in_parallel_wins() {
    let context = TestContext::start(&[]).await;
    for n in 0..4 {
        let email = format!("{n}@example.org");
        client(&context).register(registration(&email)).await.unwrap();
        let first = mailed_token(&context, &email, 1).await;
        client(&context).register(RegisterRequest { email: email.clone(), ..with(STRANGERS) }).await.unwrap();
        let second = mailed_token(&context, &email, 2).await;
        let (a, b) = tokio::join!(verify(&context, &first, None), verify(&context, &second, Some(STRANGERS)));
        assert_ne!(a.is_ok(), b.is_ok(), "{a:?} {b:?}");
        let passwords = [PASSWORD, STRANGERS];
        let (won, lost) = if a.is_ok() { (0, 1) } else { (1, 0) };
        login(&context, &email, passwords[won]).await.unwrap();
        assert_eq!(refusal(login(&context, &email, passwords[lost]).await), Reason::CredentialsInvalid);
    }
}

#[tokio::test]
async fn registrations_of_the_previous_version_can_be_confirmed() {
    let context = TestContext::start(&[]).await;
    client(&context).register(registration("ada@example.org")).await.unwrap();
    let token = mailed_token(&context, "ada@example.org", 1).await;
    sqlx::query(
        "with moved as (delete from auth.registrations returning *)
         insert into auth.users (id, email, email_key, password_hash, first_name, last_name, activation_nonce,
                                 created_at, updated_at)
         select id, email, email_key, password_hash, first_name, last_name, nonce, created_at, created_at from moved",
    )
    .execute(&context.admin())
    .await
    .unwrap();
    verify(&context, &token, None).await.unwrap();
    login(&context, "ada@example.org", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn activation_link_expires_after_a_week_and_with_an_address_change() {
    let context = TestContext::start(&[]).await;
    client(&context).register(registration("ada@example.org")).await.unwrap();
    let token = mailed_token(&context, "ada@example.org", 1).await;
    let verify = async || {
        let request = VerifyEmailRequest { token: token.clone(), password: None };
        client(&context).verify_email(request).await.map(|response| response.into_inner().user.unwrap().email)
    };
    assert_eq!(verify().await.unwrap(), "ada@example.org");
    let session = login(&context, "ada@example.org", PASSWORD).await.unwrap();
    let ada = Person {
        user_id: session.user.unwrap().id.parse().unwrap(),
        email: "ada@example.org".to_owned(),
        token: session.access_token.unwrap(),
        refresh_token: session.refresh_token.unwrap(),
    };
    let aged = async |interval: &str| {
        sqlx::query("update auth.users set created_at = now() - $1::text::interval")
            .bind(interval)
            .execute(&context.admin())
            .await
            .unwrap()
    };
    aged("7 days 1 minute").await;
    assert_eq!(reason(&verify().await.unwrap_err()), Some(Reason::LinkInvalid), "it would reveal the user for ever");
    aged("6 days").await;
    verify().await.unwrap();

    let change = ChangeEmailRequest { email: "new@example.org".to_owned(), password: PASSWORD.to_owned() };
    addresses(&context).change_email(ada.call_without_account(change)).await.unwrap();
    let confirm = ConfirmEmailChangeRequest { token: link(&context, "new@example.org", "/confirm-email", 1).await };
    addresses(&context).confirm_email_change(confirm).await.unwrap();
    let refused = verify().await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::LinkInvalid), "it would reveal the new address to the old one");
}

#[tokio::test]
async fn unconfirmed_registrations_are_deleted_after_eight_days() {
    let context = TestContext::start(&[]).await;
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
        .execute(&context.admin())
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
        .execute(&context.admin())
        .await
        .unwrap();
    }
    // A starting instance sweeps at once.
    let config = baton_auth::Config::from_env(&baton_auth::SPEC, &context.env()).unwrap();
    context.spawn(|listener, stop| baton_auth::start(config, Clock::system(), listener, stop)).await;
    let left = eventually(|| async {
        let left: Vec<String> = sqlx::query_scalar("select email from auth.users order by email")
            .fetch_all(&context.admin())
            .await
            .unwrap();
        (left.len() < 5).then_some(left)
    })
    .await;
    assert_eq!(left, ["confirmed@example.org", "waits@example.org", "young@example.org"]);
    let waiting = eventually(|| async {
        let waiting: Vec<String> =
            sqlx::query_scalar("select email from auth.registrations").fetch_all(&context.admin()).await.unwrap();
        (waiting.len() < 2).then_some(waiting)
    })
    .await;
    assert_eq!(waiting, ["waits@example.com"]);
}

#[tokio::test]
async fn invalid_registration_names_its_fields_and_stores_nothing() {
    let context = TestContext::start(&[]).await;
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
        let refused = client(&context).register(bad).await.unwrap_err();
        assert_eq!(reason(&refused), Some(expected), "{refused:?}");
    }
    let stored: i64 =
        sqlx::query_scalar("select (select count(*) from auth.users) + (select count(*) from auth.registrations)")
            .fetch_one(&context.admin())
            .await
            .unwrap();
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn forged_activation_link_is_refused() {
    let context = TestContext::start(&[]).await;
    for token in ["x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let refused = client(&context)
            .verify_email(VerifyEmailRequest { token: token.into(), password: None })
            .await
            .unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::LinkInvalid));
    }
}

/// The types of the events in the outbox, in order. The payloads must not hold the address.
async fn published(context: &TestContext) -> Vec<String> {
    let envelopes: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from auth.outbox order by position")
        .fetch_all(&context.admin())
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
