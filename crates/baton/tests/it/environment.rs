//! The manifests set exactly the variables that each program reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use baton_platform::platform::{Service, services, specs};
use baton_runtime::{Env, process::ProcessConfig, telemetry::TelemetryConfig};
use baton_service::Spec;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use url::Url;

use crate::rendered_manifests::{BOTH, Manifests, container, port};

/// The source of a variable's value.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Plain,
    Secret,
}

/// The environment of a pod's container, with placeholders for Secrets.
fn environment(manifests: &Manifests, pod: &PodTemplateSpec) -> BTreeMap<String, (String, Source)> {
    let container = container(pod);
    assert!(container.env_from.is_none(), "variables are listed by name, so that a missing one is noticed");
    let variables = container.env.as_deref().unwrap();
    let mut found = BTreeMap::new();
    for variable in variables {
        let name = &variable.name;
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), None) => (value.clone(), Source::Plain),
            (None, Some(source)) => match (&source.config_map_key_ref, &source.secret_key_ref) {
                (Some(map), None) => {
                    assert_eq!(map.key, *name, "variable and key have the same name");
                    let map = manifests.config_maps.get(&map.name).unwrap_or_else(|| panic!("{name}: no {map:?}"));
                    let value = map.data.as_ref().unwrap().get(name);
                    (value.unwrap_or_else(|| panic!("the ConfigMap has no {name}")).clone(), Source::Plain)
                }
                (None, Some(secret)) => {
                    assert_eq!((&secret.key, secret.optional), (name, None), "variable and key have the same name");
                    ("scheme://stand-in".to_owned(), Source::Secret)
                }
                _ => panic!("{name} has an unknown source"),
            },
            _ => panic!("{name} has no value"),
        };
        assert!(found.insert(name.clone(), value).is_none(), "{name} is set twice");
    }
    found
}

/// The name of the port that a service serves.
pub(crate) fn serving_port(service: &Service) -> &'static str {
    if service.spec.is_some() { "grpc" } else { "http" }
}

fn is_secret(name: &str) -> bool {
    let ends = ["_KEY", "_KEYS", "_SECRET", "_SECRETS", "_PROVIDERS", "DATABASE_URL", "REDIS_URL", "SMTP_URL"];
    ends.iter().any(|end| name.ends_with(end))
}

/// The services that a service calls: its peers; the gateway calls all.
pub(crate) fn called(service: &Service) -> Vec<&'static Spec> {
    specs().filter(|callee| service.spec.is_none_or(|spec| spec.peers.contains(&callee.name))).collect()
}

#[test]
fn each_service_gets_exactly_the_variables_it_reads() {
    for manifests in BOTH.map(Manifests::render) {
        for service in services() {
            let name = service.name;
            let environment = environment(&manifests, manifests.pod(name));
            let variables = (service.variables)();
            let process = TelemetryConfig::VARIABLES.iter().chain(ProcessConfig::VARIABLES);
            let known: BTreeSet<&str> = variables.iter().chain(process).map(|known| known.name.as_ref()).collect();
            for (variable, (_, source)) in &environment {
                assert!(known.contains(variable.as_str()), "{name} does not read {variable}");
                let expected = if is_secret(variable) { Source::Secret } else { Source::Plain };
                assert_eq!(*source, expected, "{name}: {variable}");
            }
            let env: Env = environment.into_iter().map(|(variable, (value, _))| (variable, value)).collect();
            (service.check)(&env).unwrap_or_else(|error| panic!("k8s/base/{name}/deployment.yaml: {error}"));
            TelemetryConfig::from_env(&env).unwrap();
            ProcessConfig::from_env(&env).unwrap();
            // These defaults are only valid on one machine.
            for variable in variables.iter().filter(|known| known.default.as_deref().is_some_and(is_local)) {
                assert!(env.get(&variable.name).is_some(), "{name}: {} must be set", variable.name);
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
        assert!(unused.is_empty(), "no pod uses {unused:?}");
    }
}

#[test]
fn service_ports_match_the_registry_and_the_urls_of_callers() {
    for manifests in BOTH.map(Manifests::render) {
        for service in services() {
            let name = service.name;
            let pod = manifests.pod(name);
            let container = container(pod);
            let env: Env = environment(&manifests, pod).into_iter().map(|(name, (value, _))| (name, value)).collect();
            let metrics = TelemetryConfig::from_env(&env).unwrap().metrics_listen.unwrap();
            let listen = (service.check)(&env).unwrap();
            if let Some(spec) = service.spec {
                assert_eq!(listen.port(), spec.port, "{name}");
            }
            for (address, named) in [(listen, serving_port(service)), (metrics, "metrics")] {
                assert!(address.ip().is_unspecified(), "{name} listens on loopback only: {address}");
                assert_eq!(port(container, named), Some(i32::from(address.port())), "{name}: {named}");
            }
            let annotations = pod.metadata.as_ref().unwrap().annotations.as_ref().unwrap();
            assert_eq!(annotations["prometheus.io/port"], metrics.port().to_string(), "{name}");

            for callee in called(service) {
                let url: Url = env.get(&callee.url_variable()).unwrap().parse().unwrap();
                assert_eq!((url.scheme(), url.host_str()), ("http", Some(callee.name)), "{name}");
                let ports = manifests.services[callee.name].spec.as_ref().unwrap().ports.as_ref().unwrap();
                assert_eq!(i32::from(url.port().unwrap()), ports[0].port, "{name} calls {}", callee.name);
            }
        }
    }
}

/// Runs the program with the Job's variables: it passes configuration and fails at the missing database.
#[test]
fn migration_job_gets_the_variables_it_reads() {
    for manifests in BOTH.map(Manifests::render) {
        let (name, _) = manifests.jobs.first_key_value().unwrap();
        let pods = manifests.pods();
        let environment = environment(&manifests, pods[name.as_str()]);
        let secrets: Vec<_> = environment.iter().filter(|(_, (_, source))| *source == Source::Secret).collect();
        assert_eq!(secrets.len(), 1, "the owner's credentials and no others");
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
