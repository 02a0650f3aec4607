//! What a tier allows: seats, and being told in time.

use baton_access::Role;
use baton_errors::Reason;
use baton_proto::baton::{
    events::v1::Envelope,
    tenancy::v1::{
        self as proto, AcceptInvitationRequest, GetUsageRequest, GetUsageResponse, InviteMembersRequest, Quota,
        UsageChanged, UsageWarning, usage_service_client::UsageServiceClient,
    },
};
use baton_store::{Event, Tenant};
use baton_testkit::{Person, TestContext, eventually, reason};
use futures_util::future::join_all;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::{invitation, invite, members, world};

async fn allow(world: &TestContext, account_id: Uuid, users: i32) {
    sqlx::query("update tenancy.accounts set max_users = $2 where id = $1")
        .bind(account_id)
        .bind(users)
        .execute(&world.admin())
        .await
        .unwrap();
}

async fn usage(world: &TestContext, by: &Person, account_id: Uuid) -> Result<GetUsageResponse, Status> {
    let request = by.call(account_id, GetUsageRequest { account_id: account_id.to_string() });
    Ok(UsageServiceClient::new(world.tenancy()).get_usage(request).await?.into_inner())
}

fn of(usage: &GetUsageResponse, quota: Quota) -> (Option<i32>, Option<i32>, Option<i32>) {
    let found = usage.quotas.iter().find(|found| found.quota() == quota).unwrap();
    (found.limit, found.used, found.percent)
}

async fn warnings(world: &TestContext, account_id: Uuid) -> Vec<UsageWarning> {
    let envelopes: Vec<Vec<u8>> =
        sqlx::query_scalar("select envelope from tenancy.outbox where account_id = $1 order by position")
            .bind(account_id)
            .fetch_all(&world.admin())
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
async fn of_a_hundred_who_are_invited_to_the_last_seat_one_gets_it() {
    let world = world().await;
    let owner = world.person("owner").await;
    let account_id = world.account(&owner).await;
    allow(&world, account_id, 2).await;
    let invite = |n: usize| {
        let request = invitation(account_id, &format!("p{n}@example.com"), proto::Role::User, None);
        invite(&world, &owner, request)
    };
    let answers = join_all((0..100).map(invite)).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.into_iter().filter_map(Result::err) {
        assert_eq!((reason(&refused), refused.code()), (Some(Reason::QuotaExceeded), Code::FailedPrecondition));
        let told = refused.get_details_error_info().unwrap().metadata;
        let told = ["quota", "limit", "used"].map(|name| told[name].as_str());
        assert_eq!(told, ["users", "2", "2"]);
    }
    let usage = usage(&world, &owner, account_id).await.unwrap();
    assert_eq!(of(&usage, Quota::Users), (Some(2), Some(2), Some(100)));
}

#[tokio::test]
async fn many_who_are_invited_at_once_all_find_a_seat_or_none() {
    let world = world().await;
    let owner = world.person("owner").await;
    let account_id = world.account(&owner).await;
    allow(&world, account_id, 3).await;
    let all = |emails: &[&str]| {
        let invitations = emails.iter().map(|email| proto::Invitation {
            email: (*email).to_owned(),
            role: proto::Role::User.into(),
            ..Default::default()
        });
        let request = InviteMembersRequest { account_id: account_id.to_string(), invitations: invitations.collect() };
        let request = owner.call(account_id, request);
        let mut members = members(&world);
        async move { members.invite_members(request).await }
    };
    let refused = all(&["a@example.com", "b@example.com", "c@example.com"]).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::QuotaExceeded));
    all(&["a@example.com", "b@example.com"]).await.unwrap();
    // Whoever is invited already takes no second seat.
    all(&["a@example.com", "b@example.com"]).await.unwrap();
}

#[tokio::test]
async fn who_was_invited_before_a_downgrade_waits_for_a_seat() {
    let world = world().await;
    let [owner, late] = [world.person("owner").await, world.person("late").await];
    let account_id = world.account(&owner).await;
    let invited = invite(&world, &owner, invitation(account_id, &late.email, proto::Role::User, None)).await.unwrap();
    allow(&world, account_id, 1).await;
    let token = world.invitation_tokens().issue("invitation", [account_id, invited.id.parse().unwrap()]);
    let accept = async || {
        let request = late.call_without_account(AcceptInvitationRequest { token: token.clone() });
        members(&world).accept_invitation(request).await
    };
    assert_eq!(reason(&accept().await.unwrap_err()), Some(Reason::QuotaExceeded));
    allow(&world, account_id, 2).await;
    accept().await.unwrap();
}

#[tokio::test]
async fn owners_are_told_once_at_80_and_at_100_percent() {
    let world = world().await;
    let owner = world.person("owner").await;
    let account_id = world.account(&owner).await;
    allow(&world, account_id, 5).await;
    for n in 0..4 {
        let request = invitation(account_id, &format!("p{n}@example.com"), proto::Role::User, None);
        invite(&world, &owner, request).await.unwrap();
    }
    let told = warnings(&world, account_id).await;
    assert_eq!(told.iter().map(|warning| warning.percent).collect::<Vec<_>>(), [80, 100]);
    assert!(told.iter().all(|warning| warning.quota() == Quota::Users));
    assert!(told.iter().all(|warning| warning.owner_ids == [owner.user_id.to_string()]));
}

#[tokio::test]
async fn what_another_service_counts_is_shown_and_warned_of() {
    let world = world().await;
    let owner = world.person("owner").await;
    let account_id = world.account(&owner).await;
    let member = world.person("member").await;
    world.join(account_id, &member, Role::User, Some(owner.user_id)).await;
    // Any service's events will do: these come from tenancy's own outbox, some at a time.
    let report = async |figures: &[i32]| {
        let db = world.db("tenancy");
        let mut tx = db.begin(Tenant::account(account_id)).await.unwrap();
        let event = |&used: &i32| {
            let user_id = member.user_id.to_string();
            let payload = UsageChanged { quota: Quota::OpenTasksPerUser.into(), user_id, used };
            Event::new("usage.changed", account_id, member.user_id, &payload)
        };
        tx.publish_all(figures.iter().map(event)).await.unwrap();
        tx.commit().await.unwrap();
        eventually(|| async {
            let usage = usage(&world, &owner, account_id).await.unwrap();
            (of(&usage, Quota::OpenTasksPerUser).1 == figures.last().copied()).then_some(())
        })
        .await;
    };
    sqlx::query("update tenancy.accounts set max_open_tasks_per_user = 10 where id = $1")
        .bind(account_id)
        .execute(&world.admin())
        .await
        .unwrap();
    // Of those that come at once, the last counts.
    report(&[3, 1, 4, 2, 6, 5]).await;
    for used in [7, 8, 9, 8, 10, 9, 10, 0, 8] {
        report(&[used]).await;
    }
    let told = warnings(&world, account_id).await;
    // Around the limit once; again after it had fallen.
    assert_eq!(told.iter().map(|warning| warning.percent).collect::<Vec<_>>(), [80, 100, 80]);
    assert!(told.iter().all(|warning| warning.user_id == member.user_id.to_string()));
    let refused = usage(&world, &member, account_id).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::PermissionMissing));
}
