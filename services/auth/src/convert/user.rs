//! Conversions of users.

use baton_errors::{Error, Result};
use baton_proto::{
    baton::auth::v1::{self as proto, UserChange},
    convert::{timestamp, to_object, to_struct},
};
use prost_types::Struct;

use crate::{profile, registration::Registration, user::User};

/// The user's own view of their profile.
impl From<User> for proto::User {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
            email_verified: user.email_verified_at.is_some(),
            created_at: Some(timestamp(user.created_at)),
            updated_at: Some(timestamp(user.updated_at)),
            mobile: user.mobile,
            avatar_url: user.avatar_url,
            company: user.company,
            job_role: user.job_role,
            timezone: user.timezone,
            language: user.language,
            preferences: Some(to_struct(user.preferences)),
            consent_version: user.consent_version,
            data_retention_date: user.data_retention_date.map(timestamp),
            sign_in_count: user.sign_in_count,
            current_sign_in_at: user.current_sign_in_at.map(timestamp),
            current_sign_in_address: user.current_sign_in_address.unwrap_or_default(),
            last_sign_in_at: user.last_sign_in_at.map(timestamp),
            last_sign_in_address: user.last_sign_in_address.unwrap_or_default(),
            version: user.version,
        }
    }
}

/// The view for the holder of a mailed link: the fields given at registration, no more.
pub(crate) fn introduced(user: User) -> proto::User {
    proto::User {
        id: user.id.to_string(),
        email: user.email,
        first_name: user.first_name,
        last_name: user.last_name,
        email_verified: user.email_verified_at.is_some(),
        created_at: Some(timestamp(user.created_at)),
        updated_at: Some(timestamp(user.updated_at)),
        ..Default::default()
    }
}

/// The user that a registration would become.
pub(crate) fn registered(user: Registration) -> proto::User {
    proto::User {
        id: user.id.to_string(),
        email: user.email,
        first_name: user.first_name,
        last_name: user.last_name,
        created_at: Some(timestamp(user.created_at)),
        updated_at: Some(timestamp(user.created_at)),
        ..Default::default()
    }
}

/// Sets the fields that `mask` names to the values in `new`. Fields that are absent there are cleared.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn merge_user(user: &mut User, mask: &[String], mut new: UserChange) -> Result<()> {
    if mask.is_empty() {
        return Err(Error::invalid("update_mask", "must name a field"));
    }
    for path in mask {
        match path.as_str() {
            "first_name" => user.first_name = profile::parse_first_name(&new.first_name)?,
            "last_name" => user.last_name.clone_from(&new.last_name),
            "mobile" => user.mobile.clone_from(&new.mobile),
            "avatar_url" => user.avatar_url = profile::parse_avatar_url(&new.avatar_url)?,
            "company" => user.company.clone_from(&new.company),
            "job_role" => user.job_role.clone_from(&new.job_role),
            "timezone" => user.timezone = profile::parse_timezone(&new.timezone)?,
            "language" => user.language = profile::parse_language(&new.language)?,
            "preferences" => user.preferences = new.preferences.take().map(to_object).unwrap_or_default(),
            path => {
                let Some(member) = path.strip_prefix("preferences.") else {
                    return Err(Error::invalid("update_mask", "must name only fields that can be changed"));
                };
                merge_preference(user, member, new.preferences.as_ref());
            }
        }
    }
    profile::check_preferences(&user.preferences)
}

fn merge_preference(user: &mut User, member: &str, new: Option<&Struct>) {
    match new.and_then(|new| new.fields.get(member)) {
        Some(value) => {
            let one = Struct { fields: [(member.to_owned(), value.clone())].into() };
            user.preferences.extend(to_object(one));
        }
        None => {
            user.preferences.remove(member);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::profile::PREFERENCE_LIMITS;

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
            preferences: Map::new(),
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
        merge_user(user, &mask.iter().map(|&path| path.to_owned()).collect::<Vec<_>>(), new)
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
    fn preferences_change_as_a_whole_or_per_member() {
        let mut ada = user();
        let new = |value| UserChange { preferences: Some(object(value)), ..Default::default() };
        change(&mut ada, &["preferences"], new(json!({"keep": 1, "gone": 2, "a.b": 3}))).unwrap();
        let mask = ["preferences.gone", "preferences.a.b", "preferences.new"];
        change(&mut ada, &mask, new(json!({"a.b": {"c": [4]}, "new": "x", "unnamed": true}))).unwrap();
        assert_eq!(Value::Object(ada.preferences), json!({"keep": 1, "a.b": {"c": [4]}, "new": "x"}));
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
