//! Accounts: name, slug, branding, and lifecycle.

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, TimeDelta, Utc};
use url::Url;
use uuid::Uuid;

use crate::slug;

/// How long a scheduled deletion can be canceled.
pub(crate) const DELETION_GRACE_PERIOD: TimeDelta = TimeDelta::days(30);

/// An organisation: the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) slug: String,
    pub(crate) branding: Branding,
    pub(crate) subscription_tier: SubscriptionTier,
    pub(crate) status: AccountStatus,
    pub(crate) suspended_at: Option<DateTime<Utc>>,
    pub(crate) deletes_at: Option<DateTime<Utc>>,
    pub(crate) trial_ends_at: Option<DateTime<Utc>>,
    pub(crate) subscription_ends_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) version: i32,
}

/// Colours and logo of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Branding {
    pub(crate) primary_color: Option<String>,
    pub(crate) accent_color: Option<String>,
    pub(crate) logo_url: Option<String>,
}

/// The tier that an account pays for, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SubscriptionTier {
    Free,
    Pro,
    Enterprise,
}

/// Lifecycle state of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountStatus {
    Active,
    Suspended,
    /// Scheduled for deletion at `deletes_at`.
    Canceled,
}

impl Account {
    /// A new active account in the free tier. Its slug is derived from the name unless one is given.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn new(id: Uuid, name: &str, slug: Option<&str>, now: DateTime<Utc>) -> Result<Self> {
        Ok(Self {
            id,
            slug: match slug {
                Some(slug) => slug::parse("slug", slug)?,
                None => slug::derive(name, id),
            },
            name: parse_name(name, "name")?,
            branding: Branding::default(),
            subscription_tier: SubscriptionTier::Free,
            status: AccountStatus::Active,
            suspended_at: None,
            deletes_at: None,
            trial_ends_at: None,
            subscription_ends_at: None,
            created_at: now,
            updated_at: now,
            version: 1,
        })
    }

    /// Suspends the account. A repetition keeps the first time.
    pub(crate) fn suspend(&mut self, now: DateTime<Utc>) {
        self.suspended_at.get_or_insert(now);
        self.update_status();
    }

    /// Ends the suspension.
    ///
    /// # Errors
    /// ACCOUNT_BEING_DELETED.
    pub(crate) fn reactivate(&mut self) -> Result<()> {
        if self.deletes_at.is_some() {
            return Err(Reason::AccountBeingDeleted.into());
        }
        self.suspended_at = None;
        self.update_status();
        Ok(())
    }

    /// Schedules deletion after the grace period. A repetition keeps the first date.
    pub(crate) fn schedule_deletion(&mut self, now: DateTime<Utc>) {
        self.deletes_at.get_or_insert(now + DELETION_GRACE_PERIOD);
        self.update_status();
    }

    /// Cancels the deletion. The account returns to its former status.
    pub(crate) fn cancel_deletion(&mut self) {
        self.deletes_at = None;
        self.update_status();
    }

    /// Derives the status from the times.
    fn update_status(&mut self) {
        self.status = match (self.deletes_at, self.suspended_at) {
            (Some(_), _) => AccountStatus::Canceled,
            (None, Some(_)) => AccountStatus::Suspended,
            (None, None) => AccountStatus::Active,
        };
    }

    /// The contract's names of the fields that differ from `before`.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<&'static str> {
        [
            ("name", self.name != before.name),
            ("slug", self.slug != before.slug),
            ("branding", self.branding != before.branding),
            ("status", self.status != before.status),
            ("deletes_at", self.deletes_at != before.deletes_at),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

/// Validates a name. The codec has already validated that it is one visible line.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn parse_name(name: &str, field: &str) -> Result<String> {
    if name.is_empty() { Err(Error::invalid(field, "must not be empty")) } else { Ok(name.to_owned()) }
}

/// Normalizes a colour for storage. The codec has already validated its form.
pub(crate) fn normalize_color(color: &str) -> String {
    color.to_ascii_lowercase()
}

/// Validates and normalizes a logo URL. It must be https, because browsers load it into https pages.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn parse_logo_url(text: &str, field: &str) -> Result<String> {
    let url = Url::parse(text).ok().filter(|url| {
        url.scheme() == "https" && url.host().is_some() && url.username().is_empty() && url.password().is_none()
    });
    let url = url.filter(|url| url.as_str().len() <= 2048);
    Ok(url.ok_or_else(|| Error::invalid(field, "must be an https URL without credentials"))?.into())
}

impl SubscriptionTier {
    const ALL: [Self; 3] = [Self::Free, Self::Pro, Self::Enterprise];

    /// The name that the database stores.
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

    /// The name that the database stores.
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
    use proptest::prelude::*;

    use super::*;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(day)
    }

    fn account() -> Account {
        Account::new(Uuid::nil(), "Acme", None, at(0)).unwrap()
    }

    #[test]
    fn a_reserved_slug_is_refused_or_gets_a_suffix() {
        let new = |name, slug| Account::new(Uuid::from_u128(0xab_cdef), name, slug, DateTime::UNIX_EPOCH);
        assert!(new("", None).is_err());
        assert_eq!(new("Acme", Some("acme-inc")).unwrap().slug, "acme-inc");
        assert_eq!(new("Acme", Some("admin")).unwrap_err().reason(), Reason::ValidationFailed);
        // A derived slug gets a suffix instead.
        assert_eq!(new("Admin", None).unwrap().slug, "admin-abcdef");
    }

    #[test]
    fn a_logo_url_is_https_without_a_user_name() {
        assert_eq!(parse_logo_url("HTTPS://Acme.example/l.png", "f").unwrap(), "https://acme.example/l.png");
        let long = format!("https://acme.example/{}", "x".repeat(2048));
        for url in ["http://acme.example/l.png", "javascript:alert(1)", "https://u:p@acme.example", "l.png", "", &long]
        {
            assert!(parse_logo_url(url, "f").is_err(), "{url}");
        }
    }

    #[test]
    fn canceling_a_deletion_restores_the_suspension() {
        let mut account = account();
        account.suspend(at(1));
        account.schedule_deletion(at(2));
        assert_eq!(account.reactivate().unwrap_err().reason(), Reason::AccountBeingDeleted);
        account.cancel_deletion();
        assert_eq!((account.status, account.suspended_at), (AccountStatus::Suspended, Some(at(1))));
        account.reactivate().unwrap();
        assert_eq!((account.status, account.suspended_at), (AccountStatus::Active, None));
    }

    proptest! {
        #[test]
        fn the_status_follows_the_times(steps in prop::collection::vec(0u8..4, 0..20)) {
            let mut account = account();
            for (day, step) in (1..).zip(steps) {
                let before = account.clone();
                match step {
                    0 => account.suspend(at(day)),
                    1 => account.schedule_deletion(at(day)),
                    2 => account.cancel_deletion(),
                    _ => if account.reactivate().is_err() {
                        prop_assert_eq!(&account, &before);
                    },
                }
                // The database checks the same invariants.
                prop_assert_eq!(account.status == AccountStatus::Canceled, account.deletes_at.is_some());
                prop_assert!(account.status != AccountStatus::Suspended || account.suspended_at.is_some());
                // A repetition does not postpone the deletion.
                if let (Some(was), Some(is)) = (before.deletes_at, account.deletes_at) {
                    prop_assert_eq!(was, is);
                }
            }
        }
    }
}
