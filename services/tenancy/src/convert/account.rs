//! Conversions of accounts and settings.

use baton_access::TaskVisibility as Visibility;
use baton_errors::{Error, Result};
use baton_proto::{baton::tenancy::v1 as proto, convert::timestamp};
use prost_types::FieldMask;

use super::{parse_mask, unknown_path};
use crate::{
    account::{self, Account, AccountStatus, Branding, SubscriptionTier},
    settings::{self, Settings, WorkingHours},
    slug,
};

impl From<Account> for proto::Account {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.to_string(),
            name: account.name,
            slug: account.slug,
            subscription_tier: tier(account.subscription_tier).into(),
            status: status(account.status).into(),
            created_at: Some(timestamp(account.created_at)),
            updated_at: Some(timestamp(account.updated_at)),
            branding: Some(proto::Branding {
                primary_color: account.branding.primary_color,
                accent_color: account.branding.accent_color,
                logo_url: account.branding.logo_url,
            }),
            trial_ends_at: account.trial_ends_at.map(timestamp),
            subscription_ends_at: account.subscription_ends_at.map(timestamp),
            deletes_at: account.deletes_at.map(timestamp),
            version: account.version,
        }
    }
}

/// Converts a tier to the contract's enum.
pub(crate) fn tier(tier: SubscriptionTier) -> proto::SubscriptionTier {
    match tier {
        SubscriptionTier::Free => proto::SubscriptionTier::Free,
        SubscriptionTier::Pro => proto::SubscriptionTier::Pro,
        SubscriptionTier::Enterprise => proto::SubscriptionTier::Enterprise,
    }
}

fn status(status: AccountStatus) -> proto::AccountStatus {
    match status {
        AccountStatus::Active => proto::AccountStatus::Active,
        AccountStatus::Suspended => proto::AccountStatus::Suspended,
        AccountStatus::Canceled => proto::AccountStatus::Canceled,
    }
}

/// Converts a visibility to the contract's enum.
pub(crate) fn visibility(visibility: Visibility) -> proto::Visibility {
    match visibility {
        Visibility::Private => proto::Visibility::Private,
        Visibility::Team => proto::Visibility::Team,
        Visibility::Account => proto::Visibility::Account,
    }
}

/// Converts settings to the contract's message, with the account's version.
pub(crate) fn settings(settings: Settings, version: i32) -> proto::AccountSettings {
    proto::AccountSettings {
        managers_may_reassign: settings.managers_may_reassign,
        rejection_enabled: settings.rejection_enabled,
        require_second_factor: settings.require_second_factor,
        working_hours: Some(working_hours(&settings.working_hours)),
        timezone: settings.timezone,
        default_visibility: visibility(settings.default_visibility).into(),
        ai_enabled: settings.ai_enabled,
        analytics_enabled: settings.analytics_enabled,
        one_running_timer: settings.one_running_timer,
        version,
    }
}

fn working_hours(WorkingHours(days): &WorkingHours) -> proto::WorkingHours {
    let [monday, tuesday, wednesday, thursday, friday, saturday, sunday] = days.each_ref().map(|day| {
        let interval = |&(from, to): &_| proto::Interval {
            from: settings::format_minutes(from),
            to: settings::format_minutes(to),
        };
        day.iter().map(interval).collect()
    });
    proto::WorkingHours { monday, tuesday, wednesday, thursday, friday, saturday, sunday }
}

