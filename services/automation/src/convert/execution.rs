//! Executions in the contract.

use baton_proto::{
    baton::automation::v1::{self as proto, ActionOutcome},
    convert::timestamp,
};

use crate::execution::{Execution, ExecutionStatus};

/// The status in the contract.
pub(crate) fn status(status: ExecutionStatus) -> proto::ExecutionStatus {
    match status {
        ExecutionStatus::Running => proto::ExecutionStatus::Running,
        ExecutionStatus::Succeeded => proto::ExecutionStatus::Succeeded,
        ExecutionStatus::Failed => proto::ExecutionStatus::Failed,
        ExecutionStatus::Partly => proto::ExecutionStatus::Partly,
        ExecutionStatus::Refused => proto::ExecutionStatus::Refused,
        ExecutionStatus::Skipped => proto::ExecutionStatus::Skipped,
        ExecutionStatus::Canceled => proto::ExecutionStatus::Canceled,
    }
}

/// The status of the contract; `None` if it is unspecified.
pub(crate) fn to_status(value: proto::ExecutionStatus) -> Option<ExecutionStatus> {
    ExecutionStatus::ALL.into_iter().find(|known| status(*known) == value)
}

/// Converts to the contract.
pub(crate) fn execution(execution: Execution) -> proto::Execution {
    let occurrence = execution.occurrence;
    proto::Execution {
        id: execution.id.to_string(),
        automation_id: execution.rule_id.to_string(),
        event_id: occurrence.event_id.to_string(),
        event_type: occurrence.kind,
        task_id: occurrence.task_id.map(|id| id.to_string()),
        status: status(execution.status).into(),
        reason: execution.reason,
        depth: i32::from(occurrence.depth) + 1,
        late: occurrence.late,
        actions: execution.actions.into_iter().map(outcome).collect(),
        occurred_at: Some(timestamp(occurrence.occurred_at)),
        started_at: Some(timestamp(execution.started_at)),
        ended_at: execution.ended_at.map(timestamp),
    }
}

fn outcome(outcome: crate::execution::Outcome) -> ActionOutcome {
    ActionOutcome {
        r#type: outcome.kind,
        outcome: status(outcome.outcome).into(),
        reason: outcome.reason,
        task_id: outcome.task_id.map(|id| id.to_string()),
    }
}
