//! Enrollment and replacement of the second factor.

use base64::{Engine, engine::general_purpose::STANDARD};
use baton_errors::Reason;
use baton_proto::baton::auth::v1::VerifySecondFactorRequest;
use baton_runtime::Secret;
use baton_sealing::Sealer;
use baton_testkit::{PASSWORD, reason};
use chrono::TimeDelta;

use super::fixture::{App, Fixture};

#[tokio::test]
async fn unconfirmed_enrollment_does_not_change_the_sign_in() {
    let fixture = Fixture::start().await;
    let ada = fixture.context.person("ada").await;
    let refused = fixture.confirm(&ada, "123456").await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TotpNotStarted));

    let app = App::scan(&fixture.enroll(&ada, None, None).await.unwrap());
    let refused = fixture.confirm(&ada, &app.wrong_code(&fixture.clock)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    let response = fixture.login(&ada).await;
    assert!(!response.mfa_required && response.access_token.is_some() && response.mfa_token.is_none());

    // Another enrollment replaces the secret, and a pending secret expires.
    let replaced = app;
    let app = App::scan(&fixture.enroll(&ada, None, None).await.unwrap());
    let refused = fixture.confirm(&ada, &replaced.code(&fixture.clock, 0)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    fixture.clock.advance(TimeDelta::hours(1));
    let refused = fixture.confirm(&ada, &app.code(&fixture.clock, 0)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TotpNotStarted));
    assert!(!fixture.login(&ada).await.mfa_required);
}

#[tokio::test]
async fn enrollment_in_an_old_session_requires_the_password() {
    // ASVS 5.0, 7.5.1: whoever finds an open browser must not be able to add a factor of their own.
    let fixture = Fixture::start().await;
    let ada = fixture.context.person("ada").await;
    fixture.clock.advance(TimeDelta::minutes(16));
    let refused = fixture.enroll(&ada, None, None).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofRequired));
    let refused = fixture.enroll(&ada, Some("123456"), Some("not the password")).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    fixture.enroll(&ada, None, Some(PASSWORD)).await.unwrap();
}

#[tokio::test]
async fn replacement_requires_a_current_code_and_takes_effect_on_confirmation() {
    let fixture = Fixture::start().await;
    let (ada, old, old_recovery_codes) = fixture.person_with_mfa("ada").await;
    for (code, expected) in
        [(None, Reason::ProofRequired), (Some(old.wrong_code(&fixture.clock)), Reason::ProofInvalid)]
    {
        let refused = fixture.enroll(&ada, code.as_deref(), Some(PASSWORD)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(expected));
    }
    let current = old.code(&fixture.clock, 0);
    let new = App::scan(&fixture.enroll(&ada, Some(&current), None).await.unwrap());
    assert!(fixture.enroll(&ada, Some(&current), None).await.is_err(), "a code works once here too");

    fixture.clock.advance(TimeDelta::minutes(1));
    let refused = fixture.verify(&fixture.challenge(&ada).await, &new.code(&fixture.clock, 0)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid));
    fixture.verify(&fixture.challenge(&ada).await, &old.code(&fixture.clock, 0)).await.unwrap();

    fixture.confirm(&ada, &new.code(&fixture.clock, 0)).await.unwrap();
    fixture.clock.advance(TimeDelta::minutes(1));
    for ended in [&old.code(&fixture.clock, 0), &old_recovery_codes[0]] {
        let refused = fixture.verify(&fixture.challenge(&ada).await, ended).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid));
    }
    fixture.verify(&fixture.challenge(&ada).await, &new.code(&fixture.clock, 0)).await.unwrap();
}

#[tokio::test]
async fn one_of_two_parallel_confirmations_returns_recovery_codes() {
    let fixture = Fixture::start().await;
    let ada = fixture.context.person("ada").await;
    let app = App::scan(&fixture.enroll(&ada, None, None).await.unwrap());
    let code = app.code(&fixture.clock, 0);
    let (first, second) = tokio::join!(fixture.confirm(&ada, &code), fixture.confirm(&ada, &code));
    let codes = [&first, &second].into_iter().filter_map(|response| response.as_ref().ok()).collect::<Vec<_>>();
    assert_eq!(codes.len(), 1);
    fixture.verify(&fixture.challenge(&ada).await, &codes[0][0]).await.unwrap();
}

#[tokio::test]
async fn secrets_are_sealed_at_rest_and_resealed_with_a_new_key() {
    let fixture = Fixture::start().await;
    let (ada, app, recovery_codes) = fixture.person_with_mfa("ada").await;
    let sealed = || async {
        sqlx::query_scalar::<_, Vec<u8>>("select secret from auth.second_factors where user_id = $1")
            .bind(ada.user_id)
            .fetch_one(&fixture.context.admin())
            .await
            .unwrap()
    };
    let before = sealed().await;
    assert!(!before.windows(20).any(|window| window == app.secret()));
    let keys = fixture.context.env().get("BATON_AUTH_SEALING_KEYS").unwrap().to_owned();
    let place = format!("totp:{}", ada.user_id);
    assert_eq!(Sealer::new(&Secret::new(keys.clone())).unwrap().open(&place, &before).unwrap(), app.secret());
    let stored: Vec<u8> = sqlx::query_scalar("select string_agg(hash, '') from auth.recovery_codes")
        .fetch_one(&fixture.context.admin())
        .await
        .unwrap();
    assert_eq!(stored.len(), 10 * 32);
    let code = recovery_codes[0].replace('-', "");
    assert!(!stored.windows(code.len()).any(|window| window == code.as_bytes()));

    let mut env = fixture.context.env();
    env.set("BATON_AUTH_SEALING_KEYS", format!("next:{},{keys}", STANDARD.encode([9; 32])));
    let request =
        VerifySecondFactorRequest { mfa_token: fixture.challenge(&ada).await, code: app.code(&fixture.clock, 0) };
    fixture.instance(env).await.verify_second_factor(request).await.unwrap();
    let after = Sealer::new(&Secret::new(format!("next:{}", STANDARD.encode([9; 32])))).unwrap();
    assert_eq!(after.open(&place, &sealed().await).unwrap(), app.secret());
}
