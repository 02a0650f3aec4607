//! Executions: runs of rules, and their outcomes.

use baton_errors::Reason;
use baton_rules::{Action, Occurrence};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::plan::Plan;

/// How long an execution that finds another service unavailable goes on trying.
pub(crate) const RETRY_FOR: TimeDelta = TimeDelta::hours(1);
/// Executions of a rule on one task in an hour.
pub(crate) const MAX_PER_TASK_AND_HOUR: i64 = 10;

/// Reasons of executions that limits have stopped.
pub(crate) mod limit {
    /// The chain of causes is too long.
    pub(crate) const DEPTH: &str = "DEPTH_LIMIT";
    /// The rule ran too often on the task.
    pub(crate) const TASK: &str = "TASK_RATE_LIMIT";
    /// The account has used up its executions of this hour.
    pub(crate) const ACCOUNT: &str = "ACCOUNT_RATE_LIMIT";
}

/// Minutes with executions that limits have stopped, out of the last ten, after which a loop is suspected.
pub(crate) const MAX_LIMITED_MINUTES: i64 = 3;

/// The state of an execution, or the outcome of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExecutionStatus {
    Running,
    Succeeded,
    Failed,
    Partly,
    Refused,
    Skipped,
    Canceled,
}

impl ExecutionStatus {
    pub(crate) const ALL: [Self; 7] =
        [Self::Running, Self::Succeeded, Self::Failed, Self::Partly, Self::Refused, Self::Skipped, Self::Canceled];

    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Partly => "partly",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
            Self::Canceled => "canceled",
        }
    }

    /// The status with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// What became of an action, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Type of the action.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// `Running` before it was tried.
    pub(crate) outcome: ExecutionStatus,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The task that it changed or created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task_id: Option<Uuid>,
    /// Number of definite failures before: a repetition after one makes new calls. After an unknown outcome it makes the same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) failures: u32,
}

/// For serde.
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Outcome {
    /// An action that was not tried yet.
    pub(crate) fn pending(action: &Action) -> Self {
        Self {
            kind: action.type_name().to_owned(),
            outcome: ExecutionStatus::Running,
            reason: None,
            task_id: None,
            failures: 0,
        }
    }

    /// The action was turned down for this reason: refused for want of rights, else failed.
    pub(crate) fn fail(&mut self, reason: Reason) {
        self.outcome = if is_refusal(reason) { ExecutionStatus::Refused } else { ExecutionStatus::Failed };
        self.reason = Some(reason.name().to_owned());
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.outcome == ExecutionStatus::Running
    }
}

/// One run of a rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Execution {
    pub(crate) id: Uuid,
    pub(crate) rule_id: Uuid,
    pub(crate) created_by: Uuid,
    pub(crate) terms_version: i32,
    pub(crate) occurrence: Occurrence,
    pub(crate) status: ExecutionStatus,
    pub(crate) reason: Option<String>,
    pub(crate) actions: Vec<Outcome>,
    pub(crate) plan: Option<Plan>,
    pub(crate) repetitions: i32,
    /// How often a worker has taken it on. Only the last one changes it.
    pub(crate) claims: i32,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

impl Execution {
    /// The first action that was not tried.
    pub(crate) fn next(&self) -> Option<usize> {
        self.actions.iter().position(Outcome::is_pending)
    }

    /// Skips the actions that were not tried: an earlier one failed.
    pub(crate) fn skip_rest(&mut self) {
        for action in self.actions.iter_mut().filter(|action| action.is_pending()) {
            action.outcome = ExecutionStatus::Skipped;
        }
    }

    /// Ends it by the outcomes of its actions: its status, and the reason of the first action that did not succeed.
    pub(crate) fn end(&mut self, now: DateTime<Utc>) {
        let succeeded = self.actions.iter().any(|action| action.outcome == ExecutionStatus::Succeeded);
        let first = self.actions.iter().find(|action| {
            !matches!(action.outcome, ExecutionStatus::Succeeded | ExecutionStatus::Skipped | ExecutionStatus::Running)
        });
        self.status = match first {
            None => ExecutionStatus::Succeeded,
            Some(_) if succeeded => ExecutionStatus::Partly,
            Some(action) => action.outcome,
        };
        self.reason = first.and_then(|action| action.reason.clone());
        (self.ended_at, self.plan) = (Some(now), None);
    }

    /// Ends it without acting further.
    pub(crate) fn stop(&mut self, status: ExecutionStatus, reason: Option<&str>, now: DateTime<Utc>) {
        for action in self.actions.iter_mut().filter(|action| action.is_pending()) {
            action.outcome = status;
        }
        (self.status, self.reason) = (status, reason.map(str::to_owned));
        (self.ended_at, self.plan) = (Some(now), None);
    }

