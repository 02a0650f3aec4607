//! The moves of a task's lifecycle, as far as `set_status` makes them.

use baton_conditions::choice::Status;

/// A move of the lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Its name: that of the RPC and of the bulk action.
    pub name: &'static str,
    /// The statuses in which it can be made.
    pub from: &'static [Status],
    /// The status after it.
    pub to: Status,
}

/// All moves. A test of the task service compares them with its lifecycle.
pub const MOVES: &[Move] = &[
    Move { name: "start", from: &[Status::Pending], to: Status::InProgress },
    Move { name: "pause", from: &[Status::InProgress], to: Status::Paused },
    Move { name: "resume", from: &[Status::Paused], to: Status::InProgress },
    Move { name: "complete", from: &[Status::InProgress, Status::Paused], to: Status::Completed },
    Move { name: "cancel", from: &[Status::Pending, Status::InProgress, Status::Paused], to: Status::Canceled },
    Move { name: "archive", from: &[Status::Completed, Status::Canceled], to: Status::Archived },
    Move { name: "reopen", from: &[Status::Completed, Status::Canceled, Status::Archived], to: Status::Pending },
];

/// The moves from one status to another: none, one or two. `None` if it takes more.
pub fn path(from: Status, to: Status) -> Option<Vec<&'static Move>> {
    if from == to {
        return Some(Vec::new());
    }
    let possible = |status: Status| MOVES.iter().filter(move |step| step.from.contains(&status));
    if let Some(step) = possible(from).find(|step| step.to == to) {
        return Some(vec![step]);
    }
    possible(from).find_map(|first| Some(vec![first, possible(first.to).find(|second| second.to == to)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_two_moves_lead_to_a_status() {
        let names = |from, to| path(from, to).map(|moves| moves.iter().map(|step| step.name).collect::<Vec<_>>());
        assert_eq!(names(Status::Paused, Status::Paused), Some(vec![]));
        assert_eq!(names(Status::Pending, Status::Canceled), Some(vec!["cancel"]));
        assert_eq!(names(Status::Pending, Status::Paused), Some(vec!["start", "pause"]));
        assert_eq!(names(Status::InProgress, Status::Archived), Some(vec!["complete", "archive"]));
        assert_eq!(names(Status::Completed, Status::Paused), None, "reopen, start and pause are three");
        for from in Status::ALL {
            for to in Status::ALL {
                let Some(moves) = path(*from, *to) else { continue };
                let end = moves.iter().try_fold(*from, |at, step| step.from.contains(&at).then_some(step.to));
                assert_eq!(end, Some(*to), "{from:?} to {to:?}");
            }
        }
    }
}
