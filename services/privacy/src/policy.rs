//! The operator's policies that people accept, and who processes data for the operator.
//!
//! The texts are code: one cannot change without a new version, because a test knows the hash of each.

use anyhow::Context as _;
use serde::Deserialize;

/// A policy.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) version: i32,
    /// The version since which it says the same in substance: acceptance of an earlier one has to be repeated.
    pub(crate) valid_since: i32,
    pub(crate) text: &'static str,
}

/// All policies.
pub(crate) const POLICIES: [Policy; 2] = [
    Policy {
        id: "privacy",
        title: "Privacy policy",
        version: 1,
        valid_since: 1,
        text: include_str!("policy/privacy_v1.md"),
    },
    Policy { id: "terms", title: "Terms of use", version: 1, valid_since: 1, text: include_str!("policy/terms_v1.md") },
];

/// The policy with this id.
pub(crate) fn find(id: &str) -> Option<&'static Policy> {
    POLICIES.iter().find(|policy| policy.id == id)
}

/// Somebody who processes data for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subprocessor {
    pub(crate) name: String,
    pub(crate) purpose: String,
    /// Which data they receive.
    pub(crate) data: String,
    /// Where they process it.
    pub(crate) country: String,
}

/// The configured subprocessors.
///
/// # Errors
/// If the text is not a JSON list of them.
pub(crate) fn subprocessors(json: &str) -> anyhow::Result<Vec<Subprocessor>> {
    serde_json::from_str(json).context(
        "BATON_PRIVACY_SUBPROCESSORS must be a JSON list: [{\"name\": \"...\", \"purpose\": \"...\", \"data\": \"...\", \
         \"country\": \"...\"}]",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{convert::hexadecimal, purpose::hash};

    #[test]
    fn a_text_never_changes_within_its_version() {
        let known = POLICIES.iter().map(|policy| (policy.id, policy.version, hexadecimal(&hash(policy.text))));
        let expected = [
            ("privacy", 1, "b03c5bfc198efb4cfa0ed7ee6ff518cde015fcf4f676c20454790f56768e929d"),
            ("terms", 1, "f6ca2770c9ce44149086477acf0a8c2c4aa5ad8c844a1c8fc0ae2fea4fca659a"),
        ];
        let expected = expected.map(|(id, version, hash)| (id, version, hash.to_owned()));
        assert_eq!(known.collect::<Vec<_>>(), expected, "a changed text needs a new version");
    }

    #[test]
    fn subprocessors_are_complete() {
        assert!(subprocessors("[]").unwrap().is_empty());
        let one = r#"[{"name": "Stripe", "purpose": "payments", "data": "billing", "country": "IE"}]"#;
        assert_eq!(subprocessors(one).unwrap()[0].name, "Stripe");
        for wrong in ["", "{}", r#"[{"name": "Stripe"}]"#, r#"["Stripe"]"#] {
            assert!(subprocessors(wrong).unwrap_err().to_string().contains("BATON_PRIVACY_SUBPROCESSORS"), "{wrong}");
        }
    }
}
