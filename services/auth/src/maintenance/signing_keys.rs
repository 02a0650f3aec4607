//! Loads the signing keys, and rotates them when they are due.

use std::time::Duration;

use baton_errors::Result;
use baton_runtime::Next;

use crate::application::signing_keys::SigningKeys;

/// How often an instance reloads the keys and checks whether one is due.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// Pause after a failure while no keys are loaded.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Creates, deletes and loads keys.
///
/// # Errors
/// Those of [`SigningKeys::refresh`].
pub(crate) async fn maintain(keys: SigningKeys) -> Result<Next> {
    let maintained = keys.refresh().await;
    if let (Err(error), true) = (&maintained, keys.is_empty()) {
        tracing::warn!(%error, "no signing keys yet");
        return Ok(Next::After(RETRY_DELAY));
    }
    maintained.map(Next::from)
}
