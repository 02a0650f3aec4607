//! Webhooks: an attempt to send a message is a job, so that a hanging receiver delays nothing else than its account's messages.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use baton_clients::is_access_revoked;
use baton_errors::{Error, Reason, Result};
use baton_outbound::{Client, Request, Target, signing};
use baton_sealing::Sealer;
use baton_store::{Tenant, Tx, jobs::NewJob};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{dispatch, pausing, run::Runner};
use crate::{
    events::publish,
    execution::{Execution, ExecutionStatus},
    rule::{PausedReason, Rule},
    store,
    webhook::{self, Content, Delivery, DeliveryStatus, MAX_AGE, MAX_ATTEMPTS, MAX_PENDING, delay_after},
};

/// The kind of jobs that make an attempt.
pub(crate) const SEND: &str = "automation.webhook";
/// Time of an attempt, in all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long an attempt may be under way: its time, and some to note that it began.
const SENDING: Duration = Duration::from_secs(15);
/// [`TIMEOUT`], for positions in the queue.
const ATTEMPT: TimeDelta = TimeDelta::seconds(10);
/// Attempts of this process at a time, for accounts whose receivers answer: fewer than its workers, which do other work too.
const MAX_AT_A_TIME: usize = 3;
/// The same for accounts with a receiver that did not answer lately. They leave the other permits to those that do not wait.
const MAX_SLOW_AT_A_TIME: usize = 1;
/// How long an account counts as slow after an attempt without an answer.
const SLOW_FOR: Duration = Duration::from_secs(300);
/// Accounts that are remembered as slow.
const MAX_SLOW: usize = 10_000;
/// Delay of an attempt for which there is no permit, by whether the account is slow.
const NO_PERMIT: [TimeDelta; 2] = [TimeDelta::seconds(1), TimeDelta::seconds(5)];
/// Delay of a job whose execution still runs.
const SOON: TimeDelta = TimeDelta::seconds(1);
/// Number of the job of a message whose jobs were dropped.
const ABANDONED: i32 = -1;
/// The status of a receiver that is gone (RFC 9110, section 15.5.11).
const GONE: u16 = 410;

/// An attempt to send a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Attempt {
    account_id: Uuid,
    rule_id: Uuid,
    delivery_id: Uuid,
    /// Tells the jobs of one message apart.
    job: i32,
    /// Its position in the queue.
    due_at: DateTime<Utc>,
}

/// What sends messages. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) runner: Runner,
    pub(crate) client: Client,
    pub(crate) sealer: Sealer,
    permits: Arc<Semaphore>,
    slow_permits: Arc<Semaphore>,
    /// Until when accounts are slow.
    slow: Arc<Mutex<HashMap<Uuid, Instant>>>,
}

/// The receiver's answer, or why there is none.
enum Answer {
    Accepted(u16),
    Gone,
    Failed { status_code: Option<u16>, reason: String, is_final: bool },
}

/// Adds a message of an action and the job that sends it. Repeating it adds nothing. Returns `false` when the account has too many
/// messages that wait: then the transaction is not to be committed.
///
/// # Errors
/// Those of the database.
pub(crate) async fn enqueue(
    tx: &mut Tx,
    rule: &Rule,
    execution: &Execution,
    (id, action): (Uuid, usize),
    content: &Content,
) -> Result<bool> {
    let delivery = Delivery {
        id,
        rule_id: rule.id,
        execution_id: execution.id,
        created_by: rule.created_by,
        terms_version: execution.terms_version,
        action: i32::try_from(action).map_err(Error::internal)?,
        status: DeliveryStatus::Pending,
        content: None,
        attempts: 0,
        status_code: None,
        reason: None,
        created_at: tx.db().clock().now(),
    };
    if !store::webhook::insert(tx, &delivery, content).await? {
        return Ok(true);
    }
    // Accounts take turns, also while receivers of one of them hang.
    let due_at = dispatch::positions(tx, 1, ATTEMPT).await?.pop().unwrap_or(delivery.created_at);
    let attempt = Attempt { account_id: rule.account_id, rule_id: rule.id, delivery_id: id, job: 0, due_at };
    attempt.enqueue(tx).await?;
    // The position in the queue has locked the account, so concurrent messages are counted.
    Ok(!store::webhook::exceeds(tx, MAX_PENDING).await?)
}

impl Attempt {
    /// One message of an account is sent at a time.
    async fn enqueue(&self, tx: &mut Tx) -> Result<()> {
        let job = NewJob::new(SEND, self)?.in_lane(format!("webhook:{}", self.account_id)).due_at(self.due_at);
        tx.enqueue_jobs(vec![job.unique(format!("webhook:{}:{}", self.delivery_id, self.job))]).await
    }

    async fn again(&self, tx: &mut Tx, after: TimeDelta) -> Result<()> {
        let due_at = tx.db().clock().now() + after;
        Self { job: self.job + 1, due_at, ..self.clone() }.enqueue(tx).await
    }
}

