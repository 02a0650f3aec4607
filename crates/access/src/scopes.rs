//! Scopes of API keys and delegated tokens. The scope that an RPC needs follows from its descriptors: the family from its
//! permission by one table, `read` or `write` from its REST verb.

use baton_errors::{Error, Reason, Result};
use baton_proto::baton::access::v1::Permission;

/// The family of scopes of a permission. A permission without a family is for sessions only.
const FAMILIES: &[(Permission, &str)] = &[
    (Permission::CreateOwnTasks, "tasks"),
    (Permission::WorkOnTasks, "tasks"),
    (Permission::AssignToUsers, "tasks"),
    (Permission::AssignToManagers, "tasks"),
    (Permission::ReassignTasks, "tasks"),
    (Permission::ViewOwnBoard, "tasks"),
    (Permission::ViewUserBoards, "tasks"),
    (Permission::ViewManagerBoards, "tasks"),
    (Permission::ViewMembers, "members"),
    (Permission::ManageRoles, "members"),
    (Permission::AccountSettings, "account"),
    (Permission::OwnMembership, "account"),
    (Permission::ViewOwnActivity, "activity"),
    (Permission::ViewActivity, "activity"),
    (Permission::ViewAnalytics, "analytics"),
    (Permission::Billing, "billing"),
    (Permission::OwnNotifications, "notifications"),
    (Permission::OwnAutomations, "automations"),
    (Permission::ManageAutomations, "automations"),
];

/// All scopes of API keys.
pub const SCOPES: &[&str] = &[
    "tasks:read",
    "tasks:write",
    "members:read",
    "members:write",
    "account:read",
    "account:write",
    "billing:read",
    "billing:write",
    "notifications:read",
    "notifications:write",
    "profile:read",
    "profile:write",
    "activity:read",
    "analytics:read",
    "automations:read",
    "automations:write",
];

/// The scope of a delegated token that may create grants. Only a session can be exchanged for it, so no API key has it.
pub const DELEGATE: &str = "delegate";

/// The scope that an RPC requires of an API key or a delegated token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyScope {
    /// The RPC needs a session; no key may call it.
    SessionOnly,
    /// Any key may call it.
    Any,
    /// A key needs this scope, or one that includes it.
    Needs(String),
}

impl KeyScope {
    /// The scope of an RPC with this permission; `reads` if it changes nothing.
    pub fn of_permission(permission: Permission, reads: bool) -> Self {
        let action = if reads { "read" } else { "write" };
        let family = FAMILIES.iter().find(|(listed, _)| *listed == permission);
        family.map_or(Self::SessionOnly, |(_, family)| Self::Needs(format!("{family}:{action}")))
    }

    /// Parses a rule's `key_scope`; `None` for an unknown scope.
    pub fn of_rule(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::SessionOnly),
            "*" => Some(Self::Any),
            DELEGATE => Some(Self::Needs(DELEGATE.to_owned())),
            scope => SCOPES.contains(&scope).then(|| Self::Needs(scope.to_owned())),
        }
    }

    /// Checks that a key or token with these scopes may make the call.
    ///
    /// # Errors
    /// SESSION_REQUIRED, also for want of [`DELEGATE`]; SCOPE_MISSING, with the missing scope.
    pub fn check(&self, held: &[String]) -> Result<()> {
        match self {
            Self::Any => Ok(()),
            Self::SessionOnly => Err(Reason::SessionRequired.into()),
            Self::Needs(scope) if holds(held, scope) => Ok(()),
            Self::Needs(scope) if scope == DELEGATE => Err(Reason::SessionRequired.into()),
            Self::Needs(scope) => Err(Error::from(Reason::ScopeMissing).with("scope", scope)),
        }
    }
}

/// Whether one of these scopes is, or includes, the needed one.
pub fn holds(held: &[String], needed: &str) -> bool {
    held.iter().any(|held| includes(held, needed))
}

/// Whether one scope includes another. Writing includes reading. Tasks name members, so the task scopes include reading
/// members.
fn includes(held: &str, needed: &str) -> bool {
    let reads = needed.strip_suffix(":read");
    held == needed
        || reads.is_some_and(|family| held.strip_suffix(":write") == Some(family))
        || needed == "members:read" && held.starts_with("tasks:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(held: &[&str], needed: &str) -> bool {
        let held: Vec<_> = held.iter().map(|&scope| scope.to_owned()).collect();
        KeyScope::Needs(needed.to_owned()).check(&held).is_ok()
    }

    #[test]
    fn write_scope_includes_read_of_its_family_only() {
        assert!(check(&["tasks:read"], "tasks:read") && check(&["tasks:write"], "tasks:read"));
        assert!(!check(&["tasks:read"], "tasks:write"));
        assert!(!check(&["members:write", "account:write"], "tasks:read"));
        assert!(!check(&[], "tasks:read"));
        assert!(check(&["tasks:read"], "members:read") && !check(&["tasks:write"], "members:write"));
    }

    #[test]
    fn every_permission_has_a_family_or_is_for_sessions_only() {
        // Scripts may not delete an account or transfer its ownership.
        const FOR_SESSIONS: &[Permission] = &[Permission::AccountLifecycle];
        for number in 1.. {
            let Ok(permission) = Permission::try_from(number) else { break };
            let families = FAMILIES.iter().filter(|(listed, _)| *listed == permission).count();
            assert_eq!(families, usize::from(!FOR_SESSIONS.contains(&permission)), "{permission:?}");
        }
        for (_, family) in FAMILIES {
            assert!(SCOPES.contains(&format!("{family}:read").as_str()), "{family}");
        }
    }

    #[test]
    fn unknown_scope_is_refused() {
        assert_eq!(KeyScope::of_permission(Permission::Unspecified, true), KeyScope::SessionOnly);
        assert_eq!(KeyScope::of_rule("tasks:delete"), None);
        assert_eq!(KeyScope::of_rule(""), Some(KeyScope::SessionOnly));
        let all: Vec<_> = SCOPES.iter().map(|&scope| scope.to_owned()).collect();
        assert!(KeyScope::SessionOnly.check(&all).is_err());
    }
}
