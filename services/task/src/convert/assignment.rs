//! Assignments and suggested assignees in the contract.

use baton_proto::{
    baton::task::v1::{self as proto, SuggestionReasonKind},
    convert::timestamp,
};

use crate::{
    assignee_ranking::{Reason, ReasonKind, Suggestion},
    assignment_history::{Assignment, AssignmentOrigin},
};

/// An assignment of a task's history.
pub(crate) fn assignment(assignment: Assignment) -> proto::Assignment {
    proto::Assignment {
        id: assignment.id.to_string(),
        assigned_to: assignment.assigned_to.to_string(),
        assigned_by: assignment.assigned_by.to_string(),
        origin: assignment.origin.map_or(proto::AssignmentOrigin::Unspecified, to_origin).into(),
        assigned_at: Some(timestamp(assignment.assigned_at)),
        accepted_at: assignment.accepted_at.map(timestamp),
        rejected_at: assignment.rejected_at.map(timestamp),
        rejection_reason: assignment.rejection_reason,
        ended_at: assignment.ended_at.map(timestamp),
    }
}

/// A suggested assignee with score and reasons.
pub(crate) fn suggestion(suggestion: Suggestion) -> proto::SuggestedAssignee {
    proto::SuggestedAssignee {
        user_id: suggestion.assignee.user_id.to_string(),
        role: suggestion.assignee.role.to_proto().into(),
        score: suggestion.score,
        reasons: suggestion.reasons.into_iter().map(reason).collect(),
    }
}

fn reason(reason: Reason) -> proto::SuggestionReason {
    let kind = match reason.kind {
        ReasonKind::OpenTasks => SuggestionReasonKind::OpenTasks,
        ReasonKind::RemainingSeconds => SuggestionReasonKind::RemainingSeconds,
        ReasonKind::OverdueTasks => SuggestionReasonKind::OverdueTasks,
        ReasonKind::DueBeforeTasks => SuggestionReasonKind::DueBeforeTasks,
        ReasonKind::Pace => SuggestionReasonKind::Pace,
    };
    proto::SuggestionReason { kind: kind.into(), value: reason.value, adds: reason.adds, weight: reason.weight }
}

fn to_origin(origin: AssignmentOrigin) -> proto::AssignmentOrigin {
    match origin {
        AssignmentOrigin::Assigned => proto::AssignmentOrigin::Assigned,
        AssignmentOrigin::Reassigned => proto::AssignmentOrigin::Reassigned,
        AssignmentOrigin::Delegated => proto::AssignmentOrigin::Delegated,
        AssignmentOrigin::HandedOver => proto::AssignmentOrigin::HandedOver,
        AssignmentOrigin::Oneself => proto::AssignmentOrigin::Self_,
        AssignmentOrigin::Returned => proto::AssignmentOrigin::Returned,
    }
}

#[cfg(test)]
mod tests {
    use baton_access::Role;
    use uuid::Uuid;

    use super::*;
    use crate::{
        assignee_ranking::{Workload, rank},
        policy::assignment::Assignee,
    };

    #[test]
    fn suggestion_has_one_reason_of_every_kind() {
        let assignee = Assignee { user_id: Uuid::nil(), role: Role::User };
        let suggestions = rank([(assignee, Workload::default())], 1);
        let mut kinds: Vec<i32> = suggestions[0].reasons.into_iter().map(|one| reason(one).kind).collect();
        kinds.sort_unstable();
        let known: Vec<i32> = (1..).take_while(|&number| SuggestionReasonKind::try_from(number).is_ok()).collect();
        assert_eq!(kinds, known);
    }
}
