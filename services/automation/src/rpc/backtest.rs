//! Backtests of rules.

use std::sync::{Arc, PoisonError};

use baton_access::Principal;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::automation::v1::{BacktestAutomationRequest, BacktestAutomationResponse, BacktestDay, BacktestMatch},
    convert::{datetime, timestamp},
};
use chrono::TimeDelta;
use uuid::Uuid;

use super::{Backtests, Rpc};
use crate::{application, backtest};

/// How long ago the beginning of a backtest is from its end.
const MAX_BACKTEST: TimeDelta = TimeDelta::days(30);
/// Runs of a backtest that are named.
const MAX_BACKTEST_MATCHES: usize = 100;
/// Backtests of this process at a time.
const MAX_BACKTESTS: usize = 4;

/// A permit for a backtest: one of an account at a time, so that none keeps the others out.
struct Permit(Backtests, Uuid);

impl Permit {
    fn take(running: &Backtests, account_id: Uuid) -> Option<Self> {
        let mut accounts = running.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = accounts.len() < MAX_BACKTESTS && accounts.insert(account_id);
        is_free.then(|| Self(Arc::clone(running), account_id))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// Replays a rule on the past.
///
/// # Errors
/// VALIDATION_FAILED, AUTOMATION_NOT_FOUND, BACKTEST_TOO_LARGE, BUSY, UNAVAILABLE.
pub(super) async fn run(
    rpc: &Rpc,
    principal: &Principal,
    request: &BacktestAutomationRequest,
) -> Result<BacktestAutomationResponse> {
    let BacktestAutomationRequest { automation, automation_id, from, to } = request;
    let (rule, path) = rpc.rule_of(principal, (automation.as_ref(), automation_id.as_deref())).await?;
    let definition = rule.terms.definition(path)?;
    if !backtest::is_replayable(rule.terms.trigger_type) {
        let problem = "must be a trigger about changes or due times of tasks";
        return Err(Error::invalid(format!("{path}trigger_type"), problem));
    }
    let time = |time: Option<&prost_types::Timestamp>, field: &str| {
        let time = time.and_then(datetime);
        time.ok_or_else(|| Error::invalid(field, "must be a time"))
    };
    let (from, to) = (time(from.as_ref(), "from")?, time(to.as_ref(), "to")?);
    if to > rpc.db.clock().now() {
        return Err(Error::invalid("to", "must not be in the future"));
    }
    if from >= to || to - from > MAX_BACKTEST {
        return Err(Error::invalid("from", "must be before `to`, by at most 30 days"));
    }
    let Some(_permit) = Permit::take(&rpc.backtests, principal.account_id()) else {
        return Err(Error::from(Reason::Busy));
    };
    let (timezone, sentence) = (definition.timezone, definition.sentence());
    let rule = (rule.id, definition);
    let (events, found) = application::backtest::run(&rpc.tasks, &rpc.delegations, principal, rule, (from, to)).await?;
    let mut days: Vec<BacktestDay> = Vec::new();
    for found in &found {
        let date = found.at.with_timezone(&timezone).date_naive().to_string();
        match days.last_mut().filter(|day| day.date == date) {
            Some(day) => day.matches += 1,
            None => days.push(BacktestDay { date, matches: 1 }),
        }
    }
    let first = found.iter().take(MAX_BACKTEST_MATCHES).map(|found| BacktestMatch {
        at: Some(timestamp(found.at)),
        task_id: found.task_id.to_string(),
        event_id: found.event_id.to_string(),
        event_type: found.event_type.clone(),
    });
    let matches = i32::try_from(found.len()).unwrap_or(i32::MAX);
    Ok(BacktestAutomationResponse { events, matches, days, first: first.collect(), sentence })
}
