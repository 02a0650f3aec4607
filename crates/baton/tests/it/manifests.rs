//! `k8s/` is consistent: every object is valid, and references between objects resolve.

use std::{collections::BTreeMap, collections::BTreeSet, fs};

use baton_platform::{manifests, platform::services};
use k8s_openapi::{
    api::core::v1::{Container, EnvVar, Probe},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use crate::{
    environment::serving_port,
    rendered_manifests::{BOTH, Manifests, container, in_clone, labels, port},
};

/// Maximum duration of `Telemetry::flush`, in seconds.
const FLUSH_SECONDS: i64 = 6;

type Labels = BTreeMap<String, String>;

fn includes(all: &Labels, some: &Labels) -> bool {
    some.iter().all(|(name, value)| all.get(name) == Some(value))
}

fn match_labels(selector: &LabelSelector) -> &Labels {
    assert!(selector.match_expressions.is_none());
    selector.match_labels.as_ref().unwrap()
}

/// Names of the Deployments whose pods have these labels.
fn selected<'a>(manifests: &'a Manifests, wanted: &Labels) -> Vec<&'a str> {
    manifests.pods().into_iter().filter(|(_, pod)| includes(labels(pod), wanted)).map(|(name, _)| name).collect()
}

#[test]
fn every_folder_renders_to_valid_kubernetes_objects() {
    for folder in fs::read_dir(in_clone("k8s/base")).unwrap() {
        let folder = folder.unwrap();
        if folder.file_type().unwrap().is_dir() {
            Manifests::render(&format!("base/{}", folder.file_name().to_str().unwrap()));
        }
    }
    let [base, production] = BOTH.map(Manifests::render);
    let services: BTreeSet<&str> = services().iter().map(|service| service.name).collect();
    for manifests in [&base, &production] {
        assert!(manifests.deployments.keys().eq(&services));
        assert!(manifests.services.keys().eq(&services));
        assert!(manifests.scalers.keys().eq(&services));
        assert!(manifests.budgets.keys().eq(&services));
        assert_eq!(manifests.jobs.len(), 1);
    }
    assert!(base.ingresses.is_empty() && base.namespaces.is_empty());
    assert!(production.namespaces.contains_key("baton"));
}

#[test]
fn base_follows_the_registry() {
    let base = in_clone("k8s/base");
    for (path, text) in manifests::files(&base) {
        let found = fs::read_to_string(base.join(&path)).unwrap_or_default();
        assert_eq!(found, text, "k8s/base/{path} is outdated; run: baton manifests k8s/base");
    }
    // Nothing stays behind when a service is removed.
    for folder in fs::read_dir(base).unwrap().map(|entry| entry.unwrap()) {
        let (is_folder, name) = (folder.file_type().unwrap().is_dir(), folder.file_name().into_string().unwrap());
        let known = ["shared", "migrate"].contains(&name.as_str()) || services().iter().any(|it| it.name == name);
        assert!(!is_folder || known, "no service is named {name}");
    }
}

#[test]
fn all_objects_are_namespaced_and_labelled() {
    let production = Manifests::render("overlays/production");
    macro_rules! check {
        ($($kind:ident),*) => { $(for (name, object) in &production.$kind {
            assert_eq!(object.metadata.namespace.as_deref(), Some("baton"), "{} {name}", stringify!($kind));
            let labels = object.metadata.labels.as_ref().unwrap();
            assert_eq!(labels["app.kubernetes.io/part-of"], "baton", "{} {name}", stringify!($kind));
            // Rollouts are ordered by this label (k8s/README.md).
            assert!(labels.contains_key("app.kubernetes.io/name"), "{} {name}", stringify!($kind));
        })* };
    }
    check!(deployments, jobs, services, service_accounts, scalers, budgets, policies, config_maps, ingresses);
}

