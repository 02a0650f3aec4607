//! Reads the past of tasks, with the caller's rights, and replays a rule on it.

use std::collections::BTreeSet;

use baton_access::Principal;
use baton_clients::Delegations;
use baton_conditions::Needs;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::task::v1::{ListTaskHistoryRequest, Task, TaskHistoryEvent},
    convert::timestamp,
};
use baton_rules::{Definition, Rule};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::situation;
use crate::{
    backtest::{Backtest, Match},
    clients::task::TaskClient,
    convert,
};

/// Events of a backtest.
pub(crate) const MAX_EVENTS: i32 = 100_000;
/// The service that has the past.
const AUDIENCE: &str = "task";

/// Replays a rule for the caller from a time to another. Returns the number of events, and when the rule would have run.
///
/// # Errors
/// BACKTEST_TOO_LARGE, UNAVAILABLE, and those of ended rights.
pub(crate) async fn run(
    tasks: &TaskClient,
    delegations: &Delegations,
    principal: &Principal,
    (rule_id, definition): (Uuid, Definition),
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(i32, Vec<Match>)> {
    let reads_people = situation::needs(&definition).contains(Needs::ASSIGNEE);
    let mut backtest = Backtest::new(Rule { id: rule_id, owner: principal.user_id(), definition });
    let mut message = ListTaskHistoryRequest {
        from: Some(timestamp(from)),
        to: Some(timestamp(to)),
        after_task_id: None,
        after_version: 0,
    };
    let (mut total, mut last): (i32, Option<Task>) = (0, None);
    loop {
        // A token lasts for a minute; each page has one that is valid.
        let credentials =
            delegations.credentials_of_caller(&principal.caller, principal.account_id(), AUDIENCE).await?;
        let page = tasks.history(&credentials, &message).await?;
        total = page.total.unwrap_or(total);
        if total > MAX_EVENTS {
            let error = Error::from(Reason::BacktestTooLarge).with("limit", MAX_EVENTS.to_string());
            return Err(error.with("matched", total.to_string()));
        }
        if reads_people {
            let assignees =
                page.events.iter().filter_map(|event| event.after.as_ref()?.assigned_to.as_deref()?.parse().ok());
            let unknown: BTreeSet<Uuid> = assignees.filter(|id| backtest.lacks(*id)).collect();
            if !unknown.is_empty() {
                let ids: Vec<Uuid> = unknown.iter().copied().collect();
                let members = tasks.members(&credentials, &[], &ids).await?;
                for id in ids {
                    let member = members.iter().find(|member| member.user_id.parse() == Ok(id));
                    backtest.know(id, situation::assignee_facts(member));
                }
            }
        }
        for event in page.events {
            // On a page, the first event of a task says what was before.
            let before = event.before.clone().or_else(|| last.take().filter(|last| Some(&last.id) == id_of(&event)));
            backtest.see(convert::history::past_event(&event, before.as_ref())?, to);
            last = event.after;
        }
        let Some(last) = last.as_ref().filter(|_| page.has_more) else { break };
        (message.after_task_id, message.after_version) = (Some(last.id.clone()), last.version);
    }
    Ok((total, backtest.end(to)))
}

fn id_of(event: &TaskHistoryEvent) -> Option<&String> {
    event.after.as_ref().map(|task| &task.id)
}
