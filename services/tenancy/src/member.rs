//! Members: where a membership stands, and who may change it to what.

use baton_access::{
    Role, matrix,
    relation_policy::{self, Relation},
};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::access::v1::Permission;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// How soon after the last mail an invitation is mailed again.
pub(crate) const MAILED_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(1);
/// How long an invitation can be accepted.
pub(crate) const INVITATION: TimeDelta = TimeDelta::days(14);

/// A person's place in an account, from the invitation on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    /// `None` until the invitation is accepted.
    pub(crate) user_id: Option<Uuid>,
    pub(crate) email: String,
    pub(crate) role: Role,
    pub(crate) status: Status,
    /// User id of the member they report to.
    pub(crate) manager_id: Option<Uuid>,
    pub(crate) can_reassign_tasks: bool,
    /// `None` for who created the account.
    pub(crate) invited_by: Option<Uuid>,
    pub(crate) invited_at: DateTime<Utc>,
    pub(crate) joined_at: Option<DateTime<Utc>>,
    pub(crate) left_at: Option<DateTime<Utc>>,
    /// What comments mention them by. `None` until they join: the database makes one of their address then.
    pub(crate) handle: Option<String>,
    pub(crate) version: i32,
}

/// Where a membership stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    Invited,
    Active,
    Removed,
}

impl Status {
    pub(crate) const ALL: [Self; 3] = [Self::Invited, Self::Active, Self::Removed];

    /// As it is stored.
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

/// What is to become of a member; `None` keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) role: Option<Role>,
    pub(crate) manager_id: Option<Option<Uuid>>,
    pub(crate) can_reassign_tasks: Option<bool>,
}

/// What of the account a change of one member depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The role of the manager that the member is to have; `None` when that is no active member.
    pub(crate) manager: Option<Role>,
    /// The roles among those who report to the member directly.
    pub(crate) reports: Vec<Role>,
    /// Active owners, the member among them if they are one.
    pub(crate) owners: i64,
}

impl Member {
    /// The member as it will be.
    pub(crate) fn changed(&self, change: &Change) -> Self {
        Self {
            role: change.role.unwrap_or(self.role),
            manager_id: change.manager_id.unwrap_or(self.manager_id),
            can_reassign_tasks: change.can_reassign_tasks.unwrap_or(self.can_reassign_tasks),
            ..self.clone()
        }
    }

    /// The membership after its end.
    pub(crate) fn removed(&self, now: DateTime<Utc>) -> Self {
        Self { status: Status::Removed, left_at: Some(now), ..self.clone() }
    }

    /// The membership once accepted. A manager who has left meanwhile, or no longer outranks the member,
    /// is theirs no more: the invitation still stands.
    pub(crate) fn joined(&self, user_id: Uuid, manager: Option<Role>, now: DateTime<Utc>) -> Self {
        let manager_id = self.manager_id.filter(|_| manager.is_some_and(|manager| outranks(manager, self.role)));
        Self { user_id: Some(user_id), status: Status::Active, manager_id, joined_at: Some(now), ..self.clone() }
    }
}

/// Whether one of this role may lead one of that.
///
/// Everyone's manager outranks them, and every change keeps it so: along managers the rank only grows,
/// which is why nobody can come to report to themselves.
fn outranks(manager: Role, role: Role) -> bool {
    manager > role
}

/// Nobody reaches above their own role.
///
/// The role is the one that the actor has now, under the lock: the access layer's answer may be older.
fn may_manage(actor: Role, role: Role) -> Result<()> {
    if !matrix::holds(actor, Permission::ManageRoles) {
        return Err(Reason::PermissionMissing.into());
    }
    if role > actor {
        return Err(Reason::RoleNotGrantable.into());
    }
    Ok(())
}

/// `manager` is the role of `manager_id`, if that is an active member.
fn manager_fits(role: Role, manager_id: Option<Uuid>, manager: Option<Role>) -> Result<()> {
    match (manager_id, manager) {
        (None, _) => Ok(()),
        (Some(_), Some(manager)) if outranks(manager, role) => Ok(()),
        _ => Err(Reason::ManagerInvalid.into()),
    }
}

