//! Subtasks: depth limit and progress.

use std::collections::HashMap;

use baton_errors::{Error, Result};
use uuid::Uuid;

/// Maximum depth of the hierarchy, counting the root.
pub(crate) const MAX_DEPTH: i32 = 10;
/// Maximum number of subtasks that progress counts.
pub(crate) const MAX_ROLLED_UP: i64 = 1_000;

/// Progress of a task's subtasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) total: i32,
    pub(crate) completed: i32,
    pub(crate) estimated_seconds: i32,
    pub(crate) actual_seconds: i32,
}

impl Progress {
    /// Percentage of completed subtasks, rounded down.
    pub(crate) fn percent(self) -> i32 {
        (self.completed * 100).checked_div(self.total).unwrap_or_default()
    }
}

/// Facts about a task that are not in its row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TaskSummary {
    /// `None` without subtasks.
    pub(crate) progress: Option<Progress>,
    /// Whether it has an open blocker.
    pub(crate) blocked: bool,
}

/// Checks whether tasks fit below a parent.
#[derive(Debug, Clone)]
pub(crate) struct ParentCheck {
    /// The parent and all its ancestors, up to the root.
    pub(crate) ancestors: Vec<Uuid>,
    /// Height of the subtree of each moved task, itself included.
    pub(crate) heights: HashMap<Uuid, i32>,
}

impl ParentCheck {
    /// Checks that the task fits below the parent.
    ///
    /// # Errors
    /// VALIDATION_FAILED, at `field`, when the task would be its own ancestor or too deep.
    pub(crate) fn accepts(&self, task: Uuid, field: &str) -> Result<()> {
        if self.ancestors.contains(&task) {
            return Err(Error::invalid(field, "must not be the task itself or one of its subtasks"));
        }
        // A new task has no subtasks.
        let heights = self.heights.get(&task).copied().unwrap_or(1);
        if self.ancestors.len() as i32 + heights > MAX_DEPTH {
            return Err(Error::invalid(field, format!("must not be nested more than {MAX_DEPTH} levels deep")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn depth_is_limited_and_cycles_are_refused() {
        let id = Uuid::from_u128;
        let place = |depth: u128, heights: i32| ParentCheck {
            ancestors: (0..depth).map(|n| id(100 + n)).collect(),
            heights: [(id(1), heights)].into(),
        };
        assert!(place(9, 1).accepts(id(1), "parent").is_ok() && place(10, 1).accepts(id(1), "parent").is_err());
        assert!(place(7, 3).accepts(id(1), "parent").is_ok() && place(8, 3).accepts(id(1), "parent").is_err());
        assert!(place(9, 5).accepts(id(2), "parent").is_ok(), "a new task has one level");
        assert!(place(2, 1).accepts(id(101), "parent").is_err());
    }

    proptest! {
        #[test]
        fn percent_is_a_hundred_only_when_all_are_completed(total in 0i32..=1_000, completed in 0i32..=1_000) {
            prop_assume!(completed <= total);
            let percent = Progress { total, completed, ..Progress::default() }.percent();
            prop_assert!((0..=100).contains(&percent));
            prop_assert_eq!(percent == 100, total > 0 && completed == total);
        }
    }
}
