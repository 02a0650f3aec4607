//! Signing in by two factors.

mod guessing;
mod setting_up;
mod stage;
mod switching_off;

use baton_access::Role;
use baton_errors::Reason;
use baton_proto::baton::{
    auth::v1::{GetSecondFactorRequest, RefreshRequest},
    tenancy::v1::{
        ListAccountsRequest, ListMembersRequest, account_service_client::AccountServiceClient,
        member_service_client::MemberServiceClient,
    },
};
use baton_testkit::reason;
use chrono::TimeDelta;

pub(crate) use stage::{App, Stage};
use stage::{amr, call, in_session};

#[tokio::test]
async fn a_code_completes_the_sign_in_and_tokens_tell_of_both_factors() {
    let stage = Stage::set().await;
    let (ada, app, recovery_codes) = stage.protected("ada").await;
    assert_eq!(recovery_codes.len(), 10);
    stage.mailed(&ada, "Second factor switched on").await;

    let asked = stage.login(&ada).await;
    assert!(asked.mfa_required);
    assert_eq!((&asked.access_token, &asked.refresh_token, &asked.user), (&None, &None, &None));
    let mfa_token = asked.mfa_token.unwrap();

    // A wrong code may be corrected.
    let refused = stage.verify(&mfa_token, &app.wrong_code(&stage.clock)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid));
    let session = stage.verify(&mfa_token, &app.code(&stage.clock, 0)).await.unwrap();
    assert_eq!(session.user.unwrap().id, ada.user_id.to_string());
    assert_eq!(amr(&session.access_token), ["pwd", "otp", "mfa"]);
    let refresh = RefreshRequest { refresh_token: session.refresh_token };
    let next = stage.auth().refresh(refresh).await.unwrap().into_inner();
    assert_eq!(amr(&next.access_token), ["pwd", "otp", "mfa"]);

    let shown = stage.client().get_second_factor(call(&ada, GetSecondFactorRequest {})).await.unwrap().into_inner();
    assert!(shown.totp_enabled && shown.enabled_at.is_some() && shown.recovery_codes_left == 10);
}

#[tokio::test]
async fn a_code_works_once_and_older_ones_no_longer() {
    // RFC 6238, section 5.2: the verifier must not accept the second attempt of an OTP. ASVS 5.0, 6.5.1.
    let stage = Stage::set().await;
    let ada = stage.world.person("ada").await;
    let app = stage::App::scan(&stage.enroll(&ada, None, None).await.unwrap());
    let code = app.code(&stage.clock, 0);
    stage.confirm(&ada, &code).await.unwrap();
    let refused = |token: String, code: String| {
        let stage = &stage;
        async move {
            let refused = stage.verify(&token, &code).await.unwrap_err();
            assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid), "{code}");
        }
    };
    // The one that switched the second factor on has had its turn.
    refused(stage.challenge(&ada).await, code).await;

    stage.clock.advance(TimeDelta::seconds(60));
    let code = app.code(&stage.clock, 0);
    stage.verify(&stage.challenge(&ada).await, &code).await.unwrap();
    // In another sign-in, in the next step, or one that came before it.
    refused(stage.challenge(&ada).await, code.clone()).await;
    refused(stage.challenge(&ada).await, app.code(&stage.clock, -1)).await;
    stage.clock.advance(TimeDelta::seconds(30));
    refused(stage.challenge(&ada).await, code).await;
    stage.verify(&stage.challenge(&ada).await, &app.code(&stage.clock, 0)).await.unwrap();
}

#[tokio::test]
async fn of_two_sign_ins_at_once_with_one_code_one_wins() {
    let stage = Stage::set().await;
    let (ada, app, recovery_codes) = stage.protected("ada").await;
    for code in [app.code(&stage.clock, 0), recovery_codes[0].clone()] {
        // A token each, so that only the code is what they share.
        let tokens = [stage.challenge(&ada).await, stage.challenge(&ada).await, stage.challenge(&ada).await];
        let calls = tokens.iter().map(|token| stage.verify(token, &code));
        let answers = futures_util::future::join_all(calls).await;
        let lost: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err().and_then(reason)).collect();
        assert_eq!(lost, [Reason::MfaCodeInvalid; 2], "{code}");
    }
}

