//! Claims of a provider about a user.

use baton_text::email::Address;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// Maximum length of a name, in characters.
const MAX_NAME_LEN: usize = 100;

/// A user's identity at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExternalIdentity {
    /// Issuer of the identity.
    pub(crate) issuer: String,
    /// Permanent id at the issuer.
    pub(crate) subject: String,
    /// Address, and whether the provider has verified it.
    pub(crate) email: Option<String>,
    pub(crate) email_verified: bool,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
}

/// Claims of an id_token or of the userinfo endpoint (OpenID Connect Core 1.0, section 5.1).
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct UserClaims {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) email: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    email_verified: Option<Flag>,
    /// Microsoft's only proof that the user owns the address: whoever runs a tenant can give its users any address.
    #[serde(default, deserialize_with = "lenient")]
    xms_edov: Option<Flag>,
    #[serde(default, deserialize_with = "lenient")]
    given_name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    family_name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
}

/// Reads an optional claim. A claim of an unreadable type counts as absent, so that it does not fail the sign-in.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(claim: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(claim)?).ok())
}

/// A boolean claim: providers send `true`, `"true"` or `1`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Flag {
    Is(bool),
    Number(i64),
    Text(String),
}

impl Flag {
    fn is_set(&self) -> bool {
        match self {
            Self::Is(set) => *set,
            Self::Number(number) => *number == 1,
            Self::Text(text) => text.eq_ignore_ascii_case("true") || text == "1",
        }
    }
}

impl UserClaims {
    pub(super) fn into_identity(self, issuer: String, subject: String) -> ExternalIdentity {
        let verified = [&self.email_verified, &self.xms_edov].into_iter().flatten().any(Flag::is_set);
        let (given, family) = match (self.given_name, self.family_name) {
            (None, None) => split_name(self.name.as_deref().unwrap_or_default()),
            (given, family) => (given.unwrap_or_default(), family.unwrap_or_default()),
        };
        ExternalIdentity::new(issuer, subject, self.email, verified, [&given, &family])
    }
}

impl ExternalIdentity {
    /// Creates an identity whose names pass this platform's rules, whatever the provider allows.
    pub(super) fn new(
        issuer: String,
        subject: String,
        email: Option<String>,
        email_verified: bool,
        [first_name, last_name]: [&str; 2],
    ) -> Self {
        let email = email.and_then(|email| email.parse::<Address>().ok());
        let called = email.as_ref().map_or("?", Address::local_part);
        let first_name =
            Some(truncate_name(first_name)).filter(|name| !name.is_empty()).unwrap_or_else(|| truncate_name(called));
        let email_verified = email_verified && email.is_some();
        let email = email.map(|email| email.to_string());
        Self { issuer, subject, email, email_verified, first_name, last_name: truncate_name(last_name) }
    }
}

/// Splits a name into given name and the rest.
pub(super) fn split_name(name: &str) -> (String, String) {
    let (first, last) = name.trim().split_once(' ').unwrap_or((name.trim(), ""));
    (first.to_owned(), last.to_owned())
}

/// Truncates a name to the maximum length; empty when nothing of it is visible.
fn truncate_name(name: &str) -> String {
    let short: String = baton_text::query(name).chars().take(MAX_NAME_LEN).collect();
    baton_text::line(&short).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> ExternalIdentity {
        serde_json::from_str::<UserClaims>(json).unwrap().into_identity("i".into(), "s".into())
    }

    #[test]
    fn address_is_verified_only_if_the_provider_says_so() {
        for said in [
            r#""email_verified": true"#,
            r#""email_verified": "true""#,
            r#""email_verified": "True""#,
            r#""xms_edov": 1"#,
            r#""xms_edov": "1""#,
        ] {
            assert!(of(&format!(r#"{{"email": "ada@example.org", {said}}}"#)).email_verified, "{said}");
        }
        for said in [
            r#""email_verified": false"#,
            r#""email_verified": "no""#,
            r#""xms_edov": 0"#,
            r#""name": "x""#,
            r#""email_verified": [true]"#,
        ] {
            assert!(!of(&format!(r#"{{"email": "ada@example.org", {said}}}"#)).email_verified, "{said}");
        }
        for email in ["ada", "a@b@c", "@x", "a@", "a b@c", "a@b\\u0000", "<a@b>", "john..doe@example.com"] {
            let person = of(&format!(r#"{{"email": "{email}", "email_verified": true}}"#));
            assert!(person.email.is_none() && !person.email_verified, "{email}");
        }
    }

    #[test]
    fn names_are_split_and_truncated() {
        let person = of(r#"{"email": "ada@example.org", "name": " Ada King Lovelace "}"#);
        assert_eq!((&*person.first_name, &*person.last_name), ("Ada", "King Lovelace"));
        assert_eq!(of(r#"{"email": "ada@example.org"}"#).first_name, "ada");
        let long = of(&format!(r#"{{"given_name": "{}\u0007"}}"#, "é".repeat(300)));
        assert_eq!(long.first_name, "é".repeat(100));
    }
}
