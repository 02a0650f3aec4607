//! Executions in the contract.

use baton_proto::{
    baton::automation::v1::{self as proto, ActionOutcome, WebhookDelivery},
    convert::timestamp,
};

use crate::{
    execution::{Execution, ExecutionStatus},
    webhook::{Delivery, DeliveryStatus},
};

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

/// Converts to the contract, with what became of the executions' messages to receivers.
pub(crate) fn executions(executions: Vec<Execution>, deliveries: &[Delivery]) -> Vec<proto::Execution> {
    let of = |id| deliveries.iter().filter(move |delivery| delivery.execution_id == id);
    let convert = |one: Execution| {
        let id = one.id;
        let mut converted = execution(one);
        // Of several messages of an action, the last one is of its last repetition.
        for delivery in of(id) {
            let action = usize::try_from(delivery.action).ok().and_then(|index| converted.actions.get_mut(index));
            if let Some(action) = action {
                action.delivery = Some(self::delivery(delivery));
            }
        }
        converted
    };
    executions.into_iter().map(convert).collect()
}

fn delivery(delivery: &Delivery) -> WebhookDelivery {
    let status = match delivery.status {
        DeliveryStatus::Pending => proto::DeliveryStatus::Pending,
        DeliveryStatus::Delivered => proto::DeliveryStatus::Delivered,
        DeliveryStatus::Failed => proto::DeliveryStatus::Failed,
        DeliveryStatus::Canceled => proto::DeliveryStatus::Canceled,
    };
    WebhookDelivery {
        id: delivery.id.to_string(),
        status: status.into(),
        attempts: delivery.attempts,
        status_code: delivery.status_code,
        reason: delivery.reason.clone(),
    }
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
        delivery: None,
    }
}
