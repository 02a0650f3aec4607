//! The service's own settings.

use baton_runtime::Secret;

baton_runtime::config! {
    /// The tenancy service's own settings.
    pub struct TenancyConfig {
        /// Key of the tokens in mailed links: 32 random bytes or more, in base64.
        pub mailed_token_key: Secret = "BATON_TENANCY_MAILED_TOKEN_KEY";
        /// Cells of the table of tiers that differ, separated by commas: `free.users=10`,
        /// `pro.api_requests_per_hour=5000`, `pro.storage_mebibytes=unlimited`.
        pub tier_limits: Vec<String> = "BATON_TENANCY_TIER_LIMITS", default "";
        /// Secrets of Stripe's webhook endpoint (`whsec_...`), separated by commas: several while one is replaced.
        /// Without any, events are not taken in.
        pub stripe_webhook_secrets: Option<Secret> = "BATON_TENANCY_STRIPE_WEBHOOK_SECRETS";
        /// Which of Stripe's prices buys which tier, separated by commas: `price_1=pro`.
        pub stripe_prices: Vec<String> = "BATON_TENANCY_STRIPE_PRICES", default "";
        /// The name of the keys that sign checkpoints of activity logs, a URL without scheme: `example.com/activity`.
        pub checkpoint_name: String = "BATON_TENANCY_CHECKPOINT_NAME", default "baton/activity";
        /// The keys that sign checkpoints of activity logs, each 32 random bytes in base64, separated by commas: the first one
        /// signs, all are published.
        pub checkpoint_keys: Secret = "BATON_TENANCY_CHECKPOINT_KEYS";
        /// Days that the activity log is kept, 30 at least. Rows are gone at most a week later.
        pub activity_days: u16 = "BATON_TENANCY_ACTIVITY_DAYS", default "90";
    }
}
