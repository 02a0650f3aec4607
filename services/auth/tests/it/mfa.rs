//! Sign-in with a second factor.

mod disabling;
mod enrollment;
mod fixture;
mod lockout;

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

pub(crate) use fixture::{App, Fixture};
use fixture::{amr, call, in_session};

#[tokio::test]
async fn code_completes_the_sign_in_and_tokens_name_both_factors() {
    let fixture = Fixture::start().await;
    let (ada, app, recovery_codes) = fixture.person_with_mfa("ada").await;
    assert_eq!(recovery_codes.len(), 10);
    fixture.wait_for_email(&ada, "Second factor switched on").await;

    let asked = fixture.login(&ada).await;
    assert!(asked.mfa_required);
    assert_eq!((&asked.access_token, &asked.refresh_token, &asked.user), (&None, &None, &None));
    let mfa_token = asked.mfa_token.unwrap();

    // A wrong code may be corrected.
    let refused = fixture.verify(&mfa_token, &app.wrong_code(&fixture.clock)).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid));
    let session = fixture.verify(&mfa_token, &app.code(&fixture.clock, 0)).await.unwrap();
    assert_eq!(session.user.unwrap().id, ada.user_id.to_string());
    assert_eq!(amr(&session.access_token), ["pwd", "otp", "mfa"]);
    let refresh = RefreshRequest { refresh_token: session.refresh_token };
    let next = fixture.auth().refresh(refresh).await.unwrap().into_inner();
    assert_eq!(amr(&next.access_token), ["pwd", "otp", "mfa"]);

    let shown = fixture.client().get_second_factor(call(&ada, GetSecondFactorRequest {})).await.unwrap().into_inner();
    assert!(shown.totp_enabled && shown.enabled_at.is_some() && shown.recovery_codes_left == 10);
}

#[tokio::test]
async fn code_works_once_and_invalidates_older_ones() {
    // RFC 6238, section 5.2: the verifier must not accept the second attempt of an OTP. ASVS 5.0, 6.5.1.
    let fixture = Fixture::start().await;
    let ada = fixture.context.person("ada").await;
    let app = fixture::App::scan(&fixture.enroll(&ada, None, None).await.unwrap());
    let code = app.code(&fixture.clock, 0);
    fixture.confirm(&ada, &code).await.unwrap();
    let refused = |token: String, code: String| {
        let fixture = &fixture;
        async move {
            let refused = fixture.verify(&token, &code).await.unwrap_err();
            assert_eq!(reason(&refused), Some(Reason::MfaCodeInvalid), "{code}");
        }
    };
    // The code that confirmed the enrollment is used up.
    refused(fixture.challenge(&ada).await, code).await;

    fixture.clock.advance(TimeDelta::seconds(60));
    let code = app.code(&fixture.clock, 0);
    fixture.verify(&fixture.challenge(&ada).await, &code).await.unwrap();
    // In another sign-in, in the next step, or an earlier code.
    refused(fixture.challenge(&ada).await, code.clone()).await;
    refused(fixture.challenge(&ada).await, app.code(&fixture.clock, -1)).await;
    fixture.clock.advance(TimeDelta::seconds(30));
    refused(fixture.challenge(&ada).await, code).await;
    fixture.verify(&fixture.challenge(&ada).await, &app.code(&fixture.clock, 0)).await.unwrap();
}

#[tokio::test]
async fn one_of_two_parallel_sign_ins_with_one_code_wins() {
    let fixture = Fixture::start().await;
    let (ada, app, recovery_codes) = fixture.person_with_mfa("ada").await;
    for code in [app.code(&fixture.clock, 0), recovery_codes[0].clone()] {
        // Each has its own token, so that they share only the code.
        let tokens = [fixture.challenge(&ada).await, fixture.challenge(&ada).await, fixture.challenge(&ada).await];
        let calls = tokens.iter().map(|token| fixture.verify(token, &code));
        let responses = futures_util::future::join_all(calls).await;
        let lost: Vec<_> = responses.iter().filter_map(|response| response.as_ref().err().and_then(reason)).collect();
        assert_eq!(lost, [Reason::MfaCodeInvalid; 2], "{code}");
    }
}

#[tokio::test]
async fn one_of_two_calls_with_one_mfa_token_opens_a_session() {
    let fixture = Fixture::start().await;
    let (ada, app, _) = fixture.person_with_mfa("ada").await;
    let token = fixture.challenge(&ada).await;
    let codes = [app.code(&fixture.clock, 0), app.code(&fixture.clock, 1)];
    let responses = futures_util::future::join_all(codes.iter().map(|code| fixture.verify(&token, code))).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 1);
    let again = fixture.verify(&token, &app.code(&fixture.clock, 1)).await.unwrap_err();
    assert_eq!(reason(&again), Some(Reason::MfaTokenInvalid));
}

#[tokio::test]
async fn one_step_of_clock_skew_is_accepted() {
    let fixture = Fixture::start().await;
    let (ada, app, _) = fixture.person_with_mfa("ada").await;
    for (steps_away, taken) in [(-2, false), (2, false), (-1, true), (1, true)] {
        let response = fixture.verify(&fixture.challenge(&ada).await, &app.code(&fixture.clock, steps_away)).await;
        assert_eq!(response.is_ok(), taken, "{steps_away}");
    }
}

