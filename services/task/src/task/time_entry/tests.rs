use proptest::prelude::*;

use super::*;
use crate::{
    convert::time_entry::report,
    policy::{
        assignment::take_over,
        visibility::tests::{ALL, COLLEAGUE, STRANGER, USER, membership},
    },
    task::tests::{at, task},
};

fn span(start: i64, end: i64) -> Interval {
    Interval { started_at: at(start), ended_at: at(end) }
}

#[test]
fn entered_interval_is_past_ordered_and_at_most_a_day() {
    let day = 24 * 3_600;
    let now = at(2 * day);
    for (start, end, holds) in [
        (0, 1, true),
        (0, day, true),
        (0, day + 1, false),
        (5, 5, false),
        (5, 4, false),
        (2 * day - 1, 2 * day, true),
        (2 * day - 1, 2 * day + 1, false),
        (2 * day + 1, 2 * day + 2, false),
    ] {
        assert_eq!(span(start, end).validated("ended_at", now).is_ok(), holds, "{start} to {end}");
    }
}

#[test]
fn only_closed_work_can_be_corrected() {
    let entry = |kind, ended_at| TimeEntry { kind, ended_at, ..entry(USER, EntrySource::Timer, at(0)) };
    assert_eq!(entry(IntervalKind::Working, Some(at(9))).correctable().unwrap(), span(0, 9));
    for fixed in [
        entry(IntervalKind::Working, None),
        entry(IntervalKind::Paused, None),
        entry(IntervalKind::Paused, Some(at(9))),
    ] {
        assert_eq!(fixed.correctable().unwrap_err().reason(), Reason::TimeEntryFixed);
    }
}

#[test]
fn permissions_on_a_persons_time() {
    // A user's task, held by a colleague.
    let mut task = task(USER);
    task.assigned_to = Some(COLLEAGUE);
    let may = |rule: fn(Actor<'_>, &Task, Uuid) -> Result<()>, person| {
        ALL.map(|id| rule(Actor { id, membership: &membership(id) }, &task, person).is_ok())
    };
    // OWNER, SUPER, MANAGER, OTHER_MANAGER, USER, COLLEAGUE, STRANGER
    let above = [true, true, true, false, false, true, false];
    assert_eq!(may(|actor, task, of| actor.can_enter_time(task, of), COLLEAGUE), above, "theirs, and for them");
    assert_eq!(may(|actor, task, of| actor.can_correct_time(task, of), COLLEAGUE), above);
    let of_user = may(|actor, task, of| actor.can_enter_time(task, of), USER);
    assert_eq!(of_user, [true, true, true, false, false, false, false], "the creator does not work on it now");
    let of_user = may(|actor, task, of| actor.can_correct_time(task, of), USER);
    assert_eq!(of_user, [true, true, true, false, true, false, false], "they may have, and correct their own");
    // The stranger's manager ranks above the stranger, but may not change the task.
    let of_stranger = may(|actor, task, of| actor.can_correct_time(task, of), STRANGER);
    assert_eq!(of_stranger, [true, true, false, false, false, false, true]);
}

/// A task's intervals, as the database stores them.
#[derive(Debug, Default)]
struct Sheet(Vec<TimeEntry>);

fn entry(user_id: Uuid, source: EntrySource, started_at: DateTime<Utc>) -> TimeEntry {
    TimeEntry {
        id: Uuid::nil(),
        task_id: Uuid::nil(),
        user_id,
        kind: IntervalKind::Working,
        source,
        started_at,
        ended_at: None,
        note: String::new(),
        created_by: user_id,
        version: 1,
        created_at: started_at,
        updated_at: started_at,
    }
}

/// Whether two half-open intervals overlap.
fn overlap(a: &TimeEntry, b: &TimeEntry) -> bool {
    let ends = |entry: &TimeEntry| entry.ended_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
    let empty = |entry: &TimeEntry| entry.ended_at == Some(entry.started_at);
    !empty(a) && !empty(b) && a.started_at < ends(b) && b.started_at < ends(a)
}

impl Sheet {
    fn timer_change(&mut self, timer_change: TimerChange) {
        for entry in self.0.iter_mut().filter(|entry| entry.ended_at.is_none()) {
            entry.ended_at = Some(entry.started_at.max(timer_change.at));
        }
        let next = timer_change
            .next
            .map(|(kind, user_id)| TimeEntry { kind, ..entry(user_id, EntrySource::Timer, timer_change.at) });
        self.0.extend(next);
    }

