//! Whom to hand a task to: members ranked by the work that they hold and by how their work went.

use baton_proto::baton::task::v1::SuggestionReasonKind;

use crate::policy::assignment::Assignee;

/// A reason: what it counts, the most it can add to a score, and the amount at which it adds half of that.
///
/// Each adds `weight * half / (half + amount)`: all of its weight to one without any, ever less with more, never
/// nothing. So a score hangs on nobody else's work, stays put between 0 and 1, and more of anything never makes it
/// better.
struct Criterion {
    kind: SuggestionReasonKind,
    weight: f64,
    half: f64,
}

/// The weights come to 1. What somebody has on their desk counts most: how many things (each costs attention) a
/// little more than how long they take, as estimates are often missing. What is late already says that they are
/// behind today; what is due before this task will be done before it. How long they took for past work says least:
/// hard tasks go to the best people.
const CRITERIA: [Criterion; 5] = [
    // A handful of open tasks is a usual desk.
    Criterion { kind: SuggestionReasonKind::OpenTasks, weight: 0.30, half: 5.0 },
    // A week of 40 hours.
    Criterion { kind: SuggestionReasonKind::RemainingSeconds, weight: 0.25, half: 144_000.0 },
    // One late task can happen to anyone.
    Criterion { kind: SuggestionReasonKind::OverdueTasks, weight: 0.20, half: 2.0 },
    Criterion { kind: SuggestionReasonKind::DueBeforeTasks, weight: 0.15, half: 3.0 },
    // As long as expected, which is also what is thought of those of whom too little is known.
    Criterion { kind: SuggestionReasonKind::Pace, weight: 0.10, half: NEUTRAL_PACE },
];

const NEUTRAL_PACE: f64 = 1.0;
/// With fewer tasks than this the pace says more about the tasks than about the person.
const MIN_PACED_TASKS: i64 = 3;

/// What a member has to do, and how it went so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Workload {
    /// Open tasks that they hold.
    pub(crate) open: i64,
    /// What those are expected to take yet.
    pub(crate) remaining_seconds: i64,
    /// Those that are late.
    pub(crate) overdue: i64,
    /// Those that are not, and due before the task at hand.
    pub(crate) due_before: i64,
    /// The median of actual to estimated time, if they completed anything that tells, and of how many tasks.
    pub(crate) pace: Option<f64>,
    pub(crate) paced: i64,
}

/// A member, how well the task suits them, and why.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Suggestion {
    pub(crate) assignee: Assignee,
    pub(crate) score: f64,
    pub(crate) reasons: [Reason; CRITERIA.len()],
}

/// A reason for a score, which is the sum of what its reasons add.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reason {
    pub(crate) kind: SuggestionReasonKind,
    pub(crate) value: f64,
    pub(crate) adds: f64,
    pub(crate) weight: f64,
}

/// The best members first, at most `limit`; equally good ones by their id, so that the same question has the same
/// answer.
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
fn amount(kind: SuggestionReasonKind, workload: &Workload) -> f64 {
    match kind {
        SuggestionReasonKind::OpenTasks => workload.open as f64,
        SuggestionReasonKind::RemainingSeconds => workload.remaining_seconds as f64,
        SuggestionReasonKind::OverdueTasks => workload.overdue as f64,
        SuggestionReasonKind::DueBeforeTasks => workload.due_before as f64,
        SuggestionReasonKind::Pace => {
            workload.pace.filter(|_| workload.paced >= MIN_PACED_TASKS).unwrap_or(NEUTRAL_PACE)
        }
        SuggestionReasonKind::Unspecified => 0.0,
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

    /// The ids, best first.
    fn ranked(loads: &[Workload]) -> Vec<u128> {
        let assignees = (1..).zip(loads).map(|(n, workload)| (assignee(n), *workload));
        rank(assignees, loads.len()).iter().map(|suggestion| suggestion.assignee.user_id.as_u128()).collect()
    }

    #[test]
    fn the_weights_come_to_one_and_every_kind_has_its_line() {
        assert!((CRITERIA.iter().map(|line| line.weight).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(CRITERIA.is_sorted_by(|a, b| a.weight >= b.weight), "the weightiest first, as the contract says");
        for number in 1.. {
            let Ok(kind) = SuggestionReasonKind::try_from(number) else { break };
            assert_eq!(CRITERIA.iter().filter(|line| line.kind == kind).count(), 1, "{kind:?}");
        }
    }

    #[test]
    fn who_is_late_comes_after_who_is_not() {
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
        fn scores_are_shares_made_of_their_reasons(workload in any_load()) {
            let Suggestion { score, reasons, .. } = suggest(assignee(1), &workload);
            prop_assert!((0.0..=1.0).contains(&score));
            prop_assert!(reasons.iter().all(|reason| (0.0..=reason.weight).contains(&reason.adds)));
            prop_assert!((reasons.iter().map(|reason| reason.adds).sum::<f64>() - score).abs() < 1e-12);
        }

        #[test]
        fn more_to_do_never_ranks_higher(workload in any_load(), more in more(), slower in 0.0..5.0_f64) {
            let loaded = Workload {
                open: workload.open + more.open,
                remaining_seconds: workload.remaining_seconds + more.remaining_seconds,
                overdue: workload.overdue + more.overdue,
                due_before: workload.due_before + more.due_before,
                pace: workload.pace.map(|pace| pace + slower),
                ..workload
            };
            // The one with more has the lower id, which wins ties only.
            let order = ranked(&[loaded, workload]);
            prop_assert!(order == [2, 1] || suggest(assignee(1), &loaded).score == suggest(assignee(1), &workload).score);
            prop_assert!(suggest(assignee(1), &loaded).score <= suggest(assignee(1), &workload).score);
        }

        #[test]
        fn the_order_hangs_on_the_loads_alone(loads in prop::collection::vec(any_load(), 1..12), turn in 0..12_usize) {
            let assignees: Vec<(Assignee, Workload)> = (1..).zip(&loads).map(|(n, workload)| (assignee(n), *workload)).collect();
            let mut turned = assignees.clone();
            turned.rotate_left(turn % assignees.len());
            turned.reverse();
            prop_assert_eq!(rank(turned, 20), rank(assignees.clone(), 20));
            let few = rank(assignees.clone(), 3);
            prop_assert_eq!(&rank(assignees, 20)[..few.len()], few.as_slice());
        }

        #[test]
        fn others_do_not_change_how_two_compare(a in any_load(), b in any_load(), other in any_load()) {
            let order = ranked(&[a, b, other]);
            let without: Vec<u128> = order.into_iter().filter(|&n| n != 3).collect();
            prop_assert_eq!(without, ranked(&[a, b]));
        }
    }
}
