//! The data processing agreement (GDPR, article 28) between an account and the operator.
//!
//! The texts are code: one cannot change without a new version, because a test knows the hash of each.

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::account::SubscriptionTier;

/// The version that is offered. Acceptance of an earlier one holds until a material change says otherwise.
pub(crate) const VERSION: i32 = 1;
/// The earliest version that says the same in substance.
pub(crate) const VALID_SINCE: i32 = 1;
/// The text of [`VERSION`].
pub(crate) const TEXT: &str = include_str!("dpa/v1.md");

/// SHA-256 of [`TEXT`].
pub(crate) fn hash() -> [u8; 32] {
    Sha256::digest(TEXT).into()
}

/// The last acceptance by an owner of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acceptance {
    pub(crate) version: i32,
    pub(crate) accepted_by: Uuid,
    pub(crate) accepted_at: DateTime<Utc>,
}

/// Whether accounts of this tier need an agreement for the AI assistant and for analytics.
pub(crate) fn is_required(tier: SubscriptionTier) -> bool {
    tier == SubscriptionTier::Enterprise
}

/// Refuses the AI assistant and analytics to an account that lacks its agreement.
///
/// # Errors
/// DPA_REQUIRED.
pub(crate) fn require(tier: SubscriptionTier, accepted: Option<&Acceptance>) -> Result<()> {
    let has_accepted = accepted.is_some_and(|acceptance| acceptance.version >= VALID_SINCE);
    if is_required(tier) && !has_accepted { Err(Error::from(Reason::DpaRequired)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_never_changes_within_its_version() {
        let hash: String = hash().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (VERSION, hash.as_str()),
            (1, "66285f103b2159ba91ffba777cd7af4d95dd7418d008394f3b0098eb8745f88c"),
            "a changed text needs a new version"
        );
    }

    #[test]
    fn only_enterprise_accounts_need_one() {
        let accepted = Acceptance { version: VERSION, accepted_by: Uuid::nil(), accepted_at: DateTime::UNIX_EPOCH };
        let old = Acceptance { version: VALID_SINCE - 1, ..accepted.clone() };
        assert!(require(SubscriptionTier::Free, None).is_ok() && require(SubscriptionTier::Pro, None).is_ok());
        assert_eq!(require(SubscriptionTier::Enterprise, None).unwrap_err().reason(), Reason::DpaRequired);
        assert_eq!(require(SubscriptionTier::Enterprise, Some(&old)).unwrap_err().reason(), Reason::DpaRequired);
        assert!(require(SubscriptionTier::Enterprise, Some(&accepted)).is_ok());
    }
}
