//! Groups of facts, so that a caller loads only what is read.

use std::{fmt, ops::BitOr};

/// A set of groups of facts. The groups of a task are from [`Needs::TASK`] to [`Needs::TIME_SPENT`]; the same groups of
/// its parent are read with [`Needs::of_parent`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Needs(u32);

const TASK_BITS: u32 = 0xff;
const PARENT_SHIFT: u32 = 8;

impl Needs {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The row of the task: status, priority, visibility, people except watchers, times, the estimate, whether it is
    /// overdue.
    pub const TASK: Self = Self(1);
    /// Title and description.
    pub const TEXT: Self = Self(1 << 1);
    /// Tags.
    pub const TAGS: Self = Self(1 << 2);
    /// Custom fields.
    pub const CUSTOM_FIELDS: Self = Self(1 << 3);
    /// Watchers.
    pub const WATCHERS: Self = Self(1 << 4);
    /// Whether an open task blocks the task.
    pub const BLOCKED: Self = Self(1 << 5);
    /// The progress of the subtasks.
    pub const PROGRESS: Self = Self(1 << 6);
    /// The recorded working time.
    pub const TIME_SPENT: Self = Self(1 << 7);
    /// Whether there is a parent. In the set with each group of the parent.
    pub const PARENT: Self = Self(1 << 16);
    /// Role and manager of the assignee.
    pub const ASSIGNEE: Self = Self(1 << 17);
    /// The event: actor, change of status, changed fields.
    pub const EVENT: Self = Self(1 << 18);
    /// The time. The verdict may change while no other fact does.
    pub const CLOCK: Self = Self(1 << 19);

    const NAMES: [(&'static str, Self); 12] = [
        ("task", Self::TASK),
        ("text", Self::TEXT),
        ("tags", Self::TAGS),
        ("custom_fields", Self::CUSTOM_FIELDS),
        ("watchers", Self::WATCHERS),
        ("blocked", Self::BLOCKED),
        ("progress", Self::PROGRESS),
        ("time_spent", Self::TIME_SPENT),
        ("parent", Self::PARENT),
        ("assignee", Self::ASSIGNEE),
        ("event", Self::EVENT),
        ("clock", Self::CLOCK),
    ];

    /// The groups of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all groups of `other` are in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no group is in this set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is read of the parent: groups of a task.
    #[must_use]
    pub const fn of_parent(self) -> Self {
        Self((self.0 >> PARENT_SHIFT) & TASK_BITS)
    }

    /// The groups of a task in this set, as groups of the parent. The time stays the time.
    pub(crate) const fn moved_to_parent(self) -> Self {
        Self(((self.0 & TASK_BITS) << PARENT_SHIFT) | (self.0 & Self::CLOCK.0) | Self::PARENT.0)
    }
}

impl BitOr for Needs {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl fmt::Debug for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = Self::NAMES.into_iter().filter(|(_, group)| self.contains(*group));
        let parents = Self::NAMES.into_iter().filter(|(_, group)| self.of_parent().contains(*group));
        let names = own.map(|(name, _)| name.to_owned()).chain(parents.map(|(name, _)| format!("parent.{name}")));
        f.debug_set().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_the_parent_are_apart_from_those_of_the_task() {
        let needs = Needs::TAGS | (Needs::TASK | Needs::CLOCK).moved_to_parent();
        assert!(needs.contains(Needs::TAGS | Needs::PARENT | Needs::CLOCK));
        assert!(!needs.contains(Needs::TASK));
        assert_eq!(needs.of_parent(), Needs::TASK);
        assert_eq!(format!("{needs:?}"), r#"{"tags", "parent", "clock", "parent.task"}"#);
        assert!(Needs::NONE.is_empty() && !needs.is_empty());
    }
}
