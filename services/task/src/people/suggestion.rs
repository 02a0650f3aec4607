//! Whom to hand a task to: members ranked by the work that they hold and by how their work went.

use baton_proto::baton::task::v1::SuggestionReasonKind;

use crate::people::assignment::Member;

/// A reason: what it counts, the most it can add to a score, and the amount at which it adds half of that.
///
/// Each adds `weight * half / (half + amount)`: all of its weight to one without any, ever less with more, never
/// nothing. So a score hangs on nobody else's work, stays put between 0 and 1, and more of anything never makes it
/// better.
struct Line {
    kind: SuggestionReasonKind,
    weight: f64,
    half: f64,
}

/// The weights come to 1. What somebody has on their desk counts most: how many things (each costs attention) a
/// little more than how long they take, as estimates are often missing. What is late already says that they are
/// behind today; what is due before this task will be done before it. How long they took for past work says least:
/// hard tasks go to the best people.
const LINES: [Line; 5] = [
    // A handful of open tasks is a usual desk.
    Line { kind: SuggestionReasonKind::OpenTasks, weight: 0.30, half: 5.0 },
    // A week of 40 hours.
    Line { kind: SuggestionReasonKind::RemainingSeconds, weight: 0.25, half: 144_000.0 },
    // One late task can happen to anyone.
    Line { kind: SuggestionReasonKind::OverdueTasks, weight: 0.20, half: 2.0 },
    Line { kind: SuggestionReasonKind::DueBeforeTasks, weight: 0.15, half: 3.0 },
    // As long as expected, which is also what is thought of those of whom too little is known.
    Line { kind: SuggestionReasonKind::Pace, weight: 0.10, half: AS_EXPECTED },
];

const AS_EXPECTED: f64 = 1.0;
/// With fewer tasks than this the pace says more about the tasks than about the person.
const ENOUGH_TASKS: i64 = 3;

/// What a member has to do, and how it went so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
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
    pub(crate) member: Member,
    pub(crate) score: f64,
    pub(crate) reasons: [Reason; LINES.len()],
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
pub(crate) fn rank(members: impl IntoIterator<Item = (Member, Load)>, limit: usize) -> Vec<Suggestion> {
    let mut suggestions: Vec<Suggestion> = members.into_iter().map(|(member, load)| suggest(member, &load)).collect();
    suggestions.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.member.user_id.cmp(&b.member.user_id)));
    suggestions.truncate(limit);
    suggestions
}

fn suggest(member: Member, load: &Load) -> Suggestion {
    let reasons = LINES.map(|Line { kind, weight, half }| {
        let value = amount(kind, load).max(0.0);
        Reason { kind, value, adds: weight * half / (half + value), weight }
    });
    Suggestion { member, score: reasons.iter().map(|reason| reason.adds).sum(), reasons }
}

