//! Quotas: seats, reported usage, warnings.

use baton_access::Role;
use baton_errors::Reason;
use baton_proto::baton::{
    events::v1::Envelope,
    tenancy::v1::{
        self as proto, AcceptInvitationRequest, GetUsageRequest, GetUsageResponse, InviteMembersRequest, Quota,
        UsageChanged, UsageWarning, usage_service_client::UsageServiceClient,
    },
};
use baton_store::Tenant;
use baton_testkit::{Person, TestContext, event, eventually, reason};
use futures_util::future::join_all;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::{invitation, invite, members, test_context};

/// Sets the number of seats of an account.
async fn set_max_users(context: &TestContext, account_id: Uuid, users: i32) {
    sqlx::query("update tenancy.accounts set max_users = $2 where id = $1")
        .bind(account_id)
        .bind(users)
        .execute(&context.admin())
        .await
        .unwrap();
}

async fn usage(context: &TestContext, by: &Person, account_id: Uuid) -> Result<GetUsageResponse, Status> {
    let request = by.call(account_id, GetUsageRequest { account_id: account_id.to_string() });
    Ok(UsageServiceClient::new(context.tenancy()).get_usage(request).await?.into_inner())
}

/// Limit, usage and percentage of a quota.
fn quota_usage(usage: &GetUsageResponse, quota: Quota) -> (Option<i32>, Option<i32>, Option<i32>) {
    let found = usage.quotas.iter().find(|found| found.quota() == quota).unwrap();
    (found.limit, found.used, found.percent)
}

async fn warnings(context: &TestContext, account_id: Uuid) -> Vec<UsageWarning> {
    let envelopes: Vec<Vec<u8>> =
        sqlx::query_scalar("select envelope from tenancy.outbox where account_id = $1 order by position")
            .bind(account_id)
            .fetch_all(&context.admin())
            .await
            .unwrap();
    envelopes
        .iter()
        .map(|envelope| Envelope::decode(envelope.as_slice()).unwrap())
        .filter(|envelope| envelope.r#type == "account.usage_warning")
        .map(|envelope| envelope.payload.unwrap().to_msg().unwrap())
        .collect()
}

#[tokio::test]
async fn concurrent_invitations_for_the_last_seat_have_one_winner() {
    let context = test_context().await;
    let owner = context.person("owner").await;
    let account_id = context.account(&owner).await;
    set_max_users(&context, account_id, 2).await;
    let invite = |n: usize| {
        let request = invitation(account_id, &format!("p{n}@example.com"), proto::Role::User, None);
        invite(&context, &owner, request)
    };
    let responses = join_all((0..30).map(invite)).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 1);
    for refused in responses.into_iter().filter_map(Result::err) {
        assert_eq!((reason(&refused), refused.code()), (Some(Reason::QuotaExceeded), Code::FailedPrecondition));
        let metadata = refused.get_details_error_info().unwrap().metadata;
        let details = ["quota", "limit", "used"].map(|name| metadata[name].as_str());
        assert_eq!(details, ["users", "2", "2"]);
    }
    let usage = usage(&context, &owner, account_id).await.unwrap();
    assert_eq!(quota_usage(&usage, Quota::Users), (Some(2), Some(2), Some(100)));
}

#[tokio::test]
async fn a_bulk_invitation_gets_all_seats_or_none() {
    let context = test_context().await;
    let owner = context.person("owner").await;
    let account_id = context.account(&owner).await;
    set_max_users(&context, account_id, 3).await;
    let all = |emails: &[&str]| {
        let invitations = emails.iter().map(|email| proto::Invitation {
            email: (*email).to_owned(),
            role: proto::Role::User.into(),
            ..Default::default()
        });
        let request = InviteMembersRequest { account_id: account_id.to_string(), invitations: invitations.collect() };
        let request = owner.call(account_id, request);
        let mut members = members(&context);
        async move { members.invite_members(request).await }
    };
    let refused = all(&["a@example.com", "b@example.com", "c@example.com"]).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::QuotaExceeded));
    all(&["a@example.com", "b@example.com"]).await.unwrap();
    // Members who are already invited take no second seat.
    all(&["a@example.com", "b@example.com"]).await.unwrap();
}

