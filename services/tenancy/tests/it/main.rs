//! The service as its callers meet it: real Postgres, Redis and auth, a file per story.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod accepting_an_invitation;
mod activity;
mod another_tenant;
mod billing;
mod building_a_team;
mod changing_address;
mod changing_members;
mod creating_an_account;
mod deactivating;
mod fresh_proof;
mod handles;
mod invitations_end;
mod inviting;
mod leaving;
mod listing;
mod many_invitations;
mod quotas;
mod random_changes;
mod resolving_a_membership;
mod running_an_account;
mod settings;
mod whom_to_hand_tasks_to;

use baton_errors::Reason;
use baton_proto::baton::tenancy::v1::{
    InviteMemberRequest, Member, MemberChange, Role, UpdateMemberRequest, account_service_client::AccountServiceClient,
    member_service_client::MemberServiceClient,
};
use baton_tenancy::{MIGRATIONS, SCHEMA};
use baton_testkit::{Person, TestContext, reason};
use tonic::{Request, Response, Status, transport::Channel};
use uuid::Uuid;

async fn world() -> TestContext {
    TestContext::start(&[(SCHEMA, &MIGRATIONS)]).await
}

fn accounts(world: &TestContext) -> AccountServiceClient<Channel> {
    AccountServiceClient::new(world.tenancy())
}

fn members(world: &TestContext) -> MemberServiceClient<Channel> {
    MemberServiceClient::new(world.tenancy())
}

/// Why a call was refused.
fn refusal<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Reason {
    let status = answer.unwrap_err();
    reason(&status).unwrap_or_else(|| panic!("no reason in {status:?}"))
}

fn with_metadata<T>(mut request: Request<T>, key: &'static str, value: &str) -> Request<T> {
    request.metadata_mut().insert(key, value.parse().unwrap());
    request
}

fn invitation(account_id: Uuid, email: &str, role: Role, manager: Option<&Person>) -> InviteMemberRequest {
    InviteMemberRequest {
        account_id: account_id.to_string(),
        email: email.to_owned(),
        role: role.into(),
        manager_id: manager.map(|manager| manager.user_id.to_string()),
    }
}

async fn invite(world: &TestContext, by: &Person, request: InviteMemberRequest) -> Result<Member, Status> {
    let account_id = request.account_id.parse().unwrap();
    let answer = members(world).invite_member(by.call(account_id, request)).await?;
    Ok(answer.into_inner().member.unwrap())
}

/// A change of what `paths` name.
fn change(account_id: Uuid, of: &Person, new: MemberChange, paths: &[&str]) -> UpdateMemberRequest {
    UpdateMemberRequest {
        account_id: account_id.to_string(),
        user_id: of.user_id.to_string(),
        member: Some(new),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
    }
}

fn new_role(account_id: Uuid, of: &Person, role: Role) -> UpdateMemberRequest {
    change(account_id, of, MemberChange { role: role.into(), ..MemberChange::default() }, &["role"])
}

fn new_manager(account_id: Uuid, of: &Person, manager: Option<&Person>) -> UpdateMemberRequest {
    let manager_id = manager.map(|manager| manager.user_id.to_string());
    change(account_id, of, MemberChange { manager_id, ..MemberChange::default() }, &["manager_id"])
}

/// One row, looked at behind the service's back: user id, role, status, manager.
async fn stored(world: &TestContext, account_id: Uuid, user_id: Uuid) -> Vec<(String, String, Option<Uuid>)> {
    sqlx::query_as(
        "select role, status, manager_id from tenancy.memberships where account_id = $1 and user_id = $2
         order by invited_at, id",
    )
    .bind(account_id)
    .bind(user_id)
    .fetch_all(&world.admin())
    .await
    .unwrap()
}

async fn count(world: &TestContext, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&world.admin()).await.unwrap()
}
