//! Watchers: the states of watching a task, and visibility for other members.

use std::collections::{HashMap, HashSet};

use baton_access::{Membership, Role};
use baton_errors::{Reason, Result};
use uuid::Uuid;

use crate::{policy::visibility::Actor, task::Task};

/// Maximum number of watchers of a task besides creator and holder.
pub(crate) const MAX_WATCHERS: i64 = 1_000;
/// Maximum number of watchers that one bulk change notifies.
pub(crate) const MAX_NOTIFIED_WATCHERS: i64 = 10 * MAX_WATCHERS;

/// Whether and why somebody watches a task, apart from creating or holding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum WatchState {
    Chose,
    Commented,
    Mentioned,
    Added,
    /// They unsubscribed.
    Declined,
    /// Somebody else removed them.
    Removed,
}

impl WatchState {
    pub(crate) const ALL: [Self; 6] =
        [Self::Chose, Self::Commented, Self::Mentioned, Self::Added, Self::Declined, Self::Removed];

    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chose => "chose",
            Self::Commented => "commented",
            Self::Mentioned => "mentioned",
            Self::Added => "added",
            Self::Declined => "declined",
            Self::Removed => "removed",
        }
    }

    /// The state with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.name() == name)
    }

    /// Whether the state means watching.
    pub(crate) fn watches(self) -> bool {
        !matches!(self, Self::Declined | Self::Removed)
    }
}

/// A watcher of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watcher {
    pub(crate) user_id: Uuid,
    /// Their state, if they would watch without being creator or holder.
    pub(crate) standing: Option<WatchState>,
}

/// The new state when `requested` is asked for; `None` when the state does not change. Only members themselves can
/// watch again after declining.
///
/// # Errors
/// WATCHER_INVALID.
pub(crate) fn next(now: Option<WatchState>, requested: WatchState) -> Result<Option<WatchState>> {
    use WatchState::{Added, Chose, Commented, Declined, Mentioned, Removed};
    let changes = match (requested, now) {
        (Added, Some(Declined)) => return Err(Reason::WatcherInvalid.into()),
        (Chose, Some(now)) => !now.watches(),
        (Added, Some(now)) => now == Removed,
        (Declined, Some(now)) => now != Declined,
        (Removed, Some(now)) => now.watches(),
        // Commenters and mentioned members watch automatically, unless they have a state already.
        (Commented | Mentioned, Some(_)) => false,
        (_, None) => true,
    };
    Ok(changes.then_some(requested))
}

/// A member with the attributes that decide visibility.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) user_id: Uuid,
    pub(crate) handle: String,
    pub(crate) role: Role,
    /// The direct manager first, up to the top.
    pub(crate) managers: Vec<Uuid>,
}

/// Some members of the account. Nobody else sees anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemberSet(HashMap<Uuid, Member>);

impl FromIterator<Member> for MemberSet {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        Self(members.into_iter().map(|member| (member.user_id, member)).collect())
    }
}

impl Extend<Member> for MemberSet {
    fn extend<I: IntoIterator<Item = Member>>(&mut self, members: I) {
        self.0.extend(members.into_iter().map(|member| (member.user_id, member)));
    }
}

impl MemberSet {
    /// The members with these handles, in their order.
    pub(crate) fn by_handles(&self, handles: &[String]) -> Vec<&Member> {
        let by_handle: HashMap<&str, &Member> = self.0.values().map(|one| (one.handle.as_str(), one)).collect();
        handles.iter().filter_map(|handle| by_handle.get(handle.as_str()).copied()).collect()
    }

