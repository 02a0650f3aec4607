//! Account analytics.

use baton_errors::Reason;
use baton_proto::baton::tenancy::v1::{
    AccountAnalytics, GetAccountAnalyticsRequest, MemberStatus, RemoveMemberRequest, Role,
};

use super::*;
use crate::{invitation, invite, members, refusal};

async fn analytics(fixture: &Fixture, person: &Person) -> AccountAnalytics {
    let account_id = fixture.team.account_id;
    let request = person.call(account_id, GetAccountAnalyticsRequest { account_id: account_id.to_string() });
    fixture.client().get_account_analytics(request).await.unwrap().into_inner().analytics.unwrap()
}

fn members_of(analytics: &AccountAnalytics, role: Role, status: MemberStatus) -> i32 {
    let of = |row: &&baton_proto::baton::tenancy::v1::MemberCount| row.role() == role && row.status() == status;
    analytics.members.iter().find(of).map_or(0, |row| row.count)
}

#[tokio::test]
async fn analytics_count_members_invitations_and_activity() {
    let fixture = Fixture::start().await;
    let (team, initial) = (&fixture.team, fixture.initial_rows().await);
    let account_id = team.account_id;
    invite(&fixture.context, &team.owner, invitation(account_id, "open@example.org", Role::User, None)).await.unwrap();
    invite(&fixture.context, &team.owner, invitation(account_id, "old@example.org", Role::User, None)).await.unwrap();
    sqlx::query(
        "update tenancy.memberships set invited_at = now() - interval '15 days' where email_key = 'old@example.org'",
    )
    .execute(&fixture.context.admin())
    .await
    .unwrap();
    let remove = RemoveMemberRequest {
        account_id: account_id.to_string(),
        user_id: team.user_b1.user_id.to_string(),
        ..Default::default()
    };
    members(&fixture.context).remove_member(team.owner.call(account_id, remove)).await.unwrap();
    for _ in 0..3 {
        fixture.publish(&team.user_a1, "task.created", Uuid::now_v7(), Origin::default()).await;
    }
    fixture.publish(&team.user_a2, "task.completed", Uuid::now_v7(), Origin::default()).await;
    let rows = fixture.log(initial + 2 + 1 + 4).await;

    let all = analytics(&fixture, &team.super_manager).await;
    assert_eq!(members_of(&all, Role::Owner, MemberStatus::Active), 1);
    assert_eq!(members_of(&all, Role::Manager, MemberStatus::Active), 2);
    assert_eq!(members_of(&all, Role::User, MemberStatus::Active), 2, "members who left are not counted");
    assert_eq!(members_of(&all, Role::User, MemberStatus::Invited), 1, "an expired invitation is not counted");
    let invitations = all.invitations.unwrap();
    assert_eq!((invitations.open, invitations.accepted, invitations.expired), (1, 6, 1));
    assert_eq!((all.weeks.len(), all.days.len()), (12, 30));
    let week = all.weeks.last().unwrap();
    assert_eq!((week.joined, week.left), (7, 1));
    assert!(all.weeks[..11].iter().all(|week| (week.joined, week.left) == (0, 0)));
    // More events may have been logged since the rows were counted.
    let events = all.days.iter().map(|day| day.count).sum::<i32>();
    assert!(events >= rows.len() as i32, "{events}");
    assert_eq!(events, all.hours.iter().map(|hour| hour.count).sum::<i32>());
    assert_eq!(events, all.actions.iter().map(|row| row.count).sum::<i32>());
    let of = |analytics: &AccountAnalytics, action: &str| {
        analytics.actions.iter().find(|row| row.action == action).map_or(0, |row| row.count)
    };
    assert_eq!((of(&all, "task.created"), of(&all, "task.completed"), of(&all, "member.invited")), (3, 1, 2));

    // A manager sees only their team.
    let team_only = analytics(&fixture, &team.manager_a).await;
    assert_eq!(members_of(&team_only, Role::User, MemberStatus::Active), 2);
    assert_eq!(members_of(&team_only, Role::Manager, MemberStatus::Active), 1);
    assert_eq!(members_of(&team_only, Role::Owner, MemberStatus::Active), 0);
    assert_eq!((of(&team_only, "task.created"), of(&team_only, "member.invited")), (3, 0));
    let other = analytics(&fixture, &team.manager_b).await;
    assert_eq!((of(&other, "task.created"), other.days.iter().map(|day| day.count).sum::<i32>()), (0, 0));
    assert_eq!(other.weeks.last().unwrap().left, 1, "their report has left");
}

#[tokio::test]
async fn analytics_require_a_manager_of_the_account() {
    let fixture = Fixture::start().await;
    let account_id = fixture.team.account_id;
    let ask =
        |person: &Person, of: Uuid| person.call(account_id, GetAccountAnalyticsRequest { account_id: of.to_string() });
    let refused = fixture.client().get_account_analytics(ask(&fixture.team.user_a1, account_id)).await;
    assert_eq!(refusal(refused), Reason::PermissionMissing);
    // CVE-2026-105209: the account in the request differs from the account of the caller's membership.
    let other = fixture.context.person("other").await;
    let foreign = fixture.context.account(&other).await;
    for of in [foreign, Uuid::now_v7()] {
        let refused = fixture.client().get_account_analytics(ask(&fixture.team.owner, of)).await;
        assert_eq!(refusal(refused), Reason::AccountNotFound);
    }
}
