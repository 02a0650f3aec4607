//! What the manifests tell a program is what the program reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Command,
};

use baton_runtime::{ConfigError, Env, Variable, process::ProcessConfig, telemetry::TelemetryConfig};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use url::Url;

use crate::rendered_manifests::{BOTH, Manifests, container, port};

/// A service: the variables that it reads, and its address when it can read them.
pub(crate) struct Reader {
    pub(crate) name: &'static str,
    variables: Vec<&'static Variable>,
    listen: fn(&Env) -> Result<SocketAddr, ConfigError>,
}

pub(crate) fn readers() -> [Reader; 5] {
    macro_rules! service {
        ($package:ident, $name:literal, $field:ident) => {
            Reader {
                name: $name,
                variables: $package::Config::variables().collect(),
                listen: |env| Ok($package::Config::from_env(env)?.$field.listen),
            }
        };
    }
    [
        service!(baton_auth, "auth", auth),
        service!(baton_tenancy, "tenancy", tenancy),
        service!(baton_task, "task", task),
        service!(baton_notification, "notification", notification),
        Reader {
            name: "gateway",
            variables: baton_gateway::Config::VARIABLES.iter().collect(),
            listen: |env| Ok(baton_gateway::Config::from_env(env)?.listen),
        },
    ]
}

/// Where a variable's value comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Plain,
    Secret,
}

/// The environment of a pod's container, with stand-ins for the values of Secrets.
fn environment(manifests: &Manifests, pod: &PodTemplateSpec) -> BTreeMap<String, (String, Source)> {
    let container = container(pod);
    assert!(container.env_from.is_none(), "every variable is named, so that a missing one is noticed");
    let variables = container.env.as_deref().unwrap();
    let mut found = BTreeMap::new();
    for variable in variables {
        let name = &variable.name;
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), None) => (value.clone(), Source::Plain),
            (None, Some(source)) => match (&source.config_map_key_ref, &source.secret_key_ref) {
                (Some(map), None) => {
                    assert_eq!(map.key, *name, "a variable has one name");
                    let map = manifests.config_maps.get(&map.name).unwrap_or_else(|| panic!("{name}: no {map:?}"));
                    let value = map.data.as_ref().unwrap().get(name);
                    (value.unwrap_or_else(|| panic!("the ConfigMap has no {name}")).clone(), Source::Plain)
                }
                (None, Some(secret)) => {
                    assert_eq!((&secret.key, secret.optional), (name, None), "a variable has one name");
                    ("scheme://stand-in".to_owned(), Source::Secret)
                }
                _ => panic!("{name} has a source that these tests do not know"),
            },
            _ => panic!("{name} has no value"),
        };
        assert!(found.insert(name.clone(), value).is_none(), "{name} is set twice");
    }
    found
}

fn is_secret(name: &str) -> bool {
    let ends = ["_KEY", "_KEYS", "_SECRET", "_SECRETS", "_PROVIDERS", "DATABASE_URL", "REDIS_URL", "SMTP_URL"];
    ends.iter().any(|end| name.ends_with(end))
}

/// Which services a service calls, by the addresses that it is told.
pub(crate) fn called(reader: &Reader) -> BTreeSet<&'static str> {
    let calls = |name: &str| reader.reads(&format!("BATON_{}_URL", name.to_uppercase()));
    ["auth", "tenancy", "task", "notification"].into_iter().filter(|name| calls(name)).collect()
}

impl Reader {
    pub(crate) fn reads(&self, variable: &str) -> bool {
        self.variables.iter().any(|known| known.name == variable)
    }
}