    /// Whether a member sees the task, by the rule of [`Actor::can_see`]. The set must contain creator and holder,
    /// otherwise their teams do not see it.
    pub(crate) fn can_see(&self, user_id: Uuid, task: &Task) -> bool {
        let Some(one) = self.0.get(&user_id) else { return false };
        let people = [Some(task.created_by), task.assigned_to].into_iter().flatten();
        let people: Vec<&Member> = people.filter_map(|person| self.0.get(&person)).collect();
        let manager = one.managers.first();
        let of_team = |person: &&&Member| {
            manager.is_some_and(|manager| *manager == person.user_id || person.managers.first() == Some(manager))
        };
        let ids = |people: &mut dyn Iterator<Item = &&Member>| people.map(|one| one.user_id).collect::<HashSet<_>>();
        let membership = Membership {
            account_id: task.account_id,
            role: one.role,
            may_reassign: false,
            reports: ids(&mut people.iter().filter(|person| person.managers.contains(&user_id))),
            team: ids(&mut people.iter().filter(of_team)),
            suspended: false,
            settings: Default::default(),
            limits: Default::default(),
        };
        Actor { id: user_id, membership: &membership }.can_see(task)
    }
}

/// Watchers of some tasks besides their creators and holders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Audience {
    /// Watchers by task.
    pub(crate) watchers: HashMap<Uuid, Vec<Uuid>>,
    /// The watchers, and the creators and holders of the tasks.
    pub(crate) members: MemberSet,
}

impl Audience {
    /// The watchers who see this task.
    pub(crate) fn of(&self, task: &Task) -> Vec<Uuid> {
        let watchers = self.watchers.get(&task.id).map(Vec::as_slice).unwrap_or_default();
        watchers.iter().copied().filter(|id| self.members.can_see(*id, task)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::visibility::tests::{
        ALL, COLLEAGUE, MANAGER, OTHER_MANAGER, OWNER, STRANGER, SUPER, USER, any_task, anyone, membership,
    };

    /// The account of the visibility tests, as tenancy describes it.
    fn members() -> MemberSet {
        let managers = |person| match person {
            OWNER => vec![],
            SUPER => vec![OWNER],
            MANAGER | OTHER_MANAGER => vec![SUPER, OWNER],
            STRANGER => vec![OTHER_MANAGER, SUPER, OWNER],
            _ => vec![MANAGER, SUPER, OWNER],
        };
        let one = |user_id| Member {
            user_id,
            handle: user_id.to_string(),
            role: membership(user_id).role,
            managers: managers(user_id),
        };
        ALL.into_iter().map(one).collect()
    }

    proptest! {
        #[test]
        fn member_set_and_membership_agree_on_visibility(task in any_task(), person in anyone()) {
            let own = membership(person);
            let sees = Actor { id: person, membership: &own }.can_see(&task);
            prop_assert_eq!(members().can_see(person, &task), sees);
        }
    }

    #[test]
    fn non_member_sees_nothing() {
        let mut task = crate::task::tests::task(USER);
        task.fields.visibility = crate::task::Visibility::Account;
        assert!(members().can_see(COLLEAGUE, &task));
        assert!(!members().can_see(Uuid::from_u128(99), &task));
        assert!(!MemberSet::default().can_see(USER, &task));
    }

    #[test]
    fn members_are_found_in_the_order_of_handles() {
        let handles = [USER, Uuid::from_u128(99), OWNER].map(|id| id.to_string());
        let named: Vec<Uuid> = members().by_handles(&handles).into_iter().map(|one| one.user_id).collect();
        assert_eq!(named, [USER, OWNER]);
    }

    #[test]
    fn only_the_member_reverts_declining() {
        use WatchState::{Added, Chose, Commented, Declined, Mentioned, Removed};
        for requested in [Commented, Mentioned, Removed] {
            assert_eq!(next(Some(Declined), requested).unwrap(), None);
        }
        assert_eq!(next(Some(Declined), Added).unwrap_err().reason(), Reason::WatcherInvalid);
        assert_eq!(next(Some(Declined), Chose).unwrap(), Some(Chose));
        assert_eq!(next(Some(Removed), Added).unwrap(), Some(Added));
        assert_eq!(next(Some(Removed), Commented).unwrap(), None);
        for requested in WatchState::ALL {
            assert_eq!(next(None, requested).unwrap(), Some(requested));
            // Repeating a request changes nothing.
            assert!(!next(Some(requested), requested).is_ok_and(|next| next.is_some()), "{requested:?}");
            assert_eq!(WatchState::from_name(requested.name()), Some(requested));
        }
    }
}
