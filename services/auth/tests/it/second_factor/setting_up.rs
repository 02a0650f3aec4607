//! Switching the second factor on, and replacing it.

use base64::{Engine, engine::general_purpose::STANDARD};
use baton_errors::Reason;
use baton_proto::baton::auth::v1::VerifySecondFactorRequest;
use baton_runtime::Secret;
use baton_sealing::Sealer;
use baton_testkit::{PASSWORD, reason};
use chrono::TimeDelta;

use super::stage::{App, Stage};

#[tokio::test]
async fn halfway_signing_in_stays_as_it_was() {
    let stage = Stage::set().await;
    let ada = stage.world.person("ada").await;
    let refused = stage.confirm(&ada, "123456").await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TotpNotStarted));

    let app = App::scan(&stage.enroll(&ada, None, None).await.unwrap());
    let refused = stage.confirm(&ada, &app.wrong_code(&stage.clock)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    let answer = stage.login(&ada).await;
    assert!(!answer.mfa_required && answer.access_token.is_some() && answer.mfa_token.is_none());

    // Asking again replaces the secret; one that waited too long is gone.
    let replaced = app;
    let app = App::scan(&stage.enroll(&ada, None, None).await.unwrap());
    let refused = stage.confirm(&ada, &replaced.code(&stage.clock, 0)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    stage.clock.advance(TimeDelta::hours(1));
    let refused = stage.confirm(&ada, &app.code(&stage.clock, 0)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TotpNotStarted));
    assert!(!stage.login(&ada).await.mfa_required);
}

#[tokio::test]
async fn a_session_that_is_not_fresh_gives_the_password() {
    // ASVS 5.0, 7.5.1: whoever finds an open browser does not get to put their own lock on the door.
    let stage = Stage::set().await;
    let ada = stage.world.person("ada").await;
    stage.clock.advance(TimeDelta::minutes(16));
    let refused = stage.enroll(&ada, None, None).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofRequired));
    let refused = stage.enroll(&ada, Some("123456"), Some("not the password")).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ProofInvalid));
    stage.enroll(&ada, None, Some(PASSWORD)).await.unwrap();
}

#[tokio::test]
async fn replacing_it_takes_a_current_code_and_the_old_one_works_until_then() {
    let stage = Stage::set().await;
    let (ada, old, old_recovery_codes) = stage.protected("ada").await;
    for (code, expected) in [(None, Reason::ProofRequired), (Some(old.wrong_code(&stage.clock)), Reason::ProofInvalid)]
    {
        let refused = stage.enroll(&ada, code.as_deref(), Some(PASSWORD)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(expected));
    }
    let current = old.code(&stage.clock, 0);
    let new = App::scan(&stage.enroll(&ada, Some(&current), None).await.unwrap());
    assert!(stage.enroll(&ada, Some(&current), None).await.is_err(), "a code works once here too");

    stage.clock.advance(TimeDelta::minutes(1));
    let refused = stage.verify(&stage.challenge(&ada).await, &new.code(&stage.clock, 0)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid));
    stage.verify(&stage.challenge(&ada).await, &old.code(&stage.clock, 0)).await.unwrap();

    stage.confirm(&ada, &new.code(&stage.clock, 0)).await.unwrap();
    stage.clock.advance(TimeDelta::minutes(1));
    for ended in [&old.code(&stage.clock, 0), &old_recovery_codes[0]] {
        let refused = stage.verify(&stage.challenge(&ada).await, ended).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid));
    }
    stage.verify(&stage.challenge(&ada).await, &new.code(&stage.clock, 0)).await.unwrap();
}

#[tokio::test]
async fn of_two_confirmations_at_once_one_shows_recovery_codes() {
    let stage = Stage::set().await;
    let ada = stage.world.person("ada").await;
    let app = App::scan(&stage.enroll(&ada, None, None).await.unwrap());
    let code = app.code(&stage.clock, 0);
    let (first, second) = tokio::join!(stage.confirm(&ada, &code), stage.confirm(&ada, &code));
    let codes = [&first, &second].into_iter().filter_map(|answer| answer.as_ref().ok()).collect::<Vec<_>>();
    assert_eq!(codes.len(), 1);
    stage.verify(&stage.challenge(&ada).await, &codes[0][0]).await.unwrap();
}

#[tokio::test]
async fn at_rest_there_is_nothing_to_sign_in_with_and_a_new_key_takes_over() {
    let stage = Stage::set().await;
    let (ada, app, recovery_codes) = stage.protected("ada").await;
    let sealed = || async {
        sqlx::query_scalar::<_, Vec<u8>>("select secret from auth.second_factors where user_id = $1")
            .bind(ada.user_id)
            .fetch_one(&stage.world.admin())
            .await
            .unwrap()
    };
    let before = sealed().await;
    assert!(!before.windows(20).any(|window| window == app.secret()));
    let keys = stage.world.env().get("BATON_AUTH_SEALING_KEYS").unwrap().to_owned();
    let place = format!("totp:{}", ada.user_id);
    assert_eq!(Sealer::new(&Secret::new(keys.clone())).unwrap().open(&place, &before).unwrap(), app.secret());
    let stored: Vec<u8> = sqlx::query_scalar("select string_agg(hash, '') from auth.recovery_codes")
        .fetch_one(&stage.world.admin())
        .await
        .unwrap();
    assert_eq!(stored.len(), 10 * 32);
    let code = recovery_codes[0].replace('-', "");
    assert!(!stored.windows(code.len()).any(|window| window == code.as_bytes()));

    let mut env = stage.world.env();
    env.set("BATON_AUTH_SEALING_KEYS", format!("next:{},{keys}", STANDARD.encode([9; 32])));
    let request = VerifySecondFactorRequest { mfa_token: stage.challenge(&ada).await, code: app.code(&stage.clock, 0) };
    stage.instance(env).await.verify_second_factor(request).await.unwrap();
    let after = Sealer::new(&Secret::new(format!("next:{}", STANDARD.encode([9; 32])))).unwrap();
    assert_eq!(after.open(&place, &sealed().await).unwrap(), app.secret());
}
