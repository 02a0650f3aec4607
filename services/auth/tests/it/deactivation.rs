use baton_errors::Reason;
use baton_proto::baton::auth::v1::{DeactivateRequest, DeactivateResponse, ReactivateRequest};
use baton_testkit::{PASSWORD, Person, TestContext};
use tonic::Status;

use crate::{
    helpers::{
        OTHER, assert_signed_out, link, open_another_session, passwords, refusal, reset, users, wait_for_all_emails,
        wait_for_email,
    },
    login,
};

const PAGE: &str = "/reactivate";

async fn deactivate(context: &TestContext, person: &Person, password: &str) -> Result<DeactivateResponse, Status> {
    let request = DeactivateRequest { password: password.to_owned() };
    users(context).deactivate(person.call_without_account(request)).await.map(tonic::Response::into_inner)
}

async fn reactivate(context: &TestContext, token: &str) -> Result<(), Status> {
    users(context).reactivate(ReactivateRequest { token: token.to_owned() }).await.map(drop)
}

#[tokio::test]
async fn deactivation_closes_all_sessions_and_can_be_undone() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let phone = open_another_session(&context, &ada).await;
    assert_eq!(refusal(deactivate(&context, &ada, "not the password").await), Reason::ProofInvalid);
    let until = deactivate(&context, &ada, PASSWORD).await.unwrap().data_retention_date.unwrap();
    let days = (until.seconds - chrono::Utc::now().timestamp()) / 86_400;
    assert!((29..=30).contains(&days), "{days}");
    assert_signed_out(&context, &ada).await;
    assert_signed_out(&context, &phone).await;
    wait_for_email(&context, &ada.email, "Your sign-in is deactivated").await;

    // Without the password nobody learns of the deactivation.
    assert_eq!(refusal(login(&context, &ada.email, "not the password").await), Reason::CredentialsInvalid);
    assert_eq!(refusal(login(&context, &ada.email, PASSWORD).await), Reason::UserDeactivated);
    let token = link(&context, &ada.email, PAGE, 1).await;
    assert_eq!(refusal(reactivate(&context, "x").await), Reason::LinkInvalid);
    reactivate(&context, &token).await.unwrap();
    assert_eq!(refusal(reactivate(&context, &token).await), Reason::LinkInvalid);
    let back = login(&context, &ada.email, PASSWORD).await.unwrap().user.unwrap();
    assert_eq!((back.id, back.data_retention_date), (ada.user_id.to_string(), None));
}

#[tokio::test]
async fn repeated_sign_ins_mail_one_reactivation_link() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    deactivate(&context, &ada, PASSWORD).await.unwrap();
    let try_it = async || assert_eq!(refusal(login(&context, &ada.email, PASSWORD).await), Reason::UserDeactivated);
    tokio::join!(try_it(), try_it(), try_it());
    wait_for_all_emails(&context).await;
    let first = link(&context, &ada.email, PAGE, 1).await;
    let age = "update auth.links set expires_at = expires_at - interval '5 minutes'";
    sqlx::query(age).execute(&context.admin()).await.unwrap();
    try_it().await;
    let second = link(&context, &ada.email, PAGE, 2).await;
    assert_eq!(refusal(reactivate(&context, &first).await), Reason::LinkInvalid);
    reactivate(&context, &second).await.unwrap();
}

#[tokio::test]
async fn reactivation_is_refused_after_thirty_days() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    deactivate(&context, &ada, PASSWORD).await.unwrap();
    login(&context, &ada.email, PASSWORD).await.unwrap_err();
    let token = link(&context, &ada.email, PAGE, 1).await;
    sqlx::query("update auth.users set data_retention_date = now()").execute(&context.admin()).await.unwrap();
    assert_eq!(refusal(reactivate(&context, &token).await), Reason::LinkInvalid);
    assert_eq!(refusal(login(&context, &ada.email, PASSWORD).await), Reason::CredentialsInvalid);
    wait_for_all_emails(&context).await;
    link(&context, &ada.email, PAGE, 1).await;
}

#[tokio::test]
async fn password_reset_does_not_reactivate() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    deactivate(&context, &ada, PASSWORD).await.unwrap();
    passwords(&context).request_password_reset(reset(&ada.email)).await.unwrap();
    let token = link(&context, &ada.email, "/reset-password", 1).await;
    let request = baton_proto::baton::auth::v1::ConfirmPasswordResetRequest {
        token,
        new_password: OTHER.to_owned(),
        ..Default::default()
    };
    passwords(&context).confirm_password_reset(request).await.unwrap();
    assert_eq!(refusal(login(&context, &ada.email, OTHER).await), Reason::UserDeactivated);
}

#[tokio::test]
async fn concurrent_sign_ins_do_not_survive_a_deactivation() {
    let context = TestContext::start(&[]).await;
    for _ in 0..5 {
        let ada = context.person("ada").await;
        let (gone, _) = tokio::join!(deactivate(&context, &ada, PASSWORD), login(&context, &ada.email, PASSWORD));
        gone.unwrap();
        let open: i64 =
            sqlx::query_scalar("select count(*) from auth.sessions where user_id = $1 and closed_at is null")
                .bind(ada.user_id)
                .fetch_one(&context.admin())
                .await
                .unwrap();
        assert_eq!(open, 0);
    }
}