    fn overlaps(&self, new: &TimeEntry, but: Option<usize>) -> bool {
        let others = self.0.iter().enumerate().filter(|(index, _)| Some(*index) != but).map(|(_, entry)| entry);
        others
            .filter(|entry| entry.kind == IntervalKind::Working && entry.user_id == new.user_id)
            .any(|entry| overlap(entry, new))
    }

    fn work(&self) -> impl Iterator<Item = &TimeEntry> {
        self.0.iter().filter(|entry| entry.kind == IntervalKind::Working)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Start,
    Pause,
    Resume,
    Complete,
    Cancel,
    Reopen,
    Delete,
    Restore,
    HandOver(bool),
    /// An interval that ended so many seconds ago, with a duration in milliseconds.
    Enter(i64, i64),
    /// The interval at this index, moved and lengthened by so many milliseconds.
    Correct(prop::sample::Index, i64, i64),
    Remove(prop::sample::Index),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Start), 3 => Just(Step::Pause), 3 => Just(Step::Resume), 1 => Just(Step::Complete),
        1 => Just(Step::Cancel), 1 => Just(Step::Reopen), 1 => Just(Step::Delete), 1 => Just(Step::Restore),
        2 => any::<bool>().prop_map(Step::HandOver),
        3 => (0i64..2_000, 1i64..900_000).prop_map(|(ago, long)| Step::Enter(ago, long)),
        2 => (any::<prop::sample::Index>(), -900_000i64..900_000, -900_000i64..900_000)
            .prop_map(|(which, by, longer)| Step::Correct(which, by, longer)),
        1 => any::<prop::sample::Index>().prop_map(Step::Remove),
    ]
}

/// Applies a step as the RPC does; `false` when it is refused.
fn take(task: &mut Task, sheet: &mut Sheet, step: &Step, now: DateTime<Utc>, saved_at: DateTime<Utc>) -> bool {
    // A deleted task can only be restored.
    if task.deleted_at.is_some() != matches!(step, Step::Restore) {
        return false;
    }
    let before = task.clone();
    let mut after = before.clone();
    let milliseconds = TimeDelta::milliseconds;
    let done = match step {
        Step::Start => after.start(now),
        Step::Pause => after.pause("lunch".to_owned(), now),
        Step::Resume => after.resume(now),
        Step::Complete => after.complete(now),
        Step::Cancel => after.cancel(now),
        Step::Reopen => after.reopen(),
        Step::Delete => {
            after.delete(now);
            Ok(())
        }
        Step::Restore => {
            after.restore();
            Ok(())
        }
        Step::HandOver(back) => {
            let to = if *back { USER } else { COLLEAGUE };
            let from = after.worker();
            take_over(&mut after, from, to, now);
            Ok(())
        }
        Step::Enter(ago, long) => {
            let ended_at = now - TimeDelta::seconds(*ago);
            let validated = Interval { started_at: ended_at - milliseconds(*long), ended_at };
            let new = TimeEntry {
                ended_at: Some(ended_at),
                ..entry(task.worker(), EntrySource::Manual, validated.started_at)
            };
            if validated.validated("ended_at", now).is_err() || sheet.overlaps(&new, None) {
                return false;
            }
            sheet.0.push(new);
            after.correct_time(Adjustment::created(validated));
            Ok(())
        }
        Step::Correct(which, by, longer) => {
            let Some(index) = (!sheet.0.is_empty()).then(|| which.index(sheet.0.len())) else { return false };
            let Ok(old) = sheet.0[index].correctable() else { return false };
            let started_at = old.started_at + milliseconds(*by);
            let new = Interval { started_at, ended_at: old.ended_at + milliseconds(by + longer) };
            let moved = TimeEntry { started_at, ended_at: Some(new.ended_at), ..sheet.0[index].clone() };
            if new.validated("ended_at", now).is_err() || sheet.overlaps(&moved, Some(index)) {
                return false;
            }
            sheet.0[index] = moved;
            after.correct_time(Adjustment::updated(old, new));
            Ok(())
        }
        Step::Remove(which) => {
            let Some(index) = (!sheet.0.is_empty()).then(|| which.index(sheet.0.len())) else { return false };
            let Ok(old) = sheet.0[index].correctable() else { return false };
            sheet.0.remove(index);
            after.correct_time(Adjustment::deleted(old));
            Ok(())
        }
    };
    if done.is_err() {
        return false;
    }
    let (time, timer_change) = TimerChange::of(&before, &mut after, saved_at);
    after.updated_at = time;
    timer_change.into_iter().for_each(|timer_change| sheet.timer_change(timer_change));
    *task = after;
    true
}

