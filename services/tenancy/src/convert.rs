//! Conversions between contract and domain types.

mod account;
mod activity;
mod billing;
mod member;
mod membership;
mod usage;

use baton_errors::{Error, Reason, Result};
use baton_store::Page;
use chrono::{DateTime, Utc};
use prost_types::FieldMask;
use uuid::Uuid;

pub(crate) use account::{merge_account, merge_settings, settings, tier, visibility};
pub(crate) use activity::{activity, export_format};
pub(crate) use billing::billing;
pub(crate) use member::{member_status, parse_change, parse_own_change, parse_role, parse_roles, parse_statuses};
pub(crate) use membership::membership;
pub(crate) use usage::{quota, usage_report};

/// Parses an id. The codec has already validated its form.
pub(crate) fn parse_id(field: &'static str, text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| Error::invalid(field, "must be a UUID"))
}

/// The paths of an update mask, which must not be empty.
fn parse_mask(mask: Option<FieldMask>) -> Result<Vec<String>> {
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        return Err(Error::invalid("update_mask", "must name a field"));
    }
    Ok(paths)
}

fn unknown_path(known: &str) -> Error {
    Error::invalid("update_mask", format!("takes only {known}"))
}

/// The sort key of a cursor, in microseconds like in Postgres.
pub(crate) fn cursor_key(time: DateTime<Utc>) -> Option<String> {
    Some(time.timestamp_micros().to_string())
}

/// The time and id after which a list continues; before all rows without a cursor.
pub(crate) fn start_after(page: &Page) -> Result<(DateTime<Utc>, Uuid)> {
    let Some(cursor) = page.after() else { return Ok((DateTime::UNIX_EPOCH, Uuid::nil())) };
    let micros = cursor.key.as_deref().and_then(|key| key.parse().ok());
    // Clients can forge tokens. Refuse times outside the range of Postgres.
    let time = micros.and_then(DateTime::from_timestamp_micros).filter(|&time| time >= DateTime::UNIX_EPOCH);
    Ok((time.ok_or_else(|| Error::from(Reason::PageTokenInvalid))?, cursor.id))
}
