//! Members: the lifecycle of a membership, and who may change it.

use baton_access::{
    Permission, Role, matrix,
    relation_policy::{self, Relation},
};
use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// Minimal time between two invitation e-mails to an address.
pub(crate) const INVITATION_EMAIL_INTERVAL: TimeDelta = TimeDelta::minutes(1);
/// How long an invitation can be accepted after it was sent.
pub(crate) const INVITATION_TTL: TimeDelta = TimeDelta::days(14);

/// A membership, from the invitation on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    /// `None` until the invitation is accepted.
    pub(crate) user_id: Option<Uuid>,
    pub(crate) email: String,
    pub(crate) role: Role,
    pub(crate) status: MemberStatus,
    /// User id of the manager.
    pub(crate) manager_id: Option<Uuid>,
    pub(crate) can_reassign_tasks: bool,
    /// `None` for the creator of the account.
    pub(crate) invited_by: Option<Uuid>,
    pub(crate) invited_at: DateTime<Utc>,
    pub(crate) joined_at: Option<DateTime<Utc>>,
    pub(crate) left_at: Option<DateTime<Utc>>,
    /// Name for mentions in comments. `None` until the member joins: the database then derives one from the address.
    pub(crate) handle: Option<String>,
    pub(crate) version: i32,
}

/// A member with their chain of managers.
pub(crate) struct FoundMember {
    pub(crate) user_id: Uuid,
    pub(crate) handle: String,
    pub(crate) role: Role,
    /// The manager, the manager's manager, and so on.
    pub(crate) above: Vec<Uuid>,
}

/// A member to whom tasks can be assigned.
pub(crate) struct Assignee {
    pub(crate) user_id: Uuid,
    pub(crate) role: Role,
}

/// Status of a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MemberStatus {
    Invited,
    Active,
    Removed,
}

impl MemberStatus {
    pub(crate) const ALL: [Self; 3] = [Self::Invited, Self::Active, Self::Removed];

    /// The name that the database stores.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Removed => "removed",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

pub(crate) use baton_text::email::key as email_key;

/// A change of a member; `None` keeps a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MemberChange {
    pub(crate) role: Option<Role>,
    pub(crate) manager_id: Option<Option<Uuid>>,
    pub(crate) can_reassign_tasks: Option<bool>,
}

/// The part of the hierarchy that the rules for changing one member depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HierarchyContext {
    /// Role of the new manager; `None` when they are no active member.
    pub(crate) manager: Option<Role>,
    /// Roles of the direct reports.
    pub(crate) reports: Vec<Role>,
    /// Number of active owners, the member included.
    pub(crate) owners: i64,
}

impl Member {
    /// The member after a change.
    pub(crate) fn apply(&self, change: &MemberChange) -> Self {
        Self {
            role: change.role.unwrap_or(self.role),
            manager_id: change.manager_id.unwrap_or(self.manager_id),
            can_reassign_tasks: change.can_reassign_tasks.unwrap_or(self.can_reassign_tasks),
            ..self.clone()
        }
    }

    /// The user id of an active member.
    ///
    /// # Errors
    /// INTERNAL when the member has not joined.
    pub(crate) fn joined_user_id(&self) -> Result<Uuid> {
        self.user_id.ok_or_else(|| Error::internal("an active member has no user id"))
    }

    /// The membership after removal.
    pub(crate) fn removed(&self, now: DateTime<Utc>) -> Self {
        Self { status: MemberStatus::Removed, left_at: Some(now), ..self.clone() }
    }

    /// The membership after acceptance. The manager is dropped if they have left or no longer outrank the member.
    pub(crate) fn joined(&self, user_id: Uuid, manager: Option<Role>, now: DateTime<Utc>) -> Self {
        let manager_id = self.manager_id.filter(|_| manager.is_some_and(|manager| outranks(manager, self.role)));
        Self { user_id: Some(user_id), status: MemberStatus::Active, manager_id, joined_at: Some(now), ..self.clone() }
    }
}

/// Whether a member with role `manager` may manage one with `role`.
///
/// Every manager outranks their reports, and every change preserves this. Ranks strictly increase along the chain of
/// managers, so the hierarchy has no cycles.
fn outranks(manager: Role, role: Role) -> bool {
    manager > role
}

/// Checks that `actor` may manage members of `role`: nobody acts above their own role.
///
/// `actor` is the role read under the lock; the access layer's may be outdated.
fn check_manage(actor: Role, role: Role) -> Result<()> {
    if !matrix::holds(actor, Permission::ManageRoles) {
        return Err(Reason::PermissionMissing.into());
    }
    if role > actor {
        return Err(Reason::RoleNotGrantable.into());
    }
    Ok(())
}