#[tokio::test]
async fn of_two_calls_with_one_token_one_opens_a_session() {
    let stage = Stage::set().await;
    let (ada, app, _) = stage.protected("ada").await;
    let token = stage.challenge(&ada).await;
    let codes = [app.code(&stage.clock, 0), app.code(&stage.clock, 1)];
    let answers = futures_util::future::join_all(codes.iter().map(|code| stage.verify(&token, code))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let again = stage.verify(&token, &app.code(&stage.clock, 1)).await.unwrap_err();
    assert_eq!(reason(&again), Some(Reason::MfaTokenInvalid));
}

#[tokio::test]
async fn clocks_may_differ_by_a_step_either_way() {
    let stage = Stage::set().await;
    let (ada, app, _) = stage.protected("ada").await;
    for (steps_away, taken) in [(-2, false), (2, false), (-1, true), (1, true)] {
        let answer = stage.verify(&stage.challenge(&ada).await, &app.code(&stage.clock, steps_away)).await;
        assert_eq!(answer.is_ok(), taken, "{steps_away}");
    }
}

#[tokio::test]
async fn a_recovery_code_works_once_and_its_owner_hears_of_it() {
    let stage = Stage::set().await;
    let (ada, _, recovery_codes) = stage.protected("ada").await;
    let typed = recovery_codes[3].replace('-', " ").to_uppercase();
    let session = stage.verify(&stage.challenge(&ada).await, &typed).await.unwrap();
    assert_eq!(amr(&session.access_token), ["pwd", "otp", "mfa"]);
    stage.mailed(&ada, "A recovery code was used").await;
    let again = stage.verify(&stage.challenge(&ada).await, &recovery_codes[3]).await.unwrap_err();
    assert_eq!(reason(&again), Some(Reason::MfaCodeInvalid));
    let shown = stage.client().get_second_factor(call(&ada, GetSecondFactorRequest {})).await.unwrap();
    assert_eq!(shown.into_inner().recovery_codes_left, 9);
    stage.verify(&stage.challenge(&ada).await, &recovery_codes[4]).await.unwrap();
}

#[tokio::test]
async fn a_token_is_for_its_person_for_five_minutes_and_one_password() {
    let stage = Stage::set().await;
    let (ada, adas_app, adas_codes) = stage.protected("ada").await;
    let (ben, bens_app, _) = stage.protected("ben").await;
    let code = |app: &stage::App| app.code(&stage.clock, 0);

    // Stolen: Ada's codes do not open Ben's sign-in, nor is a token of something else one of these.
    let bens = stage.challenge(&ben).await;
    for foreign in [code(&adas_app), adas_codes[0].clone()] {
        assert_eq!(reason(&stage.verify(&bens, &foreign).await.unwrap_err()), Some(Reason::MfaCodeInvalid));
    }
    for nonsense in ["nonsense", &ada.token, &ada.refresh_token] {
        let refused = stage.verify(nonsense, &code(&adas_app)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::MfaTokenInvalid));
    }
    let refused = stage.client().get_second_factor(call(&in_session(&ben, &bens), GetSecondFactorRequest {})).await;
    assert_eq!(reason(&refused.unwrap_err()), Some(Reason::TokenInvalid), "it opens nothing else");
    stage.verify(&bens, &code(&bens_app)).await.unwrap();

    let late = stage.challenge(&ada).await;
    stage.clock.advance(TimeDelta::minutes(5));
    assert_eq!(reason(&stage.verify(&late, &code(&adas_app)).await.unwrap_err()), Some(Reason::MfaTokenInvalid));

    // Also of a change that came between the old password and the token: the time of the token says nothing.
    for earlier in [TimeDelta::seconds(-1), TimeDelta::zero(), TimeDelta::seconds(1)] {
        let outdated = stage.challenge(&ada).await;
        sqlx::query("update auth.users set password_changed_at = $2 where id = $1")
            .bind(ada.user_id)
            .bind(stage.clock.now() - earlier)
            .execute(&stage.world.admin())
            .await
            .unwrap();
        let refused = stage.verify(&outdated, &code(&adas_app)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::MfaTokenInvalid), "{earlier}");
    }
    stage.verify(&stage.challenge(&ada).await, &code(&adas_app)).await.unwrap();
}

#[tokio::test]
async fn an_account_that_requires_it_is_closed_to_sessions_by_one_factor() {
    let stage = Stage::set().await;
    let owner = stage.world.person("owner").await;
    let account_id = stage.world.account(&owner).await;
    let (ada, app, _) = stage.protected("ada").await;
    // Opened before the second factor was switched on, and not refreshed since.
    stage.world.join(account_id, &ada, Role::User, None).await;
    let stranger = stage.world.person("stranger").await;
    sqlx::query("update tenancy.accounts set require_second_factor = true where id = $1")
        .bind(account_id)
        .execute(&stage.world.admin())
        .await
        .unwrap();

    let list = |person: &baton_testkit::Person| {
        let request =
            person.call(account_id, ListMembersRequest { account_id: account_id.to_string(), ..Default::default() });
        let mut members = MemberServiceClient::new(stage.world.tenancy());
        async move { members.list_members(request).await.map(drop).map_err(|status| reason(&status)) }
    };
    assert_eq!(list(&ada).await, Err(Some(Reason::SecondFactorRequired)));
    assert_eq!(list(&owner).await, Err(Some(Reason::SecondFactorRequired)), "owners too");
    assert_eq!(list(&stranger).await, Err(Some(Reason::NotAMember)), "strangers learn nothing of it");
    let mut accounts = AccountServiceClient::new(stage.world.tenancy());
    accounts.list_accounts(ada.call_without_account(ListAccountsRequest::default())).await.unwrap();

    let session = stage.verify(&stage.challenge(&ada).await, &app.code(&stage.clock, 0)).await.unwrap();
    assert_eq!(list(&in_session(&ada, &session.access_token)).await, Ok(()));
    // Who has just switched it on refreshes, and is in.
    let next = stage.auth().refresh(RefreshRequest { refresh_token: ada.refresh_token.clone() }).await.unwrap();
    assert_eq!(list(&in_session(&ada, &next.into_inner().access_token)).await, Ok(()));
}
