use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    ChangeEmailRequest, ChangePasswordRequest, ConfirmEmailChangeRequest, ResendVerificationRequest, User,
    VerifyEmailRequest,
};
use baton_testkit::{PASSWORD, Person, TestContext};
use tonic::Status;

use crate::{
    client, login,
    people::{OTHER, addresses, all_is_sent, is_told, link, me, passwords, refusal, reset, was_told},
    registration,
};

const PAGE: &str = "/confirm-email";

async fn ask(world: &TestContext, person: &Person, email: &str, password: &str) -> Result<(), Status> {
    let request = ChangeEmailRequest { email: email.to_owned(), password: password.to_owned() };
    addresses(world).change_email(person.call_without_account(request)).await.map(drop)
}

async fn confirm(world: &TestContext, token: &str) -> Result<User, Status> {
    let request = ConfirmEmailChangeRequest { token: token.to_owned() };
    addresses(world).confirm_email_change(request).await.map(|answer| answer.into_inner().user.unwrap())
}

#[tokio::test]
async fn an_address_changes_when_the_new_one_is_confirmed_and_the_old_one_is_told() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    assert_eq!(refusal(ask(&world, &ada, "New@example.org", "not the password").await), Reason::ProofInvalid);
    ask(&world, &ada, "New@example.org", PASSWORD).await.unwrap();
    let token = link(&world, "new@example.org", PAGE, 1).await;
    is_told(&world, &ada.email, "A new address for your sign-in").await;
    // Until then nothing has changed, and a link that was mailed to the old address is good.
    login(&world, &ada.email, PASSWORD).await.unwrap();
    assert_eq!(refusal(login(&world, "new@example.org", PASSWORD).await), Reason::CredentialsInvalid);
    passwords(&world).request_password_reset(reset(&ada.email)).await.unwrap();
    let to_old = link(&world, &ada.email, "/reset-password", 1).await;

    let confirmed = confirm(&world, &token).await.unwrap();
    assert_eq!((confirmed.email.as_str(), confirmed.id), ("New@example.org", ada.user_id.to_string()));
    assert_eq!(confirmed.sign_in_count, 0, "the profile is for the signed-in person");
    assert_eq!(refusal(confirm(&world, &token).await), Reason::LinkInvalid);
    assert_eq!((me(&world, &ada).await.email, me(&world, &ada).await.version), ("New@example.org".to_owned(), 2));
    login(&world, "new@example.org", PASSWORD).await.unwrap();
    assert_eq!(refusal(login(&world, &ada.email, PASSWORD).await), Reason::CredentialsInvalid);
    is_told(&world, &ada.email, "Your address was changed").await;
    let reset = baton_proto::baton::auth::v1::ConfirmPasswordResetRequest {
        token: to_old,
        new_password: OTHER.into(),
        ..Default::default()
    };
    assert_eq!(refusal(passwords(&world).confirm_password_reset(reset).await), Reason::LinkInvalid);
}

#[tokio::test]
async fn somebody_elses_address_answers_alike_and_only_its_owner_learns() {
    let world = TestContext::start(&[]).await;
    let (ada, ben) = (world.person("ada").await, world.person("ben").await);
    ask(&world, &ada, &ben.email, PASSWORD).await.unwrap();
    is_told(&world, &ben.email, "This address is yours already").await;
    all_is_sent(&world).await;
    assert!(world.mailbox().mails(Some(&ben.email)).iter().all(|mail| !mail.text.contains(PAGE)));
    assert_eq!(me(&world, &ada).await.email, ada.email);
}

#[tokio::test]
async fn of_two_who_want_one_address_the_first_to_confirm_has_it() {
    let world = TestContext::start(&[]).await;
    let (ada, ben) = (world.person("ada").await, world.person("ben").await);
    // Someone registered with it and never confirmed: they make room.
    client(&world).register(registration("shared@example.org")).await.unwrap();
    ask(&world, &ada, "shared@example.org", PASSWORD).await.unwrap();
    let first = link(&world, "shared@example.org", PAGE, 1).await;
    ask(&world, &ben, "Shared@Example.org", PASSWORD).await.unwrap();
    let second = link(&world, "shared@example.org", PAGE, 2).await;
    let (a, b) = tokio::join!(confirm(&world, &first), confirm(&world, &second));
    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    assert!(won.unwrap().email.eq_ignore_ascii_case("shared@example.org"));
    assert_eq!(refusal(lost), Reason::EmailTaken);
    let owners: i64 = sqlx::query_scalar("select count(*) from auth.users where email_key = 'shared@example.org'")
        .fetch_one(&world.admin())
        .await
        .unwrap();
    assert_eq!(owners, 1);
}

