//! Stripe subscriptions, and the tier that they buy.
//!
//! Events arrive late, repeatedly, and in any order. Each has a creation time: the newest snapshot determines a
//! subscription's state, and the newest payment event determines whether it is paid. The result does not depend on the
//! order of arrival.

use baton_errors::Result;
use chrono::{DateTime, TimeDelta, Utc};

use crate::account::SubscriptionTier;

mod event;
mod signature;

pub(crate) use event::{StripeEvent, SubscriptionChange, SubscriptionEvent};
pub(crate) use signature::Secrets;

/// How long an account keeps its tier after a failed payment.
pub(crate) const PAYMENT_GRACE_PERIOD: TimeDelta = TimeDelta::days(7);

/// Stripe's status of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscriptionStatus {
    Incomplete,
    IncompleteExpired,
    Trialing,
    Active,
    PastDue,
    Unpaid,
    Canceled,
    Paused,
}

impl SubscriptionStatus {
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

    /// The name that Stripe uses and the database stores.
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

    /// Whether a subscription in this status buys a tier.
    fn is_live(self) -> bool {
        matches!(self, Self::Trialing | Self::Active | Self::PastDue | Self::Unpaid)
    }
}

/// A subscription, as known from the events received so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) customer_id: String,
    pub(crate) status: Option<SubscriptionStatus>,
    /// The last price with a configured tier.
    pub(crate) price_id: Option<String>,
    /// The tier that `price_id` buys.
    pub(crate) tier: SubscriptionTier,
    pub(crate) current_period_end: Option<DateTime<Utc>>,
    pub(crate) cancel_at_period_end: bool,
    pub(crate) trial_ends_at: Option<DateTime<Utc>>,
    /// Creation time of the event that set the fields above, plus its lifecycle rank in microseconds.
    pub(crate) status_at: Option<DateTime<Utc>>,
    /// The last time at which payment was in order.
    pub(crate) healthy_at: Option<DateTime<Utc>>,
    /// The first failed payment after `healthy_at`.
    pub(crate) failing_since: Option<DateTime<Utc>>,
    /// The last failed payment.
    pub(crate) failed_at: Option<DateTime<Utc>>,
}

impl Subscription {
    /// A subscription without known state.
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

    /// Applies an event.
    ///
    /// # Errors
    /// INTERNAL when a live subscription has a price without a configured tier.
    pub(crate) fn apply(
        &mut self,
        change: &SubscriptionChange,
        created_at: DateTime<Utc>,
        prices: &Prices,
    ) -> Result<()> {
        match change {
            SubscriptionChange::Link => {}
            SubscriptionChange::Paid => self.record_success(created_at),
            SubscriptionChange::PaymentFailed => self.record_failure(created_at),
            SubscriptionChange::Snapshot {
                rank,
                status,
                price_id,
                current_period_end,
                cancel_at_period_end,
                trial_ends_at,
            } => {
                // Stripe's times are whole seconds, and a subscription may be created and updated in the same one. The
                // rank orders such events.
                let status_at = created_at + TimeDelta::microseconds((*rank).into());
                match status {
                    SubscriptionStatus::Active | SubscriptionStatus::Trialing => self.record_success(created_at),
                    SubscriptionStatus::PastDue | SubscriptionStatus::Unpaid => self.record_failure(created_at),
                    _ => {}
                }
                if self.status_at.is_some_and(|known| known > status_at) {
                    return Ok(());
                }
                self.update_price(price_id.as_deref(), status.is_live(), prices)?;
                self.status = Some(*status);
                self.status_at = Some(status_at);
                self.current_period_end = *current_period_end;
                self.cancel_at_period_end = *cancel_at_period_end;
                self.trial_ends_at = *trial_ends_at;
            }
        }
        Ok(())
    }

    /// Sets price and tier. The price may be unknown if the subscription is not live, or if the price was removed from
    /// the configuration after the purchase: otherwise the end of a subscription could not be processed.
    fn update_price(&mut self, price_id: Option<&str>, alive: bool, prices: &Prices) -> Result<()> {
        let Some(price_id) = price_id else { return Ok(()) };
        match prices.tier(price_id) {
            Ok(tier) => (self.price_id, self.tier) = (Some(price_id.to_owned()), tier),
            Err(unknown) if alive && self.price_id.as_deref() != Some(price_id) => return Err(unknown),
            Err(_) => {}
        }
        Ok(())
    }

