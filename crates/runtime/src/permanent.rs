//! Failures that no retry can fix.

use std::{error::Error, fmt};

/// Marks an error's cause as permanent: the failed work is not retried. An invalid mail address is permanent; an
/// unreachable server is not.
#[derive(Debug)]
pub struct Permanent(pub &'static str);

impl Permanent {
    /// Whether an error is permanent, or was caused by a permanent one.
    pub fn is_cause_of(error: &anyhow::Error) -> bool {
        // `chain` does not expose errors that were added as context; `downcast_ref` does.
        error.downcast_ref::<Self>().is_some() || error.chain().any(|cause| cause.is::<Self>())
    }
}

impl fmt::Display for Permanent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Permanent {}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn permanent_cause_is_found_in_the_chain() {
        let error = anyhow::Error::from(Permanent("the address is invalid")).context("cannot send a mail");
        assert!(Permanent::is_cause_of(&error));
        let wrapped: anyhow::Result<()> = Err(Permanent("no")).context("cannot send").context("a job failed");
        assert!(Permanent::is_cause_of(&wrapped.unwrap_err()));
        let context = anyhow!("550").context(Permanent("no")).context("a job failed");
        assert!(Permanent::is_cause_of(&context));
        assert!(!Permanent::is_cause_of(&anyhow!("connection refused").context("cannot send a mail")));
    }
}