/// Copies the fields that the mask names from `new` to the account.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn merge_account(account: &mut Account, new: &proto::AccountChange, mask: Option<FieldMask>) -> Result<()> {
    let none = proto::Branding::default();
    let branding = new.branding.as_ref().unwrap_or(&none);
    let color = |color: &Option<String>| color.as_deref().map(account::normalize_color);
    let logo = || {
        branding.logo_url.as_deref().map(|url| account::parse_logo_url(url, "account.branding.logo_url")).transpose()
    };
    for path in parse_mask(mask)? {
        match path.as_str() {
            "name" => account.name = account::parse_name(&new.name, "account.name")?,
            "slug" => {
                let slug = new.slug.as_deref().ok_or_else(|| Error::invalid("account.slug", "cannot be cleared"))?;
                // An account keeps a slug that became reserved later.
                if slug != account.slug {
                    account.slug = slug::parse("account.slug", slug)?;
                }
            }
            "branding" => {
                account.branding = Branding {
                    primary_color: color(&branding.primary_color),
                    accent_color: color(&branding.accent_color),
                    logo_url: logo()?,
                };
            }
            "branding.primary_color" => account.branding.primary_color = color(&branding.primary_color),
            "branding.accent_color" => account.branding.accent_color = color(&branding.accent_color),
            "branding.logo_url" => account.branding.logo_url = logo()?,
            _ => return Err(unknown_path("name, slug and branding")),
        }
    }
    Ok(())
}

/// The settings with the fields that the mask names taken from `new`. Absent fields return to their defaults.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn merge_settings(
    before: &Settings,
    new: &proto::SettingsChange,
    mask: Option<FieldMask>,
) -> Result<Settings> {
    let (mut merged, default) = (before.clone(), Settings::default());
    for path in parse_mask(mask)? {
        match path.as_str() {
            "managers_may_reassign" => {
                merged.managers_may_reassign = new.managers_may_reassign.unwrap_or(default.managers_may_reassign);
            }
            "rejection_enabled" => {
                merged.rejection_enabled = new.rejection_enabled.unwrap_or(default.rejection_enabled);
            }
            "require_second_factor" => {
                merged.require_second_factor = new.require_second_factor.unwrap_or(default.require_second_factor);
            }
            "timezone" => {
                let zone = new.timezone.as_deref().unwrap_or(&default.timezone);
                merged.timezone = settings::parse_timezone(zone, "settings.timezone")?;
            }
            "default_visibility" => {
                merged.default_visibility = match new.default_visibility() {
                    proto::Visibility::Unspecified => default.default_visibility,
                    proto::Visibility::Private => Visibility::Private,
                    proto::Visibility::Team => Visibility::Team,
                    proto::Visibility::Account => Visibility::Account,
                };
            }
            "ai_enabled" => merged.ai_enabled = new.ai_enabled.unwrap_or(default.ai_enabled),
            "analytics_enabled" => {
                merged.analytics_enabled = new.analytics_enabled.unwrap_or(default.analytics_enabled);
            }
            "one_running_timer" => {
                merged.one_running_timer = new.one_running_timer.unwrap_or(default.one_running_timer);
            }
            "working_hours" => match &new.working_hours {
                Some(hours) => {
                    for name in DAYS {
                        merge_day(&mut merged.working_hours, name, hours)?;
                    }
                }
                None => merged.working_hours = default.working_hours.clone(),
            },
            path => match path.strip_prefix("working_hours.") {
                Some(name) if DAYS.contains(&name) => {
                    merge_day(&mut merged.working_hours, name, new.working_hours.as_ref().unwrap_or(&NO_HOURS))?;
                }
                _ => return Err(unknown_path("the settings")),
            },
        }
    }
    Ok(merged)
}

const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

const NO_HOURS: proto::WorkingHours = proto::WorkingHours {
    monday: Vec::new(),
    tuesday: Vec::new(),
    wednesday: Vec::new(),
    thursday: Vec::new(),
    friday: Vec::new(),
    saturday: Vec::new(),
    sunday: Vec::new(),
};