    /// Records a successful payment.
    fn record_success(&mut self, at: DateTime<Utc>) {
        self.healthy_at = self.healthy_at.max(Some(at));
        if self.failing_since <= self.healthy_at {
            self.failing_since = self.failed_at.filter(|&failed| Some(failed) > self.healthy_at);
        }
    }

    /// Records a failed payment.
    fn record_failure(&mut self, at: DateTime<Utc>) {
        self.failed_at = self.failed_at.max(Some(at));
        if Some(at) > self.healthy_at {
            self.failing_since = Some(self.failing_since.map_or(at, |since| since.min(at)));
        }
    }

    /// Stripe's status, or active if a payment has succeeded since Stripe reported a failed one.
    pub(crate) fn effective_status(&self) -> Option<SubscriptionStatus> {
        match self.status {
            Some(SubscriptionStatus::PastDue | SubscriptionStatus::Unpaid) if self.failing_since.is_none() => {
                Some(SubscriptionStatus::Active)
            }
            status => status,
        }
    }

    fn is_live(&self) -> bool {
        self.status.is_some_and(SubscriptionStatus::is_live)
    }

    /// When the grace period of a failed payment ends; `None` without a failed payment.
    pub(crate) fn grace_ends_at(&self) -> Option<DateTime<Utc>> {
        self.failing_since.filter(|_| self.is_live()).map(|since| since + PAYMENT_GRACE_PERIOD)
    }

    /// The tier that the subscription buys at `now`.
    pub(crate) fn tier_at(&self, now: DateTime<Utc>) -> SubscriptionTier {
        let lapsed = self.grace_ends_at().is_some_and(|end| end <= now);
        if self.is_live() && !lapsed { self.tier } else { SubscriptionTier::Free }
    }

    /// When a running grace period ends; `None` without one.
    pub(crate) fn lapses_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.grace_ends_at().filter(|&end| end > now)
    }
}

/// The subscription that determines an account's tier: the one with the highest tier, live ones first, then the newest.
pub(crate) fn find_decisive(subscriptions: &[Subscription], now: DateTime<Utc>) -> Option<&Subscription> {
    subscriptions
        .iter()
        .max_by_key(|subscription| (subscription.tier_at(now), subscription.is_live(), subscription.status_at))
}

/// The tier that an account's subscriptions buy, with its end dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entitlement {
    pub(crate) tier: SubscriptionTier,
    pub(crate) trial_ends_at: Option<DateTime<Utc>>,
    pub(crate) ends_at: Option<DateTime<Utc>>,
}

/// The entitlement at `now`; the free tier without a live subscription.
pub(crate) fn entitlement(subscriptions: &[Subscription], now: DateTime<Utc>) -> Entitlement {
    let Some(decisive) = find_decisive(subscriptions, now).filter(|subscription| subscription.is_live()) else {
        return Entitlement { tier: SubscriptionTier::Free, trial_ends_at: None, ends_at: None };
    };
    Entitlement {
        tier: decisive.tier_at(now),
        trial_ends_at: decisive.trial_ends_at,
        ends_at: decisive.current_period_end.filter(|_| decisive.cancel_at_period_end),
    }
}

/// The tier that each Stripe price buys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prices(Vec<(String, SubscriptionTier)>);

impl Prices {
    /// Parses entries such as `price_1=pro`.
    ///
    /// # Errors
    /// Names the malformed entry.
    pub(crate) fn parse(list: &[String]) -> anyhow::Result<Self> {
        let price = |text: &String| {
            let (id, tier) = text.split_once('=')?;
            Some((id.trim().to_owned(), SubscriptionTier::from_name(tier.trim())?))
        };
        let prices = list.iter().map(|text| {
            price(text)
                .ok_or_else(|| anyhow::anyhow!("BATON_TENANCY_STRIPE_PRICES: {text:?} must have the form price_1=pro"))
        });
        Ok(Self(prices.collect::<anyhow::Result<_>>()?))
    }

    /// The tier that a price buys.
    ///
    /// # Errors
    /// INTERNAL when the price is not configured. Stripe then retries the event until it is.
    fn tier(&self, price_id: &str) -> Result<SubscriptionTier> {
        let tier = self.0.iter().find(|(id, _)| id == price_id).map(|&(_, tier)| tier);
        tier.ok_or_else(|| {
            baton_errors::Error::internal(format!("BATON_TENANCY_STRIPE_PRICES has no entry for {price_id}"))
        })
    }
}

#[cfg(test)]
mod tests;
