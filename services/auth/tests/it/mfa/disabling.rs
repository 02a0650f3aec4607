//! Disabling the second factor, and renewing recovery codes.

use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    ConfirmPasswordResetRequest, CreateApiKeyRequest, CreateDelegationRequest, DisableTotpRequest, RefreshRequest,
    RenewRecoveryCodesRequest, api_key_service_client::ApiKeyServiceClient,
    delegation_service_client::DelegationServiceClient, password_service_client::PasswordServiceClient,
};
use baton_testkit::{PASSWORD, Person, eventually, reason};
use chrono::TimeDelta;
use tonic::Status;

use super::fixture::{Fixture, amr, call, in_session};

async fn disable(fixture: &Fixture, person: &Person, code: Option<&str>, password: Option<&str>) -> Result<(), Status> {
    let request = DisableTotpRequest { code: code.map(str::to_owned), password: password.map(str::to_owned) };
    fixture.client().disable_totp(call(person, request)).await.map(drop)
}

async fn renew(fixture: &Fixture, person: &Person, code: Option<&str>) -> Result<Vec<String>, Status> {
    let request = RenewRecoveryCodesRequest { code: code.map(str::to_owned), password: None };
    let response = fixture.client().renew_recovery_codes(call(person, request)).await;
    response.map(|response| response.into_inner().recovery_codes)
}

#[tokio::test]
async fn disabling_requires_a_code_and_then_one_factor_suffices() {
    let fixture = Fixture::start().await;
    let (ada, app, recovery_codes) = fixture.person_with_mfa("ada").await;
    let waiting = fixture.challenge(&ada).await;
    let refused = disable(&fixture, &ada, None, None).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofRequired));
    let refused = disable(&fixture, &ada, Some(&app.wrong_code(&fixture.clock)), None).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    assert!(fixture.login(&ada).await.mfa_required);

    let by_both = fixture.verify(&fixture.challenge(&ada).await, &recovery_codes[1]).await.unwrap();
    disable(&fixture, &ada, Some(&app.code(&fixture.clock, 0)), None).await.unwrap();
    fixture.wait_for_email(&ada, "Second factor switched off").await;
    assert!(!fixture.login(&ada).await.mfa_required);
    // Pending challenges end, and sessions lose the methods of the deleted factor.
    let refused = fixture.verify(&waiting, &recovery_codes[0]).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::MfaTokenInvalid));
    let refresh = RefreshRequest { refresh_token: by_both.refresh_token };
    assert_eq!(amr(&fixture.auth().refresh(refresh).await.unwrap().into_inner().access_token), ["pwd"]);
    // Repeating it is harmless.
    disable(&fixture, &ada, None, None).await.unwrap();
    let refused = renew(&fixture, &ada, Some(&recovery_codes[0])).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::SecondFactorNotEnabled));
}

#[tokio::test]
async fn password_suffices_in_a_session_with_both_factors() {
    let fixture = Fixture::start().await;
    let ada = fixture.context.person("ada").await;
    // Another session, opened with the password only.
    let other = in_session(&ada, &fixture.login(&ada).await.access_token.unwrap());
    let app = super::fixture::App::scan(&fixture.enroll(&ada, None, None).await.unwrap());
    fixture.confirm(&ada, &app.code(&fixture.clock, 0)).await.unwrap();

    let refused = disable(&fixture, &other, None, Some(PASSWORD)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofRequired), "session and password are one factor");
    let refused = disable(&fixture, &ada, None, Some("not the password")).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    // The session that disabled it was opened with both factors.
    disable(&fixture, &ada, None, Some(PASSWORD)).await.unwrap();
    assert!(!fixture.login(&ada).await.mfa_required);
}

#[tokio::test]
async fn new_recovery_codes_replace_the_earlier_ones() {
    let fixture = Fixture::start().await;
    let (ada, app, before) = fixture.person_with_mfa("ada").await;
    let refused = renew(&fixture, &ada, Some(&app.wrong_code(&fixture.clock))).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    let after = renew(&fixture, &ada, Some(&app.code(&fixture.clock, 0))).await.unwrap();
    assert_eq!(after.len(), 10);
    let refused = fixture.verify(&fixture.challenge(&ada).await, &before[0]).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid));
    fixture.verify(&fixture.challenge(&ada).await, &after[0]).await.unwrap();
}

#[tokio::test]
async fn api_key_created_after_disabling_lacks_mfa() {
    let fixture = Fixture::start().await;
    let (ada, _, recovery_codes) = fixture.person_with_mfa("ada").await;
    // Its access token names both factors until it expires.
    let by_both = fixture.verify(&fixture.challenge(&ada).await, &recovery_codes[0]).await.unwrap();
    let by_both = in_session(&ada, &by_both.access_token);
    let make = async || {
        let wish = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
        let made = ApiKeyServiceClient::new(fixture.context.auth()).create_api_key(call(&by_both, wish)).await;
        let id: uuid::Uuid = made.unwrap().into_inner().id.parse().unwrap();
        let amr = sqlx::query_scalar::<_, Vec<String>>("select amr from auth.api_keys where id = $1").bind(id);
        amr.fetch_one(&fixture.context.admin()).await.unwrap()
    };
    assert_eq!(make().await, ["pwd", "otp", "mfa"]);
    disable(&fixture, &ada, Some(&recovery_codes[1]), None).await.unwrap();
    assert_eq!(amr(&by_both.token), ["pwd", "otp", "mfa"]);
    assert_eq!(make().await, ["pwd"]);
}

