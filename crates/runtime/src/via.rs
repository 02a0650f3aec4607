//! The service that acts for a user during a call, when the user does not call themselves.
//!
//! The access layer sets it from a delegated token, and the call's events carry it ([`Via::current`]), so that histories
//! tell apart what people did and what was done in their name.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

tokio::task_local! {
    static CURRENT: Via;
}

/// A service that acts for a user (RFC 8693, section 4.1), and its cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// Name of the service: `automation`.
    pub service: String,
    /// The cause, if the service named one.
    pub cause: Option<Cause>,
}

/// The cause of an action in a user's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// Its kind: `rule`, `assistant`, `integration`.
    pub kind: String,
    /// Its id: that of the rule.
    pub id: Uuid,
    /// Length of the chain of causes: 1 for an action that an event of a person has caused.
    pub depth: u16,
}

impl Via {
    /// The service that acts in the current call; `None` when the user acts themselves, and outside of calls.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs `work` as a part of a call of this service.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn via_is_set_during_the_call_only() {
        let via = Via { service: "automation".to_owned(), cause: None };
        assert_eq!(via.clone().scope(async { Via::current() }).await, Some(via));
        assert_eq!(Via::current(), None);
    }
}
