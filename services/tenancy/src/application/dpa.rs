//! What an account may do under a data processing agreement only.

use baton_errors::{Error, Reason, Result};
use baton_store::ReadTx;
use uuid::Uuid;

use crate::{dpa, settings::Settings, store};

/// The settings as they take effect: without its agreement, an account has neither the AI assistant nor analytics, whatever was
/// stored before it needed one.
///
/// # Errors
/// ACCOUNT_NOT_FOUND; those of the database.
pub(crate) async fn effective(tx: &mut ReadTx, account_id: Uuid, settings: Settings) -> Result<Settings> {
    if !settings.ai_enabled && !settings.analytics_enabled {
        return Ok(settings);
    }
    match require_dpa(tx, account_id).await {
        Err(error) if error.reason() == Reason::DpaRequired => {
            Ok(Settings { ai_enabled: false, analytics_enabled: false, ..settings })
        }
        result => result.map(|()| settings),
    }
}

/// Refuses what an account may do under an agreement only.
///
/// # Errors
/// DPA_REQUIRED; ACCOUNT_NOT_FOUND.
pub(crate) async fn require_dpa(tx: &mut ReadTx, account_id: Uuid) -> Result<()> {
    let account = store::account::get(tx, account_id).await?;
    let account = account.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
    dpa::require(account.subscription_tier, store::dpa::last(tx, account_id).await?.as_ref())
}
