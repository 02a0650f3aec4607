//! Validation of profile changes.
//!
//! Decoding has already normalized the text (`baton.text.v1.kind`) and checked the lengths that `buf.validate`
//! expresses.

use baton_errors::{Error, Result};
use baton_proto::{baton::auth::v1::UserChange, convert::to_object};
use baton_store::json::{self, Limits};
use chrono_tz::Tz;
use icu_locale_core::Locale;
use prost_types::Struct;
use url::Url;

use crate::store::user::User;

const DEFAULT_TIMEZONE: &str = "UTC";
const DEFAULT_LANGUAGE: &str = "en";
const PREFERENCE_LIMITS: Limits = Limits { bytes: 16 * 1024, levels: 10 };

impl User {
    /// Sets the fields that `mask` names to the values in `new`. Fields that are absent there are cleared.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn apply(&mut self, mask: &[String], mut new: UserChange) -> Result<()> {
        if mask.is_empty() {
            return Err(Error::invalid("update_mask", "must name a field"));
        }
        for path in mask {
            match path.as_str() {
                "first_name" => self.first_name = first_name(&new.first_name)?,
                "last_name" => self.last_name.clone_from(&new.last_name),
                "mobile" => self.mobile.clone_from(&new.mobile),
                "avatar_url" => self.avatar_url = avatar_url(&new.avatar_url)?,
                "company" => self.company.clone_from(&new.company),
                "job_role" => self.job_role.clone_from(&new.job_role),
                "timezone" => self.timezone = timezone(&new.timezone)?,
                "language" => self.language = language(&new.language)?,
                "consent_version" => {
                    if new.consent_version < self.consent_version {
                        return Err(Error::invalid(
                            "user.consent_version",
                            "must not be lower than the current version",
                        ));
                    }
                    self.consent_version = new.consent_version;
                }
                "preferences" => self.preferences.0 = new.preferences.take().map(to_object).unwrap_or_default(),
                path => {
                    let Some(member) = path.strip_prefix("preferences.") else {
                        return Err(Error::invalid("update_mask", "must name only fields that can be changed"));
                    };
                    self.apply_preference(member, new.preferences.as_ref());
                }
            }
        }
        json::check(&self.preferences.0, "user.preferences", PREFERENCE_LIMITS)
    }

    fn apply_preference(&mut self, member: &str, new: Option<&Struct>) {
        match new.and_then(|new| new.fields.get(member)) {
            Some(value) => {
                let one = Struct { fields: [(member.to_owned(), value.clone())].into() };
                self.preferences.0.extend(to_object(one));
            }
            None => {
                self.preferences.0.remove(member);
            }
        }
    }
}

/// A first name is required; many people have no other.
fn first_name(name: &str) -> Result<String> {
    if name.is_empty() { Err(Error::invalid("user.first_name", "must not be empty")) } else { Ok(name.to_owned()) }
}

/// Browsers load the image on other users' pages, so only `https` without credentials is allowed.
fn avatar_url(text: &str) -> Result<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let url = Url::parse(text).ok().filter(|url| {
        url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none()
    });
    let url = url.filter(|url| url.as_str().len() <= 2048);
    url.map(String::from).ok_or_else(|| Error::invalid("user.avatar_url", "must be an https URL without credentials"))
}

fn timezone(text: &str) -> Result<String> {
    let text = if text.is_empty() { DEFAULT_TIMEZONE } else { text };
    let known = text
        .parse::<Tz>()
        .map_err(|_| Error::invalid("user.timezone", "must be an IANA time zone name, such as Europe/Berlin"))?;
    Ok(known.name().to_owned())
}

/// Returns the canonical form, such as `de-AT`.
fn language(text: &str) -> Result<String> {
    let text = if text.is_empty() { DEFAULT_LANGUAGE } else { text };
    let tag = Locale::try_from_str(text).ok().map(|tag| tag.to_string()).filter(|tag| !tag.starts_with("und"));
    tag.ok_or_else(|| Error::invalid("user.language", "must be a BCP 47 language tag, such as de-AT"))
}