#[test]
fn work_that_was_entered_until_now_does_not_overlap_with_a_timer_if_the_clock_is_set_back() {
    let (mut task, mut sheet) = (task(USER), Sheet::default());
    let (before, now) = (at(10_000), at(10_000) + TimeDelta::milliseconds(1));
    task.updated_at = before;
    assert!(take(&mut task, &mut sheet, &Step::Enter(0, 1), now, before));
    assert!(take(&mut task, &mut sheet, &Step::Start, before, before));
    let [entered, timer] = &sheet.0[..] else { panic!("{sheet:?}") };
    assert!(!overlap(entered, timer), "{sheet:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Holds for any steps and any clock, even if the clock jumps between deciding and storing a change.
    #[test]
    fn intervals_are_disjoint_ordered_and_sum_up(
        steps in prop::collection::vec((any_step(), -400_000i64..900_000, -5_000i64..5_000), 1..40),
    ) {
        let (mut task, mut sheet, mut now) = (task(USER), Sheet::default(), at(10_000));
        task.updated_at = now;
        for (step, later, stored_later) in steps {
            now += TimeDelta::milliseconds(later);
            let before = task.clone();
            if !take(&mut task, &mut sheet, &step, now, now + TimeDelta::milliseconds(stored_later)) {
                prop_assert_eq!(&task, &before);
                continue;
            }
            prop_assert!(task.updated_at >= before.updated_at, "a task's own time never goes back");
            for (index, entry) in sheet.0.iter().enumerate() {
                prop_assert!(entry.ended_at.is_none_or(|end| end >= entry.started_at));
                prop_assert!(entry.kind == IntervalKind::Paused || !sheet.overlaps(entry, Some(index)), "{:?}: {:?}", step, sheet);
            }
            let over: i32 = sheet.work().filter(|entry| entry.ended_at.is_some()).map(|entry| entry.seconds(now)).sum();
            prop_assert_eq!(over, task.actual_seconds);
            prop_assert_eq!(sheet.work().map(|entry| entry.seconds(now)).sum::<i32>(), task.worked_seconds(now));
            let mut runs = sheet.0.iter().filter(|entry| entry.ended_at.is_none());
            let run = runs.next();
            prop_assert!(runs.next().is_none(), "a task runs once");
            prop_assert_eq!(run.map(|entry| (entry.kind, entry.user_id)), running_interval(&task));
            let since = run.filter(|entry| entry.kind == IntervalKind::Working).map(|entry| entry.started_at);
            prop_assert_eq!(since, task.running_since);
        }
    }
}

#[test]
fn report_omits_unknown_figures() {
    let mut task = task(USER);
    let nothing = report(&task, TimeTotals::default(), at(50));
    assert_eq!((nothing.elapsed_seconds, nothing.estimate_ratio, nothing.focus_ratio), (0, None, None));
    assert_eq!((nothing.first_started_at, nothing.cycle_time_seconds, nothing.lead_time_seconds), (None, None, None));

    task.fields.estimated_seconds = Some(0);
    let totals = TimeTotals {
        working_seconds: 300,
        paused_seconds: 100,
        pauses: 2,
        first_started_at: Some(at(10)),
        by_user: vec![(USER, 200, 3), (COLLEAGUE, 100, 1)],
    };
    let open = report(&task, totals.clone(), at(1_010));
    assert_eq!((open.elapsed_seconds, open.cycle_time_seconds), (1_000, None));
    assert_eq!((open.estimate_ratio, open.focus_ratio), (None, Some(0.75)), "nothing was expected to take no time");
    assert_eq!(open.by_user.iter().map(|person| person.entry_count).collect::<Vec<_>>(), [3, 1]);

    task.fields.estimated_seconds = Some(200);
    task.start(at(10)).unwrap();
    task.complete(at(510)).unwrap();
    let done = report(&task, totals.clone(), at(9_999));
    assert_eq!((done.elapsed_seconds, done.cycle_time_seconds, done.lead_time_seconds), (500, Some(500), Some(510)));
    assert_eq!(done.estimate_ratio, Some(1.5));
    // Work that was entered for a time after the end.
    let late = report(&task, TimeTotals { first_started_at: Some(at(600)), ..totals }, at(9_999));
    assert_eq!((late.elapsed_seconds, late.cycle_time_seconds), (0, Some(0)));
}
