//! The service's own settings.

use baton_runtime::Secret;

baton_runtime::config! {
    /// The automation service's own settings.
    pub struct AutomationConfig {
        /// Keys that seal the secrets with which webhooks are signed, as `id:key` with 32 random bytes in base64, separated by
        /// commas. The first seals, all open.
        pub sealing_keys: Secret = "BATON_AUTOMATION_SEALING_KEYS";
    }
}
