//! What happens when an event may run a rule: dispatch, observe, plan, act.

pub(crate) mod deletion;
pub(crate) mod dispatch;
pub(crate) mod enrolment;
pub(crate) mod pausing;
pub(crate) mod preview;
pub(crate) mod run;
pub(crate) mod situation;
pub(crate) mod timers;
