//! Runs of rules: the work of one job.
//!
//! ```text
//! job ──▶ observe ──▶ conditions hold ──▶ execution ──▶ for each action: plan ──▶ calls ──▶ outcome ──▶ end
//! ```
//!
//! Nothing is stored of a task that the rule's creator does not see, or of an event whose conditions do not hold. Whatever
//! process dies: the plan of an action is stored before its first call, each call has a key of its own, and the called service
//! does a call with the same key once.

use anyhow::bail;
use baton_clients::{Delegations, Notifications, Rights, is_end_of_rights, notifications::Message};
use baton_errors::{Error, Reason, Result};
use baton_rules::{Definition, MAX_DEPTH, Occurrence, Rule as IndexedRule, RuleIndex};
use baton_runtime::Cause;
use baton_store::{Db, Tenant};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    dispatch::Run,
    pausing,
    situation::{self, Observed},
};
use crate::{
    clients::task::{Answer, TaskClient},
    convert::{
        self,
        event::{RULE, SERVICE},
    },
    events::publish,
    execution::{Execution, ExecutionStatus, MAX_PER_TASK_AND_HOUR, Outcome, RETRY_FOR, limit},
    plan::{Call, Plan},
    rule::{PausedReason, Rule},
    store,
};

/// Longer than all calls of one action take: each has a deadline of 5 seconds.
const ACTING: TimeDelta = TimeDelta::seconds(15);
/// The service that the actions call.
const AUDIENCE: &str = "task";

/// What runs of rules need. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) db: Db,
    pub(crate) tasks: TaskClient,
    pub(crate) delegations: Delegations,
    pub(crate) notifications: Notifications,
}

