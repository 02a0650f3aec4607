//! What happens when an event may run a rule: dispatch, observe, plan, act.

mod act;
pub(crate) mod backfill;
pub(crate) mod backtest;
pub(crate) mod deletion;
pub(crate) mod dispatch;
pub(crate) mod pausing;
pub(crate) mod preview;
pub(crate) mod run;
pub(crate) mod selection;
pub(crate) mod situation;
pub(crate) mod timers;
pub(crate) mod webhooks;