    /// Ends it because another service does not answer: the action under way has an unknown outcome.
    pub(crate) fn give_up(&mut self, now: DateTime<Utc>) {
        if let Some(outcome) = self.next().and_then(|index| self.actions.get_mut(index)) {
            outcome.fail(Reason::Unavailable);
        }
        self.skip_rest();
        self.end(now);
    }

    /// Whether its actions that did not succeed can be repeated.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self.status, ExecutionStatus::Failed | ExecutionStatus::Partly | ExecutionStatus::Refused)
    }

    /// Prepares it to run again.
    pub(crate) fn repeat(&mut self, now: DateTime<Utc>) {
        for action in self.actions.iter_mut().filter(|action| action.outcome != ExecutionStatus::Succeeded) {
            let is_definite = matches!(action.outcome, ExecutionStatus::Failed | ExecutionStatus::Refused)
                && action.reason.as_deref() != Some(Reason::Unavailable.name());
            action.failures += u32::from(is_definite);
            (action.outcome, action.reason) = (ExecutionStatus::Running, None);
        }
        self.repetitions += 1;
        (self.status, self.reason, self.ended_at, self.started_at) = (ExecutionStatus::Running, None, None, now);
    }
}

/// Reasons for which a person cannot do something by hand although the request is right: it is not theirs to do.
fn is_refusal(reason: Reason) -> bool {
    // There is nobody to tell: nobody has refused anything.
    reason != Reason::MemberNotFound && reason.is_denial() || reason == Reason::AssigneeInvalid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(outcome: ExecutionStatus) -> Outcome {
        let reason = (outcome != ExecutionStatus::Succeeded).then(|| outcome.name().to_uppercase());
        Outcome { kind: "archive".to_owned(), outcome, reason, task_id: None, failures: 0 }
    }

    fn execution(outcomes: &[ExecutionStatus]) -> Execution {
        Execution {
            id: Uuid::nil(),
            rule_id: Uuid::nil(),
            created_by: Uuid::nil(),
            terms_version: 1,
            claims: 1,
            occurrence: Occurrence {
                event_id: Uuid::nil(),
                kind: "task.paused".to_owned(),
                occurred_at: DateTime::UNIX_EPOCH,
                actor: None,
                task_id: None,
                task: None,
                changed_fields: Vec::new(),
                late: false,
                depth: 0,
                rule_id: None,
                in_state_since: None,
            },
            status: ExecutionStatus::Running,
            reason: None,
            actions: outcomes.iter().copied().map(outcome).collect(),
            plan: None,
            repetitions: 0,
            started_at: DateTime::UNIX_EPOCH,
            ended_at: None,
        }
    }

    #[test]
    fn status_and_reason_follow_from_the_actions() {
        use ExecutionStatus::{Failed, Partly, Refused, Skipped, Succeeded};
        for (outcomes, status, reason) in [
            (&[Succeeded, Succeeded][..], Succeeded, None),
            (&[Succeeded, Failed], Partly, Some("FAILED")),
            (&[Refused, Skipped], Refused, Some("REFUSED")),
            (&[Failed, Refused], Failed, Some("FAILED")),
            (&[Failed, Succeeded], Partly, Some("FAILED")),
        ] {
            let mut execution = execution(outcomes);
            execution.end(DateTime::UNIX_EPOCH);
            assert_eq!((execution.status, execution.reason.as_deref()), (status, reason), "{outcomes:?}");
        }
    }

    #[test]
    fn repetition_leaves_what_succeeded() {
        use ExecutionStatus::{Failed, Skipped, Succeeded};
        let mut execution = execution(&[Succeeded, Failed, Skipped]);
        execution.end(DateTime::UNIX_EPOCH);
        assert!(execution.is_repeatable());
        execution.repeat(DateTime::UNIX_EPOCH);
        assert_eq!((execution.next(), execution.repetitions, execution.ended_at), (Some(1), 1, None));
        assert_eq!(execution.actions.iter().map(|action| action.failures).collect::<Vec<_>>(), [0, 1, 0]);
        execution.skip_rest();
        execution.end(DateTime::UNIX_EPOCH);
        assert_eq!(execution.status, Succeeded, "nothing that failed is left");
    }

    #[test]
    fn what_is_not_a_persons_to_do_is_refused_and_the_rest_fails() {
        for (reason, refused) in [
            (Reason::TaskNotFound, true),
            (Reason::PermissionMissing, true),
            (Reason::TaskChangeNotAllowed, true),
            (Reason::AssigneeInvalid, true),
            (Reason::TaskWrongState, false),
            (Reason::QuotaExceeded, false),
            (Reason::MemberNotFound, false),
            (Reason::ValidationFailed, false),
        ] {
            assert_eq!(is_refusal(reason), refused, "{reason:?}");
        }
    }
}