#[cfg(test)]
mod tests {
    use baton_proto::convert::to_struct;
    use chrono::DateTime;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};
    use sqlx::types::Json;
    use uuid::Uuid;

    use super::*;

    fn user() -> User {
        User {
            id: Uuid::nil(),
            email: "ada@example.org".to_owned(),
            email_verified_at: None,
            password_changed_at: None,
            deactivated_at: None,
            data_retention_date: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            version: 1,
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            mobile: String::new(),
            avatar_url: String::new(),
            company: String::new(),
            job_role: String::new(),
            timezone: "UTC".to_owned(),
            language: "en".to_owned(),
            preferences: Json(Map::new()),
            consent_version: 0,
            sign_in_count: 0,
            current_sign_in_at: None,
            current_sign_in_address: None,
            last_sign_in_at: None,
            last_sign_in_address: None,
        }
    }

    fn object(value: Value) -> Struct {
        let Value::Object(fields) = value else { panic!("an object") };
        to_struct(fields)
    }

    fn change(user: &mut User, mask: &[&str], new: UserChange) -> Result<()> {
        user.apply(&mask.iter().map(|&path| path.to_owned()).collect::<Vec<_>>(), new)
    }

    #[test]
    fn accepted_values_are_canonical() {
        let mut ada = user();
        let new = UserChange {
            avatar_url: "HTTPS://Example.org/a b.png".to_owned(),
            timezone: "America/Argentina/Buenos_Aires".to_owned(),
            language: "zh-hant-tw".to_owned(),
            ..Default::default()
        };
        change(&mut ada, &["avatar_url", "timezone", "language"], new).unwrap();
        assert_eq!(ada.language, "zh-Hant-TW");
        assert_eq!(ada.avatar_url, "https://example.org/a%20b.png");
        change(&mut ada, &["avatar_url", "timezone", "language"], UserChange::default()).unwrap();
        assert_eq!(ada, user(), "absent clears");
        change(&mut ada, &["last_name"], UserChange::default()).unwrap();
        assert_eq!(ada.last_name, "", "people may have one name");
    }

    #[test]
    fn invalid_values_name_their_field() {
        let deep = (0..PREFERENCE_LIMITS.levels).fold(json!(1), |inner, _| json!([inner]));
        let preferences = |value| UserChange { preferences: Some(object(value)), ..Default::default() };
        for (path, new) in [
            ("first_name", UserChange::default()),
            ("avatar_url", UserChange { avatar_url: "http://example.org/a.png".to_owned(), ..Default::default() }),
            ("avatar_url", UserChange { avatar_url: "javascript:alert(1)".to_owned(), ..Default::default() }),
            ("avatar_url", UserChange { avatar_url: "https://a:b@example.org/".to_owned(), ..Default::default() }),
            ("timezone", UserChange { timezone: "Europe/Atlantis".to_owned(), ..Default::default() }),
            ("timezone", UserChange { timezone: "../../etc/passwd".to_owned(), ..Default::default() }),
            ("language", UserChange { language: "not a language".to_owned(), ..Default::default() }),
            ("language", UserChange { language: "und".to_owned(), ..Default::default() }),
            ("preferences", preferences(json!({ "a": deep }))),
            ("preferences", preferences(json!({ "a": "x".repeat(PREFERENCE_LIMITS.bytes) }))),
            ("preferences", preferences(json!({ "a": [{ "b\0": 1 }] }))),
            ("preferences", preferences(json!({ "a": "\0" }))),
        ] {
            let status = tonic::Status::from(change(&mut user(), &[path], new).unwrap_err());
            let details = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
            assert_eq!(details.field_violations[0].field, format!("user.{path}"));
        }
    }

    #[test]
    fn read_only_and_unknown_fields_are_refused() {
        let paths = [
            "id",
            "email",
            "email_verified",
            "email_verified_at",
            "sign_in_count",
            "current_sign_in_at",
            "version",
            "data_retention_date",
            "deactivated_at",
            "password_hash",
            "created_at",
            "role",
            "",
            "preferencesx",
            "first_name.x",
        ];
        for path in paths {
            let mut ada = user();
            assert!(change(&mut ada, &[path], UserChange::default()).is_err(), "{path}");
            assert_eq!(ada, user());
        }
        assert!(change(&mut user(), &[], UserChange::default()).is_err());
    }

    #[test]
    fn consent_version_never_decreases() {
        let mut ada = user();
        let version = |consent_version| UserChange { consent_version, ..Default::default() };
        change(&mut ada, &["consent_version"], version(3)).unwrap();
        assert!(change(&mut ada, &["consent_version"], version(2)).is_err());
        assert!(
            change(&mut ada, &["consent_version"], UserChange::default()).is_err(),
            "null does not withdraw consent"
        );
        assert_eq!(ada.consent_version, 3);
    }

    #[test]
    fn preferences_change_as_a_whole_or_per_member() {
        let mut ada = user();
        let new = |value| UserChange { preferences: Some(object(value)), ..Default::default() };
        change(&mut ada, &["preferences"], new(json!({"keep": 1, "gone": 2, "a.b": 3}))).unwrap();
        let mask = ["preferences.gone", "preferences.a.b", "preferences.new"];
        change(&mut ada, &mask, new(json!({"a.b": {"c": [4]}, "new": "x", "unnamed": true}))).unwrap();
        assert_eq!(Value::Object(ada.preferences.0), json!({"keep": 1, "a.b": {"c": [4]}, "new": "x"}));
    }

    proptest! {
        #[test]
        fn validation_is_idempotent_for_any_text(text in ".*") {
            let new = UserChange {
                avatar_url: text.clone(), timezone: text.clone(), language: text,
                ..Default::default()
            };
            for path in ["avatar_url", "timezone", "language"] {
                let mut once = user();
                if change(&mut once, &[path], new.clone()).is_ok() {
                    let mut twice = once.clone();
                    let again = UserChange {
                        avatar_url: once.avatar_url.clone(),
                        timezone: once.timezone.clone(), language: once.language.clone(),
                        ..Default::default()
                    };
                    change(&mut twice, &[path], again).unwrap();
                    prop_assert_eq!(&once, &twice, "{}", path);
                    prop_assert!(![&once.avatar_url, &once.timezone, &once.language].iter().any(|text| text.contains('\0')));
                }
            }
        }
    }
}
