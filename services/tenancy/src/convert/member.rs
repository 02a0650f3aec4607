//! Conversions of members.

use baton_access::Role;
use baton_errors::{Error, Result};
use baton_proto::{baton::tenancy::v1 as proto, convert::timestamp};
use baton_text::handle;
use prost_types::FieldMask;
use uuid::Uuid;

use super::{parse_id, parse_mask, unknown_path};
use crate::member::{Assignee, FoundMember, Member, MemberChange, MemberStatus};

impl From<Member> for proto::Member {
    fn from(member: Member) -> Self {
        Self {
            id: member.id.to_string(),
            account_id: member.account_id.to_string(),
            user_id: member.user_id.map(|id| id.to_string()),
            email: member.email,
            role: member.role.to_proto().into(),
            status: member_status(member.status).into(),
            manager_id: member.manager_id.map(|id| id.to_string()),
            can_reassign_tasks: member.can_reassign_tasks,
            invited_at: Some(timestamp(member.invited_at)),
            joined_at: member.joined_at.map(timestamp),
            version: member.version,
            handle: member.handle,
        }
    }
}

/// Converts a member status to the contract's enum.
pub(crate) fn member_status(status: MemberStatus) -> proto::MemberStatus {
    match status {
        MemberStatus::Invited => proto::MemberStatus::Invited,
        MemberStatus::Active => proto::MemberStatus::Active,
        MemberStatus::Removed => proto::MemberStatus::Removed,
    }
}

impl From<FoundMember> for proto::FoundMember {
    fn from(found: FoundMember) -> Self {
        Self {
            user_id: found.user_id.to_string(),
            handle: found.handle,
            role: found.role.to_proto().into(),
            above_ids: found.above.iter().map(Uuid::to_string).collect(),
        }
    }
}

impl From<Assignee> for proto::Assignee {
    fn from(assignee: Assignee) -> Self {
        Self { user_id: assignee.user_id.to_string(), role: assignee.role.to_proto().into() }
    }
}

/// Parses a role.
pub(crate) fn parse_role(field: &'static str, role: i32) -> Result<Role> {
    Role::from_proto(role).ok_or_else(|| Error::invalid(field, "must be a role"))
}

/// Parses the roles of a filter; all roles when it is empty.
pub(crate) fn parse_roles(roles: &[i32]) -> Result<Vec<Role>> {
    if roles.is_empty() {
        return Ok(Role::ALL.to_vec());
    }
    roles.iter().map(|&number| parse_role("role", number)).collect()
}

/// Parses the statuses of a filter; invited and active when it is empty.
pub(crate) fn parse_statuses(statuses: &[i32]) -> Result<Vec<MemberStatus>> {
    if statuses.is_empty() {
        return Ok(vec![MemberStatus::Invited, MemberStatus::Active]);
    }
    let status = |&number: &i32| MemberStatus::ALL.into_iter().find(|&status| member_status(status) as i32 == number);
    statuses.iter().map(|n| status(n).ok_or_else(|| Error::invalid("status", "must be a member status"))).collect()
}

/// Parses the fields of a member that the mask names.
pub(crate) fn parse_change(new: &proto::MemberChange, mask: Option<FieldMask>) -> Result<MemberChange> {
    let mut change = MemberChange::default();
    for path in parse_mask(mask)? {
        match path.as_str() {
            "role" => change.role = Some(parse_role("member.role", new.role)?),
            "manager_id" => {
                change.manager_id =
                    Some(new.manager_id.as_deref().map(|text| parse_id("member.manager_id", text)).transpose()?);
            }
            "can_reassign_tasks" => change.can_reassign_tasks = Some(new.can_reassign_tasks),
            _ => return Err(unknown_path("role, manager_id and can_reassign_tasks")),
        }
    }
    Ok(change)
}

/// Parses the handle, the only field that members change themselves.
pub(crate) fn parse_own_change(new: proto::OwnMemberChange, mask: Option<FieldMask>) -> Result<String> {
    if parse_mask(mask)?.iter().any(|path| path != "handle") {
        return Err(unknown_path("handle"));
    }
    // The codec has already validated its form.
    let handle = new.handle.ok_or_else(|| Error::invalid("member.handle", "cannot be cleared"))?;
    if handle::is_reserved(&handle) { Err(Error::invalid("member.handle", "is reserved")) } else { Ok(handle) }
}

#[cfg(test)]
mod tests {
    use baton_errors::Reason;

    use super::*;

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() })
    }

    #[test]
    fn only_masked_fields_change() {
        let new = proto::MemberChange {
            role: proto::Role::Manager.into(),
            manager_id: Some(Uuid::nil().to_string()),
            can_reassign_tasks: true,
        };
        let expected = MemberChange { can_reassign_tasks: Some(true), ..MemberChange::default() };
        assert_eq!(parse_change(&new, mask(&["can_reassign_tasks"])).unwrap(), expected);
        assert_eq!(parse_change(&new, mask(&["manager_id"])).unwrap().manager_id, Some(Some(Uuid::nil())));
        let cleared = parse_change(&proto::MemberChange::default(), mask(&["manager_id"])).unwrap();
        assert_eq!(cleared, MemberChange { manager_id: Some(None), ..MemberChange::default() });
    }

    #[test]
    fn empty_and_unknown_masks_are_refused() {
        for mask in [None, mask(&[]), mask(&["nonsense"]), mask(&["role", "email"]), mask(&["role"])] {
            // The last one would clear the role.
            let refused = parse_change(&proto::MemberChange::default(), mask.clone()).unwrap_err();
            assert_eq!(refused.reason(), Reason::ValidationFailed, "{mask:?}");
        }
    }

    #[test]
    fn filters_accept_exactly_the_known_statuses() {
        for status in MemberStatus::ALL {
            assert_eq!(parse_statuses(&[member_status(status) as i32]).unwrap(), [status]);
        }
        for number in [0, 4, -1] {
            assert!(parse_statuses(&[number]).is_err());
        }
        assert!(parse_roles(&[0]).is_err());
    }
}