impl Runner {
    /// Runs a rule on an event.
    ///
    /// # Errors
    /// UNAVAILABLE, and others; the job is repeated.
    pub(crate) async fn run(&self, run: Run) -> anyhow::Result<()> {
        let Run { account_id, rule_id, occurrence } = run;
        let mut tx = self.db.begin_read(Tenant::account(account_id)).await?;
        let rule = store::rule::get(&mut tx, rule_id).await?;
        let execution = store::execution::of_event(&mut tx, rule_id, occurrence.event_id).await?;
        drop(tx);
        let Some(rule) = rule else { return Ok(()) };
        let ended = match execution {
            Some(execution) if execution.ended_at.is_some() => return Ok(()),
            Some(execution) => self.go_on(&rule, execution).await,
            None => self.begin(&rule, occurrence).await,
        };
        match ended {
            Err(error) if is_end_of_rights(error.reason()) => {
                self.end_of_rights(&rule, error.reason()).await?;
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// Evaluates a rule, and executes it if its conditions hold.
    async fn begin(&self, rule: &Rule, occurrence: Occurrence) -> Result<()> {
        if !rule.enabled || occurrence.occurred_at < rule.enabled_at {
            return Ok(());
        }
        let definition = rule.terms.definition("").map_err(|error| Error::internal(error.to_string()))?;
        let indexed = IndexedRule { id: rule.id, owner: rule.created_by, definition: definition.clone() };
        // The rule may have been changed since the event was dispatched.
        if RuleIndex::new([indexed.into()]).candidates(&occurrence).next().is_none() {
            return Ok(());
        }
        let rights = self.rights(rule, &occurrence).await?;
        let Some(observed) = self.observe(rule, &definition, &rights, &occurrence).await? else { return Ok(()) };
        if definition.condition.evaluate(&observed.facts) != Some(true) {
            return Ok(());
        }
        let now = self.db.clock().now();
        let mut execution = Execution {
            id: self.db.clock().new_id(),
            rule_id: rule.id,
            created_by: rule.created_by,
            rule_version: rule.version,
            status: ExecutionStatus::Running,
            reason: None,
            actions: definition.actions.iter().map(Outcome::pending).collect(),
            plan: None,
            repetitions: 0,
            started_at: now,
            ended_at: None,
            occurrence,
        };
        let mut tx = self.db.begin(tenant(rule)).await?;
        let locked = store::rule::lock(&mut tx, rule.id).await?;
        if !locked.is_some_and(|locked| locked.enabled && locked.version == rule.version) {
            // It was changed meanwhile. The job is repeated, and sees the new one.
            return Err(Reason::Unavailable.into());
        }
        if execution.occurrence.depth >= MAX_DEPTH {
            execution.stop(ExecutionStatus::Skipped, Some(limit::DEPTH), now);
        } else if let Some(task_id) = execution.occurrence.task_id {
            let recent = store::execution::count_recent(&mut tx, rule.id, task_id, now - TimeDelta::hours(1)).await?;
            if recent >= MAX_PER_TASK_AND_HOUR {
                execution.stop(ExecutionStatus::Skipped, Some(limit::TASK), now);
            }
        }
        if !store::execution::insert(&mut tx, &execution).await? {
            return Err(Reason::Unavailable.into());
        }
        store::rule::count_execution(&mut tx, rule.id, now).await?;
        tx.commit().await?;
        if execution.ended_at.is_some() {
            return Ok(());
        }
        self.act(rule, &definition, &rights, Some(observed), execution).await
    }

    /// Goes on with an execution that was interrupted or is repeated.
    async fn go_on(&self, rule: &Rule, execution: Execution) -> Result<()> {
        let definition = rule.terms.definition("").map_err(|error| Error::internal(error.to_string()))?;
        let rights = match self.rights(rule, &execution.occurrence).await {
            Ok(rights) => rights,
            Err(error) if is_end_of_rights(error.reason()) => {
                self.cancel(rule, execution, Some(error.reason().name())).await?;
                return Err(error);
            }
            Err(error) => return self.give_up(rule, execution, error).await,
        };
        self.act(rule, &definition, &rights, None, execution).await
    }

    /// Does the actions of an execution that were not done yet, and ends it.
    async fn act(
        &self,
        rule: &Rule,
        definition: &Definition,
        rights: &Rights,
        mut observed: Option<Observed>,
        mut execution: Execution,
    ) -> Result<()> {
        while let Some(index) = execution.next() {
            let Some(action) = definition.actions.get(index) else {
                return self.cancel(rule, execution, None).await;
            };
            let kept = execution.plan.take().filter(|plan| plan.action == index).map(|plan| Ok(plan.calls));
            let planned = match kept {
                Some(calls) => Ok(calls),
                None => self.plan(rule, definition, rights, index, observed.take(), &execution.occurrence).await,
            };
            let acted = match planned {
                Ok(Ok(calls)) if calls.is_empty() => Ok(Ok(None)),
                Ok(Ok(calls)) => {
                    execution.plan = Some(Plan { action: index, calls: calls.clone() });
                    let Some(now) = self.declare(rule, &mut execution).await? else { return Ok(()) };
                    self.perform(&execution, index, &calls, rights, now).await
                }
                Ok(Err(reason)) => Ok(Err(reason)),
                Err(error) => Err(error),
            };
            let Some(outcome) = execution.actions.get_mut(index) else { continue };
            outcome.task_id = execution.occurrence.task_id.filter(|_| !matches!(acted, Ok(Err(_))));
            match acted {
                Ok(Ok(created)) => {
                    outcome.outcome = ExecutionStatus::Succeeded;
                    outcome.task_id = created.or(outcome.task_id);
                }
                Ok(Err(reason @ Reason::MemberNotFound)) => {
                    // There is nobody to tell; nobody has refused anything.
                    (outcome.outcome, outcome.reason) = (ExecutionStatus::Failed, Some(reason.name().to_owned()));
                }
                Ok(Err(reason)) => outcome.of_reason(reason),
                Err(error) if is_end_of_rights(error.reason()) => {
                    self.cancel(rule, execution, Some(error.reason().name())).await?;
                    return Err(error);
                }
                Err(error) => return self.give_up(rule, execution, error).await,
            }
            execution.plan = None;
            let failed =
                execution.actions.get(index).is_some_and(|action| action.outcome != ExecutionStatus::Succeeded);
            if failed && !action.continues {
                execution.skip_rest();
            }
            if execution.next().is_some() {
                self.save(rule, &execution).await?;
            }
        }
        execution.end(self.db.clock().now());
        self.finish(rule, execution).await
    }

    /// Stores the plan of the next action, and that its calls are under way. Without it nothing is called; `None` when the
    /// rule does not run any more, which has ended the execution.
    async fn declare(&self, rule: &Rule, execution: &mut Execution) -> Result<Option<DateTime<Utc>>> {
        let now = self.db.clock().now();
        let mut tx = self.db.begin(tenant(rule)).await?;
        let locked = store::rule::lock_shared(&mut tx, rule.id).await?;
        let Some(stored) = store::execution::lock(&mut tx, rule.id, execution.id).await? else { return Ok(None) };
        if stored.ended_at.is_some() {
            return Ok(None);
        }
        if !locked.is_some_and(|locked| locked.enabled && locked.version == execution.rule_version) {
            execution.stop(ExecutionStatus::Canceled, None, now);
            store::execution::save(&mut tx, execution, None).await?;
            tx.publish(publish::executed(rule, execution)).await?;
            tx.commit().await?;
            return Ok(None);
        }
        store::execution::save(&mut tx, execution, Some(now + ACTING)).await?;
        tx.commit().await?;
        Ok(Some(now))
    }

    /// Makes the calls of an action. Returns the task that was created, if any.
    async fn perform(
        &self,
        execution: &Execution,
        index: usize,
        calls: &[Call],
        rights: &Rights,
        _: DateTime<Utc>,
    ) -> Result<Answer<Option<Uuid>>> {
        let task_id = execution.occurrence.task_id;
        let mut created = None;
        for (nth, call) in calls.iter().enumerate() {
            let key = key(execution, index, nth);
            let answer = match call {
                Call::Tell { user_ids, text } => {
                    let message = Message {
                        account_id: rights.account_id,
                        user_ids,
                        task_id,
                        text,
                        actor_id: Some(rights.user_id),
                    };
                    self.notifications.tell(message, key).await.map(Ok)?
                }
                Call::Create { .. } => {
                    let request = convert::task::creation(call).ok_or_else(|| Error::internal("no creation"))?;
                    self.tasks.create(rights, &request, key).await?.map(|id| created = id)
                }
                Call::Comment { body } => match task_id {
                    Some(task_id) => self.tasks.comment(rights, task_id, body, key).await?,
                    None => Err(Reason::TaskNotFound),
                },
                call => match task_id.and_then(|task_id| convert::task::change(call, task_id)) {
                    Some(request) => self.tasks.change(rights, &request, key).await?,
                    None => Err(Reason::TaskNotFound),
                },
            };
            if let Err(reason) = answer {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(created))
    }

    async fn plan(
        &self,
        rule: &Rule,
        definition: &Definition,
        rights: &Rights,
        index: usize,
        observed: Option<Observed>,
        occurrence: &Occurrence,
    ) -> Result<Answer<Vec<Call>>> {
        // An earlier action may have changed the task.
        let observed = match observed {
            Some(observed) => observed,
            None => match self.observe(rule, definition, rights, occurrence).await? {
                Some(observed) => observed,
                None => return Ok(Err(Reason::TaskNotFound)),
            },
        };
        let Some(action) = definition.actions.get(index) else { return Ok(Err(Reason::ValidationFailed)) };
        situation::plan(&self.tasks, rights, action, (&rule.name, self.db.clock().now()), &observed).await
    }

    async fn observe(
        &self,
        rule: &Rule,
        definition: &Definition,
        rights: &Rights,
        occurrence: &Occurrence,
    ) -> Result<Option<Observed>> {
        let facts = occurrence.facts(rule.created_by, definition.timezone);
        situation::observe(&self.tasks, rights, facts, occurrence.task_id, situation::needs(definition)).await
    }

    /// The creator's rights, for calls that the rule makes on this event.
    async fn rights(&self, rule: &Rule, occurrence: &Occurrence) -> Result<Rights> {
        let delegation_id = rule.delegation_id.ok_or_else(|| Error::from(Reason::DelegationEnded))?;
        let cause = Cause { kind: RULE.to_owned(), id: rule.id, depth: occurrence.depth.saturating_add(1) };
        self.delegations.rights(delegation_id, (rule.account_id, rule.created_by), AUDIENCE, &cause).await
    }

    /// Stores the outcomes so far.
    async fn save(&self, rule: &Rule, execution: &Execution) -> Result<()> {
        let mut tx = self.db.begin(tenant(rule)).await?;
        store::execution::save(&mut tx, execution, None).await?;
        tx.commit().await
    }

    /// Another service does not answer: the job is repeated, for an hour.
    async fn give_up(&self, rule: &Rule, mut execution: Execution, error: Error) -> Result<()> {
        let now = self.db.clock().now();
        if now < execution.started_at + RETRY_FOR {
            // Nothing is under way until then. What is planned stays planned.
            self.save(rule, &execution).await?;
            return Err(error);
        }
        if let Some(index) = execution.next()
            && let Some(outcome) = execution.actions.get_mut(index)
        {
            outcome.of_reason(Reason::Unavailable);
        }
        execution.skip_rest();
        execution.end(now);
        self.finish(rule, execution).await
    }

    /// Ends an execution whose rule does not run any more.
    async fn cancel(&self, rule: &Rule, mut execution: Execution, reason: Option<&str>) -> Result<()> {
        execution.stop(ExecutionStatus::Canceled, reason, self.db.clock().now());
        self.finish(rule, execution).await
    }

    /// Stores the end of an execution, and pauses the rule after too many refusals.
    async fn finish(&self, rule: &Rule, execution: Execution) -> Result<()> {
        let mut tx = self.db.begin(tenant(rule)).await?;
        let Some(mut locked) = store::rule::lock(&mut tx, rule.id).await? else { return Ok(()) };
        let Some(stored) = store::execution::lock(&mut tx, rule.id, execution.id).await? else { return Ok(()) };
        if stored.ended_at.is_some() {
            return Ok(());
        }
        store::execution::save(&mut tx, &execution, None).await?;
        tx.publish(publish::executed(rule, &execution)).await?;
        let refused = execution.status == ExecutionStatus::Refused;
        let decides = refused || matches!(execution.status, ExecutionStatus::Succeeded | ExecutionStatus::Partly);
        if decides && store::rule::count_refusal(&mut tx, rule.id, refused).await? && locked.enabled {
            pausing::pause(&mut tx, &mut locked, PausedReason::Refused).await?;
        }
        tx.commit().await
    }

    /// The rule's creator may not act any more.
    async fn end_of_rights(&self, rule: &Rule, reason: Reason) -> anyhow::Result<()> {
        match reason {
            // Their membership or the grant is gone for good, so the rule is disabled: as the event about it does.
            Reason::DelegationEnded | Reason::NotAMember => {
                let mut tx = self.db.begin(Tenant::account(rule.account_id)).await?;
                pausing::creator_left(&mut tx, None, rule.delegation_id).await?;
                Ok(tx.commit().await?)
            }
            // For now: a suspended account, a restricted person, a missing second factor. The event is not handled later.
            Reason::AccountSuspended
            | Reason::AccountNotFound
            | Reason::ProcessingRestricted
            | Reason::SecondFactorRequired => Ok(()),
            reason => bail!("{}", reason.name()),
        }
    }
}

/// The service acts for the rule's creator.
fn tenant(rule: &Rule) -> Tenant {
    Tenant { account_id: rule.account_id, user_id: rule.created_by }
}

/// The key of a call: the same whenever the same call is repeated.
fn key(execution: &Execution, action: usize, call: usize) -> Uuid {
    let name = format!("{SERVICE}/{}/{action}/{call}/{}", execution.id, execution.repetitions);
    Uuid::new_v5(&execution.id, name.as_bytes())
}
