//! Lockout after wrong codes.

use std::time::Duration;

use baton_errors::Reason;
use baton_testkit::reason;
use chrono::TimeDelta;
use tonic::Status;
use tonic_types::StatusExt;

use super::fixture::Fixture;

fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

#[tokio::test]
async fn wrong_codes_count_over_all_mfa_tokens_and_the_lockout_doubles() {
    // ASVS 5.0, 6.6.3. AuthQuake (January 2025) was a limit per session, with any number of sessions.
    let fixture = Fixture::start().await;
    let (ada, app, recovery_codes) = fixture.person_with_mfa("ada").await;
    for _ in 0..5 {
        let token = fixture.challenge(&ada).await;
        let refused = fixture.verify(&token, &app.wrong_code(&fixture.clock)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid));
    }
    fixture.wait_for_email(&ada, "Wrong codes for your sign-in").await;
    let token = fixture.challenge(&ada).await;
    for expected in [60, 120, 240] {
        // The right code is refused too; otherwise the refusal would reveal it.
        for code in [app.code(&fixture.clock, 0), app.wrong_code(&fixture.clock)] {
            let refused = fixture.verify(&token, &code).await.unwrap_err();
            assert_eq!(reason(&refused), Some(Reason::TooManyAttempts));
            assert_eq!(retry_after(&refused), Some(Duration::from_secs(expected)));
        }
        fixture.clock.advance(TimeDelta::seconds(expected.try_into().unwrap()));
        let token = fixture.challenge(&ada).await;
        let refused = fixture.verify(&token, &app.wrong_code(&fixture.clock)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid), "one is checked");
    }
    // A recovery code cannot be guessed: it is accepted during a lockout, and ends it.
    fixture.verify(&fixture.challenge(&ada).await, &recovery_codes[0]).await.unwrap();
    fixture.verify(&fixture.challenge(&ada).await, &app.code(&fixture.clock, 0)).await.unwrap();
}

#[tokio::test]
async fn a_hundred_parallel_guesses_count_as_five() {
    let fixture = Fixture::start().await;
    let (ada, app, _) = fixture.person_with_mfa("ada").await;
    let token = fixture.challenge(&ada).await;
    let wrong = app.wrong_code(&fixture.clock);
    let responses = futures_util::future::join_all((0..100).map(|_| fixture.verify(&token, &wrong))).await;
    let count = |expected| {
        responses.iter().filter(|response| response.as_ref().err().and_then(reason) == Some(expected)).count()
    };
    assert_eq!(count(Reason::MfaCodeInvalid), 5);
    assert!(count(Reason::TooManyAttempts) > 0, "the rest waits or is refused");
}

#[tokio::test]
async fn guesses_in_a_session_are_locked_out_too() {
    let fixture = Fixture::start().await;
    let ben = fixture.context.person("ben").await;
    let (ada, app, _) = fixture.person_with_mfa("ada").await;
    let wrong = app.wrong_code(&fixture.clock);
    for n in 0..8 {
        let refused = fixture.enroll(&ada, Some(&wrong), None).await.unwrap_err();
        let expected = if n < 5 { Reason::ProofInvalid } else { Reason::TooManyAttempts };
        assert_eq!(reason(&refused), Some(expected), "{n}");
    }
    // Both kinds of calls share the count.
    let refused = fixture.verify(&fixture.challenge(&ada).await, &app.code(&fixture.clock, 0)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TooManyAttempts));

    // The first code of a new secret cannot be guessed either.
    let app = super::fixture::App::scan(&fixture.enroll(&ben, None, None).await.unwrap());
    let wrong = app.wrong_code(&fixture.clock);
    for n in 0..8 {
        let refused = fixture.confirm(&ben, &wrong).await.unwrap_err();
        let expected = if n < 5 { Reason::ProofInvalid } else { Reason::TooManyAttempts };
        assert_eq!(reason(&refused), Some(expected), "{n}");
    }
}
