//! Runs of rules: the work of one job, from the event to the end of its execution. `act.rs` does the actions.
//!
//! ```text
//! job ──▶ observe ──▶ conditions hold ──▶ execution ──▶ for each action: plan ──▶ calls ──▶ outcome ──▶ end
//! ```
//!
//! Nothing is stored of a task that the rule's creator does not see, or of an event whose conditions do not hold. Whatever
//! process dies: the plan of an action is stored before its first call, each call has a key of its own, and the called service
//! does a call with the same key once. Of several workers with the same execution, only the last to take it on goes on.

use baton_clients::{ActingCredentials, Delegations, Notifications, is_access_revoked};
use baton_conditions::TaskFacts;
use baton_errors::{Error, Reason, Result};
use baton_rules::{Definition, MAX_DEPTH, Occurrence, Rule as IndexedRule, RuleIndex};
use baton_runtime::Cause;
use baton_store::{Db, Tenant};
use chrono::{DurationRound, TimeDelta};
use uuid::Uuid;

use super::{
    deletion::{self, ClosedTask},
    dispatch::Run,
    pausing,
    situation::{self, TaskSnapshot},
};
use crate::{
    clients::{memberships::Memberships, task::TaskClient},
    convert::{self, event::RULE},
    events::publish,
    execution::{Execution, ExecutionStatus, MAX_LIMITED_MINUTES, MAX_PER_TASK_AND_HOUR, Outcome, RETRY_FOR, limit},
    rule::{PausedReason, Rule},
    state_timer::{self, State, StateTimer},
    store,
};

/// The service that the actions call.
const AUDIENCE: &str = "task";

/// What runs of rules need. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) db: Db,
    pub(crate) tasks: TaskClient,
    pub(crate) delegations: Delegations,
    pub(crate) notifications: Notifications,
    pub(crate) memberships: Memberships,
}