#[tokio::test]
async fn the_first_address_is_told_however_often_it_changes_meanwhile() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    // A change that nobody was told of yet, since the mail server is away.
    sqlx::query(
        "insert into auth.links (user_id, purpose, nonce, email, expires_at)
         values ($1, 'email_changed', gen_random_uuid(), 'first@example.org', now() + interval '1 minute')",
    )
    .bind(ada.user_id)
    .execute(&world.admin())
    .await
    .unwrap();
    ask(&world, &ada, "thief@example.org", PASSWORD).await.unwrap();
    confirm(&world, &link(&world, "thief@example.org", PAGE, 1).await).await.unwrap();
    is_told(&world, "first@example.org", "Your address was changed").await;
    all_is_sent(&world).await;
    let waiting: i64 = sqlx::query_scalar("select count(*) from auth.links").fetch_one(&world.admin()).await.unwrap();
    assert_eq!(waiting, 0, "it is told once");
    ask(&world, &ada, "fourth@example.org", PASSWORD).await.unwrap();
    confirm(&world, &link(&world, "fourth@example.org", PAGE, 1).await).await.unwrap();
    is_told(&world, "thief@example.org", "Your address was changed").await;
}

#[tokio::test]
async fn changing_the_password_ends_a_change_of_address_that_waits() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    ask(&world, &ada, "thief@example.org", PASSWORD).await.unwrap();
    let token = link(&world, "thief@example.org", PAGE, 1).await;
    let request = ChangePasswordRequest { current_password: PASSWORD.into(), new_password: OTHER.into() };
    passwords(&world).change_password(ada.call_without_account(request)).await.unwrap();
    assert_eq!(refusal(confirm(&world, &token).await), Reason::LinkInvalid);
}

#[tokio::test]
async fn the_newest_link_of_those_that_were_asked_for_works() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    ask(&world, &ada, "one@example.org", PASSWORD).await.unwrap();
    let first = link(&world, "one@example.org", PAGE, 1).await;
    ask(&world, &ada, "two@example.org", PASSWORD).await.unwrap();
    let second = link(&world, "two@example.org", PAGE, 1).await;
    assert_eq!(refusal(confirm(&world, &first).await), Reason::LinkInvalid);
    assert_eq!(confirm(&world, &second).await.unwrap().email, "two@example.org");
}

#[tokio::test]
async fn the_activation_link_is_mailed_again_to_those_who_wait_for_it_only() {
    let world = TestContext::start(&[]).await;
    let ben = world.person("ben").await;
    client(&world).register(registration("ada@example.org")).await.unwrap();
    let older = link(&world, "ada@example.org", "/verify-email", 1).await;
    // The first link is dead by now.
    sqlx::query("update auth.registrations set linked_at = now() - interval '7 days'")
        .execute(&world.admin())
        .await
        .unwrap();
    for email in ["ada@example.org", &ben.email, "nobody@example.org"] {
        let request = ResendVerificationRequest { email: email.to_owned() };
        addresses(&world).resend_verification(request).await.unwrap();
    }
    let newest = link(&world, "ada@example.org", "/verify-email", 2).await;
    let verify = |token: String| {
        let world = &world;
        async move { client(world).verify_email(VerifyEmailRequest { token, password: None }).await }
    };
    assert_eq!(refusal(verify(older).await), Reason::LinkInvalid);
    verify(newest).await.unwrap();
    login(&world, "ada@example.org", PASSWORD).await.unwrap();
    all_is_sent(&world).await;
    assert!(!was_told(&world, &ben.email, "Confirm your address"));
    assert!(world.mailbox().mails(Some("nobody@example.org")).is_empty());
}
