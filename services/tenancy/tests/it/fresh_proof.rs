//! What cannot be undone, or hands the account over, takes a fresh proof of identity.

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

/// The person in another session, opened by two factors a quarter of an hour ago. Nobody has asked for it yet, so nothing
/// else of it is remembered.
async fn long_ago(world: &TestContext, person: &Person) -> Person {
    let login = LoginRequest { email: person.email.clone(), password: PASSWORD.to_owned() };
    let mut auth = AuthServiceClient::new(world.auth());
    let refresh_token = auth.login(login).await.unwrap().into_inner().refresh_token.unwrap();
    sqlx::query(
        "update auth.sessions set created_at = created_at - interval '15 minutes', amr = '{pwd,otp,mfa}'
         where user_id = $1",
    )
    .bind(person.user_id)
    .execute(&world.admin())
    .await
    .unwrap();
    // Its token says so as well. Going on with a session proves nothing.
    let token = auth.refresh(RefreshRequest { refresh_token }).await.unwrap().into_inner().access_token;
    Person { token, ..person.clone() }
}

async fn reauthenticate(world: &TestContext, person: &Person) {
    let request = ReauthenticateRequest { password: Some(PASSWORD.to_owned()), code: None };
    SessionServiceClient::new(world.auth()).reauthenticate(person.call_without_account(request)).await.unwrap();
}

fn second_factor(team: &Team, required: bool) -> UpdateSettingsRequest {
    UpdateSettingsRequest {
        account_id: team.account_id.to_string(),
        settings: Some(SettingsChange { require_second_factor: Some(required), ..SettingsChange::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["require_second_factor".to_owned()] }),
    }
}

fn removal(team: &Team, who: &Person) -> RemoveMemberRequest {
    RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: who.user_id.to_string(),
        hand_over_to: None,
    }
}

/// Makes somebody an owner, who has no manager.
fn promotion(team: &Team, who: &Person) -> UpdateMemberRequest {
    let new = MemberChange { role: Role::Owner.into(), ..MemberChange::default() };
    change(team.account_id, who, new, &["role", "manager_id"])
}

/// What was refused, and why.
fn told<T>(answer: Result<Response<T>, Status>) -> Option<Reason> {
    answer.err().and_then(|status| reason(&status))
}

#[tokio::test]
async fn without_a_fresh_proof_nothing_critical_is_done() {
    let world = world().await;
    let team = world.team().await;
    let (id, account_id) = (team.account_id, team.account_id.to_string());
    let other = world.person("other-owner").await;
    world.join(id, &other, Level::Owner, None).await;
    accounts(&world).update_settings(team.owner.call(id, second_factor(&team, true))).await.unwrap();
    let owner = long_ago(&world, &team.owner).await;
    let (mut accounts, mut members) = (accounts(&world), members(&world));

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
        ("invite an owner", told(members.invite_member(owner.call(id, one)).await)),
        ("invite owners", told(members.invite_members(owner.call(id, many)).await)),
        ("make an owner", told(members.update_member(owner.call(id, promote)).await)),
        ("unmake an owner", told(members.update_member(owner.call(id, demote)).await)),
        ("remove an owner", told(members.remove_member(owner.call(id, removal(&team, &other))).await)),
        ("leave", told(members.leave_account(owner.call(id, leave)).await)),
        ("lift the second factor", told(accounts.update_settings(owner.call(id, second_factor(&team, false))).await)),
        ("transfer", told(accounts.transfer_ownership(owner.call(id, transfer)).await)),
        ("suspend", told(accounts.suspend_account(owner.call(id, suspend)).await)),
        ("delete", told(accounts.delete_account(owner.call(id, delete.clone())).await)),
    ];
    for (what, why) in refused {
        assert_eq!(why, Some(Reason::ReauthenticationRequired), "{what}");
    }
    // Whoever may not do it at all is not sent to prove themselves for it.
    let manager = long_ago(&world, &team.super_manager).await;
    assert_eq!(told(accounts.delete_account(manager.call(id, delete.clone())).await), Some(Reason::PermissionMissing));

    // What is not critical goes on.
    let user = invitation(id, "user@example.org", Role::User, None);
    members.invite_member(owner.call(id, user)).await.unwrap();
    members.remove_member(owner.call(id, removal(&team, &team.user_a2))).await.unwrap();
    accounts.update_settings(owner.call(id, second_factor(&team, true))).await.unwrap();

    // The proof counts at once, whatever was remembered of the session.
    reauthenticate(&world, &owner).await;
    accounts.update_settings(owner.call(id, second_factor(&team, false))).await.unwrap();
    members.remove_member(owner.call(id, removal(&team, &other))).await.unwrap();
    accounts.delete_account(owner.call(id, delete)).await.unwrap();
}

#[tokio::test]
async fn an_api_key_makes_no_owner() {
    let world = world().await;
    let team = world.team().await;
    let id = team.account_id;
    let request = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
    let key = ApiKeyServiceClient::new(world.auth()).create_api_key(team.owner.call_without_account(request)).await;
    let script = Person { token: key.unwrap().into_inner().key, ..team.owner.clone() };
    let new = invitation(id, "owner@example.org", Role::Owner, None);
    assert_eq!(refusal(members(&world).invite_member(script.call(id, new)).await), Reason::SessionRequired);
    let promote = promotion(&team, &team.super_manager);
    assert_eq!(refusal(members(&world).update_member(script.call(id, promote)).await), Reason::SessionRequired);
    let leave = LeaveAccountRequest { account_id: id.to_string(), hand_over_to: None };
    assert_eq!(refusal(members(&world).leave_account(script.call(id, leave)).await), Reason::SessionRequired);
    let user = invitation(id, "user@example.org", Role::User, None);
    members(&world).invite_member(script.call(id, user)).await.unwrap();
}
