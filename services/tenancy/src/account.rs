//! Accounts: what they are called, how they look, and whether they are in use.

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, TimeDelta, Utc};
use url::Url;
use uuid::Uuid;

use crate::slug;

/// How long an account that was given up can be had back.
pub(crate) const GRACE: TimeDelta = TimeDelta::days(30);

/// An organisation; the tenant.
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

/// How an account looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Branding {
    pub(crate) primary_color: Option<String>,
    pub(crate) accent_color: Option<String>,
    pub(crate) logo_url: Option<String>,
}

/// What an account pays for, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Given up; deleted when its grace is over.
    Canceled,
}

impl Account {
    /// A new account, free and in use. Its slug is made from the name unless one is given.
    pub(crate) fn new(id: Uuid, name: &str, slug: Option<&str>, now: DateTime<Utc>) -> Result<Self> {
        Ok(Self {
            id,
            slug: match slug {
                Some(slug) => slug::free("slug", slug)?,
                None => slug::made(name, id),
            },
            name: named(name, "name")?,
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

    /// Closes it for the time being.
    pub(crate) fn suspend(&mut self, now: DateTime<Utc>) {
        self.suspended_at.get_or_insert(now);
        self.settle();
    }

    /// Opens it again.
    ///
    /// # Errors
    /// ACCOUNT_BEING_DELETED.
    pub(crate) fn reactivate(&mut self) -> Result<()> {
        if self.deletes_at.is_some() {
            return Err(Reason::AccountBeingDeleted.into());
        }
        self.suspended_at = None;
        self.settle();
        Ok(())
    }

    /// Gives it up; the first time counts.
    pub(crate) fn give_up(&mut self, now: DateTime<Utc>) {
        self.deletes_at.get_or_insert(now + GRACE);
        self.settle();
    }

    /// Keeps it after all; it is again what it was.
    pub(crate) fn keep(&mut self) {
        self.deletes_at = None;
        self.settle();
    }

    fn settle(&mut self) {
        self.status = match (self.deletes_at, self.suspended_at) {
            (Some(_), _) => AccountStatus::Canceled,
            (None, Some(_)) => AccountStatus::Suspended,
            (None, None) => AccountStatus::Active,
        };
    }

    /// Names of what differs from `before`, as the contract has them.
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

/// A name. That it is a visible line was checked when the message was decoded.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn named(name: &str, field: &str) -> Result<String> {
    if name.is_empty() { Err(Error::invalid(field, "must not be empty")) } else { Ok(name.to_owned()) }
}

/// A colour as it is stored. That it is one was checked when the message was decoded.
pub(crate) fn color(color: &str) -> String {
    color.to_ascii_lowercase()
}

/// Where a logo is, as browsers write the address: they load it from pages that came over TLS, so it must too.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn logo_url(text: &str, field: &str) -> Result<String> {
    let url = Url::parse(text).ok().filter(|url| {
        url.scheme() == "https" && url.host().is_some() && url.username().is_empty() && url.password().is_none()
    });
    let url = url.filter(|url| url.as_str().len() <= 2048);
    Ok(url.ok_or_else(|| Error::invalid(field, "must be an https URL, without a user name"))?.into())
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
    use proptest::prelude::*;

    use super::*;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(day)
    }

    fn account() -> Account {
        Account::new(Uuid::nil(), "Acme", None, at(0)).unwrap()
    }

    #[test]
    fn no_account_takes_a_reserved_slug() {
        let new = |name, slug| Account::new(Uuid::from_u128(0xab_cdef), name, slug, DateTime::UNIX_EPOCH);
        assert!(new("", None).is_err());
        assert_eq!(new("Acme", Some("acme-inc")).unwrap().slug, "acme-inc");
        assert_eq!(new("Acme", Some("admin")).unwrap_err().reason(), Reason::ValidationFailed);
        // What nobody asked for by name is made another.
        assert_eq!(new("Admin", None).unwrap().slug, "admin-abcdef");
    }

    #[test]
    fn a_logo_comes_over_tls_and_names_no_user() {
        assert_eq!(logo_url("HTTPS://Acme.example/l.png", "f").unwrap(), "https://acme.example/l.png");
        let long = format!("https://acme.example/{}", "x".repeat(2048));
        for url in ["http://acme.example/l.png", "javascript:alert(1)", "https://u:p@acme.example", "l.png", "", &long]
        {
            assert!(logo_url(url, "f").is_err(), "{url}");
        }
    }

    #[test]
    fn what_was_suspended_before_it_was_given_up_is_suspended_again() {
        let mut account = account();
        account.suspend(at(1));
        account.give_up(at(2));
        assert_eq!(account.reactivate().unwrap_err().reason(), Reason::AccountBeingDeleted);
        account.keep();
        assert_eq!((account.status, account.suspended_at), (AccountStatus::Suspended, Some(at(1))));
        account.reactivate().unwrap();
        assert_eq!((account.status, account.suspended_at), (AccountStatus::Active, None));
    }

    proptest! {
        #[test]
        fn the_status_says_what_the_times_say(steps in prop::collection::vec(0u8..4, 0..20)) {
            let mut account = account();
            for (day, step) in (1..).zip(steps) {
                let before = account.clone();
                match step {
                    0 => account.suspend(at(day)),
                    1 => account.give_up(at(day)),
                    2 => account.keep(),
                    _ => if account.reactivate().is_err() {
                        prop_assert_eq!(&account, &before);
                    },
                }
                // What the database checks as well.
                prop_assert_eq!(account.status == AccountStatus::Canceled, account.deletes_at.is_some());
                prop_assert!(account.status != AccountStatus::Suspended || account.suspended_at.is_some());
                // Asking again does not put the end off.
                if let (Some(was), Some(is)) = (before.deletes_at, account.deletes_at) {
                    prop_assert_eq!(was, is);
                }
            }
        }
    }
}
