//! Accounts.

use baton_errors::{Error, Result};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::slug;

/// An organisation; the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) slug: String,
    pub(crate) subscription_tier: SubscriptionTier,
    pub(crate) status: AccountStatus,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// What an account pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscriptionTier {
    Free,
    Pro,
    Enterprise,
}

/// Whether an account is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountStatus {
    Active,
    Suspended,
    Canceled,
}

/// How an account wants things done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) managers_may_reassign: bool,
}

impl Account {
    /// A new account, free and in use. Its slug is made from the name unless one is given.
    pub(crate) fn new(id: Uuid, name: &str, slug: Option<&str>, now: DateTime<Utc>) -> Result<Self> {
        let name = name.trim();
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(Error::invalid("name", "must have letters, and no control characters"));
        }
        Ok(Self {
            id,
            name: name.to_owned(),
            slug: slug.map_or_else(|| slug::from_name(name), str::to_owned),
            subscription_tier: SubscriptionTier::Free,
            status: AccountStatus::Active,
            created_at: now,
            updated_at: now,
        })
    }
}

impl SubscriptionTier {
    const ALL: [Self; 3] = [Self::Free, Self::Pro, Self::Enterprise];

    /// As it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }
}

impl AccountStatus {
    const ALL: [Self; 3] = [Self::Active, Self::Suspended, Self::Canceled];

    /// As it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Canceled => "canceled",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_something_to_read() {
        let new = |name| Account::new(Uuid::nil(), name, None, DateTime::UNIX_EPOCH);
        assert_eq!(new("  Acme ").unwrap().name, "Acme");
        for name in ["   ", "a\0b", "a\nb"] {
            assert!(new(name).is_err(), "{name:?}");
        }
    }
}
