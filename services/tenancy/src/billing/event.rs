//! Parses Stripe events: those about subscriptions and their payments.

use baton_errors::{Error, Result};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::SubscriptionStatus;

/// A Stripe event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StripeEvent {
    pub(crate) id: String,
    pub(crate) kind: String,
    /// When Stripe created the event.
    pub(crate) created_at: DateTime<Utc>,
    /// The change of a subscription; `None` for events about anything else.
    pub(crate) subscription_event: Option<SubscriptionEvent>,
}

/// The subscription of an event, and its change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscriptionEvent {
    pub(crate) subscription_id: String,
    pub(crate) customer_id: String,
    /// The account that the event names: as `client_reference_id` or as `metadata.account_id`.
    pub(crate) account_id: Option<Uuid>,
    pub(crate) change: SubscriptionChange,
}

/// The change of a subscription that an event reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SubscriptionChange {
    /// The subscription belongs to an account.
    Link,
    /// The full state of the subscription.
    Snapshot {
        /// Orders events of the same second: greater is later in the subscription's lifecycle.
        rank: u8,
        status: SubscriptionStatus,
        price_id: Option<String>,
        current_period_end: Option<DateTime<Utc>>,
        cancel_at_period_end: bool,
        trial_ends_at: Option<DateTime<Utc>>,
    },
    /// A payment succeeded.
    Paid,
    /// A payment failed.
    PaymentFailed,
}

#[derive(Deserialize)]
struct RawEvent {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    data: RawData,
}

#[derive(Deserialize)]
struct RawData {
    object: Value,
}

impl StripeEvent {
    /// Parses an event. The caller has verified its signature.
    ///
    /// # Errors
    /// VALIDATION_FAILED when a field of its type is missing or malformed.
    pub(crate) fn parse(body: &[u8]) -> Result<Self> {
        let invalid = |what: &str| Error::invalid("payload", format!("must be a Stripe event: {what}"));
        let raw: RawEvent =
            serde_json::from_slice(body).map_err(|_| invalid("id, type, created or data is missing"))?;
        let created_at = DateTime::from_timestamp(raw.created, 0).ok_or_else(|| invalid("created"))?;
        if !(1..=255).contains(&raw.id.len()) || raw.id.contains('\0') || raw.kind.len() > 255 {
            return Err(invalid("id or type"));
        }
        let subscription_event = parse_object(&raw.kind, &raw.data.object).map_err(invalid)?;
        Ok(Self { id: raw.id, kind: raw.kind, created_at, subscription_event })
    }
}

/// Parses the object of an event; the error names the missing field.
fn parse_object(kind: &str, object: &Value) -> Result<Option<SubscriptionEvent>, &'static str> {
    match kind {
        "checkout.session.completed" => {
            let Some(subscription_id) = parse_id(&object["subscription"]) else { return Ok(None) };
            let account_id = parse_uuid(&object["client_reference_id"]).or_else(|| metadata_account(object));
            build_subscription_event(subscription_id, object, account_id, SubscriptionChange::Link).map(Some)
        }
        "customer.subscription.created" => subscription_snapshot(object, Lifecycle::Created).map(Some),
        "customer.subscription.updated" | "customer.subscription.paused" | "customer.subscription.resumed" => {
            subscription_snapshot(object, Lifecycle::Updated).map(Some)
        }
        "customer.subscription.deleted" => subscription_snapshot(object, Lifecycle::Deleted).map(Some),
        "invoice.paid" | "invoice.payment_failed" => {
            // API version 2025-03-31 moved the details below `parent`.
            let details = [&object["parent"]["subscription_details"], &object["subscription_details"]];
            let account_id = details.into_iter().find_map(metadata_account);
            let subscription = parse_id(&object["subscription"]).or_else(|| parse_id(&details[0]["subscription"]));
            // The invoice is not for a subscription.
            let Some(subscription_id) = subscription else { return Ok(None) };
            let change =
                if kind == "invoice.paid" { SubscriptionChange::Paid } else { SubscriptionChange::PaymentFailed };
            build_subscription_event(subscription_id, object, account_id, change).map(Some)
        }
        _ => Ok(None),
    }
}

/// The kind of a subscription event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifecycle {
    Created,
    Updated,
    Deleted,
}

/// The position of an event in a subscription's lifecycle. Stripe's times are whole seconds, so the status orders
/// events of the same second. With equal status, creation comes before updates.
fn rank(lifecycle: Lifecycle, status: SubscriptionStatus) -> u8 {
    match status {
        _ if lifecycle == Lifecycle::Deleted => 4,
        SubscriptionStatus::Canceled | SubscriptionStatus::IncompleteExpired => 4,
        SubscriptionStatus::Incomplete => u8::from(lifecycle == Lifecycle::Updated),
        _ => 2 + u8::from(lifecycle == Lifecycle::Updated),
    }
}

/// Parses a subscription object.
fn subscription_snapshot(object: &Value, lifecycle: Lifecycle) -> Result<SubscriptionEvent, &'static str> {
    let item = &object["items"]["data"][0];
    // API version 2025-03-31 moved the period to the items.
    let period_end = parse_time(&object["current_period_end"]).or_else(|| parse_time(&item["current_period_end"]));
    let status = object["status"].as_str().and_then(SubscriptionStatus::from_name).ok_or("status")?;
    let change = SubscriptionChange::Snapshot {
        rank: rank(lifecycle, status),
        status,
        price_id: parse_id(&item["price"]),
        current_period_end: period_end,
        cancel_at_period_end: object["cancel_at_period_end"].as_bool().unwrap_or_default(),
        trial_ends_at: parse_time(&object["trial_end"]),
    };
    build_subscription_event(
        parse_id(object).ok_or("id of the subscription")?,
        object,
        metadata_account(object),
        change,
    )
}

fn build_subscription_event(
    subscription_id: String,
    object: &Value,
    account_id: Option<Uuid>,
    change: SubscriptionChange,
) -> Result<SubscriptionEvent, &'static str> {
    let customer_id = parse_id(&object["customer"]).ok_or("customer")?;
    Ok(SubscriptionEvent { subscription_id, customer_id, account_id, change })
}

/// Parses an id, given as a string or as an expanded object.
fn parse_id(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value["id"].as_str())?;
    ((1..=255).contains(&text.len()) && !text.contains('\0')).then(|| text.to_owned())
}

fn metadata_account(object: &Value) -> Option<Uuid> {
    parse_uuid(&object["metadata"]["account_id"])
}

fn parse_uuid(value: &Value) -> Option<Uuid> {
    value.as_str()?.parse().ok()
}

fn parse_time(value: &Value) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(value.as_i64()?, 0)
}
