//! The settings that all services share.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Context;
use baton_ledger::LedgerConfig;
use baton_runtime::{ConfigError, Env, Secret, Settings, Variable, config::Reader};
use url::Url;
use uuid::Uuid;

use crate::Spec;

/// All settings of a service: those that all services share, and its own. Several structs of its own are a tuple.
#[derive(Debug, Clone)]
pub struct Config<T> {
    /// Those that all services share.
    pub service: ServiceConfig,
    /// Its own.
    pub own: T,
}

impl<T: Settings> Config<T> {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// When variables are missing or wrong: all of them, with the reason of each.
    pub fn from_env(spec: &Spec, env: &Env) -> Result<Self, ConfigError> {
        let (service, own) = ConfigError::join(ServiceConfig::from_env(spec, env), T::from_env(env))?;
        Ok(Self { service, own })
    }

    /// The environment variables that they are read from.
    pub fn variables(spec: &Spec) -> Vec<Variable> {
        let mut variables = ServiceConfig::variables(spec);
        variables.extend(T::variables());
        variables
    }
}

/// The settings that all services share.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// Address of the gRPC server.
    pub listen: SocketAddr,
    /// Postgres, as the role that serves calls.
    pub database_url: Secret,
    /// Postgres, as the role of the relay and of background work.
    pub system_database_url: Secret,
    /// Connections to Postgres per role.
    pub database_connections: u32,
    /// Redis, which carries events.
    pub redis_url: Secret,
    /// Issuer of access tokens.
    pub issuer: String,
    /// The account whose owners and super managers operate the installation.
    pub operator_account: Option<Uuid>,
    /// The ledger of erasures.
    pub ledger: LedgerConfig,
    /// URLs of the services that this one calls.
    peers: BTreeMap<&'static str, Url>,
    /// The secret with which the service identifies itself to auth.
    service_secret: Option<Secret>,
}

impl ServiceConfig {
    fn from_env(spec: &Spec, env: &Env) -> Result<Self, ConfigError> {
        let variables = Self::variables(spec);
        let mut reader = Reader::new(env, &variables);
        // In the order of `variables`.
        let listen = reader.next();
        let database_url = reader.next();
        let system_database_url = reader.next();
        let database_connections = reader.next();
        let redis_url = reader.next();
        let issuer = reader.next();
        let operator_account = reader.next::<Option<Uuid>>();
        let peers = spec.peers.iter().map(|&peer| Some((peer, reader.next()?))).collect::<Option<_>>();
        let service_secret = if spec.has_service_secret { reader.next().map(Some) } else { Some(None) };
        let config = || {
            let (listen, database_url, system_database_url) = (listen?, database_url?, system_database_url?);
            let (database_connections, redis_url, issuer) = (database_connections?, redis_url?, issuer?);
            let (operator_account, peers, service_secret) = (operator_account?, peers?, service_secret?);
            Some(move |ledger| Self {
                listen,
                database_url,
                system_database_url,
                database_connections,
                redis_url,
                issuer,
                operator_account,
                ledger,
                peers,
                service_secret,
            })
        };
        let config = config().ok_or_else(|| reader.error());
        let (config, ledger) = ConfigError::join(config, LedgerConfig::from_env(env))?;
        Ok(config(ledger))
    }

    /// The environment variables that they are read from.
    pub fn variables(spec: &Spec) -> Vec<Variable> {
        let variable = |name: String, default: Option<&str>, doc: &str| Variable {
            name: name.into(),
            default: default.map(|default| default.to_owned().into()),
            doc: doc.to_owned().into(),
        };
        let own = |suffix: &str| spec.variable(suffix);
        let listen = format!("127.0.0.1:{}", spec.port);
        let issuer = "Issuer of access tokens, the same for all services.";
        let operators =
            "Id of the account whose owners and super managers operate the installation; nobody does when absent.";
        let mut variables = vec![
            variable(own("LISTEN"), Some(&listen), "Address of the gRPC server."),
            variable(own("DATABASE_URL"), None, "Postgres, as the role that serves calls."),
            variable(own("SYSTEM_DATABASE_URL"), None, "Postgres, as the role of the relay and of background work."),
            variable(own("DATABASE_CONNECTIONS"), Some("10"), "Connections to Postgres per role."),
            variable("BATON_REDIS_URL".to_owned(), None, "Redis, which carries events."),
            variable("BATON_ISSUER".to_owned(), Some("https://baton.localhost"), issuer),
            variable("BATON_OPERATOR_ACCOUNT".to_owned(), None, operators),
        ];
        for peer in spec.peers {
            let doc = format!("URL of the {peer} service, such as http://{peer}:50051.");
            variables.push(variable(format!("BATON_{}_URL", peer.to_uppercase()), None, &doc));
        }
        if spec.has_service_secret {
            let doc = "Secret with which the service identifies itself to auth, as in `BATON_AUTH_SERVICE_SECRETS`.";
            variables.push(variable(own("SERVICE_SECRET"), None, doc));
        }
        variables.extend(LedgerConfig::VARIABLES.to_vec());
        variables
    }