#[test]
fn selectors_and_references_resolve() {
    for manifests in BOTH.map(Manifests::render) {
        for (name, deployment) in &manifests.deployments {
            let spec = deployment.spec.as_ref().unwrap();
            assert_eq!(selected(&manifests, match_labels(&spec.selector)), [name.as_str()]);
            let selector = match_labels(manifests.budgets[name].spec.as_ref().unwrap().selector.as_ref().unwrap());
            assert_eq!(selected(&manifests, selector), [name.as_str()]);
            let target = &manifests.scalers[name].spec.as_ref().unwrap().scale_target_ref;
            assert_eq!((target.kind.as_str(), &target.name), ("Deployment", name));
        }
        for (name, service) in &manifests.services {
            let spec = service.spec.as_ref().unwrap();
            assert_eq!(selected(&manifests, spec.selector.as_ref().unwrap()), [name.as_str()]);
            let container = container(manifests.pods()[name.as_str()]);
            for exposed in spec.ports.as_ref().unwrap() {
                let Some(IntOrString::String(target)) = &exposed.target_port else {
                    panic!("{name}: a port without name")
                };
                assert_eq!(port(container, target), Some(exposed.port), "{name}");
            }
        }
        for (name, pod) in manifests.pods() {
            let account = pod.spec.as_ref().unwrap().service_account_name.as_ref().unwrap();
            let account = manifests.service_accounts.get(account).unwrap_or_else(|| panic!("{name} has no account"));
            assert_eq!(account.automount_service_account_token, Some(false));
        }
        for ingress in manifests.ingresses.values() {
            let rules = ingress.spec.as_ref().unwrap().rules.as_ref().unwrap();
            let paths = rules.iter().flat_map(|rule| &rule.http.as_ref().unwrap().paths);
            for backend in paths.map(|path| path.backend.service.as_ref().unwrap()) {
                let ports = manifests.services[&backend.name].spec.as_ref().unwrap().ports.as_ref().unwrap();
                let wanted = &backend.port.as_ref().unwrap().name;
                assert!(wanted.is_some() && ports.iter().any(|port| port.name == *wanted));
            }
        }
    }
}

