//! Irreversible actions, and those that transfer an account, require a fresh proof of identity.

use baton_access::Role as Level;
use baton_proto::baton::{
    auth::v1::{
        CreateApiKeyRequest, LoginRequest, ReauthenticateRequest, RefreshRequest,
        api_key_service_client::ApiKeyServiceClient, auth_service_client::AuthServiceClient,
        session_service_client::SessionServiceClient,
    },
    tenancy::v1::{
        DeleteAccountRequest, Invitation, InviteMembersRequest, LeaveAccountRequest, RemoveMemberRequest,
        SettingsChange, SuspendAccountRequest, TransferOwnershipRequest, UpdateSettingsRequest,
    },
};
use baton_testkit::{PASSWORD, Team};

use super::*;

/// Another session of the person, opened with two factors fifteen minutes ago. No service has cached it yet.
async fn old_session(context: &TestContext, person: &Person) -> Person {
    let login = LoginRequest { email: person.email.clone(), password: PASSWORD.to_owned() };
    let mut auth = AuthServiceClient::new(context.auth());
    let refresh_token = auth.login(login).await.unwrap().into_inner().refresh_token.unwrap();
    sqlx::query(
        "update auth.sessions set created_at = created_at - interval '15 minutes', amr = '{pwd,otp,mfa}'
         where user_id = $1",
    )
    .bind(person.user_id)
    .execute(&context.admin())
    .await
    .unwrap();
    // The token has the same time: refreshing a session is no proof.
    let token = auth.refresh(RefreshRequest { refresh_token }).await.unwrap().into_inner().access_token;
    Person { token, ..person.clone() }
}

async fn reauthenticate(context: &TestContext, person: &Person) {
    let request = ReauthenticateRequest { password: Some(PASSWORD.to_owned()), code: None };
    SessionServiceClient::new(context.auth()).reauthenticate(person.call_without_account(request)).await.unwrap();
}

fn second_factor(team: &Team, required: bool) -> UpdateSettingsRequest {
    UpdateSettingsRequest {
        account_id: team.account_id.to_string(),
        settings: Some(SettingsChange { require_second_factor: Some(required), ..SettingsChange::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["require_second_factor".to_owned()] }),
    }
}

fn removal(team: &Team, person: &Person) -> RemoveMemberRequest {
    RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: person.user_id.to_string(),
        hand_over_to: None,
    }
}

/// A request that makes a member an owner without a manager.
fn promotion(team: &Team, person: &Person) -> UpdateMemberRequest {
    let new = MemberChange { role: Role::Owner.into(), ..MemberChange::default() };
    change(team.account_id, person, new, &["role", "manager_id"])
}

/// The reason of an error; `None` for success.
fn error_reason<T>(response: Result<Response<T>, Status>) -> Option<Reason> {
    response.err().and_then(|status| reason(&status))
}

#[tokio::test]
async fn critical_actions_require_a_fresh_proof() {
    let context = test_context().await;
    let team = context.team().await;
    let (id, account_id) = (team.account_id, team.account_id.to_string());
    let other = context.person("other-owner").await;
    context.join(id, &other, Level::Owner, None).await;
    accounts(&context).update_settings(team.owner.call(id, second_factor(&team, true))).await.unwrap();
    let owner = old_session(&context, &team.owner).await;
    let (mut accounts, mut members) = (accounts(&context), members(&context));

    let transfer =
        TransferOwnershipRequest { account_id: account_id.clone(), user_id: team.super_manager.user_id.to_string() };
    let email = "more@example.org".to_owned();
    let many = InviteMembersRequest {
        account_id: account_id.clone(),
        invitations: vec![Invitation { email, role: Role::Owner.into(), manager_id: None }],
    };
    let one = invitation(id, "owner@example.org", Role::Owner, None);
    let (suspend, delete) = (
        SuspendAccountRequest { account_id: account_id.clone() },
        DeleteAccountRequest { account_id: account_id.clone() },
    );
    let leave = LeaveAccountRequest { account_id, hand_over_to: None };
    let promote = promotion(&team, &team.manager_b);
    let demote = new_role(id, &other, Role::User);
    let refused = [
        ("invite an owner", error_reason(members.invite_member(owner.call(id, one)).await)),
        ("invite owners", error_reason(members.invite_members(owner.call(id, many)).await)),
        ("promote to owner", error_reason(members.update_member(owner.call(id, promote)).await)),
        ("demote an owner", error_reason(members.update_member(owner.call(id, demote)).await)),
        ("remove an owner", error_reason(members.remove_member(owner.call(id, removal(&team, &other))).await)),
        ("leave", error_reason(members.leave_account(owner.call(id, leave)).await)),
        (
            "make the second factor optional",
            error_reason(accounts.update_settings(owner.call(id, second_factor(&team, false))).await),
        ),
        ("transfer", error_reason(accounts.transfer_ownership(owner.call(id, transfer)).await)),
        ("suspend", error_reason(accounts.suspend_account(owner.call(id, suspend)).await)),
        ("delete", error_reason(accounts.delete_account(owner.call(id, delete.clone())).await)),
    ];
    for (action, reason) in refused {
        assert_eq!(reason, Some(Reason::ReauthenticationRequired), "{action}");
    }
    // A caller without the permission is not asked for a proof.
    let manager = old_session(&context, &team.super_manager).await;
    assert_eq!(
        error_reason(accounts.delete_account(manager.call(id, delete.clone())).await),
        Some(Reason::PermissionMissing)
    );

    // Other actions need no fresh proof.
    let user = invitation(id, "user@example.org", Role::User, None);
    members.invite_member(owner.call(id, user)).await.unwrap();
    members.remove_member(owner.call(id, removal(&team, &team.user_a2))).await.unwrap();
    accounts.update_settings(owner.call(id, second_factor(&team, true))).await.unwrap();

    // The proof takes effect at once, despite cached sessions.
    reauthenticate(&context, &owner).await;
    accounts.update_settings(owner.call(id, second_factor(&team, false))).await.unwrap();
    members.remove_member(owner.call(id, removal(&team, &other))).await.unwrap();
    accounts.delete_account(owner.call(id, delete)).await.unwrap();
}

#[tokio::test]
async fn an_api_key_cannot_make_an_owner() {
    let context = test_context().await;
    let team = context.team().await;
    let id = team.account_id;
    let request = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
    let key = ApiKeyServiceClient::new(context.auth()).create_api_key(team.owner.call_without_account(request)).await;
    let script = Person { token: key.unwrap().into_inner().key, ..team.owner.clone() };
    let new = invitation(id, "owner@example.org", Role::Owner, None);
    assert_eq!(refusal(members(&context).invite_member(script.call(id, new)).await), Reason::SessionRequired);
    let promote = promotion(&team, &team.super_manager);
    assert_eq!(refusal(members(&context).update_member(script.call(id, promote)).await), Reason::SessionRequired);
    let leave = LeaveAccountRequest { account_id: id.to_string(), hand_over_to: None };
    assert_eq!(refusal(members(&context).leave_account(script.call(id, leave)).await), Reason::SessionRequired);
    let user = invitation(id, "user@example.org", Role::User, None);
    members(&context).invite_member(script.call(id, user)).await.unwrap();
}
