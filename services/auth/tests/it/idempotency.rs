//! Idempotency of calls whose requests and responses hold secrets.

use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    ChangeEmailRequest, ChangePasswordRequest, ConfirmTotpRequest, EnrollTotpRequest, ReauthenticateRequest,
    RenewRecoveryCodesRequest, session_service_client::SessionServiceClient,
};
use baton_testkit::{PASSWORD, Person, TestContext};
use tonic::Request;

use crate::{
    helpers::{OTHER, addresses, passwords, refusal, wait_for_all_emails},
    login,
    mfa::{App, Fixture},
};

fn keyed<T>(person: &Person, key: &str, message: T) -> Request<T> {
    let mut request = person.call_without_account(message);
    request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

#[tokio::test]
async fn retried_enrollment_calls_apply_once() {
    let fixture = Fixture::start().await;
    let ada = fixture.context.person("ada").await;
    let enroll = async |key: &str, request: EnrollTotpRequest| {
        fixture.client().enroll_totp(keyed(&ada, key, request)).await.map(tonic::Response::into_inner)
    };
    let first = enroll("1", EnrollTotpRequest::default()).await.unwrap();
    assert_eq!(enroll("1", EnrollTotpRequest::default()).await.unwrap(), first, "one secret for one key");
    let with_password = EnrollTotpRequest { password: Some(PASSWORD.to_owned()), code: None };
    assert_eq!(refusal(enroll("1", with_password.clone()).await), Reason::IdempotencyKeyReused);
    // A thief of token and key has no proof.
    sqlx::query("update auth.sessions set created_at = created_at - interval '16 minutes'")
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    assert_eq!(refusal(enroll("1", EnrollTotpRequest::default()).await), Reason::ProofRequired);

    let app = App::scan(&first);
    let code = app.code(&fixture.clock, 0);
    let confirm = async |code: &str| {
        let request = ConfirmTotpRequest { code: code.to_owned() };
        fixture
            .client()
            .confirm_totp(keyed(&ada, "2", request))
            .await
            .map(|response| response.into_inner().recovery_codes)
    };
    // A wrong code counts, and does not claim the key.
    assert_eq!(refusal(confirm(&app.wrong_code(&fixture.clock)).await), Reason::ProofInvalid);
    let codes = confirm(&code).await.unwrap();
    assert_eq!(confirm(&code).await.unwrap(), codes);
    assert_eq!(refusal(confirm(&app.wrong_code(&fixture.clock)).await), Reason::IdempotencyKeyReused);

    let renew = async || {
        let request = RenewRecoveryCodesRequest { code: Some(codes[0].clone()), password: None };
        let response = fixture.client().renew_recovery_codes(keyed(&ada, "3", request)).await;
        response.map(|response| response.into_inner().recovery_codes)
    };
    let renewed = renew().await.unwrap();
    assert_eq!(renew().await.unwrap(), renewed, "the code is used up");
    let reauthenticate = async || {
        let request = ReauthenticateRequest { code: Some(renewed[0].clone()), password: None };
        SessionServiceClient::new(fixture.channel()).reauthenticate(keyed(&ada, "4", request)).await
    };
    let until = reauthenticate().await.unwrap().into_inner();
    assert_eq!(reauthenticate().await.unwrap().into_inner(), until);

    // The database holds none of it in plain text.
    let kept: Vec<Vec<u8>> = sqlx::query_scalar("select response from auth.idempotency_keys")
        .fetch_all(&fixture.context.admin())
        .await
        .unwrap();
    assert_eq!(kept.len(), 4);
    for kept in kept {
        let text = String::from_utf8_lossy(&kept);
        assert!(!text.contains(&first.secret) && codes.iter().chain(&renewed).all(|code| !text.contains(code)));
    }
}

#[tokio::test]
async fn retried_password_and_address_changes_apply_once() {
    let context = TestContext::start(&[]).await;
    let ada = context.person("ada").await;
    let change = async |new: &str| {
        let request = ChangePasswordRequest { current_password: PASSWORD.to_owned(), new_password: new.to_owned() };
        passwords(&context).change_password(keyed(&ada, "1", request)).await
    };
    change(OTHER).await.unwrap();
    change(OTHER).await.unwrap();
    assert_eq!(refusal(change("another lantern orchid").await), Reason::IdempotencyKeyReused);
    login(&context, &ada.email, OTHER).await.unwrap();

    for _ in 0..3 {
        let request = ChangeEmailRequest { email: "new@example.org".to_owned(), password: OTHER.to_owned() };
        addresses(&context).change_email(keyed(&ada, "1", request)).await.unwrap();
    }
    wait_for_all_emails(&context).await;
    assert_eq!(context.mailbox().mails(Some("new@example.org")).len(), 1);
}
