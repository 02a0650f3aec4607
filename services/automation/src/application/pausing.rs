//! Rules that the platform disables, and who is told.

use baton_access::Role;
use baton_clients::{Notifications, ServiceTokens, Tenancy, notifications::Message};
use baton_errors::{Error, Reason, Result};
use baton_store::{Db, Tenant, Tx, jobs::NewJob};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    events::publish,
    execution::ExecutionStatus,
    rule::{PausedReason, Rule},
    store,
};

/// The kind of jobs that tell people of a paused rule.
pub(crate) const TELL: &str = "automation.tell";

/// The kind of jobs that end grants.
pub(crate) const RELEASE: &str = "automation.release";

/// Grants that no rule needs any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Unneeded {
    pub(crate) delegation_ids: Vec<Uuid>,
}

/// A rule that was paused, to tell people of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Paused {
    account_id: Uuid,
    rule_id: Uuid,
    version: i32,
}

/// Disables a locked rule, cancels its executions, and has people told.
///
/// # Errors
/// Those of the database.
pub(crate) async fn pause(tx: &mut Tx, rule: &mut Rule, reason: PausedReason) -> Result<()> {
    let now = tx.db().clock().now();
    (rule.enabled, rule.paused_reason) = (false, Some(reason));
    (rule.version, rule.updated_at) = (rule.version + 1, now);
    store::rule::save(tx, rule).await?;
    cancel_executions(tx, rule).await?;
    tx.publish(publish::disabled(rule)).await?;
    announce(tx, rule).await
}

/// Disables the rules that act for a person who has left the account, ends their grants, and has the account's admins told.
///
/// # Errors
/// Those of the database.
pub(crate) async fn person_left(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    let rules = store::rule::lock_of_person(tx, user_id).await?;
    release(tx, rules.iter().filter_map(|rule| rule.delegation_id).collect()).await?;
    creator_left(tx, rules).await
}

/// Disables the rules that act by a grant that has ended, and has the account's admins told.
///
/// # Errors
/// Those of the database.
pub(crate) async fn grant_ended(tx: &mut Tx, delegation_id: Uuid) -> Result<()> {
    let rules = store::rule::lock_of_grant(tx, delegation_id).await?;
    creator_left(tx, rules).await
}

async fn creator_left(tx: &mut Tx, rules: Vec<Rule>) -> Result<()> {
    for mut rule in rules {
        rule.delegation_id = None;
        if rule.enabled {
            pause(tx, &mut rule, PausedReason::CreatorLeft).await?;
        } else {
            store::rule::save(tx, &rule).await?;
        }
    }
    Ok(())
}

/// Has grants ended that no rule needs any more.
///
/// # Errors
/// Those of the database.
pub(crate) async fn release(tx: &mut Tx, delegation_ids: Vec<Uuid>) -> Result<()> {
    if delegation_ids.is_empty() {
        return Ok(());
    }
    tx.enqueue(RELEASE, &Unneeded { delegation_ids }).await
}

/// Ends the executions of a disabled rule that are not under way, and cancels its timers and messages to receivers.
///
/// # Errors
/// Those of the database.
pub(crate) async fn cancel_executions(tx: &mut Tx, rule: &Rule) -> Result<()> {
    store::timer::clear(tx, rule.id).await?;
    let now = tx.db().clock().now();
    store::webhook::cancel(tx, rule.id, now).await?;
    for mut execution in store::execution::lock_idle(tx, rule.id).await? {
        execution.stop(ExecutionStatus::Canceled, None, now);
        if store::execution::save(tx, &execution, None).await? {
            tx.publish(publish::executed(rule, &execution)).await?;
        }
    }
    Ok(())
}

async fn announce(tx: &mut Tx, rule: &Rule) -> Result<()> {
    let paused = Paused { account_id: rule.account_id, rule_id: rule.id, version: rule.version };
    tx.enqueue_jobs(vec![NewJob::new(TELL, &paused)?]).await
}

/// Tells people of a paused rule: its creator, or the account's admins when its creator is gone.
///
/// # Errors
/// UNAVAILABLE, and others; the job is repeated.
pub(crate) async fn tell(
    db: &Db,
    tenancy: &Tenancy,
    (notifications, tokens): (&Notifications, &ServiceTokens),
    paused: Paused,
) -> Result<()> {
    let mut tx = db.begin_read(Tenant::account(paused.account_id)).await?;
    let rule = store::rule::get(&mut tx, paused.rule_id).await?;
    drop(tx);
    let Some(rule) = rule.filter(|rule| rule.version == paused.version) else { return Ok(()) };
    let Some(reason) = rule.paused_reason else { return Ok(()) };
    let user_ids = match reason {
        PausedReason::CreatorLeft => {
            let hierarchy = tenancy.hierarchy(tokens, paused.account_id).await?;
            let members = hierarchy.map(|hierarchy| hierarchy.members).unwrap_or_default().into_iter();
            let admins = members.filter(|(id, place)| place.role >= Role::SuperManager && *id != rule.created_by);
            let mut admins: Vec<Uuid> = admins.map(|(id, _)| id).collect();
            admins.sort_unstable();
            admins
        }
        PausedReason::Refused | PausedReason::LoopSuspected | PausedReason::WebhookGone => vec![rule.created_by],
    };
    if user_ids.is_empty() {
        return Ok(());
    }
    let text = text(&rule, reason);
    let key = Uuid::new_v5(&rule.id, format!("paused/{}", rule.version).as_bytes());
    // The rule's name is its creator's text: the message is erased with them.
    let message = Message {
        account_id: paused.account_id,
        user_ids: &user_ids,
        task_id: None,
        text: &text,
        actor_id: Some(rule.created_by),
    };
    match notifications.tell(message, key).await {
        Err(error) if error.reason() == Reason::AccountNotFound => Ok(()),
        other => other.map_err(|error| Error::from(Reason::Unavailable).with_source(error)),
    }
}

fn text(rule: &Rule, reason: PausedReason) -> String {
    let name = &rule.name;
    match reason {
        PausedReason::CreatorLeft => {
            format!("The rule “{name}” is disabled: whoever created it does not allow it to act any more.")
        }
        PausedReason::Refused => format!("The rule “{name}” is disabled: it tried ten times what you may not do."),
        PausedReason::WebhookGone => {
            format!("The rule “{name}” is disabled: the receiver that it calls is gone.")
        }
        PausedReason::LoopSuspected => format!("The rule “{name}” is disabled: it seems to run in a loop."),
    }
}
