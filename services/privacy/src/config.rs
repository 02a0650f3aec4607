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
        /// Further services that have data of people and are no part of the product, `name=http://host:port`, separated by
        /// commas: they take part in exports, and are told what people consent to.
        pub sources: Vec<String> = "BATON_PRIVACY_SOURCES", default "";
        /// URL of the gateway, which serves these URLs.
        pub public_url: Url = "BATON_PRIVACY_PUBLIC_URL";
    }
}
