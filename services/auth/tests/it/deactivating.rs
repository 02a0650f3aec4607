use baton_errors::Reason;
use baton_proto::baton::auth::v1::{DeactivateRequest, DeactivateResponse, ReactivateRequest};
use baton_testkit::{PASSWORD, Person, TestContext};
use tonic::Status;

use crate::{
    login,
    people::{OTHER, all_is_sent, is_signed_out, is_told, link, passwords, refusal, reset, sign_in_again, users},
};

const PAGE: &str = "/reactivate";

async fn deactivate(world: &TestContext, person: &Person, password: &str) -> Result<DeactivateResponse, Status> {
    let request = DeactivateRequest { password: password.to_owned() };
    users(world).deactivate(person.call_without_account(request)).await.map(tonic::Response::into_inner)
}

async fn reactivate(world: &TestContext, token: &str) -> Result<(), Status> {
    users(world).reactivate(ReactivateRequest { token: token.to_owned() }).await.map(drop)
}

#[tokio::test]
async fn who_deactivates_is_signed_out_everywhere_and_can_change_their_mind() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    let phone = sign_in_again(&world, &ada).await;
    assert_eq!(refusal(deactivate(&world, &ada, "not the password").await), Reason::ProofInvalid);
    let until = deactivate(&world, &ada, PASSWORD).await.unwrap().data_retention_date.unwrap();
    let days = (until.seconds - chrono::Utc::now().timestamp()) / 86_400;
    assert!((29..=30).contains(&days), "{days}");
    is_signed_out(&world, &ada).await;
    is_signed_out(&world, &phone).await;
    is_told(&world, &ada.email, "Your sign-in is deactivated").await;

    // Nobody learns of it without the password.
    assert_eq!(refusal(login(&world, &ada.email, "not the password").await), Reason::CredentialsInvalid);
    assert_eq!(refusal(login(&world, &ada.email, PASSWORD).await), Reason::UserDeactivated);
    let token = link(&world, &ada.email, PAGE, 1).await;
    assert_eq!(refusal(reactivate(&world, "x").await), Reason::LinkInvalid);
    reactivate(&world, &token).await.unwrap();
    assert_eq!(refusal(reactivate(&world, &token).await), Reason::LinkInvalid);
    let back = login(&world, &ada.email, PASSWORD).await.unwrap().user.unwrap();
    assert_eq!((back.id, back.data_retention_date), (ada.user_id.to_string(), None));
}

#[tokio::test]
async fn signing_in_again_and_again_mails_one_link() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    deactivate(&world, &ada, PASSWORD).await.unwrap();
    let try_it = async || assert_eq!(refusal(login(&world, &ada.email, PASSWORD).await), Reason::UserDeactivated);
    tokio::join!(try_it(), try_it(), try_it());
    all_is_sent(&world).await;
    let first = link(&world, &ada.email, PAGE, 1).await;
    let age = "update auth.links set expires_at = expires_at - interval '5 minutes'";
    sqlx::query(age).execute(&world.admin()).await.unwrap();
    try_it().await;
    let second = link(&world, &ada.email, PAGE, 2).await;
    assert_eq!(refusal(reactivate(&world, &first).await), Reason::LinkInvalid);
    reactivate(&world, &second).await.unwrap();
}

#[tokio::test]
async fn after_thirty_days_the_sign_in_is_gone() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    deactivate(&world, &ada, PASSWORD).await.unwrap();
    login(&world, &ada.email, PASSWORD).await.unwrap_err();
    let token = link(&world, &ada.email, PAGE, 1).await;
    sqlx::query("update auth.users set data_retention_date = now()").execute(&world.admin()).await.unwrap();
    assert_eq!(refusal(reactivate(&world, &token).await), Reason::LinkInvalid);
    assert_eq!(refusal(login(&world, &ada.email, PASSWORD).await), Reason::CredentialsInvalid);
    all_is_sent(&world).await;
    link(&world, &ada.email, PAGE, 1).await;
}

#[tokio::test]
async fn a_new_password_does_not_bring_a_deactivated_sign_in_back() {
    let world = TestContext::start(&[]).await;
    let ada = world.person("ada").await;
    deactivate(&world, &ada, PASSWORD).await.unwrap();
    passwords(&world).request_password_reset(reset(&ada.email)).await.unwrap();
    let token = link(&world, &ada.email, "/reset-password", 1).await;
    let request = baton_proto::baton::auth::v1::ConfirmPasswordResetRequest {
        token,
        new_password: OTHER.to_owned(),
        ..Default::default()
    };
    passwords(&world).confirm_password_reset(request).await.unwrap();
    assert_eq!(refusal(login(&world, &ada.email, OTHER).await), Reason::UserDeactivated);
}

#[tokio::test]
async fn no_sign_in_slips_past_a_deactivation() {
    let world = TestContext::start(&[]).await;
    for _ in 0..5 {
        let ada = world.person("ada").await;
        let (gone, _) = tokio::join!(deactivate(&world, &ada, PASSWORD), login(&world, &ada.email, PASSWORD));
        gone.unwrap();
        let open: i64 =
            sqlx::query_scalar("select count(*) from auth.sessions where user_id = $1 and closed_at is null")
                .bind(ada.user_id)
                .fetch_one(&world.admin())
                .await
                .unwrap();
        assert_eq!(open, 0);
    }
}