#[expect(clippy::cast_precision_loss, reason = "nobody holds 2^52 tasks")]
fn amount(kind: SuggestionReasonKind, load: &Load) -> f64 {
    match kind {
        SuggestionReasonKind::OpenTasks => load.open as f64,
        SuggestionReasonKind::RemainingSeconds => load.remaining_seconds as f64,
        SuggestionReasonKind::OverdueTasks => load.overdue as f64,
        SuggestionReasonKind::DueBeforeTasks => load.due_before as f64,
        SuggestionReasonKind::Pace => load.pace.filter(|_| load.paced >= ENOUGH_TASKS).unwrap_or(AS_EXPECTED),
        SuggestionReasonKind::Unspecified => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use baton_access::Role;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn member(n: u128) -> Member {
        Member { user_id: Uuid::from_u128(n), role: Role::User }
    }

    fn any_load() -> impl Strategy<Value = Load> {
        let pace = (prop::option::of(0.0..10.0_f64), 0..10_i64);
        (0..500_i64, 0..100_000_000_i64, 0..100_i64, 0..100_i64, pace).prop_map(
            |(open, remaining_seconds, overdue, due_before, (pace, paced))| Load {
                open,
                remaining_seconds,
                overdue,
                due_before,
                pace,
                paced,
            },
        )
    }

    fn more() -> impl Strategy<Value = Load> {
        any_load().prop_map(|load| Load { pace: None, paced: 0, ..load })
    }

    /// The ids, best first.
    fn ranked(loads: &[Load]) -> Vec<u128> {
        let members = (1..).zip(loads).map(|(n, load)| (member(n), *load));
        rank(members, loads.len()).iter().map(|suggestion| suggestion.member.user_id.as_u128()).collect()
    }

    #[test]
    fn the_weights_come_to_one_and_every_kind_has_its_line() {
        assert!((LINES.iter().map(|line| line.weight).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(LINES.is_sorted_by(|a, b| a.weight >= b.weight), "the weightiest first, as the contract says");
        for number in 1.. {
            let Ok(kind) = SuggestionReasonKind::try_from(number) else { break };
            assert_eq!(LINES.iter().filter(|line| line.kind == kind).count(), 1, "{kind:?}");
        }
    }

    #[test]
    fn who_is_late_comes_after_who_is_not() {
        let free = Load::default();
        let busy = Load { open: 5, remaining_seconds: 20_000, ..free };
        let late = Load { overdue: 2, ..busy };
        let pressed = Load { due_before: 1, ..busy };
        assert_eq!(ranked(&[late, pressed, busy, free]), [4, 3, 2, 1]);
        let quick = Load { pace: Some(0.5), paced: 3, ..busy };
        let lucky_once = Load { pace: Some(0.1), paced: 1, ..busy };
        assert_eq!(ranked(&[busy, lucky_once, quick]), [3, 1, 2]);
    }

    proptest! {
        #[test]
        fn scores_are_shares_made_of_their_reasons(load in any_load()) {
            let Suggestion { score, reasons, .. } = suggest(member(1), &load);
            prop_assert!((0.0..=1.0).contains(&score));
            prop_assert!(reasons.iter().all(|reason| (0.0..=reason.weight).contains(&reason.adds)));
            prop_assert!((reasons.iter().map(|reason| reason.adds).sum::<f64>() - score).abs() < 1e-12);
        }

        #[test]
        fn more_to_do_never_ranks_higher(load in any_load(), more in more(), slower in 0.0..5.0_f64) {
            let loaded = Load {
                open: load.open + more.open,
                remaining_seconds: load.remaining_seconds + more.remaining_seconds,
                overdue: load.overdue + more.overdue,
                due_before: load.due_before + more.due_before,
                pace: load.pace.map(|pace| pace + slower),
                ..load
            };
            // The one with more has the lower id, which wins ties only.
            let order = ranked(&[loaded, load]);
            prop_assert!(order == [2, 1] || suggest(member(1), &loaded).score == suggest(member(1), &load).score);
            prop_assert!(suggest(member(1), &loaded).score <= suggest(member(1), &load).score);
        }

        #[test]
        fn the_order_hangs_on_the_loads_alone(loads in prop::collection::vec(any_load(), 1..12), turn in 0..12_usize) {
            let members: Vec<(Member, Load)> = (1..).zip(&loads).map(|(n, load)| (member(n), *load)).collect();
            let mut turned = members.clone();
            turned.rotate_left(turn % members.len());
            turned.reverse();
            prop_assert_eq!(rank(turned, 20), rank(members.clone(), 20));
            let few = rank(members.clone(), 3);
            prop_assert_eq!(&rank(members, 20)[..few.len()], few.as_slice());
        }

        #[test]
        fn others_do_not_change_how_two_compare(a in any_load(), b in any_load(), other in any_load()) {
            let order = ranked(&[a, b, other]);
            let without: Vec<u128> = order.into_iter().filter(|&n| n != 3).collect();
            prop_assert_eq!(without, ranked(&[a, b]));
        }
    }
}