#[tokio::test]
async fn grant_loses_mfa_with_the_second_factor() {
    let fixture = Fixture::start().await;
    let (ada, _, recovery_codes) = fixture.person_with_mfa("ada").await;
    let by_both = fixture.verify(&fixture.challenge(&ada).await, &recovery_codes[0]).await.unwrap();
    let by_both = in_session(&ada, &by_both.access_token);
    let grant = CreateDelegationRequest {
        service: "gateway".to_owned(),
        account_id: uuid::Uuid::now_v7().to_string(),
        scopes: vec!["tasks:read".to_owned()],
        purpose: "A rule".to_owned(),
    };
    let mut grants = DelegationServiceClient::new(fixture.context.auth());
    let methods = async || {
        let amr = sqlx::query_scalar::<_, Vec<String>>("select amr from auth.delegations order by created_at, id");
        amr.fetch_all(&fixture.context.admin()).await.unwrap()
    };
    grants.create_delegation(call(&by_both, grant.clone())).await.unwrap();
    assert_eq!(methods().await, [["pwd", "otp", "mfa"]]);
    disable(&fixture, &ada, Some(&recovery_codes[1]), None).await.unwrap();
    assert_eq!(methods().await, [["pwd"]]);
    // The access token still names both factors.
    grants.create_delegation(call(&by_both, grant)).await.unwrap();
    assert_eq!(methods().await, [["pwd"], ["pwd"]]);
}

#[tokio::test]
async fn sign_in_concurrent_with_disabling_lacks_mfa() {
    let fixture = Fixture::start().await;
    let (ada, app, _) = fixture.person_with_mfa("ada").await;
    let token = fixture.challenge(&ada).await;
    let code = app.code(&fixture.clock, 0);
    // The code is verified and the session waits for the user's row, while the user disables the second factor.
    let mut other = fixture.context.admin().begin().await.unwrap();
    sqlx::query("select from auth.users where id = $1 for update")
        .bind(ada.user_id)
        .execute(&mut *other)
        .await
        .unwrap();
    let verify = fixture.verify(&token, &code);
    let switch_off = async {
        eventually(|| async {
            let taken = "select count(*) from auth.mfa_challenges where user_id = $1";
            let left: i64 =
                sqlx::query_scalar(taken).bind(ada.user_id).fetch_one(&fixture.context.admin()).await.unwrap();
            (left == 0).then_some(())
        })
        .await;
        sqlx::query("delete from auth.second_factors where user_id = $1")
            .bind(ada.user_id)
            .execute(&mut *other)
            .await
            .unwrap();
        other.commit().await.unwrap();
    };
    let (refused, ()) = tokio::join!(verify, switch_off);
    assert_eq!(reason(&refused.unwrap_err()), Some(Reason::MfaTokenInvalid));
}

/// A stranger with temporary access may have enabled it, which would lock the user out.
#[tokio::test]
async fn reset_removes_a_second_factor_only_in_its_first_week_and_on_request() {
    let fixture = Fixture::start().await;
    let mut passwords = PasswordServiceClient::new(fixture.channel());
    let mut reset = async |person: &Person, count: usize, remove: bool| {
        passwords.request_password_reset(crate::helpers::reset(&person.email)).await.unwrap();
        let token = crate::helpers::link(&fixture.context, &person.email, "/reset-password", count).await;
        let request = ConfirmPasswordResetRequest {
            token,
            new_password: PASSWORD.to_owned(),
            remove_second_factor: remove,
            ..ConfirmPasswordResetRequest::default()
        };
        passwords.confirm_password_reset(request).await.map(|response| response.into_inner().second_factor_enabled)
    };
    let (ada, ..) = fixture.person_with_mfa("ada").await;
    assert!(reset(&ada, 1, false).await.unwrap());
    assert!(fixture.login(&ada).await.mfa_required, "access to the mailbox does not suffice");
    let text =
        &fixture.context.mailbox().mails(Some(&ada.email)).into_iter().find(|m| m.text.contains("/reset-password"));
    assert!(text.as_ref().unwrap().text.contains("second factor since"), "the email reports it");
    assert!(!reset(&ada, 2, true).await.unwrap());
    assert!(!fixture.login(&ada).await.mfa_required);
    fixture.wait_for_email(&ada, "Second factor switched off").await;

    let (ben, app, _) = fixture.person_with_mfa("ben").await;
    fixture.clock.advance(TimeDelta::days(7));
    let refused = reset(&ben, 1, true).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::SecondFactorEstablished));
    // Nothing has changed, and the link stays valid.
    let challenge = fixture.challenge(&ben).await;
    fixture.verify(&challenge, &app.code(&fixture.clock, 0)).await.unwrap();
    assert!(reset(&ben, 2, false).await.unwrap());
}