impl Sender {
    pub(crate) fn new(runner: Runner, client: Client, sealer: Sealer) -> Self {
        let (permits, slow_permits) = (Semaphore::new(MAX_AT_A_TIME), Semaphore::new(MAX_SLOW_AT_A_TIME));
        let (permits, slow_permits) = (Arc::new(permits), Arc::new(slow_permits));
        Self { runner, client, sealer, permits, slow_permits, slow: Arc::default() }
    }

    fn is_slow(&self, account_id: Uuid) -> bool {
        let slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        slow.get(&account_id).is_some_and(|until| Instant::now() < *until)
    }

    /// An attempt of the account had no answer: it does not take a permit of others for the next one.
    fn remember_slow(&self, account_id: Uuid) {
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        if slow.len() >= MAX_SLOW {
            slow.clear();
        }
        slow.insert(account_id, Instant::now() + SLOW_FOR);
    }

    /// Has messages noted as failed whose jobs were dropped.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn end_abandoned(&self) -> Result<()> {
        let db = &self.runner.db;
        let now = db.clock().now();
        for (account_id, rule_id, delivery_id) in store::webhook::abandoned(db, now - MAX_AGE * 2).await? {
            let mut tx = db.begin(Tenant::account(account_id)).await?;
            Attempt { account_id, rule_id, delivery_id, job: ABANDONED, due_at: now }.enqueue(&mut tx).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Makes an attempt, and notes what became of the message.
    ///
    /// # Errors
    /// UNAVAILABLE, and others; the job is repeated.
    pub(crate) async fn send(&self, attempt: Attempt) -> Result<()> {
        let db = &self.runner.db;
        let tenant = Tenant::account(attempt.account_id);
        let is_slow = self.is_slow(attempt.account_id);
        let permits = if is_slow { &self.slow_permits } else { &self.permits };
        let Ok(_permit) = permits.try_acquire() else {
            let mut tx = db.begin(tenant).await?;
            attempt.again(&mut tx, NO_PERMIT[usize::from(is_slow)]).await?;
            return tx.commit().await;
        };
        let mut tx = db.begin_read(tenant).await?;
        let rule = store::rule::get(&mut tx, attempt.rule_id).await?;
        let delivery = store::webhook::get(&mut tx, attempt.delivery_id).await?;
        drop(tx);
        let (Some(rule), Some(delivery)) = (rule, delivery) else { return Ok(()) };
        if delivery.attempts >= MAX_ATTEMPTS || db.clock().now() > delivery.created_at + MAX_AGE {
            return self.fail(&attempt).await;
        }
        if !self.may_send(&rule).await? {
            return self.refuse(&attempt).await;
        }
        let mut tx = db.begin(tenant).await?;
        // A rule is locked before it is disabled, which waits for attempts that were noted before.
        let locked = store::rule::lock_shared(&mut tx, rule.id).await?;
        let Some(mut delivery) = store::webhook::lock(&mut tx, attempt.delivery_id).await? else { return Ok(()) };
        let is_wanted = |rule: &Rule| {
            rule.enabled && rule.terms_version == delivery.terms_version && rule.enabled_at <= delivery.created_at
        };
        if !locked.as_ref().is_some_and(is_wanted) {
            delivery.status = DeliveryStatus::Canceled;
            store::webhook::save(&mut tx, &delivery, Some(db.clock().now())).await?;
            return tx.commit().await;
        }
        if !store::webhook::begin_attempt(&mut tx, delivery.id, SENDING).await? {
            // One of a worker that has died may be under way.
            return Err(Reason::Unavailable.into());
        }
        tx.commit().await?;
        let answer = match &delivery.content {
            Some(content) => self.post(attempt.account_id, &delivery, content).await?,
            None => return Ok(()),
        };
        self.note(&attempt, answer).await
    }

    /// Whether the rule's creator may let it call URLs now.
    async fn may_send(&self, rule: &Rule) -> Result<bool> {
        match self.runner.credentials_of(rule, 1).await {
            Ok(_) => self.runner.memberships.may_call_urls(rule.account_id, rule.created_by).await,
            Err(error) if is_access_revoked(error.reason()) => {
                self.runner.handle_revocation(rule, error).await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends the message, signed anew.
    async fn post(&self, account_id: Uuid, delivery: &Delivery, content: &Content) -> Result<Answer> {
        let failed = |error: baton_outbound::Error| Answer::Failed {
            status_code: None,
            reason: error.reason().to_owned(),
            is_final: matches!(error, baton_outbound::Error::Refused(_)),
        };
        let target = match Target::parse(&content.url, self.client.allowed_networks()) {
            Ok(target) => target,
            Err(refused) => return Ok(failed(refused.into())),
        };
        let secret = webhook::open(&self.sealer, delivery.rule_id, &content.sealed_secret)?;
        let (id, time) = (delivery.id.to_string(), self.runner.db.clock().now().timestamp());
        let headers = signing::sign(&[secret], &id, time, content.payload.as_bytes()).map_err(Error::internal)?;
        let json = http::HeaderValue::from_static("application/json");
        let request = Request::post(&target, json, content.payload.clone()).headers(headers).timeout(TIMEOUT);
        Ok(match self.client.send(request).await {
            Ok(response) if response.status.is_success() => Answer::Accepted(response.status.as_u16()),
            Ok(response) if response.status.as_u16() == GONE => Answer::Gone,
            Ok(response) => Answer::Failed {
                status_code: Some(response.status.as_u16()),
                reason: "status".to_owned(),
                is_final: false,
            },
            Err(error) => {
                if matches!(error, baton_outbound::Error::Timeout) {
                    self.remember_slow(account_id);
                }
                failed(error)
            }
        })
    }

    async fn note(&self, attempt: &Attempt, answer: Answer) -> Result<()> {
        let db = &self.runner.db;
        let mut tx = db.begin(Tenant::account(attempt.account_id)).await?;
        let mut rule = match answer {
            Answer::Gone => store::rule::lock(&mut tx, attempt.rule_id).await?,
            Answer::Accepted(_) | Answer::Failed { .. } => None,
        };
        let Some(mut delivery) = store::webhook::lock(&mut tx, attempt.delivery_id).await? else { return Ok(()) };
        match answer {
            Answer::Accepted(status_code) => {
                (delivery.status, delivery.status_code, delivery.reason) =
                    (DeliveryStatus::Delivered, Some(status_code.into()), None);
                store::webhook::save(&mut tx, &delivery, Some(db.clock().now())).await?;
                return tx.commit().await;
            }
            Answer::Gone => {
                (delivery.status_code, delivery.reason) = (Some(GONE.into()), Some("gone".to_owned()));
                delivery.attempts = MAX_ATTEMPTS;
            }
            Answer::Failed { status_code, reason, is_final } => {
                (delivery.status_code, delivery.reason) = (status_code.map(Into::into), Some(reason));
                delivery.attempts = if is_final { MAX_ATTEMPTS } else { delivery.attempts };
            }
        }
        store::webhook::save(&mut tx, &delivery, None).await?;
        // After the last one, the next job notes the failure.
        let after = delay_after(delivery.attempts).unwrap_or_default();
        attempt.again(&mut tx, after).await?;
        // It may have been changed since, to call another receiver.
        let is_current = |rule: &&mut Rule| {
            let is_same = rule.terms_version == delivery.terms_version && rule.enabled_at <= delivery.created_at;
            rule.enabled && is_same
        };
        if let Some(rule) = rule.as_mut().filter(is_current) {
            pausing::pause(&mut tx, rule, PausedReason::WebhookGone).await?;
        }
        tx.commit().await
    }

    /// The rule's creator may not let it call URLs any more.
    async fn refuse(&self, attempt: &Attempt) -> Result<()> {
        let mut tx = self.runner.db.begin(Tenant::account(attempt.account_id)).await?;
        let Some(mut delivery) = store::webhook::lock(&mut tx, attempt.delivery_id).await? else { return Ok(()) };
        (delivery.attempts, delivery.reason) = (MAX_ATTEMPTS, Some(Reason::WebhookNotAllowed.name().to_owned()));
        store::webhook::save(&mut tx, &delivery, None).await?;
        attempt.again(&mut tx, TimeDelta::zero()).await?;
        tx.commit().await
    }

    /// Notes that a message was not accepted, also as the outcome of its action.
    async fn fail(&self, attempt: &Attempt) -> Result<()> {
        let db = &self.runner.db;
        let now = db.clock().now();
        let mut tx = db.begin(Tenant::account(attempt.account_id)).await?;
        let rule = store::rule::lock_shared(&mut tx, attempt.rule_id).await?;
        let Some(mut delivery) = store::webhook::lock(&mut tx, attempt.delivery_id).await? else { return Ok(()) };
        // A deleted rule's executions are being cleared.
        let execution = match &rule {
            Some(rule) => store::execution::lock(&mut tx, rule.id, delivery.execution_id).await?,
            None => None,
        };
        if let (Some(rule), Some(mut execution)) = (rule, execution) {
            if execution.ended_at.is_none() {
                // A worker has it, and would overwrite the outcome.
                attempt.again(&mut tx, SOON).await?;
                return tx.commit().await;
            }
            let outcome = usize::try_from(delivery.action).ok().and_then(|index| execution.actions.get_mut(index));
            if let Some(outcome) = outcome.filter(|outcome| outcome.outcome == ExecutionStatus::Succeeded) {
                let refused = delivery.reason.as_deref() == Some(Reason::WebhookNotAllowed.name());
                let reason = if refused { Reason::WebhookNotAllowed } else { Reason::WebhookFailed };
                outcome.fail(reason);
                let ended_at = execution.ended_at;
                execution.end(now);
                execution.ended_at = ended_at;
                store::execution::correct(&mut tx, &execution).await?;
                tx.publish(publish::executed(&rule, &execution)).await?;
            }
        }
        delivery.status = DeliveryStatus::Failed;
        store::webhook::save(&mut tx, &delivery, Some(now)).await?;
        tx.commit().await
    }
}
