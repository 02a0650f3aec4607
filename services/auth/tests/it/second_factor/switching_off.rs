//! Switching the second factor off, and making new recovery codes.

use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    ConfirmPasswordResetRequest, CreateApiKeyRequest, DisableTotpRequest, RefreshRequest, RenewRecoveryCodesRequest,
    api_key_service_client::ApiKeyServiceClient, password_service_client::PasswordServiceClient,
};
use baton_testkit::{PASSWORD, Person, eventually, reason};
use chrono::TimeDelta;
use tonic::Status;

use super::stage::{Stage, amr, call, in_session};

async fn disable(stage: &Stage, person: &Person, code: Option<&str>, password: Option<&str>) -> Result<(), Status> {
    let request = DisableTotpRequest { code: code.map(str::to_owned), password: password.map(str::to_owned) };
    stage.client().disable_totp(call(person, request)).await.map(drop)
}

async fn renew(stage: &Stage, person: &Person, code: Option<&str>) -> Result<Vec<String>, Status> {
    let request = RenewRecoveryCodesRequest { code: code.map(str::to_owned), password: None };
    let answer = stage.client().renew_recovery_codes(call(person, request)).await;
    answer.map(|answer| answer.into_inner().recovery_codes)
}

#[tokio::test]
async fn it_takes_a_code_and_then_one_factor_is_enough() {
    let stage = Stage::set().await;
    let (ada, app, recovery_codes) = stage.protected("ada").await;
    let waiting = stage.challenge(&ada).await;
    let refused = disable(&stage, &ada, None, None).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofRequired));
    let refused = disable(&stage, &ada, Some(&app.wrong_code(&stage.clock)), None).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    assert!(stage.login(&ada).await.mfa_required);

    let by_both = stage.verify(&stage.challenge(&ada).await, &recovery_codes[1]).await.unwrap();
    disable(&stage, &ada, Some(&app.code(&stage.clock, 0)), None).await.unwrap();
    stage.mailed(&ada, "Second factor switched off").await;
    assert!(!stage.login(&ada).await.mfa_required);
    // What waited for it waits no more, and sessions do not keep what is gone.
    let refused = stage.verify(&waiting, &recovery_codes[0]).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::MfaTokenInvalid));
    let refresh = RefreshRequest { refresh_token: by_both.refresh_token };
    assert_eq!(amr(&stage.auth().refresh(refresh).await.unwrap().into_inner().access_token), ["pwd"]);
    // Repeating it is harmless.
    disable(&stage, &ada, None, None).await.unwrap();
    let refused = renew(&stage, &ada, Some(&recovery_codes[0])).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::SecondFactorNotEnabled));
}

#[tokio::test]
async fn the_password_alone_does_where_both_factors_were_given() {
    let stage = Stage::set().await;
    let ada = stage.world.person("ada").await;
    // Another session, by the password only.
    let other = in_session(&ada, &stage.login(&ada).await.access_token.unwrap());
    let app = super::stage::App::scan(&stage.enroll(&ada, None, None).await.unwrap());
    stage.confirm(&ada, &app.code(&stage.clock, 0)).await.unwrap();

    let refused = disable(&stage, &other, None, Some(PASSWORD)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofRequired), "who stole session and password has one factor");
    let refused = disable(&stage, &ada, None, Some("not the password")).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    // The session that switched it on has given both.
    disable(&stage, &ada, None, Some(PASSWORD)).await.unwrap();
    assert!(!stage.login(&ada).await.mfa_required);
}

#[tokio::test]
async fn new_recovery_codes_end_the_earlier_ones() {
    let stage = Stage::set().await;
    let (ada, app, before) = stage.protected("ada").await;
    let refused = renew(&stage, &ada, Some(&app.wrong_code(&stage.clock))).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    let after = renew(&stage, &ada, Some(&app.code(&stage.clock, 0))).await.unwrap();
    assert_eq!(after.len(), 10);
    let refused = stage.verify(&stage.challenge(&ada).await, &before[0]).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid));
    stage.verify(&stage.challenge(&ada).await, &after[0]).await.unwrap();
}