#[test]
fn containers_run_with_least_privilege() {
    for manifests in BOTH.map(Manifests::render) {
        for (name, pod) in manifests.pods() {
            let spec = pod.spec.as_ref().unwrap();
            assert_eq!(spec.automount_service_account_token, Some(false), "{name}");
            assert_eq!(spec.enable_service_links, Some(false), "{name}");
            // Nothing of the node, and no more than a bounded folder that ends with the pod.
            let mut volumes = spec.volumes.iter().flatten();
            let is_bounded =
                volumes.all(|volume| volume.empty_dir.as_ref().is_some_and(|dir| dir.size_limit.is_some()));
            assert!(is_bounded && spec.host_network.is_none() && spec.host_pid.is_none(), "{name}");
            let user = spec.security_context.as_ref().unwrap();
            assert_eq!(user.run_as_non_root, Some(true), "{name}");
            assert!(user.run_as_user.unwrap() > 0, "{name}");
            assert_eq!(user.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault", "{name}");

            let container = container(pod);
            let security = container.security_context.as_ref().unwrap();
            assert_eq!(security.read_only_root_filesystem, Some(true), "{name}");
            assert_eq!(security.allow_privilege_escalation, Some(false), "{name}");
            assert!(security.run_as_user.is_none() && security.privileged.is_none(), "{name}");
            let capabilities = security.capabilities.as_ref().unwrap();
            assert_eq!(capabilities.drop.as_deref(), Some(["ALL".to_owned()].as_slice()), "{name}");
            assert!(capabilities.add.is_none(), "{name}");

            let resources = container.resources.as_ref().unwrap();
            for amounts in [&resources.requests, &resources.limits] {
                let amounts = amounts.as_ref().unwrap();
                assert!(amounts.contains_key("cpu") && amounts.contains_key("memory"), "{name}");
            }
        }
    }
}

/// The port number of a probe.
fn probed(container: &Container, probe: &Probe) -> i32 {
    let named = match (&probe.tcp_socket, &probe.http_get, &probe.grpc) {
        (Some(tcp), None, None) => &tcp.port,
        (None, Some(http), None) => &http.port,
        (None, None, Some(grpc)) => return grpc.port,
        _ => panic!("a probe has one check"),
    };
    match named {
        IntOrString::String(name) => port(container, name).unwrap(),
        IntOrString::Int(port) => *port,
    }
}

#[test]
fn probes_use_the_serving_port() {
    for manifests in BOTH.map(Manifests::render) {
        for service in services() {
            let name = service.name;
            let container = container(manifests.pod(name));
            let [startup, alive, ready] =
                [&container.startup_probe, &container.liveness_probe, &container.readiness_probe]
                    .map(|probe| probe.as_ref().unwrap());
            let serves = port(container, serving_port(service)).unwrap();
            for probe in [startup, alive, ready] {
                assert_eq!(probed(container, probe), serves, "{name}");
            }
            // Health is NOT_SERVING while a pod drains, so it must not be the liveness check.
            assert!(startup.grpc.is_none() && alive.grpc.is_none(), "{name}");
            let path = |probe: &Probe| probe.http_get.as_ref().and_then(|http| http.path.clone());
            if service.spec.is_some() {
                assert!(ready.grpc.is_some(), "{name}");
            } else {
                assert_eq!([startup, alive].map(path), [Some("/healthz".to_owned()), Some("/healthz".to_owned())]);
                assert_eq!(path(ready).as_deref(), Some("/readyz"));
            }
        }
    }
}

#[test]
fn termination_grace_period_covers_draining() {
    for manifests in BOTH.map(Manifests::render) {
        let seconds = |name: &str| manifests.common()[name].parse::<i64>().unwrap();
        for (name, deployment) in &manifests.deployments {
            let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            let own = pod.containers[0].env.iter().flatten().find(|it| it.name == "BATON_DRAIN_DELAY_SECONDS");
            let own = own.and_then(|it| it.value.as_ref()).map(|value| value.parse::<i64>().unwrap());
            let delay = own.unwrap_or_else(|| seconds("BATON_DRAIN_DELAY_SECONDS"));
            assert!(delay > 0, "{name}: without a delay, calls reach pods that have closed their port");
            let needed = delay + seconds("BATON_DRAIN_TIMEOUT_SECONDS") + FLUSH_SECONDS;
            assert!(pod.termination_grace_period_seconds.unwrap() >= needed, "{name} is killed while it drains");
        }
        // A gateway closes its sockets before its port.
        let sockets = manifests.deployments["gateway"].spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        let delay =
            sockets.containers[0].env.iter().flatten().find(|it| it.name == "BATON_DRAIN_DELAY_SECONDS").unwrap();
        let config = baton_gateway::Config::VARIABLES.iter().find(|it| it.name == "BATON_GATEWAY_SOCKET_DRAIN_SECONDS");
        let needed = config.unwrap().default.as_deref().unwrap().parse::<u32>().unwrap();
        assert!(delay.value.as_ref().unwrap().parse::<u32>().unwrap() >= needed, "sockets are closed all at once");
    }
}

#[test]
fn rollout_or_lost_node_leaves_enough_pods() {
    for manifests in BOTH.map(Manifests::render) {
        for (name, deployment) in &manifests.deployments {
            let spec = deployment.spec.as_ref().unwrap();
            let rolling = spec.strategy.as_ref().unwrap().rolling_update.as_ref().unwrap();
            assert_eq!(rolling.max_unavailable, Some(IntOrString::Int(0)), "{name}");
            assert_eq!(spec.replicas, None, "{name}: the autoscaler sets it, and an apply would overwrite it");
            let scaler = manifests.scalers[name].spec.as_ref().unwrap();
            assert!(scaler.min_replicas.unwrap() >= 2 && scaler.max_replicas > scaler.min_replicas.unwrap(), "{name}");
            let budget = manifests.budgets[name].spec.as_ref().unwrap();
            assert_eq!(budget.max_unavailable, Some(IntOrString::Int(1)), "{name}");

            let pod = spec.template.spec.as_ref().unwrap();
            let spread = pod.topology_spread_constraints.as_ref().unwrap();
            let over: Vec<_> = spread.iter().map(|constraint| constraint.topology_key.as_str()).collect();
            assert_eq!(over, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"], "{name}");
            for constraint in spread {
                let selector = match_labels(constraint.label_selector.as_ref().unwrap());
                assert!(includes(labels(&spec.template), selector), "{name}");
                assert!(constraint.match_label_keys.as_ref().unwrap().contains(&"app.kubernetes.io/name".to_owned()));
            }
        }
    }
}

/// Secrets and keys in the table of `k8s/README.md`: `| secret | key | ... |`.
fn documented() -> BTreeSet<(String, String)> {
    let readme = fs::read_to_string(in_clone("k8s/README.md")).unwrap();
    let table = readme.split("\n## Secrets\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(|cell| cell.trim().trim_matches('`').to_owned());
        (cells.next().unwrap(), cells.next().unwrap())
    })
    .collect()
}

#[test]
fn readme_lists_exactly_the_required_secrets() {
    let production = Manifests::render("overlays/production");
    let mut used: BTreeSet<(String, String)> = BTreeSet::new();
    for pod in production.pods().into_values() {
        let variables: &[EnvVar] = container(pod).env.as_deref().unwrap();
        let secrets = variables.iter().filter_map(|v| v.value_from.as_ref()?.secret_key_ref.as_ref());
        used.extend(secrets.map(|secret| (secret.name.clone(), secret.key.clone())));
    }
    for ingress in production.ingresses.values() {
        let secrets = ingress.spec.as_ref().unwrap().tls.iter().flatten().filter_map(|tls| tls.secret_name.clone());
        used.extend(secrets.flat_map(|name| [(name.clone(), "tls.crt".to_owned()), (name, "tls.key".to_owned())]));
    }
    assert_eq!(used, documented());
}