#[tokio::test]
async fn recovery_code_works_once_and_notifies_the_user() {
    let fixture = Fixture::start().await;
    let (ada, _, recovery_codes) = fixture.person_with_mfa("ada").await;
    let typed = recovery_codes[3].replace('-', " ").to_uppercase();
    let session = fixture.verify(&fixture.challenge(&ada).await, &typed).await.unwrap();
    assert_eq!(amr(&session.access_token), ["pwd", "otp", "mfa"]);
    fixture.wait_for_email(&ada, "A recovery code was used").await;
    let again = fixture.verify(&fixture.challenge(&ada).await, &recovery_codes[3]).await.unwrap_err();
    assert_eq!(reason(&again), Some(Reason::MfaCodeInvalid));
    let shown = fixture.client().get_second_factor(call(&ada, GetSecondFactorRequest {})).await.unwrap();
    assert_eq!(shown.into_inner().recovery_codes_left, 9);
    fixture.verify(&fixture.challenge(&ada).await, &recovery_codes[4]).await.unwrap();
}

#[tokio::test]
async fn mfa_token_is_bound_to_user_password_and_five_minutes() {
    let fixture = Fixture::start().await;
    let (ada, adas_app, adas_codes) = fixture.person_with_mfa("ada").await;
    let (ben, bens_app, _) = fixture.person_with_mfa("ben").await;
    let code = |app: &fixture::App| app.code(&fixture.clock, 0);

    // Stolen tokens: Ada's code does not complete Ben's sign-in, and other tokens are not mfa tokens.
    let bens = fixture.challenge(&ben).await;
    for foreign in [code(&adas_app), adas_codes[0].clone()] {
        assert_eq!(reason(&fixture.verify(&bens, &foreign).await.unwrap_err()), Some(Reason::MfaCodeInvalid));
    }
    for nonsense in ["nonsense", &ada.token, &ada.refresh_token] {
        let refused = fixture.verify(nonsense, &code(&adas_app)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::MfaTokenInvalid));
    }
    let refused = fixture.client().get_second_factor(call(&in_session(&ben, &bens), GetSecondFactorRequest {})).await;
    assert_eq!(reason(&refused.unwrap_err()), Some(Reason::TokenInvalid), "it grants nothing else");
    fixture.verify(&bens, &code(&bens_app)).await.unwrap();

    let late = fixture.challenge(&ada).await;
    fixture.clock.advance(TimeDelta::minutes(5));
    assert_eq!(reason(&fixture.verify(&late, &code(&adas_app)).await.unwrap_err()), Some(Reason::MfaTokenInvalid));

    // Also when the password changes between the first factor and the mfa token: the token's own time does not matter.
    for earlier in [TimeDelta::seconds(-1), TimeDelta::zero(), TimeDelta::seconds(1)] {
        let outdated = fixture.challenge(&ada).await;
        sqlx::query("update auth.users set password_changed_at = $2 where id = $1")
            .bind(ada.user_id)
            .bind(fixture.clock.now() - earlier)
            .execute(&fixture.context.admin())
            .await
            .unwrap();
        let refused = fixture.verify(&outdated, &code(&adas_app)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::MfaTokenInvalid), "{earlier}");
    }
    fixture.verify(&fixture.challenge(&ada).await, &code(&adas_app)).await.unwrap();
}

#[tokio::test]
async fn account_that_requires_mfa_refuses_single_factor_sessions() {
    let fixture = Fixture::start().await;
    let owner = fixture.context.person("owner").await;
    let account_id = fixture.context.account(&owner).await;
    let (ada, app, _) = fixture.person_with_mfa("ada").await;
    // Opened before the second factor was enabled, and not refreshed since.
    fixture.context.join(account_id, &ada, Role::User, None).await;
    let stranger = fixture.context.person("stranger").await;
    sqlx::query("update tenancy.accounts set require_second_factor = true where id = $1")
        .bind(account_id)
        .execute(&fixture.context.admin())
        .await
        .unwrap();

    let list = |person: &baton_testkit::Person| {
        let request =
            person.call(account_id, ListMembersRequest { account_id: account_id.to_string(), ..Default::default() });
        let mut members = MemberServiceClient::new(fixture.context.tenancy());
        async move { members.list_members(request).await.map(drop).map_err(|status| reason(&status)) }
    };
    assert_eq!(list(&ada).await, Err(Some(Reason::SecondFactorRequired)));
    assert_eq!(list(&owner).await, Err(Some(Reason::SecondFactorRequired)), "owners too");
    assert_eq!(list(&stranger).await, Err(Some(Reason::NotAMember)), "strangers learn nothing");
    let mut accounts = AccountServiceClient::new(fixture.context.tenancy());
    accounts.list_accounts(ada.call_without_account(ListAccountsRequest::default())).await.unwrap();

    let session = fixture.verify(&fixture.challenge(&ada).await, &app.code(&fixture.clock, 0)).await.unwrap();
    assert_eq!(list(&in_session(&ada, &session.access_token)).await, Ok(()));
    // After enabling it, a refresh suffices.
    let next = fixture.auth().refresh(RefreshRequest { refresh_token: ada.refresh_token.clone() }).await.unwrap();
    assert_eq!(list(&in_session(&ada, &next.into_inner().access_token)).await, Ok(()));
}
