//! Tasks with the progress of their subtasks in the contract.

use baton_proto::baton::task::v1 as proto;
use chrono::{DateTime, Utc};

use crate::task::{
    Task,
    subtasks::{Progress, TaskSummary},
};

/// The task as of `now`, with its progress and whether it is blocked.
pub(crate) fn task(task: Task, summary: TaskSummary, now: DateTime<Utc>) -> proto::Task {
    let progress = summary.progress.map(progress);
    proto::Task { progress, blocked: summary.blocked, ..super::task(task, now) }
}

fn progress(progress: Progress) -> proto::TaskProgress {
    proto::TaskProgress {
        total: progress.total,
        completed: progress.completed,
        percent: progress.percent(),
        estimated_seconds: progress.estimated_seconds,
        actual_seconds: progress.actual_seconds,
    }
}
