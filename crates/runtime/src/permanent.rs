//! Failures that no repetition mends.

use std::{error::Error, fmt};

/// Marks the cause of an error as permanent: work that failed for it is not tried again. An address to which no mail can be
/// sent is one; a server that is away is none.
#[derive(Debug)]
pub struct Permanent(pub &'static str);

impl Permanent {
    /// Whether an error is permanent, or was caused by one that is.
    pub fn is_cause_of(error: &anyhow::Error) -> bool {
        // The chain hides what was added as context; `downcast_ref` finds that.
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
    fn a_permanent_cause_is_found_below_others() {
        let error = anyhow::Error::from(Permanent("the address is none")).context("cannot send a mail");
        assert!(Permanent::is_cause_of(&error));
        let wrapped: anyhow::Result<()> = Err(Permanent("no")).context("cannot send").context("a job failed");
        assert!(Permanent::is_cause_of(&wrapped.unwrap_err()));
        let context = anyhow!("550").context(Permanent("no")).context("a job failed");
        assert!(Permanent::is_cause_of(&context));
        assert!(!Permanent::is_cause_of(&anyhow!("connection refused").context("cannot send a mail")));
    }
}