#[tokio::test]
async fn a_key_made_afterwards_does_not_count_as_made_by_both() {
    let stage = Stage::set().await;
    let (ada, _, recovery_codes) = stage.protected("ada").await;
    // Its token tells of both factors for a quarter of an hour, whatever happens.
    let by_both = stage.verify(&stage.challenge(&ada).await, &recovery_codes[0]).await.unwrap();
    let by_both = in_session(&ada, &by_both.access_token);
    let make = async || {
        let wish = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
        let made = ApiKeyServiceClient::new(stage.world.auth()).create_api_key(call(&by_both, wish)).await;
        let id: uuid::Uuid = made.unwrap().into_inner().id.parse().unwrap();
        let amr = sqlx::query_scalar::<_, Vec<String>>("select amr from auth.api_keys where id = $1").bind(id);
        amr.fetch_one(&stage.world.admin()).await.unwrap()
    };
    assert_eq!(make().await, ["pwd", "otp", "mfa"]);
    disable(&stage, &ada, Some(&recovery_codes[1]), None).await.unwrap();
    assert_eq!(amr(&by_both.token), ["pwd", "otp", "mfa"]);
    assert_eq!(make().await, ["pwd"]);
}

#[tokio::test]
async fn a_sign_in_that_is_about_to_end_does_not_count_as_made_by_both() {
    let stage = Stage::set().await;
    let (ada, app, _) = stage.protected("ada").await;
    let token = stage.challenge(&ada).await;
    let code = app.code(&stage.clock, 0);
    // The code is taken, and the session has to wait for its person, who switches the second factor off meanwhile.
    let mut other = stage.world.admin().begin().await.unwrap();
    sqlx::query("select from auth.users where id = $1 for update")
        .bind(ada.user_id)
        .execute(&mut *other)
        .await
        .unwrap();
    let verify = stage.verify(&token, &code);
    let switch_off = async {
        eventually(|| async {
            let taken = "select count(*) from auth.mfa_challenges where user_id = $1";
            let left: i64 = sqlx::query_scalar(taken).bind(ada.user_id).fetch_one(&stage.world.admin()).await.unwrap();
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

/// A stranger who had the sign-in for a while may have switched it on, and its person would be locked out.
#[tokio::test]
async fn a_reset_link_removes_a_second_factor_in_its_first_week_and_on_request_only() {
    let stage = Stage::set().await;
    let mut passwords = PasswordServiceClient::new(stage.channel());
    let mut reset = async |person: &Person, count: usize, remove: bool| {
        passwords.request_password_reset(crate::people::reset(&person.email)).await.unwrap();
        let token = crate::people::link(&stage.world, &person.email, "/reset-password", count).await;
        let request = ConfirmPasswordResetRequest {
            token,
            new_password: PASSWORD.to_owned(),
            remove_second_factor: remove,
            ..ConfirmPasswordResetRequest::default()
        };
        passwords.confirm_password_reset(request).await.map(|answer| answer.into_inner().second_factor_enabled)
    };
    let (ada, ..) = stage.protected("ada").await;
    assert!(reset(&ada, 1, false).await.unwrap());
    assert!(stage.login(&ada).await.mfa_required, "a mailbox alone is no way around it");
    let text = &stage.world.mailbox().mails(Some(&ada.email)).into_iter().find(|m| m.text.contains("/reset-password"));
    assert!(text.as_ref().unwrap().text.contains("second factor since"), "the mail tells of it");
    assert!(!reset(&ada, 2, true).await.unwrap());
    assert!(!stage.login(&ada).await.mfa_required);
    stage.mailed(&ada, "Second factor switched off").await;

    let (ben, app, _) = stage.protected("ben").await;
    stage.clock.advance(TimeDelta::days(7));
    let refused = reset(&ben, 1, true).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::SecondFactorEstablished));
    // Nothing was changed, and the link goes on working.
    let challenge = stage.challenge(&ben).await;
    stage.verify(&challenge, &app.code(&stage.clock, 0)).await.unwrap();
    assert!(reset(&ben, 2, false).await.unwrap());
}
