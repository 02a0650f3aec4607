//! Conversions between contract and domain types.

pub(crate) mod event;
mod notification;

pub(crate) use notification::notification_type;
