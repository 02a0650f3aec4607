//! Account analytics.

use baton_access::{Principal, Role, matrix};
use baton_errors::{Error, Result};
use baton_proto::{
    baton::{
        access::v1::Permission,
        tenancy::v1::{
            AccountAnalytics, ActivityAction, ActivityDay, ActivityHour, InvitationCounts, MemberCount, MemberWeek,
        },
    },
    convert::timestamp,
};
use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Rpc;
use crate::{
    application::dpa::require_dpa,
    convert,
    member::{INVITATION_TTL, MemberStatus},
    store::analytics::{self, ActivityCount, MemberGroup, WeekCounts},
};

const WEEKS: i64 = 12;
const DAYS: i64 = 30;
const MAX_ACTIONS: usize = 50;

impl Rpc {
    pub(super) async fn analytics(&self, principal: &Principal) -> Result<AccountAnalytics> {
        let account_id = principal.account_id();
        let users = visible_users(principal);
        let users = users.as_deref();
        let now = self.db.clock().now();
        let invited_since = now - INVITATION_TTL;
        let (week, day) = (week_start(now) - TimeDelta::weeks(WEEKS - 1), day_start(now) - TimeDelta::days(DAYS - 1));
        let mut tx = self.db.begin_list(principal.tenant()).await?;
        require_dpa(&mut tx, account_id).await?;
        let members = analytics::count_members(&mut tx, account_id, users, invited_since).await?;
        let weeks = analytics::count_member_weeks(&mut tx, account_id, users, week).await?;
        let invitations = analytics::count_invitations(&mut tx, account_id, users, invited_since, now).await?;
        let counts = analytics::count_activity(&mut tx, account_id, users, day).await?;
        let (days, actions, hours) = activity_totals(&counts, day);
        Ok(AccountAnalytics {
            members: members.iter().map(member_count).collect::<Result<_>>()?,
            weeks: member_weeks(&weeks, week),
            invitations: Some(InvitationCounts {
                open: to_i32(invitations.open),
                accepted: to_i32(invitations.accepted),
                expired: to_i32(invitations.expired),
            }),
            days,
            actions,
            hours,
        })
    }
}

/// Users whose data the caller may see: `None` (all) with the permission to read the whole log, else the caller and
/// their reports.
fn visible_users(principal: &Principal) -> Option<Vec<Uuid>> {
    let everyone = matrix::holds(principal.role(), Permission::ViewActivity);
    (!everyone).then(|| principal.membership.reports.iter().copied().chain([principal.user_id()]).collect())
}

fn member_count(row: &MemberGroup) -> Result<MemberCount> {
    let unknown = || Error::internal("unknown role or status");
    let role = Role::from_name(&row.role).ok_or_else(unknown)?;
    let status = convert::member_status(MemberStatus::from_name(&row.status).ok_or_else(unknown)?);
    Ok(MemberCount { role: role.to_proto().into(), status: status.into(), count: to_i32(row.count) })
}

/// Consecutive weeks from `first`, including weeks without changes.
fn member_weeks(found: &[WeekCounts], first: DateTime<Utc>) -> Vec<MemberWeek> {
    let week = |nth| {
        let starts_at = first + TimeDelta::weeks(nth);
        let found = found.iter().find(|week| week.starts_at == starts_at);
        MemberWeek {
            starts_at: Some(timestamp(starts_at)),
            joined: to_i32(found.map_or(0, |week| week.joined)),
            left: to_i32(found.map_or(0, |week| week.left)),
        }
    };
    (0..WEEKS).map(week).collect()
}

/// Activity per day (consecutive days from `first`), per action and per hour.
fn activity_totals(
    counts: &[ActivityCount],
    first: DateTime<Utc>,
) -> (Vec<ActivityDay>, Vec<ActivityAction>, Vec<ActivityHour>) {
    let day = |nth| {
        let starts_at = first + TimeDelta::days(nth);
        let found = counts.iter().find(|row| row.day == Some(starts_at));
        ActivityDay { starts_at: Some(timestamp(starts_at)), count: to_i32(found.map_or(0, |row| row.count)) }
    };
    let action =
        |row: &ActivityCount| row.action.clone().map(|action| ActivityAction { action, count: to_i32(row.count) });
    let hour = |row: &ActivityCount| row.hour.map(|hour| ActivityHour { hour, count: to_i32(row.count) });
    let mut actions: Vec<_> = counts.iter().filter_map(action).collect();
    actions.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.action.cmp(&b.action)));
    actions.truncate(MAX_ACTIONS);
    let mut hours: Vec<_> = counts.iter().filter_map(hour).collect();
    hours.sort_by_key(|hour| (-hour.count, hour.hour));
    ((0..DAYS).map(day).collect(), actions, hours)
}

/// Start of the day (UTC).
fn day_start(time: DateTime<Utc>) -> DateTime<Utc> {
    time.date_naive().and_time(NaiveTime::MIN).and_utc()
}

/// Start of the week (Monday, UTC).
fn week_start(time: DateTime<Utc>) -> DateTime<Utc> {
    day_start(time) - TimeDelta::days(time.weekday().num_days_from_monday().into())
}

fn to_i32(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn weeks_begin_on_monday_and_none_is_missing() {
        assert_eq!(week_start(at("2026-11-22T23:59:59Z")), at("2026-11-16T00:00:00Z"));
        assert_eq!(week_start(at("2026-11-16T00:00:00Z")), at("2026-11-16T00:00:00Z"));
        let first = at("2026-08-31T00:00:00Z");
        let weeks = member_weeks(&[WeekCounts { starts_at: at("2026-09-07T00:00:00Z"), joined: 3, left: 1 }], first);
        assert_eq!(weeks.len(), 12);
        assert_eq!((weeks[1].joined, weeks[1].left), (3, 1));
        assert!(weeks.iter().enumerate().all(|(nth, week)| nth == 1 || (week.joined, week.left) == (0, 0)));
    }

    #[test]
    fn counts_are_grouped_and_sorted() {
        let first = at("2026-11-01T00:00:00Z");
        let row = |day: Option<&str>, action: Option<&str>, hour, count| ActivityCount {
            day: day.map(at),
            action: action.map(str::to_owned),
            hour,
            count,
        };
        let (days, actions, hours) = activity_totals(
            &[
                row(Some("2026-11-03T00:00:00Z"), None, None, 7),
                row(None, Some("task.created"), None, 2),
                row(None, Some("task.completed"), None, 5),
                row(None, None, Some(9), 3),
                row(None, None, Some(14), 4),
            ],
            first,
        );
        assert_eq!((days.len(), days[2].count, days[3].count), (30, 7, 0));
        assert_eq!(actions.iter().map(|a| a.action.as_str()).collect::<Vec<_>>(), ["task.completed", "task.created"]);
        assert_eq!(hours.iter().map(|h| h.hour).collect::<Vec<_>>(), [14, 9]);
    }
}
