//! Validation of profile changes.
//!
//! Decoding has already normalized the text (`baton.text.v1.kind`) and checked the lengths that `buf.validate`
//! expresses.

use baton_errors::{Error, Result};
use baton_store::json::{self, Limits};
use chrono_tz::Tz;
use icu_locale_core::Locale;
use serde_json::{Map, Value};
use url::Url;

const DEFAULT_TIMEZONE: &str = "UTC";
const DEFAULT_LANGUAGE: &str = "en";
pub(crate) const PREFERENCE_LIMITS: Limits = Limits { bytes: 16 * 1024, levels: 10 };

/// Validates a first name. It is required; many people have no other.
pub(crate) fn parse_first_name(name: &str) -> Result<String> {
    if name.is_empty() { Err(Error::invalid("user.first_name", "must not be empty")) } else { Ok(name.to_owned()) }
}

/// Validates the URL of an avatar. Browsers load the image on other users' pages, so only `https` without credentials
/// is allowed.
pub(crate) fn parse_avatar_url(text: &str) -> Result<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let url = Url::parse(text).ok().filter(|url| {
        url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none()
    });
    let url = url.filter(|url| url.as_str().len() <= 2048);
    url.map(String::from).ok_or_else(|| Error::invalid("user.avatar_url", "must be an https URL without credentials"))
}

/// Validates a time zone name; UTC when it is empty.
pub(crate) fn parse_timezone(text: &str) -> Result<String> {
    let text = if text.is_empty() { DEFAULT_TIMEZONE } else { text };
    let known = text
        .parse::<Tz>()
        .map_err(|_| Error::invalid("user.timezone", "must be an IANA time zone name, such as Europe/Berlin"))?;
    Ok(known.name().to_owned())
}

/// Returns the canonical form of a language tag, such as `de-AT`; English when it is empty.
pub(crate) fn parse_language(text: &str) -> Result<String> {
    let text = if text.is_empty() { DEFAULT_LANGUAGE } else { text };
    let tag = Locale::try_from_str(text).ok().map(|tag| tag.to_string()).filter(|tag| !tag.starts_with("und"));
    tag.ok_or_else(|| Error::invalid("user.language", "must be a BCP 47 language tag, such as de-AT"))
}

/// Checks that preferences can be stored, and their size.
pub(crate) fn check_preferences(preferences: &Map<String, Value>) -> Result<()> {
    json::check(preferences, "user.preferences", PREFERENCE_LIMITS)
}