/// Whether `actor` may invite into this role, under this manager.
pub(crate) fn may_invite(actor: Role, role: Role, manager_id: Option<Uuid>, manager: Option<Role>) -> Result<()> {
    may_manage(actor, role)?;
    manager_fits(role, manager_id, manager)
}

/// Whether an invitation into `role` stands: its inviter has `inviter` for a role now, `None` when they are no active
/// member any more.
pub(crate) fn still_may_invite(inviter: Option<Role>, role: Role) -> bool {
    inviter.is_some_and(|inviter| may_manage(inviter, role).is_ok())
}

/// Whether `actor` may make `before` into `after`.
pub(crate) fn may_change(actor: Role, before: &Member, after: &Member, around: &Surroundings) -> Result<()> {
    may_manage(actor, before.role)?;
    may_manage(actor, after.role)?;
    if before.role == Role::Owner && after.role != Role::Owner && around.owners <= 1 {
        return Err(Reason::LastOwner.into());
    }
    // Who is to lead themselves is judged by the role they will have, not by the one they have.
    let manager = if after.manager_id == after.user_id { Some(after.role) } else { around.manager };
    manager_fits(after.role, after.manager_id, manager)?;
    if around.reports.iter().any(|&report| !outranks(after.role, report)) {
        return Err(Reason::RoleHasReports.into());
    }
    Ok(())
}

/// Whether `actor` may remove a member of this role. Those who report to them go on under their manager,
/// who outranks them all the more.
pub(crate) fn may_remove(actor: Role, role: Role, owners: i64) -> Result<()> {
    may_manage(actor, role)?;
    if role == Role::Owner && owners <= 1 {
        return Err(Reason::LastOwner.into());
    }
    Ok(())
}

/// Whether who holds this role may leave.
pub(crate) fn may_leave(role: Role, owners: i64) -> Result<()> {
    if role == Role::Owner && owners <= 1 { Err(Reason::LastOwner.into()) } else { Ok(()) }
}

/// Whether `actor` may mail an invitation into this role again, or take it back.
pub(crate) fn may_tend(actor: Role, role: Role) -> Result<()> {
    may_manage(actor, role)
}

/// Whether `actor`, who removes `leaving` or leaves, may give their open tasks to `to`: to their manager, who
/// has them by default, and to whom the actor may hand tasks anyway.
pub(crate) fn may_hand_over(actor: &Member, relation: Relation, leaving: &Member, to: &Member) -> Result<()> {
    let may = to.user_id != leaving.user_id
        && (to.user_id == leaving.manager_id
            || relation_policy::allows(relation_policy::TASKS, actor.role, to.role, relation));
    if may { Ok(()) } else { Err(Reason::HandOverInvalid.into()) }
}

/// Both sides of a transfer of ownership, as they will be: the owner steps down to super manager and reports
/// to the new one.
pub(crate) fn transferred(from: &Member, to: &Member) -> Result<(Member, Member)> {
    if from.role != Role::Owner {
        return Err(Reason::PermissionMissing.into());
    }
    let old = Member { role: Role::SuperManager, manager_id: to.user_id, ..from.clone() };
    let new = Member { role: Role::Owner, manager_id: None, ..to.clone() };
    Ok((old, new))
}

/// Whether a member may reassign tasks: by role, by their own right, or by the account's setting.
pub(crate) fn may_reassign(role: Role, own: bool, managers_may: bool) -> bool {
    match role {
        Role::Owner | Role::SuperManager => true,
        Role::Manager => own || managers_may,
        Role::User => false,
    }
}

/// What accepting an invitation comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acceptance {
    /// The person becomes a member now.
    First,
    /// The same person did before.
    Again,
}

/// Whether a person may accept an invitation.
///
/// # Errors
/// LINK_INVALID when it has ended or was accepted by another, INVITATION_FOR_ANOTHER when it was sent to
/// another address.
pub(crate) fn acceptance(member: &Member, user_id: Uuid, email: &str, now: DateTime<Utc>) -> Result<Acceptance> {
    if member.status == Status::Active && member.user_id == Some(user_id) {
        return Ok(Acceptance::Again);
    }
    let open = member.status == Status::Invited && now - member.invited_at < INVITATION;
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
