//! Settings of accounts. They are columns of the account and share its version.

use baton_access::TaskVisibility as Visibility;
use baton_errors::{Error, Result};
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::settings::{Settings, WorkingHours};

/// Settings as they are stored, with the account's version.
struct Row {
    managers_may_reassign: bool,
    rejection_enabled: bool,
    require_second_factor: bool,
    working_hours: Json<WorkingHours>,
    timezone: String,
    default_visibility: String,
    ai_enabled: bool,
    analytics_enabled: bool,
    one_running_timer: bool,
    version: i32,
}

impl Row {
    fn into_settings(self) -> Result<(Settings, i32)> {
        let visibility = Visibility::from_name(&self.default_visibility);
        let settings = Settings {
            managers_may_reassign: self.managers_may_reassign,
            rejection_enabled: self.rejection_enabled,
            require_second_factor: self.require_second_factor,
            working_hours: self.working_hours.0,
            timezone: self.timezone,
            default_visibility: visibility.ok_or_else(|| Error::internal("an account has an unknown visibility"))?,
            ai_enabled: self.ai_enabled,
            analytics_enabled: self.analytics_enabled,
            one_running_timer: self.one_running_timer,
        };
        Ok((settings, self.version))
    }
}

/// Loads an account's settings and version.
pub(crate) async fn get(tx: &mut ReadTx, account_id: Uuid) -> Result<Option<(Settings, i32)>> {
    let row = sqlx::query_as!(
        Row,
        r#"select managers_may_reassign, rejection_enabled, require_second_factor,
                  working_hours as "working_hours: Json<WorkingHours>", timezone, default_visibility, ai_enabled,
                  analytics_enabled, one_running_timer, version
           from tenancy.accounts where id = $1"#,
        account_id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::into_settings).transpose()
}

/// Loads and locks an account's settings and version, so that concurrent changes are serialized.
pub(crate) async fn lock(tx: &mut Tx, account_id: Uuid) -> Result<Option<(Settings, i32)>> {
    let row = sqlx::query_as!(
        Row,
        r#"select managers_may_reassign, rejection_enabled, require_second_factor,
                  working_hours as "working_hours: Json<WorkingHours>", timezone, default_visibility, ai_enabled,
                  analytics_enabled, one_running_timer, version
           from tenancy.accounts where id = $1 for no key update"#,
        account_id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::into_settings).transpose()
}

/// Saves settings. Returns the account's new version.
pub(crate) async fn save(tx: &mut Tx, account_id: Uuid, settings: &Settings, now: DateTime<Utc>) -> Result<i32> {
    let version = sqlx::query_scalar!(
        "update tenancy.accounts
         set managers_may_reassign = $2, rejection_enabled = $3, require_second_factor = $4, working_hours = $5,
             timezone = $6, default_visibility = $7, ai_enabled = $8, analytics_enabled = $9, one_running_timer = $10,
             updated_at = $11, version = version + 1
         where id = $1 returning version",
        account_id,
        settings.managers_may_reassign,
        settings.rejection_enabled,
        settings.require_second_factor,
        Json(&settings.working_hours) as _,
        settings.timezone,
        settings.default_visibility.name(),
        settings.ai_enabled,
        settings.analytics_enabled,
        settings.one_running_timer,
        now,
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(version)
}