/// Replaces the intervals of one day.
fn merge_day(WorkingHours(days): &mut WorkingHours, name: &str, hours: &proto::WorkingHours) -> Result<()> {
    let new = [
        &hours.monday,
        &hours.tuesday,
        &hours.wednesday,
        &hours.thursday,
        &hours.friday,
        &hours.saturday,
        &hours.sunday,
    ];
    for ((day, new), _) in days.iter_mut().zip(new).zip(DAYS).filter(|(_, day)| *day == name) {
        let field = format!("settings.working_hours.{name}");
        let interval = |interval: &proto::Interval| {
            Ok((settings::parse_minutes(&interval.from, &field)?, settings::parse_minutes(&interval.to, &field)?))
        };
        *day = settings::parse_day(new.iter().map(interval).collect::<Result<_>>()?, &field)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use baton_errors::Reason;
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() })
    }

    fn interval(from: &str, to: &str) -> proto::Interval {
        proto::Interval { from: from.to_owned(), to: to.to_owned() }
    }

    #[test]
    fn masked_settings_change_and_absent_ones_return_to_defaults() {
        let before = Settings::default();
        let new = proto::SettingsChange {
            managers_may_reassign: Some(true),
            rejection_enabled: Some(false),
            timezone: Some("Europe/Berlin".to_owned()),
            working_hours: Some(proto::WorkingHours {
                monday: vec![interval("13:00", "24:00"), interval("08:30", "12:00")],
                ..NO_HOURS
            }),
            ..proto::SettingsChange::default()
        };
        let paths = mask(&["rejection_enabled", "timezone", "working_hours.monday"]);
        let after = merge_settings(&before, &new, paths).unwrap();
        assert_eq!(after.changes_since(&before), ["rejection_enabled", "working_hours", "timezone"]);
        assert_eq!(after.working_hours.0[0], [(510, 720), (780, 1440)]);
        assert_eq!(after.working_hours.0[1], before.working_hours.0[1]);
        let nulls = mask(&["rejection_enabled", "timezone", "working_hours"]);
        assert_eq!(merge_settings(&after, &proto::SettingsChange::default(), nulls).unwrap(), before);
        // A cleared day has no working hours.
        let off = merge_settings(&before, &proto::SettingsChange::default(), mask(&["working_hours.monday"])).unwrap();
        assert_eq!((off.working_hours.0[0].len(), off.working_hours.0[1].len()), (0, 1));
    }

    #[test]
    fn working_hours_round_trip() {
        let hours = working_hours(&WorkingHours::default());
        let new = proto::SettingsChange { working_hours: Some(hours), ..proto::SettingsChange::default() };
        let merged = merge_settings(&Settings::default(), &new, mask(&["working_hours"])).unwrap();
        assert_eq!(merged, Settings::default());
    }

    #[test]
    fn invalid_settings_are_refused() {
        let hours = |monday| proto::SettingsChange {
            working_hours: Some(proto::WorkingHours { monday, ..NO_HOURS }),
            timezone: Some("Nowhere".to_owned()),
            ..proto::SettingsChange::default()
        };
        for (new, paths) in [
            (hours(vec![interval("09:00", "12:00"), interval("11:59", "13:00")]), mask(&["working_hours.monday"])),
            (hours(vec![interval("12:00", "12:00")]), mask(&["working_hours"])),
            (hours(Vec::new()), mask(&["timezone"])),
            (hours(Vec::new()), mask(&["working_hours.noday"])),
            (hours(Vec::new()), mask(&["version"])),
            (hours(Vec::new()), mask(&[])),
            (hours(Vec::new()), None),
        ] {
            let refused = merge_settings(&Settings::default(), &new, paths.clone()).unwrap_err();
            assert_eq!(refused.reason(), Reason::ValidationFailed, "{paths:?}");
        }
    }

    #[test]
    fn an_account_change_covers_name_slug_and_branding_only() {
        let mut account = Account::new(Uuid::nil(), "Acme", None, DateTime::UNIX_EPOCH).unwrap();
        let before = account.clone();
        let new = proto::AccountChange {
            name: "Better".to_owned(),
            slug: None,
            branding: Some(proto::Branding {
                primary_color: Some("#AABBCC".to_owned()),
                logo_url: Some("http://plain.example".to_owned()),
                accent_color: None,
            }),
        };
        merge_account(&mut account, &new, mask(&["name", "branding.primary_color"])).unwrap();
        assert_eq!((&*account.name, account.branding.primary_color.as_deref()), ("Better", Some("#aabbcc")));
        assert_eq!(account.changes_since(&before), ["name", "branding"]);
        for path in ["slug", "branding", "branding.logo_url", "subscription_tier", "status", "version", "id"] {
            let refused = merge_account(&mut account, &new, mask(&[path])).unwrap_err();
            assert_eq!(refused.reason(), Reason::ValidationFailed, "{path}");
        }
    }
}
