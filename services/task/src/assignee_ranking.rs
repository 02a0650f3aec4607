//! Ranks members as assignees by their current workload and past pace.

use crate::policy::assignment::Assignee;

/// What a criterion measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReasonKind {
    OpenTasks,
    RemainingSeconds,
    OverdueTasks,
    DueBeforeTasks,
    Pace,
}

/// A criterion: its amount, its weight in the score, and the amount that halves its contribution.
///
/// Its contribution is `weight * half / (half + amount)`: the full weight at zero, decreasing with the amount, always
/// positive. A score therefore depends on no other member, lies between 0 and 1, and never improves with more of
/// anything.
struct Criterion {
    kind: ReasonKind,
    weight: f64,
    half: f64,
}

/// The weights sum to 1. Current work weighs most: the number of tasks (each costs attention) slightly more than their
/// duration, because estimates are often missing. Overdue tasks show a backlog; tasks due before this one come first.
/// Pace weighs least, because the best people get the hardest tasks.
const CRITERIA: [Criterion; 5] = [
    // Five open tasks are usual.
    Criterion { kind: ReasonKind::OpenTasks, weight: 0.30, half: 5.0 },
    // A week of 40 hours.
    Criterion { kind: ReasonKind::RemainingSeconds, weight: 0.25, half: 144_000.0 },
    // One overdue task can happen to anyone.
    Criterion { kind: ReasonKind::OverdueTasks, weight: 0.20, half: 2.0 },
    Criterion { kind: ReasonKind::DueBeforeTasks, weight: 0.15, half: 3.0 },
    // As estimated, which is also assumed with too little data.
    Criterion { kind: ReasonKind::Pace, weight: 0.10, half: NEUTRAL_PACE },
];

const NEUTRAL_PACE: f64 = 1.0;
/// With fewer tasks than this, the pace depends more on the tasks than on the person.
const MIN_PACED_TASKS: i64 = 3;

/// Current work and past pace of a member.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Workload {
    /// Open tasks that they hold.
    pub(crate) open: i64,
    /// Remaining estimated time of those tasks.
    pub(crate) remaining_seconds: i64,
    /// Overdue ones.
    pub(crate) overdue: i64,
    /// Those that are not overdue, and due before the task to assign.
    pub(crate) due_before: i64,
    /// Median of actual to estimated time, if known, and the number of tasks behind it.
    pub(crate) pace: Option<f64>,
    pub(crate) paced: i64,
}

/// A suggested member with score and reasons.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Suggestion {
    pub(crate) assignee: Assignee,
    pub(crate) score: f64,
    pub(crate) reasons: [Reason; CRITERIA.len()],
}

/// The contribution of one criterion. The score is the sum of all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reason {
    pub(crate) kind: ReasonKind,
    pub(crate) value: f64,
    pub(crate) adds: f64,
    pub(crate) weight: f64,
}

/// The best candidates first, at most `limit`. Ties are sorted by user id, so the result is deterministic.
pub(crate) fn rank(assignees: impl IntoIterator<Item = (Assignee, Workload)>, limit: usize) -> Vec<Suggestion> {
    let mut suggestions: Vec<Suggestion> =
        assignees.into_iter().map(|(assignee, workload)| suggest(assignee, &workload)).collect();
    suggestions.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.assignee.user_id.cmp(&b.assignee.user_id)));
    suggestions.truncate(limit);
    suggestions
}

fn suggest(assignee: Assignee, workload: &Workload) -> Suggestion {
    let reasons = CRITERIA.map(|Criterion { kind, weight, half }| {
        let value = amount(kind, workload).max(0.0);
        Reason { kind, value, adds: weight * half / (half + value), weight }
    });
    Suggestion { assignee, score: reasons.iter().map(|reason| reason.adds).sum(), reasons }
}

#[expect(clippy::cast_precision_loss, reason = "nobody holds 2^52 tasks")]
fn amount(kind: ReasonKind, workload: &Workload) -> f64 {
    match kind {
        ReasonKind::OpenTasks => workload.open as f64,
        ReasonKind::RemainingSeconds => workload.remaining_seconds as f64,
        ReasonKind::OverdueTasks => workload.overdue as f64,
        ReasonKind::DueBeforeTasks => workload.due_before as f64,
        ReasonKind::Pace => workload.pace.filter(|_| workload.paced >= MIN_PACED_TASKS).unwrap_or(NEUTRAL_PACE),
    }
}

