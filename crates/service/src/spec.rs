//! The description of a service: everything that others derive about it.

use sqlx::migrate::Migrator;

/// A service, as the registry of the `baton` binary knows it. Its environment variables, database roles, proto package and
/// Kubernetes manifests are named after [`Spec::name`].
#[derive(Debug)]
pub struct Spec {
    /// The name of the service and of its schema: `task`. Its proto package is `baton.<name>.v1`.
    pub name: &'static str,
    /// The port of its gRPC server, unless `BATON_<NAME>_LISTEN` names another.
    pub port: u16,
    /// Its migrations: `migrations/<name>`.
    pub migrations: &'static Migrator,
    /// The text of `migrations/<name>/personal_data.toml`.
    pub personal_data: &'static str,
    /// The services that it calls.
    pub peers: &'static [&'static str],
    /// Keys that embedded mode generates for it: the environment variable, and what precedes the random part.
    pub generated_keys: &'static [(&'static str, &'static str)],
    /// Whether it calls `service_only` RPCs, with the secret `BATON_<NAME>_SERVICE_SECRET`.
    pub has_service_secret: bool,
    /// Whether the platform is ready without it: then only its own calls fail while it is down.
    pub optional: bool,
}

impl Spec {
    /// A service that calls auth and tenancy for its access rules, and nothing else. The platform is ready without it.
    pub const fn new(
        name: &'static str,
        port: u16,
        migrations: &'static Migrator,
        personal_data: &'static str,
    ) -> Self {
        Self {
            name,
            port,
            migrations,
            personal_data,
            peers: &["auth", "tenancy"],
            generated_keys: &[],
            has_service_secret: false,
            optional: true,
        }
    }

    /// The environment variable of the service with this suffix: `BATON_TASK_LISTEN` for `LISTEN`.
    pub fn variable(&self, suffix: &str) -> String {
        format!("BATON_{}_{suffix}", self.name.to_uppercase())
    }

    /// The environment variable in which callers of the service find its URL.
    pub fn url_variable(&self) -> String {
        self.variable("URL")
    }

    /// The schema and its migrations, for tests that create a database.
    pub fn schema(&self) -> (&'static str, &'static Migrator) {
        (self.name, self.migrations)
    }

    /// The proto package of its RPCs.
    pub fn package(&self) -> String {
        format!("baton.{}.v1", self.name)
    }
}
