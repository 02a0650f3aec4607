//! Figures about an account.

use baton_errors::Reason;
use baton_proto::baton::tenancy::v1::{
    AccountAnalytics, GetAccountAnalyticsRequest, MemberStatus, RemoveMemberRequest, Role,
};

use super::*;
use crate::{invitation, invite, members, refusal};

async fn figures(stage: &Stage, person: &Person) -> AccountAnalytics {
    let account_id = stage.team.account_id;
    let request = person.call(account_id, GetAccountAnalyticsRequest { account_id: account_id.to_string() });
    stage.client().get_account_analytics(request).await.unwrap().into_inner().analytics.unwrap()
}

fn members_of(figures: &AccountAnalytics, role: Role, status: MemberStatus) -> i32 {
    let of = |row: &&baton_proto::baton::tenancy::v1::MemberCount| row.role() == role && row.status() == status;
    figures.members.iter().find(of).map_or(0, |row| row.count)
}

#[tokio::test]
async fn an_account_is_told_how_it_grows_and_what_goes_on() {
    let stage = Stage::set().await;
    let (team, begun) = (&stage.team, stage.begun().await);
    let account_id = team.account_id;
    invite(&stage.world, &team.owner, invitation(account_id, "open@example.org", Role::User, None)).await.unwrap();
    invite(&stage.world, &team.owner, invitation(account_id, "old@example.org", Role::User, None)).await.unwrap();
    sqlx::query(
        "update tenancy.memberships set invited_at = now() - interval '15 days' where email_key = 'old@example.org'",
    )
    .execute(&stage.world.admin())
    .await
    .unwrap();
    let remove = RemoveMemberRequest {
        account_id: account_id.to_string(),
        user_id: team.user_b1.user_id.to_string(),
        ..Default::default()
    };
    members(&stage.world).remove_member(team.owner.call(account_id, remove)).await.unwrap();
    for _ in 0..3 {
        stage.happens(&team.user_a1, "task.created", Uuid::now_v7(), Origin::default()).await;
    }
    stage.happens(&team.user_a2, "task.completed", Uuid::now_v7(), Origin::default()).await;
    let rows = stage.log(begun + 2 + 1 + 4).await;

    let all = figures(&stage, &team.super_manager).await;
    assert_eq!(members_of(&all, Role::Owner, MemberStatus::Active), 1);
    assert_eq!(members_of(&all, Role::Manager, MemberStatus::Active), 2);
    assert_eq!(members_of(&all, Role::User, MemberStatus::Active), 2, "who left is not counted");
    assert_eq!(members_of(&all, Role::User, MemberStatus::Invited), 1, "an invitation that ran out is not counted");
    let invitations = all.invitations.unwrap();
    assert_eq!((invitations.open, invitations.accepted, invitations.expired), (1, 6, 1));
    assert_eq!((all.weeks.len(), all.days.len()), (12, 30));
    let week = all.weeks.last().unwrap();
    assert_eq!((week.joined, week.left), (7, 1));
    assert!(all.weeks[..11].iter().all(|week| (week.joined, week.left) == (0, 0)));
    // Others may have happened since the rows were counted.
    let happened = all.days.iter().map(|day| day.count).sum::<i32>();
    assert!(happened >= rows.len() as i32, "{happened}");
    assert_eq!(happened, all.hours.iter().map(|hour| hour.count).sum::<i32>());
    assert_eq!(happened, all.actions.iter().map(|row| row.count).sum::<i32>());
    let of = |figures: &AccountAnalytics, action: &str| {
        figures.actions.iter().find(|row| row.action == action).map_or(0, |row| row.count)
    };
    assert_eq!((of(&all, "task.created"), of(&all, "task.completed"), of(&all, "member.invited")), (3, 1, 2));

    // A manager's figures are those of their team.
    let team_only = figures(&stage, &team.manager_a).await;
    assert_eq!(members_of(&team_only, Role::User, MemberStatus::Active), 2);
    assert_eq!(members_of(&team_only, Role::Manager, MemberStatus::Active), 1);
    assert_eq!(members_of(&team_only, Role::Owner, MemberStatus::Active), 0);
    assert_eq!((of(&team_only, "task.created"), of(&team_only, "member.invited")), (3, 0));
    let other = figures(&stage, &team.manager_b).await;
    assert_eq!((of(&other, "task.created"), other.days.iter().map(|day| day.count).sum::<i32>()), (0, 0));
    assert_eq!(other.weeks.last().unwrap().left, 1, "whoever reported to them has left");
}

#[tokio::test]
async fn figures_are_for_managers_and_above_of_the_account() {
    let stage = Stage::set().await;
    let account_id = stage.team.account_id;
    let ask =
        |person: &Person, of: Uuid| person.call(account_id, GetAccountAnalyticsRequest { account_id: of.to_string() });
    let refused = stage.client().get_account_analytics(ask(&stage.team.user_a1, account_id)).await;
    assert_eq!(refusal(refused), Reason::PermissionMissing);
    // CVE-2026-105209: the account of the request is not the one that the caller was let into.
    let other = stage.world.person("other").await;
    let foreign = stage.world.account(&other).await;
    for of in [foreign, Uuid::now_v7()] {
        let refused = stage.client().get_account_analytics(ask(&stage.team.owner, of)).await;
        assert_eq!(refusal(refused), Reason::AccountNotFound);
    }
}
