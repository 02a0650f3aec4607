//! Conversions of billing.

use baton_proto::{baton::tenancy::v1 as proto, convert::timestamp};

use crate::{
    account::SubscriptionTier,
    billing::{Subscription, SubscriptionStatus},
};

/// Converts a tier and the subscription that decides on it.
pub(crate) fn billing(tier: SubscriptionTier, subscription: Option<&Subscription>) -> proto::Billing {
    let tier = super::tier(tier).into();
    let Some(subscription) = subscription else {
        return proto::Billing { subscription_tier: tier, ..proto::Billing::default() };
    };
    proto::Billing {
        subscription_tier: tier,
        status: subscription.effective_status().map(|known| status(known).into()),
        customer_id: Some(subscription.customer_id.clone()),
        subscription_id: Some(subscription.id.clone()),
        price_id: subscription.price_id.clone(),
        current_period_end: subscription.current_period_end.map(timestamp),
        cancel_at_period_end: subscription.cancel_at_period_end,
        trial_ends_at: subscription.trial_ends_at.map(timestamp),
        grace_ends_at: subscription.grace_ends_at().map(timestamp),
    }
}

fn status(status: SubscriptionStatus) -> proto::SubscriptionStatus {
    match status {
        SubscriptionStatus::Incomplete => proto::SubscriptionStatus::Incomplete,
        SubscriptionStatus::IncompleteExpired => proto::SubscriptionStatus::IncompleteExpired,
        SubscriptionStatus::Trialing => proto::SubscriptionStatus::Trialing,
        SubscriptionStatus::Active => proto::SubscriptionStatus::Active,
        SubscriptionStatus::PastDue => proto::SubscriptionStatus::PastDue,
        SubscriptionStatus::Unpaid => proto::SubscriptionStatus::Unpaid,
        SubscriptionStatus::Canceled => proto::SubscriptionStatus::Canceled,
        SubscriptionStatus::Paused => proto::SubscriptionStatus::Paused,
    }
}
