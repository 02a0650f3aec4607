//! Figures about an account.

use baton_access::{Principal, Role, matrix};
use baton_errors::{Error, Result};
use baton_proto::{
    baton::{
        access::v1::Permission,
        tenancy::v1::{
            AccountAnalytics, ActivityAction, ActivityDay, ActivityHour, InvitationCounts, MemberCount, MemberStatus,
            MemberWeek,
        },
    },
    convert::timestamp,
};
use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Rpc;
use crate::{
    member::{INVITATION, Status},
    store::analytics::{self, Figure, Members, Week},
};

const WEEKS: i64 = 12;
const DAYS: i64 = 30;
const MOST_ACTIONS: usize = 50;

impl Rpc {
    pub(super) async fn analytics(&self, principal: &Principal) -> Result<AccountAnalytics> {
        let account_id = principal.account_id();
        let people = people(principal);
        let people = people.as_deref();
        let now = self.db.clock().now();
        let invited_since = now - INVITATION;
        let (week, day) = (monday(now) - TimeDelta::weeks(WEEKS - 1), midnight(now) - TimeDelta::days(DAYS - 1));
        let mut tx = self.db.begin_list(principal.tenant()).await?;
        let members = analytics::members(&mut tx, account_id, people, invited_since).await?;
        let weeks = analytics::weeks(&mut tx, account_id, people, week).await?;
        let invitations = analytics::invitations(&mut tx, account_id, people, invited_since, now).await?;
        let figures = analytics::activity(&mut tx, account_id, people, day).await?;
        let (days, actions, hours) = activity(&figures, day);
        Ok(AccountAnalytics {
            members: members.iter().map(member_count).collect::<Result<_>>()?,
            weeks: member_weeks(&weeks, week),
            invitations: Some(InvitationCounts {
                open: number(invitations.open),
                accepted: number(invitations.accepted),
                expired: number(invitations.expired),
            }),
            days,
            actions,
            hours,
        })
    }
}

/// Whom the caller's figures are about: everyone for who reads the whole log; else themselves and their reports.
fn people(principal: &Principal) -> Option<Vec<Uuid>> {
    let everyone = matrix::holds(principal.role(), Permission::ViewActivity);
    (!everyone).then(|| principal.membership.reports.iter().copied().chain([principal.user_id()]).collect())
}

fn member_count(row: &Members) -> Result<MemberCount> {
    let unknown = || Error::internal("a role or status that is none");
    let role = Role::from_name(&row.role).ok_or_else(unknown)?;
    let status = match Status::from_name(&row.status).ok_or_else(unknown)? {
        Status::Invited => MemberStatus::Invited,
        Status::Active => MemberStatus::Active,
        Status::Removed => MemberStatus::Removed,
    };
    Ok(MemberCount { role: role.to_proto().into(), status: status.into(), count: number(row.count) })
}

/// All weeks from `first`, those in which nobody moved too.
fn member_weeks(found: &[Week], first: DateTime<Utc>) -> Vec<MemberWeek> {
    let week = |nth| {
        let starts_at = first + TimeDelta::weeks(nth);
        let found = found.iter().find(|week| week.starts_at == starts_at);
        MemberWeek {
            starts_at: Some(timestamp(starts_at)),
            joined: number(found.map_or(0, |week| week.joined)),
            left: number(found.map_or(0, |week| week.left)),
        }
    };
    (0..WEEKS).map(week).collect()
}

/// What happened by day (all of them from `first`), by action and by hour.
fn activity(figures: &[Figure], first: DateTime<Utc>) -> (Vec<ActivityDay>, Vec<ActivityAction>, Vec<ActivityHour>) {
    let day = |nth| {
        let starts_at = first + TimeDelta::days(nth);
        let found = figures.iter().find(|figure| figure.day == Some(starts_at));
        ActivityDay { starts_at: Some(timestamp(starts_at)), count: number(found.map_or(0, |figure| figure.count)) }
    };
    let action =
        |figure: &Figure| figure.action.clone().map(|action| ActivityAction { action, count: number(figure.count) });
    let hour = |figure: &Figure| figure.hour.map(|hour| ActivityHour { hour, count: number(figure.count) });
    let mut actions: Vec<_> = figures.iter().filter_map(action).collect();
    actions.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.action.cmp(&b.action)));
    actions.truncate(MOST_ACTIONS);
    let mut hours: Vec<_> = figures.iter().filter_map(hour).collect();
    hours.sort_by_key(|hour| (-hour.count, hour.hour));
    ((0..DAYS).map(day).collect(), actions, hours)
}

fn midnight(time: DateTime<Utc>) -> DateTime<Utc> {
    time.date_naive().and_time(NaiveTime::MIN).and_utc()
}

/// The beginning of the week of this time.
fn monday(time: DateTime<Utc>) -> DateTime<Utc> {
    midnight(time) - TimeDelta::days(time.weekday().num_days_from_monday().into())
}

fn number(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn weeks_begin_on_mondays_and_none_is_left_out() {
        assert_eq!(monday(at("2026-11-22T23:59:59Z")), at("2026-11-16T00:00:00Z"));
        assert_eq!(monday(at("2026-11-16T00:00:00Z")), at("2026-11-16T00:00:00Z"));
        let first = at("2026-08-31T00:00:00Z");
        let weeks = member_weeks(&[Week { starts_at: at("2026-09-07T00:00:00Z"), joined: 3, left: 1 }], first);
        assert_eq!(weeks.len(), 12);
        assert_eq!((weeks[1].joined, weeks[1].left), (3, 1));
        assert!(weeks.iter().enumerate().all(|(nth, week)| nth == 1 || (week.joined, week.left) == (0, 0)));
    }

    #[test]
    fn figures_are_told_apart_and_sorted() {
        let first = at("2026-11-01T00:00:00Z");
        let figure = |day: Option<&str>, action: Option<&str>, hour, count| Figure {
            day: day.map(at),
            action: action.map(str::to_owned),
            hour,
            count,
        };
        let (days, actions, hours) = activity(
            &[
                figure(Some("2026-11-03T00:00:00Z"), None, None, 7),
                figure(None, Some("task.created"), None, 2),
                figure(None, Some("task.completed"), None, 5),
                figure(None, None, Some(9), 3),
                figure(None, None, Some(14), 4),
            ],
            first,
        );
        assert_eq!((days.len(), days[2].count, days[3].count), (30, 7, 0));
        assert_eq!(actions.iter().map(|a| a.action.as_str()).collect::<Vec<_>>(), ["task.completed", "task.created"]);
        assert_eq!(hours.iter().map(|h| h.hour).collect::<Vec<_>>(), [14, 9]);
    }
}