/// A rule that is run by a worker.
pub(super) struct Running<'a> {
    pub(super) rule: &'a Rule,
    pub(super) definition: Definition,
    /// Length of the chain of causes of what it does.
    depth: u16,
    /// The state that has to last, for a rule that waits.
    pub(super) wait: Option<StateTimer>,
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
        let wait = StateTimer::of(rule.id, &definition.trigger, &run.occurrence);
        let running = Running { rule: &rule, definition, depth, wait, waited: run.waited };
        let claimed = match execution {
            Some(execution) if execution.ended_at.is_some() => return Ok(()),
            Some(execution) => self.claim(&running, execution.id).await.map(|claimed| Some((None, claimed?))),
            None => match Box::pin(self.begin(&running, run.occurrence)).await {
                // Nothing was begun, so nothing is stored of it.
                Err(error)
                    if !is_access_revoked(error.reason()) && self.db.clock().now() > run.enqueued_at + RETRY_FOR =>
                {
                    tracing::warn!(%error, rule.id = %rule.id, "another service does not answer; an event is left out");
                    return Ok(());
                }
                begun => begun.map(|begun| begun.map(|(observed, execution)| (Some(observed), execution))),
            },
        };
        let ended = match claimed {
            Ok(Some((observed, execution))) => Box::pin(self.act(&running, observed, execution)).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match ended {
            Err(error) if is_access_revoked(error.reason()) => self.handle_revocation(&rule, error).await,
            other => other,
        }
    }

    /// Evaluates a rule. If its conditions hold, and no limit is reached, an execution has begun.
    async fn begin(&self, running: &Running<'_>, occurrence: Occurrence) -> Result<Option<(TaskSnapshot, Execution)>> {
        let Running { rule, definition, .. } = running;
        if !rule.enabled || occurrence.occurred_at < rule.enabled_at {
            return Ok(None);
        }
        let indexed = IndexedRule { id: rule.id, owner: rule.created_by, definition: definition.clone() };
        // The rule may have been changed since the event was dispatched.
        let before_due = definition.trigger.before_seconds.is_some();
        let is_candidate = before_due || RuleIndex::new([indexed.into()]).candidates(&occurrence).next().is_some();
        let waits = definition.trigger.waits();
        // It may wait since, or do so no more.
        if !is_candidate || waits != running.waited || !self.is_still_in_state(running).await? {
            return Ok(None);
        }
        // A run from before the rule was changed may have been pending when its task was found again.
        if let (Some(since), Some(task_id)) = (occurrence.in_state_since, occurrence.task_id) {
            let mut tx = self.db.begin_read(tenant(rule)).await?;
            let last = store::execution::last_of_tasks(&mut tx, rule.id, &[task_id]).await?;
            if last.get(&task_id).is_some_and(|last| *last >= since) {
                return Ok(None);
            }
        }
        let observed = self.observe(running, &occurrence).await?;
        if let Some(task_id) = definition.trigger.only_task()
            && !observed.as_ref().is_some_and(is_of_open_task)
        {
            // The event about it is on its way, or it is deleted, or hidden from the rule's creator.
            let closed_at = self.db.clock().now();
            let closed = ClosedTask { account_id: rule.account_id, rule_id: rule.id, task_id, closed_at };
            deletion::task_closed(&self.db, closed).await?;
            return Ok(None);
        }
        let Some(observed) = observed else { return Ok(None) };
        if definition.condition.evaluate(&observed.facts) != Some(true) {
            return Ok(None);
        }
        let per_hour = self.memberships.executions_per_hour(rule.account_id, rule.created_by).await?;
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
            claims: 1,
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
        if let Some(reason) = self.limit(&mut tx, &execution, per_hour).await? {
            // One line a minute. The rule is locked, so nobody else adds one.
            if store::execution::is_limited_since(&mut tx, rule.id, reason, now - TimeDelta::minutes(1)).await? {
                return Ok(None);
            }
            execution.stop(ExecutionStatus::Skipped, Some(reason), now);
            store::execution::insert(&mut tx, &execution).await?;
            tx.publish(publish::executed(rule, &execution)).await?;
            let minutes = store::execution::limited_minutes(&mut tx, rule.id, now - TimeDelta::minutes(10)).await?;
            // Whoever uses up the account's hour is not known: it may be another rule.
            if reason != limit::ACCOUNT && minutes >= MAX_LIMITED_MINUTES {
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
    async fn is_still_in_state(&self, running: &Running<'_>) -> Result<bool> {
        let Some(wait) = &running.wait else { return Ok(true) };
        if self.db.clock().now() < wait.fires_at {
            // The rule waits longer since.
            return Ok(false);
        }
        // A due time is announced as long as it is one.
        let times = match wait.state {
            State::Due(_) => vec![None],
            State::Status(_) | State::Assignee(_) => vec![Some(wait.since), Some(wait.fires_at)],
        };
        for time in times {
            let credentials = self.credentials(running).await?;
            let task = match time {
                Some(time) => self.tasks.task_as_of(&credentials, wait.task_id, time).await?,
                None => self.tasks.task(&credentials, wait.task_id).await?,
            };
            let then = task.as_ref().and_then(convert::task::now);
            if !then.is_some_and(|then| wait.state.holds(then.status.name(), then.assignee, then.due_at)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The limit that an execution exceeds.
    async fn limit(
        &self,
        tx: &mut baton_store::Tx,
        execution: &Execution,
        per_hour: i32,
    ) -> Result<Option<&'static str>> {
        if execution.occurrence.depth >= MAX_DEPTH {
            return Ok(Some(limit::DEPTH));
        }
        if let Some(task_id) = execution.occurrence.task_id {
            let since = execution.started_at - TimeDelta::hours(1);
            let recent = store::execution::count_recent(tx, execution.rule_id, task_id, since).await?;
            if recent >= MAX_PER_TASK_AND_HOUR {
                return Ok(Some(limit::TASK));
            }
        }
        let hour = execution.started_at.duration_trunc(TimeDelta::hours(1)).map_err(Error::internal)?;
        let counts = store::account::count_execution(tx, hour, per_hour).await?;
        Ok((!counts).then_some(limit::ACCOUNT))
    }

    /// Takes on an execution that was interrupted, or is repeated; `None` if it has ended, or ends now.
    async fn claim(&self, running: &Running<'_>, id: Uuid) -> Result<Option<Execution>> {
        let rule = running.rule;
        let mut tx = self.db.begin(tenant(rule)).await?;
        let locked = store::rule::lock_shared(&mut tx, rule.id).await?;
        let Some(mut execution) = store::execution::lock(&mut tx, rule.id, id).await? else { return Ok(None) };
        if execution.ended_at.is_some() {
            return Ok(None);
        }
        if !store::execution::claim(&mut tx, &mut execution).await? {
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

    pub(super) async fn observe(&self, running: &Running<'_>, occurrence: &Occurrence) -> Result<Option<TaskSnapshot>> {
        let Running { rule, definition, .. } = running;
        let mut facts = occurrence.facts(rule.created_by, definition.timezone);
        if let Some(wait) = &running.wait {
            // The event is long past.
            (facts.now, facts.task) = (wait.fires_at, TaskFacts::default());
        }
        let credentials = self.credentials(running).await?;
        situation::observe(&self.tasks, &credentials, facts, occurrence.task_id, situation::needs(definition)).await
    }

    /// The creator's rights, for calls that the rule makes. They last for at least 30 seconds.
    pub(super) async fn credentials(&self, running: &Running<'_>) -> Result<ActingCredentials> {
        self.credentials_of(running.rule, running.depth).await
    }

    /// The rights of a rule's creator, for calls with this length of the chain of causes.
    ///
    /// # Errors
    /// DELEGATION_ENDED, PROCESSING_RESTRICTED, UNAVAILABLE.
    pub(crate) async fn credentials_of(&self, rule: &Rule, depth: u16) -> Result<ActingCredentials> {
        let delegation_id = rule.delegation_id.ok_or_else(|| Error::from(Reason::DelegationEnded))?;
        let cause = Cause { kind: RULE.to_owned(), id: rule.id, depth };
        self.delegations.credentials(delegation_id, (rule.account_id, rule.created_by), AUDIENCE, &cause).await
    }

    /// Stores the outcomes so far. `false` when the execution is another worker's, or was ended.
    pub(super) async fn save(&self, rule: &Rule, execution: &Execution) -> Result<bool> {
        let mut tx = self.db.begin(tenant(rule)).await?;
        let is_own = store::execution::save(&mut tx, execution, None).await?;
        tx.commit().await?;
        Ok(is_own)
    }

    /// Another service does not answer: the job is repeated, for an hour. What is planned stays planned, and counts as under way
    /// until its time is over: a call that timed out may still have its effect.
    pub(super) async fn give_up(&self, rule: &Rule, mut execution: Execution, error: Error) -> Result<()> {
        let now = self.db.clock().now();
        if now < execution.started_at + RETRY_FOR {
            return Err(error);
        }
        execution.give_up(now);
        self.finish(rule, execution).await
    }

    /// Stores the end of an execution, and pauses the rule after too many refusals.
    pub(super) async fn finish(&self, rule: &Rule, execution: Execution) -> Result<()> {
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
    pub(super) async fn handle_revocation(&self, rule: &Rule, error: Error) -> Result<()> {
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
            if execution.ended_at.is_none() && store::execution::claim(&mut tx, &mut execution).await? {
                tx.commit().await?;
                execution.give_up(self.db.clock().now());
                self.finish(&rule, execution).await?;
            }
        }
        Ok(())
    }
}

/// The service acts for the rule's creator.
pub(super) fn tenant(rule: &Rule) -> Tenant {
    Tenant { account_id: rule.account_id, user_id: rule.created_by }
}

fn is_of_open_task(observed: &TaskSnapshot) -> bool {
    let task = observed.task.as_ref().and_then(convert::task::now);
    task.is_some_and(|task| state_timer::is_open(task.status.name()))
}
