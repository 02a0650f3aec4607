//! Runs of rules: the work of one job.
//!
//! ```text
//! job ──▶ observe ──▶ conditions hold ──▶ execution ──▶ for each action: plan ──▶ calls ──▶ outcome ──▶ end
//! ```
//!
//! Nothing is stored of a task that the rule's creator does not see, or of an event whose conditions do not hold. Whatever
//! process dies: the plan of an action is stored before its first call, each call has a key of its own, and the called service
//! does a call with the same key once. Of several workers with the same execution, only the last to take it on goes on.

use std::time::Duration;

use baton_clients::{Delegations, Notifications, Rights, is_end_of_rights, notifications::Message};
use baton_conditions::TaskFacts;
use baton_errors::{Error, Reason, Result};
use baton_rules::{Definition, MAX_DEPTH, Occurrence, Rule as IndexedRule, RuleIndex};
use baton_runtime::Cause;
use baton_store::{Db, Tenant};
use chrono::TimeDelta;
use tokio::time::Instant;
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
    execution::{Execution, ExecutionStatus, MAX_LIMITED_MINUTES, MAX_PER_TASK_AND_HOUR, Outcome, RETRY_FOR, limit},
    lasting::Wait,
    plan::{Call, Plan},
    rule::{PausedReason, Rule},
    store,
};

/// How long the calls of an action may be under way.
const ACTING: Duration = Duration::from_secs(20);
/// No call begins later than this: each has a deadline of 5 seconds, and the called service may commit a little later.
const LAST_CALL: Duration = Duration::from_secs(10);
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

/// A rule that is run by a worker.
struct Running<'a> {
    rule: &'a Rule,
    definition: Definition,
    /// Length of the chain of causes of what it does.
    depth: u16,
    /// The state that has to last, for a rule that waits.
    wait: Option<Wait>,
    /// Whether it has waited.
    waited: bool,
}