#[test]
fn each_service_gets_exactly_the_variables_it_reads() {
    for manifests in BOTH.map(Manifests::render) {
        let pods = manifests.pods();
        for reader in readers() {
            let name = reader.name;
            let environment = environment(&manifests, pods[name]);
            let process = TelemetryConfig::VARIABLES.iter().chain(ProcessConfig::VARIABLES);
            let known: BTreeSet<_> = reader.variables.iter().copied().chain(process).map(|known| known.name).collect();
            for (variable, (_, source)) in &environment {
                assert!(known.contains(variable.as_str()), "{name} does not read {variable}");
                assert_eq!(*source == Source::Secret, is_secret(variable), "{name}: {variable} is in the wrong place");
            }
            let env: Env = environment.into_iter().map(|(variable, (value, _))| (variable, value)).collect();
            (reader.listen)(&env).unwrap_or_else(|error| panic!("{name}: {error}"));
            TelemetryConfig::from_env(&env).unwrap();
            ProcessConfig::from_env(&env).unwrap();
            // Those have defaults, which hold on one machine only.
            for variable in reader.variables.iter().filter(|known| known.default.is_some_and(is_local)) {
                assert!(env.get(variable.name).is_some(), "{name}: {} must be set", variable.name);
            }
        }
    }
}

fn is_local(default: &str) -> bool {
    default.contains("127.0.0.1") || default.contains("localhost")
}

#[test]
fn every_shared_variable_is_used() {
    for manifests in BOTH.map(Manifests::render) {
        let used: BTreeSet<String> =
            manifests.pods().into_values().flat_map(|pod| environment(&manifests, pod).into_keys()).collect();
        let unused: Vec<_> = manifests.common().keys().filter(|name| !used.contains(*name)).collect();
        assert!(unused.is_empty(), "no pod takes {unused:?}");
    }
}

#[test]
fn service_ports_match_the_urls_of_their_callers() {
    for manifests in BOTH.map(Manifests::render) {
        let pods = manifests.pods();
        for reader in readers() {
            let name = reader.name;
            let container = container(pods[name]);
            let env: Env =
                environment(&manifests, pods[name]).into_iter().map(|(name, (value, _))| (name, value)).collect();
            let metrics = TelemetryConfig::from_env(&env).unwrap().metrics_listen.unwrap();
            let serves = if name == "gateway" { "http" } else { "grpc" };
            for (address, named) in [((reader.listen)(&env).unwrap(), serves), (metrics, "metrics")] {
                assert!(address.ip().is_unspecified(), "{name} listens to itself only: {address}");
                assert_eq!(port(container, named), Some(i32::from(address.port())), "{name}: {named}");
            }
            let annotations = pods[name].metadata.as_ref().unwrap().annotations.as_ref().unwrap();
            assert_eq!(annotations["prometheus.io/port"], metrics.port().to_string(), "{name}");

            for callee in called(&reader) {
                let url: Url = env.get(&format!("BATON_{}_URL", callee.to_uppercase())).unwrap().parse().unwrap();
                assert_eq!((url.scheme(), url.host_str()), ("http", Some(callee)), "{name}");
                let ports = manifests.services[callee].spec.as_ref().unwrap().ports.as_ref().unwrap();
                assert_eq!(i32::from(url.port().unwrap()), ports[0].port, "{name} calls {callee}");
            }
        }
    }
}

/// The program itself, told what the Job tells it: it gets past its configuration, to a database that is not there.
#[test]
fn migration_job_gets_the_variables_it_reads() {
    for manifests in BOTH.map(Manifests::render) {
        let (name, _) = manifests.jobs.first_key_value().unwrap();
        let pods = manifests.pods();
        let environment = environment(&manifests, pods[name.as_str()]);
        let secrets: Vec<_> = environment.iter().filter(|(_, (_, source))| *source == Source::Secret).collect();
        assert_eq!(secrets.len(), 1, "the owner's credentials, and no others");
        let ran = Command::new(env!("CARGO_BIN_EXE_baton"))
            .env_clear()
            .envs(environment.keys().map(|name| (name, "postgres://owner@127.0.0.1:1/none")))
            .args(container(pods[name.as_str()]).args.as_deref().unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && said.contains("cannot reach the database"), "{said}");
    }
}
