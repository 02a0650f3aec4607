//! Subscriptions, and what Stripe's events make of them.
//!
//! Events come late, twice, and in any order. Each says when it was made: what describes a subscription is taken
//! from the newest event that describes it, whether it is paid from the newest event about its payments. So any
//! order comes to the same.

use baton_errors::Result;
use chrono::{DateTime, TimeDelta, Utc};

use crate::account::SubscriptionTier;

mod event;
mod signature;

pub(crate) use event::{About, Change, StripeEvent};
pub(crate) use signature::Secrets;

/// How long an account keeps its tier after a payment has failed.
pub(crate) const GRACE: TimeDelta = TimeDelta::days(7);

/// Where a subscription stands, in Stripe's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Incomplete,
    IncompleteExpired,
    Trialing,
    Active,
    PastDue,
    Unpaid,
    Canceled,
    Paused,
}

impl Status {
    pub(crate) const ALL: [Self; 8] = [
        Self::Incomplete,
        Self::IncompleteExpired,
        Self::Trialing,
        Self::Active,
        Self::PastDue,
        Self::Unpaid,
        Self::Canceled,
        Self::Paused,
    ];

    /// As Stripe writes it, and as it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Canceled => "canceled",
            Self::Paused => "paused",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether it buys anything.
    fn is_alive(self) -> bool {
        matches!(self, Self::Trialing | Self::Active | Self::PastDue | Self::Unpaid)
    }
}

/// A subscription as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) customer_id: String,
    pub(crate) status: Option<Status>,
    /// The last price of which it was known what it buys,
    pub(crate) price_id: Option<String>,
    /// and what that is.
    pub(crate) tier: SubscriptionTier,
    pub(crate) current_period_end: Option<DateTime<Utc>>,
    pub(crate) cancel_at_period_end: bool,
    pub(crate) trial_ends_at: Option<DateTime<Utc>>,
    /// When the event was made that all this comes from.
    pub(crate) status_at: Option<DateTime<Utc>>,
    /// When payment was in order last.
    pub(crate) healthy_at: Option<DateTime<Utc>>,
    /// The first failure of a payment after that,
    pub(crate) failing_since: Option<DateTime<Utc>>,
    /// and the last.
    pub(crate) failed_at: Option<DateTime<Utc>>,
}

impl Subscription {
    /// One of which nothing is known yet.
    pub(crate) fn new(id: String, customer_id: String) -> Self {
        Self {
            id,
            customer_id,
            status: None,
            price_id: None,
            tier: SubscriptionTier::Free,
            current_period_end: None,
            cancel_at_period_end: false,
            trial_ends_at: None,
            status_at: None,
            healthy_at: None,
            failing_since: None,
            failed_at: None,
        }
    }

    /// What an event makes of it.
    pub(crate) fn take(&mut self, change: &Change, made_at: DateTime<Utc>, prices: &Prices) -> Result<()> {
        match change {
            Change::Link => {}
            Change::Paid => self.healthy(made_at),
            Change::PaymentFailed => self.failing(made_at),
            Change::Described { rank, status, price_id, current_period_end, cancel_at_period_end, trial_ends_at } => {
                // Stripe's times are whole seconds, and a subscription is made and changed in one. What is later in
                // its life counts as a little later.
                let status_at = made_at + TimeDelta::microseconds((*rank).into());
                match status {
                    Status::Active | Status::Trialing => self.healthy(made_at),
                    Status::PastDue | Status::Unpaid => self.failing(made_at),
                    _ => {}
                }
                if self.status_at.is_some_and(|known| known > status_at) {
                    return Ok(());
                }
                self.price(price_id.as_deref(), status.is_alive(), prices)?;
                self.status = Some(*status);
                self.status_at = Some(status_at);
                self.current_period_end = *current_period_end;
                self.cancel_at_period_end = *cancel_at_period_end;
                self.trial_ends_at = *trial_ends_at;
            }
        }
        Ok(())
    }

    /// A price may be unknown where it buys nothing, and where it has left the configuration since it was bought:
    /// otherwise no end of a subscription would get through.
    fn price(&mut self, price_id: Option<&str>, alive: bool, prices: &Prices) -> Result<()> {
        let Some(price_id) = price_id else { return Ok(()) };
        match prices.tier(price_id) {
            Ok(tier) => (self.price_id, self.tier) = (Some(price_id.to_owned()), tier),
            Err(unknown) if alive && self.price_id.as_deref() != Some(price_id) => return Err(unknown),
            Err(_) => {}
        }
        Ok(())
    }