    /// The URL of a service that this one calls.
    ///
    /// # Errors
    /// When the spec does not name the service as a peer.
    pub(crate) fn peer(&self, name: &str) -> anyhow::Result<&Url> {
        self.peers.get(name).with_context(|| format!("{name} is no peer in the spec of the service"))
    }

    /// The secret of the service.
    ///
    /// # Errors
    /// When the spec says that it has none.
    pub(crate) fn service_secret(&self) -> anyhow::Result<&Secret> {
        self.service_secret.as_ref().context("the spec of the service has no service secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SPEC: Spec = Spec {
        name: "example",
        port: 50099,
        migrations: &sqlx::migrate::Migrator::DEFAULT,
        personal_data: "",
        peers: &["auth", "tenancy"],
        generated_keys: &[],
        has_service_secret: true,
        optional: true,
    };

    baton_runtime::config! {
        /// Settings of an example.
        pub struct ExampleConfig {
            /// Items per page.
            pub items: u32 = "BATON_EXAMPLE_ITEMS";
        }
    }

    fn complete() -> Env {
        [
            ("BATON_EXAMPLE_DATABASE_URL", "postgres://app@db/baton"),
            ("BATON_EXAMPLE_SYSTEM_DATABASE_URL", "postgres://system@db/baton"),
            ("BATON_REDIS_URL", "redis://cache"),
            ("BATON_AUTH_URL", "http://auth:50051"),
            ("BATON_TENANCY_URL", "http://tenancy:50052"),
            ("BATON_EXAMPLE_SERVICE_SECRET", "secret"),
            ("BATON_LEDGER_URL", "s3://backups/ledger"),
            ("BATON_EXAMPLE_ITEMS", "7"),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn settings_are_named_after_the_service_and_have_its_defaults() {
        let Config { service, own } = Config::<ExampleConfig>::from_env(&SPEC, &complete()).unwrap();
        assert_eq!((service.listen, own.items), (([127, 0, 0, 1], 50099).into(), 7));
        assert_eq!(service.database_connections, 10);
        assert_eq!(service.peer("tenancy").unwrap().as_str(), "http://tenancy:50052/");
        assert!(service.peer("task").is_err(), "it is no peer");
        assert_eq!(service.service_secret().unwrap().expose(), "secret");
    }

    #[test]
    fn an_error_names_every_variable_that_is_missing_or_wrong() {
        let mut env = complete();
        for (name, value) in [
            ("BATON_EXAMPLE_DATABASE_URL", ""),
            ("BATON_TENANCY_URL", "tenancy"),
            ("BATON_EXAMPLE_ITEMS", "many"),
            ("BATON_EXAMPLE_SERVICE_SECRET", ""),
            ("BATON_LEDGER_URL", ""),
        ] {
            env.set(name, value);
        }
        let ConfigError(lines) = Config::<ExampleConfig>::from_env(&SPEC, &env).unwrap_err();
        let named: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(
            named,
            [
                "BATON_EXAMPLE_DATABASE_URL",
                "BATON_TENANCY_URL",
                "BATON_EXAMPLE_SERVICE_SECRET",
                "BATON_LEDGER_URL",
                "BATON_EXAMPLE_ITEMS"
            ]
        );
    }

    #[test]
    fn every_variable_is_listed_once() {
        let variables = Config::<(ExampleConfig, ())>::variables(&SPEC);
        let names: std::collections::BTreeSet<_> = variables.iter().map(|variable| &variable.name).collect();
        assert_eq!(names.len(), variables.len());
        assert!(names.iter().any(|name| *name == "BATON_EXAMPLE_LISTEN"));
        assert!(names.iter().any(|name| *name == "BATON_EXAMPLE_ITEMS"));
    }
}