/// Checks that the manager outranks `role`. `manager` is the role of `manager_id`; `None` for no active member.
fn check_manager(role: Role, manager_id: Option<Uuid>, manager: Option<Role>) -> Result<()> {
    match (manager_id, manager) {
        (None, _) => Ok(()),
        (Some(_), Some(manager)) if outranks(manager, role) => Ok(()),
        _ => Err(Reason::ManagerInvalid.into()),
    }
}

/// Checks that `actor` may invite a member with this role and manager.
pub(crate) fn check_invite(actor: Role, role: Role, manager_id: Option<Uuid>, manager: Option<Role>) -> Result<()> {
    check_manage(actor, role)?;
    check_manager(role, manager_id, manager)
}

/// Whether an inviter with the current role `inviter` may still invite into `role`. `None` for no active member.
pub(crate) fn can_still_invite(inviter: Option<Role>, role: Role) -> bool {
    inviter.is_some_and(|inviter| check_manage(inviter, role).is_ok())
}

/// Checks that `actor` may change `before` to `after`.
pub(crate) fn check_change(actor: Role, before: &Member, after: &Member, context: &HierarchyContext) -> Result<()> {
    check_manage(actor, before.role)?;
    check_manage(actor, after.role)?;
    if before.role == Role::Owner && after.role != Role::Owner && context.owners <= 1 {
        return Err(Reason::LastOwner.into());
    }
    // A member who becomes their own manager is judged by the new role, not by the current one.
    let manager = if after.manager_id == after.user_id { Some(after.role) } else { context.manager };
    check_manager(after.role, after.manager_id, manager)?;
    if context.reports.iter().any(|&report| !outranks(after.role, report)) {
        return Err(Reason::RoleHasReports.into());
    }
    Ok(())
}

/// Checks that `actor` may remove a member of this role. Reports move to the member's manager, who outranks them too.
pub(crate) fn check_remove(actor: Role, role: Role, owners: i64) -> Result<()> {
    check_manage(actor, role)?;
    if role == Role::Owner && owners <= 1 {
        return Err(Reason::LastOwner.into());
    }
    Ok(())
}

/// Checks that a member of this role may leave.
pub(crate) fn check_leave(role: Role, owners: i64) -> Result<()> {
    if role == Role::Owner && owners <= 1 { Err(Reason::LastOwner.into()) } else { Ok(()) }
}

/// Checks that `actor` may resend or revoke an invitation into this role.
pub(crate) fn check_manage_invitation(actor: Role, role: Role) -> Result<()> {
    check_manage(actor, role)
}

/// Checks that `actor`, who removes `leaving` or leaves, may hand the open tasks over to `to`: the leaver's manager, or
/// anyone to whom the actor may assign tasks.
pub(crate) fn check_hand_over(actor: &Member, relation: Relation, leaving: &Member, to: &Member) -> Result<()> {
    let may = to.user_id != leaving.user_id
        && (to.user_id == leaving.manager_id
            || relation_policy::allows(relation_policy::TASKS, actor.role, to.role, relation));
    if may { Ok(()) } else { Err(Reason::HandOverInvalid.into()) }
}

/// The old and the new owner after a transfer. The old owner becomes a super manager who reports to the new one.
pub(crate) fn swap_ownership(from: &Member, to: &Member) -> Result<(Member, Member)> {
    if from.role != Role::Owner {
        return Err(Reason::PermissionMissing.into());
    }
    let old = Member { role: Role::SuperManager, manager_id: to.user_id, ..from.clone() };
    let new = Member { role: Role::Owner, manager_id: None, ..to.clone() };
    Ok((old, new))
}

/// Whether a member may reassign tasks: by role, by personal permission, or by the account's setting.
pub(crate) fn can_reassign(role: Role, own: bool, managers_may: bool) -> bool {
    match role {
        Role::Owner | Role::SuperManager => true,
        Role::Manager => own || managers_may,
        Role::User => false,
    }
}

/// The effect of accepting an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acceptance {
    /// The user becomes a member.
    First,
    /// The user has accepted before.
    Repeated,
}

/// Checks that a user may accept an invitation.
///
/// # Errors
/// LINK_INVALID when the invitation has ended or another user has accepted it, INVITATION_FOR_ANOTHER when it was sent
/// to another address.
pub(crate) fn check_acceptance(member: &Member, user_id: Uuid, email: &str, now: DateTime<Utc>) -> Result<Acceptance> {
    if member.status == MemberStatus::Active && member.user_id == Some(user_id) {
        return Ok(Acceptance::Repeated);
    }
    let open = member.status == MemberStatus::Invited && now - member.invited_at < INVITATION_TTL;
    if !open {
        return Err(Reason::LinkInvalid.into());
    }
    if email_key(email) != email_key(&member.email) {
        return Err(Error::from(Reason::InvitationForAnother));
    }
    Ok(Acceptance::First)
}

#[cfg(test)]
mod tests;
