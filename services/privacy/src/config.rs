//! The service's own settings.

use baton_runtime::Secret;
use url::Url;

baton_runtime::config! {
    /// The privacy service's own settings.
    pub struct PrivacyConfig {
        /// Store of exports: `s3://bucket`, or `file:///folder` on a single machine (`baton up`).
        pub exports_url: Url = "BATON_PRIVACY_EXPORTS_URL";
        /// URL of the S3-compatible server, `https://host`. AWS when absent.
        pub exports_endpoint: Option<Url> = "BATON_PRIVACY_EXPORTS_ENDPOINT";
        /// The bucket's region.
        pub exports_region: String = "BATON_PRIVACY_EXPORTS_REGION", default "us-east-1";
        /// Id of the access key; when absent, the role of the machine (AWS) is used.
        pub exports_access_key: Option<Secret> = "BATON_PRIVACY_EXPORTS_ACCESS_KEY";
        /// Secret of the access key.
        pub exports_secret_key: Option<Secret> = "BATON_PRIVACY_EXPORTS_SECRET_KEY";
        /// The key that signs URLs of exports, 32 random bytes in base64.
        pub signing_key: Secret = "BATON_PRIVACY_SIGNING_KEY";
        /// The keys that sign receipts of erasures, each 32 random bytes in base64, separated by commas: the first one signs,
        /// the others verify earlier receipts.
        pub receipt_keys: Secret = "BATON_PRIVACY_RECEIPT_KEYS";
        /// The key of one-way pseudonyms, 32 random bytes in base64. Another one makes other pseudonyms.
        pub pseudonym_key: Secret = "BATON_PRIVACY_PSEUDONYM_KEY";
        /// The name of the keys that sign checkpoints of consents and receipts, a URL without scheme: `example.com/privacy`.
        pub checkpoint_name: String = "BATON_PRIVACY_CHECKPOINT_NAME", default "baton/privacy";
        /// The keys that sign checkpoints of consents and receipts, each 32 random bytes in base64, separated by commas: the
        /// first one signs, all are published.
        pub checkpoint_keys: Secret = "BATON_PRIVACY_CHECKPOINT_KEYS";
        /// Further services that have data of people and are no part of the product, `name=http://host:port`, separated by
        /// commas: they take part in exports, and are told what people consent to.
        pub sources: Vec<String> = "BATON_PRIVACY_SOURCES", default "";
        /// Who processes data for the operator: a JSON list of `{"name", "purpose", "data", "country"}`, which
        /// `GET /v1/privacy/subprocessors` shows.
        pub subprocessors: String = "BATON_PRIVACY_SUBPROCESSORS", default "[]";
        /// URL of the gateway, which serves these URLs.
        pub public_url: Url = "BATON_PRIVACY_PUBLIC_URL";
    }
}
