//! Time entries in the contract.

use baton_proto::{
    baton::task::v1::{self as proto, TimeCorrectionAction, TimeEntryKind, TimeEntrySource, TimeOfPerson, TimeReport},
    convert::timestamp,
};
use chrono::{DateTime, Utc};

use crate::task::{
    Task,
    time_entry::{Correction, CorrectionAction, EntrySource, IntervalKind, TimeEntry, TimeTotals, clamp_seconds},
};

/// An interval as of `now`.
pub(crate) fn time_entry(entry: TimeEntry, now: DateTime<Utc>) -> proto::TimeEntry {
    proto::TimeEntry {
        id: entry.id.to_string(),
        task_id: entry.task_id.to_string(),
        user_id: entry.user_id.to_string(),
        kind: match entry.kind {
            IntervalKind::Working => TimeEntryKind::Working,
            IntervalKind::Paused => TimeEntryKind::Paused,
        }
        .into(),
        source: match entry.source {
            EntrySource::Timer => TimeEntrySource::Timer,
            EntrySource::Manual => TimeEntrySource::Manual,
        }
        .into(),
        started_at: Some(timestamp(entry.started_at)),
        ended_at: entry.ended_at.map(timestamp),
        seconds: entry.seconds(now),
        note: entry.note,
        created_by: entry.created_by.to_string(),
        version: entry.version,
        created_at: Some(timestamp(entry.created_at)),
        updated_at: Some(timestamp(entry.updated_at)),
    }
}

/// A manual correction.
pub(crate) fn correction(correction: Correction) -> proto::TimeCorrection {
    proto::TimeCorrection {
        id: correction.id.to_string(),
        time_entry_id: correction.time_entry_id.to_string(),
        user_id: correction.user_id.to_string(),
        action: to_action(correction.action).into(),
        actor_id: correction.actor_id.to_string(),
        occurred_at: Some(timestamp(correction.occurred_at)),
        old_started_at: correction.old_started_at.map(timestamp),
        old_ended_at: correction.old_ended_at.map(timestamp),
        new_started_at: correction.new_started_at.map(timestamp),
        new_ended_at: correction.new_ended_at.map(timestamp),
        actual_seconds: correction.actual_seconds,
    }
}

/// The action in the contract.
pub(crate) fn to_action(action: CorrectionAction) -> TimeCorrectionAction {
    match action {
        CorrectionAction::Created => TimeCorrectionAction::Created,
        CorrectionAction::Updated => TimeCorrectionAction::Updated,
        CorrectionAction::Deleted => TimeCorrectionAction::Deleted,
    }
}

/// The time report of a task as of `now`.
pub(crate) fn report(task: &Task, totals: TimeTotals, now: DateTime<Utc>) -> TimeReport {
    let (working, paused) = (totals.working_seconds, totals.paused_seconds);
    let until = |end: DateTime<Utc>, start: DateTime<Utc>| clamp_seconds((end - start).num_seconds());
    let ratio = |part: i64, of: i64| (of > 0).then(|| part as f64 / of as f64);
    let end = task.completed_at.or(task.canceled_at).unwrap_or(now);
    let started = totals.first_started_at;
    TimeReport {
        task_id: task.id.to_string(),
        estimated_seconds: task.fields.estimated_seconds,
        working_seconds: clamp_seconds(working),
        paused_seconds: clamp_seconds(paused),
        elapsed_seconds: started.map_or(0, |start| until(end, start)),
        estimate_ratio: ratio(working, task.fields.estimated_seconds.map_or(0, i64::from)),
        focus_ratio: ratio(working, working + paused),
        pause_count: clamp_seconds(totals.pauses),
        by_user: totals
            .by_user
            .into_iter()
            .map(|(user_id, seconds, entries)| TimeOfPerson {
                user_id: user_id.to_string(),
                working_seconds: clamp_seconds(seconds),
                entry_count: clamp_seconds(entries),
            })
            .collect(),
        first_started_at: started.map(timestamp),
        cycle_time_seconds: task.completed_at.zip(started).map(|(end, start)| until(end, start)),
        lead_time_seconds: task.completed_at.map(|end| until(end, task.created_at)),
    }
}