#[tokio::test]
async fn acceptance_after_a_downgrade_requires_a_free_seat() {
    let context = test_context().await;
    let [owner, late] = [context.person("owner").await, context.person("late").await];
    let account_id = context.account(&owner).await;
    let invited = invite(&context, &owner, invitation(account_id, &late.email, proto::Role::User, None)).await.unwrap();
    set_max_users(&context, account_id, 1).await;
    let token = context.invitation_tokens().issue("invitation", [account_id, invited.id.parse().unwrap()]);
    let accept = async || {
        let request = late.call_without_account(AcceptInvitationRequest { token: token.clone() });
        members(&context).accept_invitation(request).await
    };
    assert_eq!(reason(&accept().await.unwrap_err()), Some(Reason::QuotaExceeded));
    set_max_users(&context, account_id, 2).await;
    accept().await.unwrap();
}

#[tokio::test]
async fn owners_are_warned_once_at_80_and_at_100_percent() {
    let context = test_context().await;
    let owner = context.person("owner").await;
    let account_id = context.account(&owner).await;
    set_max_users(&context, account_id, 5).await;
    for n in 0..4 {
        let request = invitation(account_id, &format!("p{n}@example.com"), proto::Role::User, None);
        invite(&context, &owner, request).await.unwrap();
    }
    let warnings = warnings(&context, account_id).await;
    assert_eq!(warnings.iter().map(|warning| warning.percent).collect::<Vec<_>>(), [80, 100]);
    assert!(warnings.iter().all(|warning| warning.quota() == Quota::Users));
    assert!(warnings.iter().all(|warning| warning.owner_ids == [owner.user_id.to_string()]));
}

#[tokio::test]
async fn reported_usage_is_returned_and_causes_warnings() {
    let context = test_context().await;
    let owner = context.person("owner").await;
    let account_id = context.account(&owner).await;
    let member = context.person("member").await;
    context.join(account_id, &member, Role::User, Some(owner.user_id)).await;
    // Events of any service are accepted: these come from tenancy's own outbox, one or more per transaction.
    let report = async |values: &[i32]| {
        let db = context.db("tenancy");
        let mut tx = db.begin(Tenant::account(account_id)).await.unwrap();
        let event = |&used: &i32| {
            let user_id = member.user_id.to_string();
            let payload = UsageChanged { quota: Quota::OpenTasksPerUser.into(), user_id, used };
            event("usage.changed", account_id, member.user_id, &payload)
        };
        tx.publish_all(values.iter().map(event)).await.unwrap();
        tx.commit().await.unwrap();
        eventually(|| async {
            let usage = usage(&context, &owner, account_id).await.unwrap();
            (quota_usage(&usage, Quota::OpenTasksPerUser).1 == values.last().copied()).then_some(())
        })
        .await;
    };
    sqlx::query("update tenancy.accounts set max_open_tasks_per_user = 10 where id = $1")
        .bind(account_id)
        .execute(&context.admin())
        .await
        .unwrap();
    // Of several reports in one batch, the last is stored.
    report(&[3, 1, 4, 2, 6, 5]).await;
    for used in [7, 8, 9, 8, 10, 9, 10, 0, 8] {
        report(&[used]).await;
    }
    let warnings = warnings(&context, account_id).await;
    // One warning while usage oscillates around a threshold, and another after it has fallen.
    assert_eq!(warnings.iter().map(|warning| warning.percent).collect::<Vec<_>>(), [80, 100, 80]);
    assert!(warnings.iter().all(|warning| warning.user_id == member.user_id.to_string()));
    let refused = usage(&context, &member, account_id).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::PermissionMissing));
}
