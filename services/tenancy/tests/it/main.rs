//! The tenancy service on a real Postgres and Redis, with the real auth service. One file per subject.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod account_creation;
mod account_lifecycle;
mod activity;
mod assignees;
mod billing;
mod bulk_invitations;
mod fresh_proof;
mod handles;
mod hierarchy;
mod hierarchy_invariants;
mod invitation_acceptance;
mod invitation_emails;
mod invitations;
mod inviter_rights;
mod member_changes;
mod member_email;
mod membership_resolver;
mod offboarding;
mod pagination;
mod quotas;
mod settings;
mod tenant_isolation;
mod user_deactivation;

use baton_errors::Reason;
use baton_proto::baton::tenancy::v1::{
    InviteMemberRequest, Member, MemberChange, Role, UpdateMemberRequest, account_service_client::AccountServiceClient,
    member_service_client::MemberServiceClient,
};
use baton_tenancy::SPEC;
use baton_testkit::{Person, TestContext, reason};
use tonic::{Request, Response, Status, transport::Channel};
use uuid::Uuid;

async fn test_context() -> TestContext {
    TestContext::start(&[SPEC.schema()]).await
}

fn accounts(context: &TestContext) -> AccountServiceClient<Channel> {
    AccountServiceClient::new(context.tenancy())
}

fn members(context: &TestContext) -> MemberServiceClient<Channel> {
    MemberServiceClient::new(context.tenancy())
}

/// The reason for which a call was refused.
fn refusal<T: std::fmt::Debug>(response: Result<Response<T>, Status>) -> Reason {
    let status = response.unwrap_err();
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

async fn invite(context: &TestContext, by: &Person, request: InviteMemberRequest) -> Result<Member, Status> {
    let account_id = request.account_id.parse().unwrap();
    let response = members(context).invite_member(by.call(account_id, request)).await?;
    Ok(response.into_inner().member.unwrap())
}

/// A request that changes the fields in `paths`.
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

/// A user's memberships as stored: role, status, manager.
async fn stored_memberships(
    context: &TestContext,
    account_id: Uuid,
    user_id: Uuid,
) -> Vec<(String, String, Option<Uuid>)> {
    sqlx::query_as(
        "select role, status, manager_id from tenancy.memberships where account_id = $1 and user_id = $2
         order by invited_at, id",
    )
    .bind(account_id)
    .bind(user_id)
    .fetch_all(&context.admin())
    .await
    .unwrap()
}

async fn count(context: &TestContext, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&context.admin()).await.unwrap()
}