#[cfg(test)]
mod tests {
    use baton_access::Role;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn assignee(n: u128) -> Assignee {
        Assignee { user_id: Uuid::from_u128(n), role: Role::User }
    }

    fn any_load() -> impl Strategy<Value = Workload> {
        let pace = (prop::option::of(0.0..10.0_f64), 0..10_i64);
        (0..500_i64, 0..100_000_000_i64, 0..100_i64, 0..100_i64, pace).prop_map(
            |(open, remaining_seconds, overdue, due_before, (pace, paced))| Workload {
                open,
                remaining_seconds,
                overdue,
                due_before,
                pace,
                paced,
            },
        )
    }

    fn more() -> impl Strategy<Value = Workload> {
        any_load().prop_map(|workload| Workload { pace: None, paced: 0, ..workload })
    }

    /// Indices of the workloads, best first.
    fn ranked(loads: &[Workload]) -> Vec<u128> {
        let assignees = (1..).zip(loads).map(|(n, workload)| (assignee(n), *workload));
        rank(assignees, loads.len()).iter().map(|suggestion| suggestion.assignee.user_id.as_u128()).collect()
    }

    #[test]
    fn weights_sum_to_one_and_each_kind_counts_once() {
        assert!((CRITERIA.iter().map(|line| line.weight).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(CRITERIA.is_sorted_by(|a, b| a.weight >= b.weight), "the weightiest first, as the contract says");
        for (n, line) in CRITERIA.iter().enumerate() {
            assert!(CRITERIA[..n].iter().all(|other| other.kind != line.kind), "{:?}", line.kind);
        }
    }

    #[test]
    fn overdue_work_ranks_below_work_on_time() {
        let free = Workload::default();
        let busy = Workload { open: 5, remaining_seconds: 20_000, ..free };
        let late = Workload { overdue: 2, ..busy };
        let pressed = Workload { due_before: 1, ..busy };
        assert_eq!(ranked(&[late, pressed, busy, free]), [4, 3, 2, 1]);
        let quick = Workload { pace: Some(0.5), paced: 3, ..busy };
        let lucky_once = Workload { pace: Some(0.1), paced: 1, ..busy };
        assert_eq!(ranked(&[busy, lucky_once, quick]), [3, 1, 2]);
    }

    proptest! {
        #[test]
        fn score_is_the_sum_of_its_reasons(workload in any_load()) {
            let Suggestion { score, reasons, .. } = suggest(assignee(1), &workload);
            prop_assert!((0.0..=1.0).contains(&score));
            prop_assert!(reasons.iter().all(|reason| (0.0..=reason.weight).contains(&reason.adds)));
            prop_assert!((reasons.iter().map(|reason| reason.adds).sum::<f64>() - score).abs() < 1e-12);
        }

        #[test]
        fn more_work_never_ranks_higher(workload in any_load(), more in more(), slower in 0.0..5.0_f64) {
            let loaded = Workload {
                open: workload.open + more.open,
                remaining_seconds: workload.remaining_seconds + more.remaining_seconds,
                overdue: workload.overdue + more.overdue,
                due_before: workload.due_before + more.due_before,
                pace: workload.pace.map(|pace| pace + slower),
                ..workload
            };
            // The one with more work has the lower id, which only wins ties.
            let order = ranked(&[loaded, workload]);
            prop_assert!(order == [2, 1] || suggest(assignee(1), &loaded).score == suggest(assignee(1), &workload).score);
            prop_assert!(suggest(assignee(1), &loaded).score <= suggest(assignee(1), &workload).score);
        }

        #[test]
        fn order_depends_on_workloads_only(loads in prop::collection::vec(any_load(), 1..12), turn in 0..12_usize) {
            let assignees: Vec<(Assignee, Workload)> = (1..).zip(&loads).map(|(n, workload)| (assignee(n), *workload)).collect();
            let mut turned = assignees.clone();
            turned.rotate_left(turn % assignees.len());
            turned.reverse();
            prop_assert_eq!(rank(turned, 20), rank(assignees.clone(), 20));
            let few = rank(assignees.clone(), 3);
            prop_assert_eq!(&rank(assignees, 20)[..few.len()], few.as_slice());
        }

        #[test]
        fn comparison_is_independent_of_other_candidates(a in any_load(), b in any_load(), other in any_load()) {
            let order = ranked(&[a, b, other]);
            let without: Vec<u128> = order.into_iter().filter(|&n| n != 3).collect();
            prop_assert_eq!(without, ranked(&[a, b]));
        }
    }
}