impl Runner {
    /// Runs a rule on an event.
    ///
    /// # Errors
    /// UNAVAILABLE, and others; the job is repeated.
    pub(crate) async fn run(&self, run: Run) -> Result<()> {
        let mut tx = self.db.begin_read(Tenant::account(run.account_id)).await?;
        let rule = store::rule::get(&mut tx, run.rule_id).await?;
        let execution = store::execution::of_event(&mut tx, run.rule_id, run.occurrence.event_id).await?;
        drop(tx);
        let Some(rule) = rule else { return Ok(()) };
        let definition = match rule.terms.definition("") {
            Ok(definition) => definition,
            Err(error) => {
                tracing::error!(%error, rule.id = %rule.id, "a stored rule does not parse; it does not run");
                return Ok(());
            }
        };
        let depth = run.occurrence.depth.saturating_add(1);
        let wait = Wait::of(rule.id, &definition.trigger, &run.occurrence);
        let running = Running { rule: &rule, definition, depth, wait, waited: run.waited };
        let taken_on = match execution {
            Some(execution) if execution.ended_at.is_some() => return Ok(()),
            Some(execution) => self.take(&running, execution.id).await.map(|taken_on| Some((None, taken_on?))),
            None => match Box::pin(self.begin(&running, run.occurrence)).await {
                // Nothing was begun, so nothing is stored of it.
                Err(error)
                    if !is_end_of_rights(error.reason()) && self.db.clock().now() > run.enqueued_at + RETRY_FOR =>
                {
                    tracing::warn!(%error, rule.id = %rule.id, "another service does not answer; an event is left out");
                    return Ok(());
                }
                begun => begun.map(|begun| begun.map(|(observed, execution)| (Some(observed), execution))),
            },
        };
        let ended = match taken_on {
            Ok(Some((observed, execution))) => Box::pin(self.act(&running, observed, execution)).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match ended {
            Err(error) if is_end_of_rights(error.reason()) => self.end_of_rights(&rule, error).await,
            other => other,
        }
    }

    /// Evaluates a rule. If its conditions hold, and no limit is reached, an execution has begun.
    async fn begin(&self, running: &Running<'_>, occurrence: Occurrence) -> Result<Option<(Observed, Execution)>> {
        let Running { rule, definition, .. } = running;
        if !rule.enabled || occurrence.occurred_at < rule.enabled_at {
            return Ok(None);
        }
        let indexed = IndexedRule { id: rule.id, owner: rule.created_by, definition: definition.clone() };
        // The rule may have been changed since the event was dispatched.
        let is_candidate = RuleIndex::new([indexed.into()]).candidates(&occurrence).next().is_some();
        let waits = definition.trigger.for_seconds.is_some();
        // It may wait since, or do so no more.
        if !is_candidate || waits != running.waited || !self.has_lasted(running).await? {
            return Ok(None);
        }
        let Some(observed) = self.observe(running, &occurrence).await? else { return Ok(None) };
        if definition.condition.evaluate(&observed.facts) != Some(true) {
            return Ok(None);
        }
        let now = self.db.clock().now();
        let mut execution = Execution {
            id: self.db.clock().new_id(),
            rule_id: rule.id,
            created_by: rule.created_by,
            terms_version: rule.terms_version,
            status: ExecutionStatus::Running,
            reason: None,
            actions: definition.actions.iter().map(Outcome::pending).collect(),
            plan: None,
            repetitions: 0,
            takes: 1,
            started_at: now,
            ended_at: None,
            occurrence,
        };
        let mut tx = self.db.begin(tenant(rule)).await?;
        let Some(mut locked) = store::rule::lock(&mut tx, rule.id).await? else { return Ok(None) };
        if !locked.enabled || locked.terms_version != rule.terms_version {
            // It was changed meanwhile. The job is repeated, and sees the new one.
            return Err(Reason::Unavailable.into());
        }
        if let Some(reason) = self.limit(&mut tx, &execution).await? {
            // One line a minute. The rule is locked, so nobody else adds one.
            if store::execution::is_limited_since(&mut tx, rule.id, reason, now - TimeDelta::minutes(1)).await? {
                return Ok(None);
            }
            execution.stop(ExecutionStatus::Skipped, Some(reason), now);
            store::execution::insert(&mut tx, &execution).await?;
            tx.publish(publish::executed(rule, &execution)).await?;
            let minutes = store::execution::limited_minutes(&mut tx, rule.id, now - TimeDelta::minutes(10)).await?;
            if minutes >= MAX_LIMITED_MINUTES {
                pausing::pause(&mut tx, &mut locked, PausedReason::LoopSuspected).await?;
            }
            tx.commit().await?;
            return Ok(None);
        }
        if !store::execution::insert(&mut tx, &execution).await? {
            // Another worker has begun it; if it has died, this one goes on when the job is repeated.
            return Err(Reason::Unavailable.into());
        }
        store::rule::count_execution(&mut tx, rule.id, now).await?;
        tx.commit().await?;
        Ok(Some((observed, execution)))
    }

    /// Whether the task was in the state from the beginning to the end: events about the end of it may not have arrived yet.
    async fn has_lasted(&self, running: &Running<'_>) -> Result<bool> {
        let Some(wait) = &running.wait else { return Ok(true) };
        if self.db.clock().now() < wait.fires_at {
            // The rule waits longer since.
            return Ok(false);
        }
        for time in [wait.since, wait.fires_at] {
            let rights = self.rights(running).await?;
            let task = self.tasks.task_as_of(&rights, wait.task_id, time).await?;
            let then = task.as_ref().and_then(convert::task::now);
            if !then.is_some_and(|then| wait.state.holds(then.status.name(), then.assignee)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The limit that an execution exceeds.
    async fn limit(&self, tx: &mut baton_store::Tx, execution: &Execution) -> Result<Option<&'static str>> {
        if execution.occurrence.depth >= MAX_DEPTH {
            return Ok(Some(limit::DEPTH));
        }
        let Some(task_id) = execution.occurrence.task_id else { return Ok(None) };
        let since = execution.started_at - TimeDelta::hours(1);
        let recent = store::execution::count_recent(tx, execution.rule_id, task_id, since).await?;
        Ok((recent >= MAX_PER_TASK_AND_HOUR).then_some(limit::TASK))
    }

    /// Takes on an execution that was interrupted, or is repeated; `None` if it has ended, or ends now.
    async fn take(&self, running: &Running<'_>, id: Uuid) -> Result<Option<Execution>> {
        let rule = running.rule;
        let mut tx = self.db.begin(tenant(rule)).await?;
        let locked = store::rule::lock_shared(&mut tx, rule.id).await?;
        let Some(mut execution) = store::execution::lock(&mut tx, rule.id, id).await? else { return Ok(None) };
        if execution.ended_at.is_some() {
            return Ok(None);
        }
        if !store::execution::take(&mut tx, &mut execution).await? {
            // A call of the worker before may be under way.
            return Err(Reason::Unavailable.into());
        }
        let runs = locked.is_some_and(|locked| locked.enabled && locked.terms_version == execution.terms_version);
        tx.commit().await?;
        if !runs || running.definition.actions.len() != execution.actions.len() {
            execution.stop(ExecutionStatus::Canceled, None, self.db.clock().now());
            self.finish(rule, execution).await?;
            return Ok(None);
        }
        Ok(Some(execution))
    }

    /// Does the actions of an execution that were not done yet, and ends it.
    async fn act(&self, running: &Running<'_>, mut observed: Option<Observed>, mut execution: Execution) -> Result<()> {
        let Running { rule, definition, .. } = running;
        while let Some((index, action)) =
            execution.next().and_then(|index| Some((index, definition.actions.get(index)?)))
        {
            let acted = self.act_once(running, &mut execution, index, observed.take()).await;
            let answer = match acted {
                Ok(Some(answer)) => answer,
                // The rule was disabled or changed, or another worker goes on.
                Ok(None) => return Ok(()),
                Err(error) if is_end_of_rights(error.reason()) => {
                    let now = self.db.clock().now();
                    execution.stop(ExecutionStatus::Canceled, Some(error.reason().name()), now);
                    self.finish(rule, execution).await?;
                    return Err(error);
                }
                Err(error) => return self.give_up(rule, execution, error).await,
            };
            execution.plan = None;
            let Some(outcome) = execution.actions.get_mut(index) else { break };
            match answer {
                Ok(task_id) => (outcome.outcome, outcome.task_id) = (ExecutionStatus::Succeeded, task_id),
                Err(reason) => outcome.fail(reason),
            }
            if outcome.outcome != ExecutionStatus::Succeeded && !action.continues {
                execution.skip_rest();
            }
            if execution.next().is_some() && !self.save(rule, &execution).await? {
                return Ok(());
            }
        }
        execution.end(self.db.clock().now());
        self.finish(rule, execution).await
    }

    /// Does one action. Returns the task that it changed or created, or the reason why it could not; `None` when the execution
    /// is not this worker's any more, or was ended.
    async fn act_once(
        &self,
        running: &Running<'_>,
        execution: &mut Execution,
        index: usize,
        observed: Option<Observed>,
    ) -> Result<Option<Answer<Option<Uuid>>>> {
        let kept = execution.plan.take().filter(|plan| plan.action == index);
        let calls = match kept {
            Some(plan) => plan.calls,
            None => match self.plan(running, index, observed, execution).await? {
                Ok(calls) => calls,
                Err(reason) => return Ok(Some(Err(reason))),
            },
        };
        if calls.is_empty() {
            return Ok(Some(Ok(None)));
        }
        execution.plan = Some(Plan { action: index, calls: calls.clone() });
        // Before the rule is locked: the window that is declared is longer than this one.
        let began = Instant::now();
        if !self.declare(running.rule, execution).await? {
            return Ok(None);
        }
        self.perform(running, execution, index, &calls, began).await.map(Some)
    }

    /// Stores the plan of the next action, and that its calls are under way. Without it nothing is called. `false` when the rule
    /// does not run any more, which has ended the execution, or when the execution is another worker's.
    async fn declare(&self, rule: &Rule, execution: &mut Execution) -> Result<bool> {
        let mut tx = self.db.begin(tenant(rule)).await?;
        let locked = store::rule::lock_shared(&mut tx, rule.id).await?;
        let runs = locked.is_some_and(|locked| locked.enabled && locked.terms_version == execution.terms_version);
        if !runs {
            execution.stop(ExecutionStatus::Canceled, None, self.db.clock().now());
            if store::execution::save(&mut tx, execution, None).await? {
                tx.publish(publish::executed(rule, execution)).await?;
            }
            tx.commit().await?;
            return Ok(false);
        }
        let is_own = store::execution::save(&mut tx, execution, Some(ACTING)).await?;
        tx.commit().await?;
        Ok(is_own)
    }

    /// Makes the calls of an action. Returns the task that was changed or created, if any.
    async fn perform(
        &self,
        running: &Running<'_>,
        execution: &Execution,
        index: usize,
        calls: &[Call],
        began: Instant,
    ) -> Result<Answer<Option<Uuid>>> {
        let task_id = execution.occurrence.task_id;
        let mut affected = None;
        for (nth, call) in calls.iter().enumerate() {
            let rights = self.rights(running).await?;
            let key = key(execution, index, nth);
            in_time(began)?;
            let answer = match call {
                Call::Tell { user_ids, text } => {
                    self.tell(&rights, (task_id, user_ids, text), key, began).await?.map(|()| None)
                }
                Call::Create { .. } => {
                    let request = convert::task::creation(call).ok_or_else(|| Error::internal("no creation"))?;
                    self.tasks.create(&rights, &request, key).await?
                }
                Call::Comment { body } => match task_id {
                    Some(id) => self.tasks.comment(&rights, id, body, key).await?.map(|()| task_id),
                    None => Err(Reason::TaskNotFound),
                },
                call => match task_id.and_then(|task_id| convert::task::change(call, task_id)) {
                    Some(request) => self.tasks.change(&rights, &request, key).await?.map(|()| task_id),
                    None => Err(Reason::TaskNotFound),
                },
            };
            match answer {
                Ok(task_id) => affected = task_id,
                // The keys are this execution's own: the call was made before, when its texts were others, and has had its effect.
                Err(Reason::IdempotencyKeyReused) => affected = task_id,
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(affected))
    }

    /// Sends a message to those of the people who may know of the task now, with the creator's rights: the message itself is
    /// sent with the service's own.
    async fn tell(
        &self,
        rights: &Rights,
        (task_id, user_ids, text): (Option<Uuid>, &[Uuid], &str),
        key: Uuid,
        began: Instant,
    ) -> Result<Answer<()>> {
        let people = match task_id {
            Some(task_id) => self.tasks.viewers(rights, task_id, user_ids).await?,
            None => self.tasks.member_ids(rights, user_ids).await?,
        };
        let people = match people {
            Ok(people) if people.is_empty() => return Ok(Err(Reason::MemberNotFound)),
            Ok(people) => people,
            Err(reason) => return Ok(Err(reason)),
        };
        let message =
            Message { account_id: rights.account_id, user_ids: &people, task_id, text, actor_id: Some(rights.user_id) };
        in_time(began)?;
        self.notifications.tell(message, key).await.map(Ok)
    }

    async fn plan(
        &self,
        running: &Running<'_>,
        index: usize,
        observed: Option<Observed>,
        execution: &Execution,
    ) -> Result<Answer<Vec<Call>>> {
        // An earlier action may have changed the task.
        let observed = match observed {
            Some(observed) => observed,
            None => match self.observe(running, &execution.occurrence).await? {
                Some(observed) => observed,
                None => return Ok(Err(Reason::TaskNotFound)),
            },
        };
        let Some(action) = running.definition.actions.get(index) else { return Ok(Err(Reason::ValidationFailed)) };
        let rights = self.rights(running).await?;
        // The time at which the rule is to run, so that a repetition makes the same calls.
        let time = running.wait.as_ref().map_or(execution.occurrence.occurred_at, |wait| wait.fires_at);
        let at = (running.rule.name.as_str(), time);
        situation::plan(&self.tasks, &rights, action, at, &observed).await
    }

    async fn observe(&self, running: &Running<'_>, occurrence: &Occurrence) -> Result<Option<Observed>> {
        let Running { rule, definition, .. } = running;
        let mut facts = occurrence.facts(rule.created_by, definition.timezone);
        if let Some(wait) = &running.wait {
            // The event is long past.
            (facts.now, facts.task) = (wait.fires_at, TaskFacts::default());
        }
        let rights = self.rights(running).await?;
        situation::observe(&self.tasks, &rights, facts, occurrence.task_id, situation::needs(definition)).await
    }

    /// The creator's rights, for calls that the rule makes. They last for at least 30 seconds.
    async fn rights(&self, running: &Running<'_>) -> Result<Rights> {
        self.rights_of(running.rule, running.depth).await
    }

    /// The rights of a rule's creator, for calls with this length of the chain of causes.
    ///
    /// # Errors
    /// DELEGATION_ENDED, PROCESSING_RESTRICTED, UNAVAILABLE.
    pub(crate) async fn rights_of(&self, rule: &Rule, depth: u16) -> Result<Rights> {
        let delegation_id = rule.delegation_id.ok_or_else(|| Error::from(Reason::DelegationEnded))?;
        let cause = Cause { kind: RULE.to_owned(), id: rule.id, depth };
        self.delegations.rights(delegation_id, (rule.account_id, rule.created_by), AUDIENCE, &cause).await
    }

    /// Stores the outcomes so far. `false` when the execution is another worker's, or was ended.
    async fn save(&self, rule: &Rule, execution: &Execution) -> Result<bool> {
        let mut tx = self.db.begin(tenant(rule)).await?;
        let is_own = store::execution::save(&mut tx, execution, None).await?;
        tx.commit().await?;
        Ok(is_own)
    }

    /// Another service does not answer: the job is repeated, for an hour. What is planned stays planned, and counts as under way
    /// until its time is over: a call that timed out may still have its effect.
    async fn give_up(&self, rule: &Rule, mut execution: Execution, error: Error) -> Result<()> {
        let now = self.db.clock().now();
        if now < execution.started_at + RETRY_FOR {
            return Err(error);
        }
        execution.give_up(now);
        self.finish(rule, execution).await
    }

    /// Stores the end of an execution, and pauses the rule after too many refusals.
    async fn finish(&self, rule: &Rule, execution: Execution) -> Result<()> {
        let mut tx = self.db.begin(tenant(rule)).await?;
        let locked = store::rule::lock(&mut tx, rule.id).await?;
        if !store::execution::save(&mut tx, &execution, None).await? {
            return Ok(());
        }
        let Some(mut locked) = locked else {
            // It was deleted. Whoever did so waits for this.
            return tx.commit().await;
        };
        tx.publish(publish::executed(rule, &execution)).await?;
        let refused = execution.status == ExecutionStatus::Refused;
        let decides = refused || matches!(execution.status, ExecutionStatus::Succeeded | ExecutionStatus::Partly);
        if decides && store::rule::count_refusal(&mut tx, rule.id, refused).await? && locked.enabled {
            pausing::pause(&mut tx, &mut locked, PausedReason::Refused).await?;
        }
        tx.commit().await
    }

    /// The rule's creator may not act any more.
    async fn end_of_rights(&self, rule: &Rule, error: Error) -> Result<()> {
        match (error.reason(), rule.delegation_id) {
            // Their membership or the grant is gone for good, so the rule is disabled: as the event about it does.
            (Reason::DelegationEnded | Reason::NotAMember, Some(delegation_id)) => {
                let mut tx = self.db.begin(Tenant::account(rule.account_id)).await?;
                pausing::grant_ended(&mut tx, delegation_id).await?;
                tx.commit().await
            }
            // For now: a suspended account, a restricted person, a missing second factor. The event is not handled later.
            _ => Ok(()),
        }
    }

    /// Ends executions that no worker ends: their jobs were dropped.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn end_abandoned(&self) -> Result<()> {
        let before = self.db.clock().now() - RETRY_FOR * 2;
        for (account_id, rule_id, id) in store::execution::unfinished(&self.db, before).await? {
            let mut tx = self.db.begin(Tenant::account(account_id)).await?;
            let rule = store::rule::get(&mut tx, rule_id).await?;
            let execution = store::execution::lock(&mut tx, rule_id, id).await?;
            let (Some(rule), Some(mut execution)) = (rule, execution) else { continue };
            if execution.ended_at.is_none() && store::execution::take(&mut tx, &mut execution).await? {
                tx.commit().await?;
                execution.give_up(self.db.clock().now());
                self.finish(&rule, execution).await?;
            }
        }
        Ok(())
    }
}

/// Refuses to begin a call so late that it might have its effect after the time for which it was declared.
fn in_time(began: Instant) -> Result<()> {
    if began.elapsed() > LAST_CALL { Err(Reason::Unavailable.into()) } else { Ok(()) }
}

/// The service acts for the rule's creator.
fn tenant(rule: &Rule) -> Tenant {
    Tenant { account_id: rule.account_id, user_id: rule.created_by }
}

/// The key of a call: the same whenever the same call is repeated.
fn key(execution: &Execution, action: usize, call: usize) -> Uuid {
    let failures = execution.actions.get(action).map_or(0, |outcome| outcome.failures);
    Uuid::new_v5(&execution.id, format!("{SERVICE}/{action}/{call}/{failures}").as_bytes())
}
