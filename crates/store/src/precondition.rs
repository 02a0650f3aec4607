//! `If-Match` and `If-None-Match` of a write (RFC 9110, sections 13.1.1 and 13.1.2), as headers over REST and as
//! metadata of the same names over gRPC: a resource with a version is changed only if it has not changed since.

use baton_conditional::{Conditions, Tag};
use baton_errors::{Error, Reason, Result};
use tonic::metadata::MetadataMap;

/// The preconditions of a write.
///
/// The `ETag` of a resource begins with its version, and only the version is compared: `"3-1f3a"` and `"3"` both mean
/// version 3. So a write also succeeds with a tag from before a change that does not concern the version, such as
/// whether a task is overdue.
#[derive(Debug, Clone, Default)]
pub struct Preconditions(Conditions);

impl Preconditions {
    /// Reads the preconditions of a call. An absent header is no condition.
    ///
    /// # Errors
    /// PRECONDITION_INVALID.
    pub fn of(metadata: &MetadataMap) -> Result<Self> {
        let conditions = Conditions::of(metadata.as_ref());
        conditions.map(Self).map_err(|malformed| Error::new(Reason::PreconditionInvalid, malformed.to_string()))
    }

    /// Compares the conditions with the current version.
    ///
    /// # Errors
    /// VERSION_MISMATCH for `If-Match`, PRECONDITION_FAILED for `If-None-Match`.
    pub fn check(&self, version: i32) -> Result<()> {
        let failed = |reason| Err(Error::from(reason).with("version", version.to_string()));
        let Self(Conditions { if_match, if_none_match, .. }) = self;
        let is_current = |tag: &Tag| tag.version() == Some(version);
        if if_match.as_ref().is_some_and(|tags| !tags.any(|tag| !tag.is_weak() && is_current(tag))) {
            return failed(Reason::VersionMismatch);
        }
        if if_none_match.as_ref().is_some_and(|tags| tags.any(is_current)) {
            return failed(Reason::PreconditionFailed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::metadata::AsciiMetadataKey;

    use super::*;

    fn check(metadata: &[(&'static str, &str)], version: i32) -> Result<(), Reason> {
        let mut map = MetadataMap::new();
        for (name, value) in metadata {
            map.append(AsciiMetadataKey::from_static(name), value.parse().unwrap());
        }
        let checked = Preconditions::of(&map).and_then(|expected| expected.check(version));
        checked.map_err(|error| error.reason())
    }

    fn if_match(values: &[&str], version: i32) -> Result<(), Reason> {
        check(&values.iter().map(|value| ("if-match", *value)).collect::<Vec<_>>(), version)
    }

    #[test]
    fn absent_header_and_star_match_any_version() {
        assert_eq!((if_match(&[], 3), if_match(&["*"], 3)), (Ok(()), Ok(())));
    }

    #[test]
    fn lists_and_tags_with_a_hash_are_compared_by_version() {
        for values in [
            &["\"3\""][..],
            &["\"3-1f\""],
            &["\"3-1f-gzip\""],
            &["\"7\", \"3\""],
            &["\"7\"", "\"3\""],
            &["W/\"3\", \"3\""],
        ] {
            assert_eq!(if_match(values, 3), Ok(()), "{values:?}");
            assert_eq!(if_match(values, 4), Err(Reason::VersionMismatch), "{values:?}");
        }
    }

    #[test]
    fn weak_and_foreign_tags_match_no_version() {
        for value in ["W/\"3\"", "W/\"3-1f\"", "\"\"", "\"+3\"", "\"-3\"", "\"03\"", "\"99999999999\"", "\"x\"", ""] {
            assert_eq!(if_match(&[value], 3), Err(Reason::VersionMismatch), "{value}");
        }
    }

    #[test]
    fn if_none_match_refuses_existing_versions() {
        let none = |value, version| check(&[("if-none-match", value)], version);
        for value in ["*", "\"3\"", "W/\"3-1f\"", "\"2\", \"3\""] {
            assert_eq!(none(value, 3), Err(Reason::PreconditionFailed), "{value}");
        }
        assert_eq!((none("\"3\"", 4), none("\"x\"", 3)), (Ok(()), Ok(())));
        // If-Match takes precedence (section 13.2.2).
        assert_eq!(check(&[("if-match", "\"1\""), ("if-none-match", "*")], 3), Err(Reason::VersionMismatch));
        assert_eq!(check(&[("if-match", "\"3\""), ("if-none-match", "*")], 3), Err(Reason::PreconditionFailed));
    }

    #[test]
    fn malformed_headers_are_invalid() {
        for value in ["3", "\"3", "\"3\" \"4\"", "*, \"3\"", "w/\"3\""] {
            assert_eq!(if_match(&[value], 3), Err(Reason::PreconditionInvalid), "{value}");
            assert_eq!(check(&[("if-none-match", value)], 3), Err(Reason::PreconditionInvalid), "{value}");
        }
    }

    proptest! {
        #[test]
        fn every_version_matches_only_itself(version in 0..=i32::MAX, other in 0..=i32::MAX) {
            let tag = format!("\"{version}\"");
            prop_assert_eq!(if_match(&[&tag], version), Ok(()));
            prop_assert_eq!(if_match(&[&tag], other).is_ok(), version == other);
        }
    }
}
