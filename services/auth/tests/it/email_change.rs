use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    ChangeEmailRequest, ChangePasswordRequest, ConfirmEmailChangeRequest, ResendVerificationRequest, User,
    VerifyEmailRequest,
};
use baton_testkit::{PASSWORD, Person, TestContext};
use tonic::Status;

use crate::{
    client,
    helpers::{
        OTHER, addresses, link, me, passwords, refusal, reset, wait_for_all_emails, wait_for_email, was_emailed,
    },
    login, registration,
};

const PAGE: &str = "/confirm-email";

async fn request_change(context: &TestContext, person: &Person, email: &str, password: &str) -> Result<(), Status> {
    let request = ChangeEmailRequest { email: email.to_owned(), password: password.to_owned() };
    addresses(context).change_email(person.call_without_account(request)).await.map(drop)
}

async fn confirm(context: &TestContext, token: &str) -> Result<User, Status> {
    let request = ConfirmEmailChangeRequest { token: token.to_owned() };
    addresses(context).confirm_email_change(request).await.map(|response| response.into_inner().user.unwrap())
}

#[tokio::test]
async fn address_changes_on_confirmation_and_the_old_one_is_notified() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    assert_eq!(
        refusal(request_change(&context, &ada, "New@example.org", "not the password").await),
        Reason::ProofInvalid
    );
    request_change(&context, &ada, "New@example.org", PASSWORD).await.unwrap();
    let token = link(&context, "new@example.org", PAGE, 1).await;
    wait_for_email(&context, &ada.email, "A new address for your sign-in").await;
    // Until the confirmation nothing changes, and links to the old address stay valid.
    login(&context, &ada.email, PASSWORD).await.unwrap();
    assert_eq!(refusal(login(&context, "new@example.org", PASSWORD).await), Reason::CredentialsInvalid);
    passwords(&context).request_password_reset(reset(&ada.email)).await.unwrap();
    let to_old = link(&context, &ada.email, "/reset-password", 1).await;

    let confirmed = confirm(&context, &token).await.unwrap();
    assert_eq!((confirmed.email.as_str(), confirmed.id), ("New@example.org", ada.user_id.to_string()));
    assert_eq!(confirmed.sign_in_count, 0, "the profile is for the signed-in person");
    assert_eq!(refusal(confirm(&context, &token).await), Reason::LinkInvalid);
    assert_eq!((me(&context, &ada).await.email, me(&context, &ada).await.version), ("New@example.org".to_owned(), 2));
    login(&context, "new@example.org", PASSWORD).await.unwrap();
    assert_eq!(refusal(login(&context, &ada.email, PASSWORD).await), Reason::CredentialsInvalid);
    wait_for_email(&context, &ada.email, "Your address was changed").await;
    let reset = baton_proto::baton::auth::v1::ConfirmPasswordResetRequest {
        token: to_old,
        new_password: OTHER.into(),
        ..Default::default()
    };
    assert_eq!(refusal(passwords(&context).confirm_password_reset(reset).await), Reason::LinkInvalid);
}

#[tokio::test]
async fn taken_address_gets_the_same_response_and_its_owner_is_notified() {
    let context = TestContext::start(&[]).await;
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    request_change(&context, &ada, &ben.email, PASSWORD).await.unwrap();
    wait_for_email(&context, &ben.email, "This address is yours already").await;
    wait_for_all_emails(&context).await;
    assert!(context.mailbox().mails(Some(&ben.email)).iter().all(|mail| !mail.text.contains(PAGE)));
    assert_eq!(me(&context, &ada).await.email, ada.email);
}

#[tokio::test]
async fn first_confirmation_wins_a_contested_address() {
    let context = TestContext::start(&[]).await;
    let (ada, ben) = (context.person("ada").await, context.person("ben").await);
    // An unconfirmed registration with the new address is deleted.
    client(&context).register(registration("shared@example.org")).await.unwrap();
    request_change(&context, &ada, "shared@example.org", PASSWORD).await.unwrap();
    let first = link(&context, "shared@example.org", PAGE, 1).await;
    request_change(&context, &ben, "Shared@Example.org", PASSWORD).await.unwrap();
    let second = link(&context, "shared@example.org", PAGE, 2).await;
    let (a, b) = tokio::join!(confirm(&context, &first), confirm(&context, &second));
    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    assert!(won.unwrap().email.eq_ignore_ascii_case("shared@example.org"));
    assert_eq!(refusal(lost), Reason::EmailTaken);
    let owners: i64 = sqlx::query_scalar("select count(*) from auth.users where email_key = 'shared@example.org'")
        .fetch_one(&context.admin())
        .await
        .unwrap();
    assert_eq!(owners, 1);
}

