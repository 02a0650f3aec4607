//! The actions of an execution: each is planned, its plan is stored, its calls are made, and its outcome is stored.

use std::time::Duration;

use baton_clients::{ActingCredentials, is_access_revoked, notifications::Message};
use baton_errors::{Error, Reason, Result};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    run::{Runner, Running, tenant},
    situation::{self, TaskSnapshot},
    webhooks,
};
use crate::{
    clients::task::Refusable,
    convert::{self, event::SERVICE},
    events::publish,
    execution::{Execution, ExecutionStatus},
    plan::{Call, Plan},
    rule::Rule,
    store,
    webhook::{self, Content},
};

/// How long the calls of an action may be under way.
const ACTING: Duration = Duration::from_secs(20);
/// No call begins later than this: each has a deadline of 5 seconds, and the called service may commit a little later.
const LAST_CALL: Duration = Duration::from_secs(10);
impl Runner {
    /// Does the actions of an execution that were not done yet, and ends it.
    pub(super) async fn act(
        &self,
        running: &Running<'_>,
        mut observed: Option<TaskSnapshot>,
        mut execution: Execution,
    ) -> Result<()> {
        let Running { rule, definition, .. } = running;
        while let Some((index, action)) =
            execution.next().and_then(|index| Some((index, definition.actions.get(index)?)))
        {
            let acted = self.run_action(running, &mut execution, index, observed.take()).await;
            let answer = match acted {
                Ok(Some(answer)) => answer,
                // The rule was disabled or changed, or another worker goes on.
                Ok(None) => return Ok(()),
                Err(error) if is_access_revoked(error.reason()) => {
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
    async fn run_action(
        &self,
        running: &Running<'_>,
        execution: &mut Execution,
        index: usize,
        observed: Option<TaskSnapshot>,
    ) -> Result<Option<Refusable<Option<Uuid>>>> {
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
        if !self.record_plan(running.rule, execution).await? {
            return Ok(None);
        }
        self.make_calls(running, execution, index, &calls, began).await.map(Some)
    }

    /// Stores the plan of the next action, and that its calls are under way. Without it nothing is called. `false` when the rule
    /// does not run any more, which has ended the execution, or when the execution is another worker's.
    async fn record_plan(&self, rule: &Rule, execution: &mut Execution) -> Result<bool> {
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
    async fn make_calls(
        &self,
        running: &Running<'_>,
        execution: &Execution,
        index: usize,
        calls: &[Call],
        began: Instant,
    ) -> Result<Refusable<Option<Uuid>>> {
        let task_id = execution.occurrence.task_id;
        let mut affected = None;
        for (nth, call) in calls.iter().enumerate() {
            let credentials = self.credentials(running).await?;
            let key = key(execution, index, nth);
            require_time_left(began)?;
            let answer = match call {
                Call::Tell { user_ids, text } => {
                    self.tell(&credentials, (task_id, user_ids, text), key, began).await?.map(|()| None)
                }
                Call::Create { .. } => {
                    let request = convert::task::creation(call).ok_or_else(|| Error::internal("no creation"))?;
                    self.tasks.create(&credentials, &request, key).await?
                }
                Call::Webhook { url, sealed_secret, fields } => {
                    let payload = webhook::payload(running.rule.account_id, execution, fields);
                    let (url, sealed_secret) = (url.clone(), sealed_secret.clone());
                    let content = Content { url, sealed_secret, payload };
                    self.queue_webhook(running.rule, execution, (key, index), &content).await?.map(|()| None)
                }
                Call::Comment { body } => match task_id {
                    Some(id) => self.tasks.comment(&credentials, id, body, key).await?.map(|()| task_id),
                    None => Err(Reason::TaskNotFound),
                },
                call => match task_id.and_then(|task_id| convert::task::change(call, task_id)) {
                    Some(request) => self.tasks.change(&credentials, &request, key).await?.map(|()| task_id),
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
        credentials: &ActingCredentials,
        (task_id, user_ids, text): (Option<Uuid>, &[Uuid], &str),
        key: Uuid,
        began: Instant,
    ) -> Result<Refusable<()>> {
        let people = match task_id {
            Some(task_id) => self.tasks.viewers(credentials, task_id, user_ids).await?,
            None => self.tasks.member_ids(credentials, user_ids).await?,
        };
        let people = match people {
            Ok(people) if people.is_empty() => return Ok(Err(Reason::MemberNotFound)),
            Ok(people) => people,
            Err(reason) => return Ok(Err(reason)),
        };
        let message = Message {
            account_id: credentials.account_id,
            user_ids: &people,
            task_id,
            text,
            actor_id: Some(credentials.user_id),
        };
        require_time_left(began)?;
        self.notifications.tell(message, key).await.map(Ok)
    }

    /// Has a URL called, if the creator may.
    async fn queue_webhook(
        &self,
        rule: &Rule,
        execution: &Execution,
        message: (Uuid, usize),
        content: &Content,
    ) -> Result<Refusable<()>> {
        if !self.memberships.may_call_urls(rule.account_id, rule.created_by).await? {
            return Ok(Err(Reason::WebhookNotAllowed));
        }
        let mut tx = self.db.begin(tenant(rule)).await?;
        if !webhooks::enqueue(&mut tx, rule, execution, message, content).await? {
            return Ok(Err(Reason::WebhookBacklog));
        }
        tx.commit().await?;
        Ok(Ok(()))
    }

    async fn plan(
        &self,
        running: &Running<'_>,
        index: usize,
        observed: Option<TaskSnapshot>,
        execution: &Execution,
    ) -> Result<Refusable<Vec<Call>>> {
        // An earlier action may have changed the task.
        let observed = match observed {
            Some(observed) => observed,
            None => match self.observe(running, &execution.occurrence).await? {
                Some(observed) => observed,
                None => return Ok(Err(Reason::TaskNotFound)),
            },
        };
        let Some(action) = running.definition.actions.get(index) else { return Ok(Err(Reason::ValidationFailed)) };
        let credentials = self.credentials(running).await?;
        // The time at which the rule is to run, so that a repetition makes the same calls.
        let time = running.wait.as_ref().map_or(execution.occurrence.occurred_at, |wait| wait.fires_at);
        let at = (running.rule.name.as_str(), time);
        situation::plan(&self.tasks, &credentials, action, at, &observed).await
    }
}

/// Refuses to begin a call so late that it might have its effect after the time for which it was declared.
fn require_time_left(began: Instant) -> Result<()> {
    if began.elapsed() > LAST_CALL { Err(Reason::Unavailable.into()) } else { Ok(()) }
}

/// The key of a call: the same whenever the same call is repeated.
fn key(execution: &Execution, action: usize, call: usize) -> Uuid {
    let failures = execution.actions.get(action).map_or(0, |outcome| outcome.failures);
    Uuid::new_v5(&execution.id, format!("{SERVICE}/{action}/{call}/{failures}").as_bytes())
}
