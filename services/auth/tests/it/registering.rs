use baton_errors::Reason;
use baton_proto::baton::auth::v1::{RegisterRequest, VerifyEmailRequest};
use baton_testkit::{World, eventually, reason};

use crate::{PASSWORD, client, login, mailed_token, registration};

#[tokio::test]
async fn a_person_registers_confirms_and_signs_in() {
    let world = World::start(&[]).await;
    let registered = client(&world).register(registration("Ada@Example.org")).await.unwrap().into_inner().user.unwrap();
    assert_eq!((registered.email.as_str(), registered.email_verified), ("Ada@Example.org", false));

    let refused = login(&world, "ada@example.org", PASSWORD).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::EmailNotVerified));

    let token = mailed_token(&world, "ada@example.org", 1).await;
    for _ in 0..2 {
        // The second time is a retry: the same answer.
        let request = VerifyEmailRequest { token: token.clone() };
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
    let world = World::start(&[]).await;
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

#[tokio::test]
async fn registering_again_before_confirming_ends_the_first_link_and_password() {
    let world = World::start(&[]).await;
    client(&world).register(registration("ada@example.org")).await.unwrap();
    let first = mailed_token(&world, "ada@example.org", 1).await;
    let other = RegisterRequest { password: "orchid lantern tidal".into(), ..registration("ADA@example.org") };
    client(&world).register(other).await.unwrap();
    let second = mailed_token(&world, "ada@example.org", 2).await;

    let refused = client(&world).verify_email(VerifyEmailRequest { token: first }).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::LinkInvalid));
    client(&world).verify_email(VerifyEmailRequest { token: second }).await.unwrap();
    login(&world, "ada@example.org", "orchid lantern tidal").await.unwrap();
    assert_eq!(
        reason(&login(&world, "ada@example.org", PASSWORD).await.unwrap_err()),
        Some(Reason::CredentialsInvalid)
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_and_nothing_is_stored() {
    let world = World::start(&[]).await;
    let good = registration("ada@example.org");
    for (bad, expected) in [
        (RegisterRequest { email: "not an address".into(), ..good.clone() }, Reason::ValidationFailed),
        (RegisterRequest { password: "short".into(), ..good.clone() }, Reason::ValidationFailed),
        (RegisterRequest { password: "password1234".into(), ..good.clone() }, Reason::PasswordTooWeak),
        (RegisterRequest { first_name: String::new(), ..good.clone() }, Reason::ValidationFailed),
        (RegisterRequest { last_name: "nul\0".into(), ..good.clone() }, Reason::ValidationFailed),
    ] {
        let refused = client(&world).register(bad).await.unwrap_err();
        assert_eq!(reason(&refused), Some(expected), "{refused:?}");
    }
    let stored: i64 = sqlx::query_scalar("select count(*) from auth.users").fetch_one(&world.admin()).await.unwrap();
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn an_invented_link_confirms_nothing() {
    let world = World::start(&[]).await;
    for token in ["x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let refused = client(&world).verify_email(VerifyEmailRequest { token: token.into() }).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::LinkInvalid));
    }
}

/// The types of the events in the outbox, in order. The payloads must not hold the address.
async fn published(world: &World) -> Vec<String> {
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
