//! Between the contract and the domain.

mod account;

use baton_access::Role;
use baton_errors::{Error, Reason, Result};
use baton_proto::{baton::tenancy::v1 as proto, convert::timestamp};
use baton_store::Page;
use baton_text::handle;
use chrono::{DateTime, Utc};
use prost_types::FieldMask;
use uuid::Uuid;

pub(crate) use account::{merge_account, merge_settings, settings, tier};

use crate::member::{Change, Member, Status};

impl From<Member> for proto::Member {
    fn from(member: Member) -> Self {
        Self {
            id: member.id.to_string(),
            account_id: member.account_id.to_string(),
            user_id: member.user_id.map(|id| id.to_string()),
            email: member.email,
            role: member.role.to_proto().into(),
            status: to_proto(member.status).into(),
            manager_id: member.manager_id.map(|id| id.to_string()),
            can_reassign_tasks: member.can_reassign_tasks,
            invited_at: Some(timestamp(member.invited_at)),
            joined_at: member.joined_at.map(timestamp),
            version: member.version,
            handle: member.handle,
        }
    }
}

fn to_proto(status: Status) -> proto::MemberStatus {
    match status {
        Status::Invited => proto::MemberStatus::Invited,
        Status::Active => proto::MemberStatus::Active,
        Status::Removed => proto::MemberStatus::Removed,
    }
}

/// An id of the request. Its form was checked when the message was decoded.
pub(crate) fn id(field: &'static str, text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| Error::invalid(field, "must be a UUID"))
}

/// A role of the request.
pub(crate) fn role(field: &'static str, role: i32) -> Result<Role> {
    Role::from_proto(role).ok_or_else(|| Error::invalid(field, "is not a role"))
}

/// The roles of a filter; all when it is empty.
pub(crate) fn roles(roles: &[i32]) -> Result<Vec<Role>> {
    if roles.is_empty() {
        return Ok(Role::ALL.to_vec());
    }
    roles.iter().map(|&number| role("role", number)).collect()
}

/// The states of a filter; invited and active when it is empty.
pub(crate) fn statuses(statuses: &[i32]) -> Result<Vec<Status>> {
    if statuses.is_empty() {
        return Ok(vec![Status::Invited, Status::Active]);
    }
    let status = |&number: &i32| Status::ALL.into_iter().find(|&status| to_proto(status) as i32 == number);
    statuses.iter().map(|n| status(n).ok_or_else(|| Error::invalid("status", "is not a state of members"))).collect()
}

/// The paths of an update mask.
fn paths(mask: Option<FieldMask>) -> Result<Vec<String>> {
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        return Err(Error::invalid("update_mask", "must name a field"));
    }
    Ok(paths)
}

fn unknown_path(known: &str) -> Error {
    Error::invalid("update_mask", format!("takes only {known}"))
}

/// The change of a member that the mask names.
pub(crate) fn change(new: &proto::MemberChange, mask: Option<FieldMask>) -> Result<Change> {
    let mut change = Change::default();
    for path in paths(mask)? {
        match path.as_str() {
            "role" => change.role = Some(role("member.role", new.role)?),
            "manager_id" => {
                change.manager_id =
                    Some(new.manager_id.as_deref().map(|text| id("member.manager_id", text)).transpose()?);
            }
            "can_reassign_tasks" => change.can_reassign_tasks = Some(new.can_reassign_tasks),
            _ => return Err(unknown_path("role, manager_id and can_reassign_tasks")),
        }
    }
    Ok(change)
}

/// The handle that the mask names, and nothing else can be.
pub(crate) fn own_change(new: proto::OwnMemberChange, mask: Option<FieldMask>) -> Result<String> {
    if paths(mask)?.iter().any(|path| path != "handle") {
        return Err(unknown_path("handle"));
    }
    // Its form was checked when the message was decoded.
    let handle = new.handle.ok_or_else(|| Error::invalid("member.handle", "cannot be cleared"))?;
    if handle::is_reserved(&handle) { Err(Error::invalid("member.handle", "is reserved")) } else { Ok(handle) }
}

/// The sort key of a cursor. Microseconds, which is what Postgres keeps.
pub(crate) fn key(time: DateTime<Utc>) -> Option<String> {
    Some(time.timestamp_micros().to_string())
}

/// The row to read on after, in lists sorted by time and id. Before all rows when no cursor was sent.
pub(crate) fn after(page: &Page) -> Result<(DateTime<Utc>, Uuid)> {
    let Some(cursor) = page.after() else { return Ok((DateTime::UNIX_EPOCH, Uuid::nil())) };
    let micros = cursor.key.as_deref().and_then(|key| key.parse().ok());
    // Callers can make tokens up: what Postgres cannot compare with is refused here.
    let time = micros.and_then(DateTime::from_timestamp_micros).filter(|&time| time >= DateTime::UNIX_EPOCH);
    Ok((time.ok_or_else(|| Error::from(Reason::PageTokenInvalid))?, cursor.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() })
    }

    #[test]
    fn only_what_the_mask_names_changes() {
        let new = proto::MemberChange {
            role: proto::Role::Manager.into(),
            manager_id: Some(Uuid::nil().to_string()),
            can_reassign_tasks: true,
        };
        let expected = Change { can_reassign_tasks: Some(true), ..Change::default() };
        assert_eq!(change(&new, mask(&["can_reassign_tasks"])).unwrap(), expected);
        assert_eq!(change(&new, mask(&["manager_id"])).unwrap().manager_id, Some(Some(Uuid::nil())));
        let cleared = change(&proto::MemberChange::default(), mask(&["manager_id"])).unwrap();
        assert_eq!(cleared, Change { manager_id: Some(None), ..Change::default() });
    }

    #[test]
    fn masks_that_name_nothing_or_nonsense_are_refused() {
        for mask in [None, mask(&[]), mask(&["nonsense"]), mask(&["role", "email"]), mask(&["role"])] {
            // The last one clears the role, which cannot be.
            let refused = change(&proto::MemberChange::default(), mask.clone()).unwrap_err();
            assert_eq!(refused.reason(), Reason::ValidationFailed, "{mask:?}");
        }
    }

    #[test]
    fn filters_know_every_state_and_no_other() {
        for status in Status::ALL {
            assert_eq!(statuses(&[to_proto(status) as i32]).unwrap(), [status]);
        }
        for number in [0, 4, -1] {
            assert!(statuses(&[number]).is_err());
        }
        assert!(roles(&[0]).is_err());
    }
}
