//! `If-Match` (RFC 9110, section 13.1.1): a change of what has a version, only if it has not changed since.

use baton_errors::{Error, Reason, Result};
use tonic::metadata::MetadataMap;

/// The metadata, and over REST the header, that carries the `ETag` of what the caller has read.
pub const IF_MATCH: &str = "if-match";

/// The version that the caller expects: `"3"`, with its quotes. `None` when the caller sent nothing or
/// `*`, which any version matches. An `ETag` of ours is a version and strong, so lists and `W/` are none.
///
/// # Errors
/// PRECONDITION_INVALID.
pub fn if_match(metadata: &MetadataMap) -> Result<Option<i32>> {
    let mut values = metadata.get_all(IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let only = values.next().is_none();
    let version = value.to_str().ok().filter(|_| only).and_then(|text| parse(text.trim()));
    version.ok_or_else(|| Reason::PreconditionInvalid.into())
}

/// Compares what the caller expects with the version that there is.
///
/// # Errors
/// VERSION_MISMATCH.
pub fn check(expected: Option<i32>, version: i32) -> Result<()> {
    match expected {
        Some(expected) if expected != version => {
            Err(Error::from(Reason::VersionMismatch).with("version", version.to_string()))
        }
        _ => Ok(()),
    }
}

/// `Some(None)` for `*`.
fn parse(text: &str) -> Option<Option<i32>> {
    if text == "*" {
        return Some(None);
    }
    let digits = text.strip_prefix('"')?.strip_suffix('"')?;
    // `parse` would take a sign, which an `ETag` of ours never has.
    let version = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some(Some(version))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> Result<Option<i32>> {
        let mut metadata = MetadataMap::new();
        for value in values {
            metadata.append(IF_MATCH, value.parse().unwrap());
        }
        if_match(&metadata)
    }

    #[test]
    fn nothing_and_a_star_match_any_version() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["*"]).unwrap(), None);
    }

    #[test]
    fn what_is_no_etag_of_ours_is_refused() {
        for value in ["3", "\"\"", "\"+3\"", "\"-3\"", "W/\"3\"", "\"3\", \"4\"", "\"3", "\"99999999999\"", "\"x\"", ""]
        {
            assert_eq!(read(&[value]).unwrap_err().reason(), Reason::PreconditionInvalid, "{value}");
        }
        assert_eq!(read(&["\"3\"", "\"4\""]).unwrap_err().reason(), Reason::PreconditionInvalid);
    }

    proptest! {
        #[test]
        fn every_version_is_read_back(version in 0..=i32::MAX, other in 0..=i32::MAX) {
            let expected = read(&[&format!("\"{version}\"")]).unwrap();
            prop_assert_eq!(expected, Some(version));
            prop_assert!(check(expected, version).is_ok());
            prop_assert_eq!(check(expected, other).is_ok(), version == other);
        }
    }
}
