//! Stripe's events, as far as they matter here.

use baton_errors::{Error, Result};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::Status;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StripeEvent {
    pub(crate) id: String,
    pub(crate) kind: String,
    /// When Stripe made it.
    pub(crate) made_at: DateTime<Utc>,
    /// What it is about; `None` when it does not matter here.
    pub(crate) about: Option<About>,
}

/// Which subscription an event is about, and what it says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) subscription_id: String,
    pub(crate) customer_id: String,
    /// The account that the event names: as `client_reference_id` or as `metadata.account_id`.
    pub(crate) account_id: Option<Uuid>,
    pub(crate) change: Change,
}

/// What an event says of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Whose it is, and nothing more.
    Link,
    /// What it is.
    Described {
        /// Later in a subscription's life is more.
        rank: u8,
        status: Status,
        price_id: Option<String>,
        current_period_end: Option<DateTime<Utc>>,
        cancel_at_period_end: bool,
        trial_ends_at: Option<DateTime<Utc>>,
    },
    /// A payment came in.
    Paid,
    /// A payment failed.
    PaymentFailed,
}

#[derive(Deserialize)]
struct Raw {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Value,
}

impl StripeEvent {
    /// Reads an event; its signature has been checked.
    ///
    /// # Errors
    /// VALIDATION_FAILED when it does not have the shape of its type.
    pub(crate) fn parse(body: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::invalid("payload", format!("is not an event of Stripe's: {what}"));
        let raw: Raw = serde_json::from_slice(body).map_err(|_| wrong("no id, type, created or data"))?;
        let made_at = DateTime::from_timestamp(raw.created, 0).ok_or_else(|| wrong("created"))?;
        if !(1..=255).contains(&raw.id.len()) || raw.id.contains('\0') || raw.kind.len() > 255 {
            return Err(wrong("id or type"));
        }
        let about = about(&raw.kind, &raw.data.object).map_err(wrong)?;
        Ok(Self { id: raw.id, kind: raw.kind, made_at, about })
    }
}

/// What an object of this type of event says; an error names what is missing.
fn about(kind: &str, object: &Value) -> Result<Option<About>, &'static str> {
    match kind {
        "checkout.session.completed" => {
            let Some(subscription_id) = id(&object["subscription"]) else { return Ok(None) };
            let account_id = uuid(&object["client_reference_id"]).or_else(|| account(object));
            about_subscription(subscription_id, object, account_id, Change::Link).map(Some)
        }
        "customer.subscription.created" => described(object, Told::Made).map(Some),
        "customer.subscription.updated" | "customer.subscription.paused" | "customer.subscription.resumed" => {
            described(object, Told::Changed).map(Some)
        }
        "customer.subscription.deleted" => described(object, Told::Ended).map(Some),
        "invoice.paid" | "invoice.payment_failed" => {
            // Since API version 2025-03-31 below `parent`.
            let details = [&object["parent"]["subscription_details"], &object["subscription_details"]];
            let account_id = details.into_iter().find_map(account);
            let subscription = id(&object["subscription"]).or_else(|| id(&details[0]["subscription"]));
            // An invoice for something else.
            let Some(subscription_id) = subscription else { return Ok(None) };
            let change = if kind == "invoice.paid" { Change::Paid } else { Change::PaymentFailed };
            about_subscription(subscription_id, object, account_id, change).map(Some)
        }
        _ => Ok(None),
    }
}

/// What an event about a subscription itself says by its type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Made,
    Changed,
    Ended,
}

/// How late in a subscription's life it is described: by where it stands, since all of it may come in one second;
/// where it stands the same, what was made comes before what was changed.
fn rank(told: Told, status: Status) -> u8 {
    match status {
        _ if told == Told::Ended => 4,
        Status::Canceled | Status::IncompleteExpired => 4,
        Status::Incomplete => u8::from(told == Told::Changed),
        _ => 2 + u8::from(told == Told::Changed),
    }
}

fn described(object: &Value, told: Told) -> Result<About, &'static str> {
    let item = &object["items"]["data"][0];
    // Since API version 2025-03-31 by item.
    let period_end = time(&object["current_period_end"]).or_else(|| time(&item["current_period_end"]));
    let status = object["status"].as_str().and_then(Status::from_name).ok_or("status")?;
    let change = Change::Described {
        rank: rank(told, status),
        status,
        price_id: id(&item["price"]),
        current_period_end: period_end,
        cancel_at_period_end: object["cancel_at_period_end"].as_bool().unwrap_or_default(),
        trial_ends_at: time(&object["trial_end"]),
    };
    about_subscription(id(object).ok_or("id of the subscription")?, object, account(object), change)
}

fn about_subscription(
    subscription_id: String,
    object: &Value,
    account_id: Option<Uuid>,
    change: Change,
) -> Result<About, &'static str> {
    let customer_id = id(&object["customer"]).ok_or("customer")?;
    Ok(About { subscription_id, customer_id, account_id, change })
}

/// An id, or that of the object that was put in its place.
fn id(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value["id"].as_str())?;
    ((1..=255).contains(&text.len()) && !text.contains('\0')).then(|| text.to_owned())
}

fn account(object: &Value) -> Option<Uuid> {
    uuid(&object["metadata"]["account_id"])
}

fn uuid(value: &Value) -> Option<Uuid> {
    value.as_str()?.parse().ok()
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(value.as_i64()?, 0)
}