#[tokio::test]
async fn first_address_is_notified_despite_further_changes() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    // The notice of this change is not sent yet, since the mail server is down.
    sqlx::query(
        "insert into auth.links (user_id, purpose, nonce, email, expires_at)
         values ($1, 'email_changed', gen_random_uuid(), 'first@example.org', now() + interval '1 minute')",
    )
    .bind(ada.user_id)
    .execute(&context.admin())
    .await
    .unwrap();
    request_change(&context, &ada, "thief@example.org", PASSWORD).await.unwrap();
    confirm(&context, &link(&context, "thief@example.org", PAGE, 1).await).await.unwrap();
    wait_for_email(&context, "first@example.org", "Your address was changed").await;
    wait_for_all_emails(&context).await;
    let waiting: i64 = sqlx::query_scalar("select count(*) from auth.links").fetch_one(&context.admin()).await.unwrap();
    assert_eq!(waiting, 0, "one notice is sent");
    request_change(&context, &ada, "fourth@example.org", PASSWORD).await.unwrap();
    confirm(&context, &link(&context, "fourth@example.org", PAGE, 1).await).await.unwrap();
    wait_for_email(&context, "thief@example.org", "Your address was changed").await;
}

#[tokio::test]
async fn password_change_cancels_a_pending_address_change() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    request_change(&context, &ada, "thief@example.org", PASSWORD).await.unwrap();
    let token = link(&context, "thief@example.org", PAGE, 1).await;
    let request = ChangePasswordRequest { current_password: PASSWORD.into(), new_password: OTHER.into() };
    passwords(&context).change_password(ada.call_without_account(request)).await.unwrap();
    assert_eq!(refusal(confirm(&context, &token).await), Reason::LinkInvalid);
}

#[tokio::test]
async fn only_the_newest_link_works() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    request_change(&context, &ada, "one@example.org", PASSWORD).await.unwrap();
    let first = link(&context, "one@example.org", PAGE, 1).await;
    request_change(&context, &ada, "two@example.org", PASSWORD).await.unwrap();
    let second = link(&context, "two@example.org", PAGE, 1).await;
    assert_eq!(refusal(confirm(&context, &first).await), Reason::LinkInvalid);
    assert_eq!(confirm(&context, &second).await.unwrap().email, "two@example.org");
}

#[tokio::test]
async fn activation_link_is_resent_only_to_pending_registrations() {
    let context = TestContext::start(&[]).await;
    let ben = context.person("ben").await;
    client(&context).register(registration("ada@example.org")).await.unwrap();
    let older = link(&context, "ada@example.org", "/verify-email", 1).await;
    // The first link is invalid by now.
    sqlx::query("update auth.registrations set linked_at = now() - interval '7 days'")
        .execute(&context.admin())
        .await
        .unwrap();
    for email in ["ada@example.org", &ben.email, "nobody@example.org"] {
        let request = ResendVerificationRequest { email: email.to_owned() };
        addresses(&context).resend_verification(request).await.unwrap();
    }
    let newest = link(&context, "ada@example.org", "/verify-email", 2).await;
    let verify = |token: String| {
        let context = &context;
        async move { client(context).verify_email(VerifyEmailRequest { token, password: None }).await }
    };
    assert_eq!(refusal(verify(older).await), Reason::LinkInvalid);
    verify(newest).await.unwrap();
    login(&context, "ada@example.org", PASSWORD).await.unwrap();
    wait_for_all_emails(&context).await;
    assert!(!was_emailed(&context, &ben.email, "Confirm your address"));
    assert!(context.mailbox().mails(Some("nobody@example.org")).is_empty());
}
