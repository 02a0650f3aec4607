//! Six digits are few: what keeps them from being guessed.

use std::time::Duration;

use baton_errors::Reason;
use baton_testkit::reason;
use chrono::TimeDelta;
use tonic::Status;
use tonic_types::StatusExt;

use super::stage::Stage;

fn wait(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

#[tokio::test]
async fn wrong_codes_count_over_all_tokens_and_each_further_one_waits_longer() {
    // ASVS 5.0, 6.6.3; AuthQuake (January 2025) was a limit per session, with any number of sessions.
    let stage = Stage::set().await;
    let (ada, app, recovery_codes) = stage.protected("ada").await;
    for _ in 0..5 {
        let token = stage.challenge(&ada).await;
        let refused = stage.verify(&token, &app.wrong_code(&stage.clock)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid));
    }
    stage.mailed(&ada, "Wrong codes for your sign-in").await;
    let token = stage.challenge(&ada).await;
    for expected in [60, 120, 240] {
        // Even the right one; otherwise the refusal would tell which one is.
        for code in [app.code(&stage.clock, 0), app.wrong_code(&stage.clock)] {
            let refused = stage.verify(&token, &code).await.unwrap_err();
            assert_eq!(reason(&refused), Some(Reason::TooManyAttempts));
            assert_eq!(wait(&refused), Some(Duration::from_secs(expected)));
        }
        stage.clock.advance(TimeDelta::seconds(expected.try_into().unwrap()));
        let token = stage.challenge(&ada).await;
        let refused = stage.verify(&token, &app.wrong_code(&stage.clock)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid), "one is heard");
    }
    // Nobody guesses a recovery code: it is taken all the same, and all is well again.
    stage.verify(&stage.challenge(&ada).await, &recovery_codes[0]).await.unwrap();
    stage.verify(&stage.challenge(&ada).await, &app.code(&stage.clock, 0)).await.unwrap();
}

#[tokio::test]
async fn a_hundred_guesses_at_once_are_five() {
    let stage = Stage::set().await;
    let (ada, app, _) = stage.protected("ada").await;
    let token = stage.challenge(&ada).await;
    let wrong = app.wrong_code(&stage.clock);
    let answers = futures_util::future::join_all((0..100).map(|_| stage.verify(&token, &wrong))).await;
    let count =
        |expected| answers.iter().filter(|answer| answer.as_ref().err().and_then(reason) == Some(expected)).count();
    assert_eq!(count(Reason::MfaCodeInvalid), 5);
    assert!(count(Reason::TooManyAttempts) > 0, "the rest is slowed, or told to come again");
}

#[tokio::test]
async fn codes_cannot_be_guessed_by_a_session_either() {
    let stage = Stage::set().await;
    let ben = stage.world.person("ben").await;
    let (ada, app, _) = stage.protected("ada").await;
    let wrong = app.wrong_code(&stage.clock);
    for n in 0..8 {
        let refused = stage.enroll(&ada, Some(&wrong), None).await.unwrap_err();
        let expected = if n < 5 { Reason::ProofInvalid } else { Reason::TooManyAttempts };
        assert_eq!(reason(&refused), Some(expected), "{n}");
    }
    // What is counted there counts here.
    let refused = stage.verify(&stage.challenge(&ada).await, &app.code(&stage.clock, 0)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TooManyAttempts));

    // Nor can the first code of a new secret be.
    let app = super::stage::App::scan(&stage.enroll(&ben, None, None).await.unwrap());
    let wrong = app.wrong_code(&stage.clock);
    for n in 0..8 {
        let refused = stage.confirm(&ben, &wrong).await.unwrap_err();
        let expected = if n < 5 { Reason::ProofInvalid } else { Reason::TooManyAttempts };
        assert_eq!(reason(&refused), Some(expected), "{n}");
    }
}