    fn healthy(&mut self, at: DateTime<Utc>) {
        self.healthy_at = self.healthy_at.max(Some(at));
        if self.failing_since <= self.healthy_at {
            self.failing_since = self.failed_at.filter(|&failed| Some(failed) > self.healthy_at);
        }
    }

    fn failing(&mut self, at: DateTime<Utc>) {
        self.failed_at = self.failed_at.max(Some(at));
        if Some(at) > self.healthy_at {
            self.failing_since = Some(self.failing_since.map_or(at, |since| since.min(at)));
        }
    }

    /// Where it stands: as Stripe said, unless a payment since then says better.
    pub(crate) fn standing(&self) -> Option<Status> {
        match self.status {
            Some(Status::PastDue | Status::Unpaid) if self.failing_since.is_none() => Some(Status::Active),
            status => status,
        }
    }

    fn is_alive(&self) -> bool {
        self.status.is_some_and(Status::is_alive)
    }

    /// When the account becomes free for want of a payment.
    pub(crate) fn grace_ends_at(&self) -> Option<DateTime<Utc>> {
        self.failing_since.filter(|_| self.is_alive()).map(|since| since + GRACE)
    }

    /// What it buys at a time.
    pub(crate) fn buys(&self, now: DateTime<Utc>) -> SubscriptionTier {
        let lapsed = self.grace_ends_at().is_some_and(|end| end <= now);
        if self.is_alive() && !lapsed { self.tier } else { SubscriptionTier::Free }
    }

    /// When it buys less than now for want of a payment; `None` when that does not threaten, or has come.
    pub(crate) fn lapses_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.grace_ends_at().filter(|&end| end > now)
    }
}

/// The one of an account's subscriptions that its tier comes from.
pub(crate) fn decisive(subscriptions: &[Subscription], now: DateTime<Utc>) -> Option<&Subscription> {
    subscriptions
        .iter()
        .max_by_key(|subscription| (subscription.buys(now), subscription.is_alive(), subscription.status_at))
}

/// What an account's subscriptions come to: nothing when none is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) tier: SubscriptionTier,
    pub(crate) trial_ends_at: Option<DateTime<Utc>>,
    pub(crate) ends_at: Option<DateTime<Utc>>,
}

pub(crate) fn outcome(subscriptions: &[Subscription], now: DateTime<Utc>) -> Outcome {
    let Some(decisive) = decisive(subscriptions, now).filter(|decisive| decisive.is_alive()) else {
        return Outcome { tier: SubscriptionTier::Free, trial_ends_at: None, ends_at: None };
    };
    Outcome {
        tier: decisive.buys(now),
        trial_ends_at: decisive.trial_ends_at,
        ends_at: decisive.current_period_end.filter(|_| decisive.cancel_at_period_end),
    }
}

/// Which price buys which tier.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prices(Vec<(String, SubscriptionTier)>);

impl Prices {
    /// Reads `price_1=pro` and the like.
    ///
    /// # Errors
    /// Which of them is none.
    pub(crate) fn parse(list: &[String]) -> anyhow::Result<Self> {
        let price = |text: &String| {
            let (id, tier) = text.split_once('=')?;
            Some((id.trim().to_owned(), SubscriptionTier::from_name(tier.trim())?))
        };
        let prices = list.iter().map(|text| {
            price(text).ok_or_else(|| anyhow::anyhow!("BATON_TENANCY_STRIPE_PRICES: {text:?} is not like price_1=pro"))
        });
        Ok(Self(prices.collect::<anyhow::Result<_>>()?))
    }

    /// What a price buys.
    ///
    /// # Errors
    /// INTERNAL when nobody has said: Stripe sends the event again until somebody does.
    fn tier(&self, price_id: &str) -> Result<SubscriptionTier> {
        let found = self.0.iter().find(|(id, _)| id == price_id).map(|&(_, tier)| tier);
        found.ok_or_else(|| {
            baton_errors::Error::internal(format!("BATON_TENANCY_STRIPE_PRICES says nothing of {price_id}"))
        })
    }
}

#[cfg(test)]
mod tests;
