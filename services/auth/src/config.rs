//! The service's own settings.

use std::num::NonZeroU32;

use baton_runtime::Secret;
use url::Url;

baton_runtime::config! {
    /// The auth service's own settings.
    pub struct AuthConfig {
        /// Days after which another key signs tokens. Signing keys are made and kept by the service itself.
        pub signing_key_days: NonZeroU32 = "BATON_AUTH_SIGNING_KEY_DAYS", default "30";
        /// Secrets of the services that call `service_only` RPCs, as `name:secret` separated by commas, each of 32
        /// characters or more. While one is replaced, its name comes twice.
        pub service_secrets: Secret = "BATON_AUTH_SERVICE_SECRETS";
        /// Key of the tokens in mailed links: 32 random bytes or more, in base64.
        pub mailed_token_key: Secret = "BATON_AUTH_MAILED_TOKEN_KEY";
        /// Keys that seal secrets at rest, as `id:key` with 32 random bytes in base64, separated by commas. The first
        /// seals, all open.
        pub sealing_keys: Secret = "BATON_AUTH_SEALING_KEYS";
        /// Attempts (to sign in, to register, ...) from one network that need no wait between them; right passwords
        /// do not count. Raise it where many people share an address.
        pub attempts_per_address: u32 = "BATON_AUTH_ATTEMPTS_PER_ADDRESS", default "100";
        /// Password hashes that run at a time; each takes a core and the memory below.
        pub hash_threads: usize = "BATON_AUTH_HASH_THREADS", default "2";
        /// Memory of one password hash (Argon2id), in KiB. Whoever signs in gets a hash by the present parameters;
        /// weaker ones than OWASP recommends are refused at start.
        pub hash_memory_kib: u32 = "BATON_AUTH_HASH_MEMORY_KIB", default "19456";
        /// Passes of one password hash over its memory.
        pub hash_passes: u32 = "BATON_AUTH_HASH_PASSES", default "2";
        /// Lanes of one password hash.
        pub hash_lanes: u32 = "BATON_AUTH_HASH_LANES", default "1";
        /// Other providers of identities that people can sign in by, as a JSON list (this service's README shows one);
        /// none when absent. It holds client secrets.
        pub providers: Option<Secret> = "BATON_AUTH_PROVIDERS";
        /// Origins beside that of the web app where a sign-in by a provider may go on, separated by commas.
        pub redirect_origins: Vec<String> = "BATON_AUTH_REDIRECT_ORIGINS", default "";
        /// Where browsers reach the gateway, and so the callback that a provider sends them to; the address of the web
        /// app when absent.
        pub gateway_public_url: Option<Url> = "BATON_GATEWAY_PUBLIC_URL";
    }
}
