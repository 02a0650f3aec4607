//! The network policies permit exactly the connections that the configuration requires.

use std::collections::{BTreeMap, BTreeSet};

use baton_platform::platform::{Service, services};
use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use crate::{
    environment::called,
    rendered_manifests::{BOTH, Manifests, container, labels, port},
};

type Labels = BTreeMap<String, String>;

fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let mut exact = selector.match_labels.iter().flatten();
    exact.all(|(name, value)| labels.get(name) == Some(value))
        && selector.match_expressions.iter().flatten().all(|expression| {
            assert_eq!((expression.operator.as_str(), &expression.values), ("Exists", &None));
            labels.contains_key(&expression.key)
        })
}

fn spec(policy: &NetworkPolicy) -> &NetworkPolicySpec {
    policy.spec.as_ref().unwrap()
}

fn applies(policy: &NetworkPolicy, pod: &Labels) -> bool {
    // An absent selector selects everything, like an empty one.
    spec(policy).pod_selector.as_ref().is_none_or(|selector| matches(selector, pod))
}

/// What a rule permits: peers (`None` is any), and ports.
struct Opening<'a> {
    peers: Option<&'a [NetworkPolicyPeer]>,
    ports: &'a [NetworkPolicyPort],
}

fn openings<'a>(manifests: &'a Manifests, pod: &Labels, direction: &str) -> Vec<Opening<'a>> {
    let policies = manifests.policies.values().filter(|policy| applies(policy, pod)).map(spec);
    let mut openings = Vec::new();
    for policy in policies {
        if direction == "Ingress" {
            openings.extend(policy.ingress.iter().flatten().map(|rule| Opening {
                peers: rule.from.as_deref(),
                ports: rule.ports.as_deref().expect("a rule names its ports"),
            }));
        } else {
            openings.extend(policy.egress.iter().flatten().map(|rule| Opening {
                peers: rule.to.as_deref(),
                ports: rule.ports.as_deref().expect("a rule names its ports"),
            }));
        }
    }
    openings
}

impl Opening<'_> {
    /// Whether it applies to a pod of this namespace with these labels.
    fn is_about(&self, pod: &Labels) -> bool {
        self.peers.into_iter().flatten().any(|peer| {
            peer.namespace_selector.is_none()
                && peer.ip_block.is_none()
                && peer.pod_selector.as_ref().is_some_and(|selector| matches(selector, pod))
        })
    }

    /// Whether it applies to peers outside of this namespace.
    fn is_about_outside(&self) -> bool {
        self.peers.is_none_or(|peers| {
            peers.iter().any(|peer| peer.pod_selector.is_none() || peer.namespace_selector.is_some())
        })
    }

    /// Its port numbers; named ports are resolved by the container.
    fn ports(&self, named: impl Fn(&str) -> Option<i32>) -> BTreeSet<i32> {
        let number = |opened: &NetworkPolicyPort| match opened.port.as_ref().expect("a rule names its ports") {
            IntOrString::Int(number) => *number,
            IntOrString::String(name) => named(name).unwrap_or_else(|| panic!("no port is named {name}")),
        };
        self.ports.iter().map(number).collect()
    }
}

fn no_names(name: &str) -> Option<i32> {
    panic!("{name}: ports of other pods must be numeric")
}

#[test]
fn traffic_is_denied_by_default() {
    for manifests in BOTH.map(Manifests::render) {
        let all = spec(&manifests.policies["default-deny"]);
        assert!(all.ingress.is_none() && all.egress.is_none());
        let nobody = Labels::new();
        assert!(applies(&manifests.policies["default-deny"], &nobody));
        let directions = BTreeSet::from_iter(all.policy_types.as_ref().unwrap().iter().map(String::as_str));
        assert_eq!(directions, BTreeSet::from(["Egress", "Ingress"]));
        for (name, policy) in &manifests.policies {
            let policy = spec(policy);
            // Rules for a direction that is not in policyTypes have no effect; a direction without rules is denied.
            let named = |direction: &str| policy.policy_types.as_ref().unwrap().iter().any(|known| known == direction);
            assert!(policy.ingress.is_none() || named("Ingress"), "{name}");
            assert!(policy.egress.is_none() || named("Egress"), "{name}");
        }
    }
}

#[test]
fn every_policy_selector_matches_a_pod() {
    for manifests in BOTH.map(Manifests::render) {
        let pods = manifests.pods();
        for (name, policy) in &manifests.policies {
            let policy = spec(policy);
            let from = policy.ingress.iter().flatten().flat_map(|rule| rule.from.iter().flatten());
            let to = policy.egress.iter().flatten().flat_map(|rule| rule.to.iter().flatten());
            let peers = from.chain(to).filter(|peer| peer.namespace_selector.is_none());
            for selector in peers.filter_map(|peer| peer.pod_selector.as_ref()).chain(&policy.pod_selector) {
                assert!(pods.values().any(|pod| matches(selector, labels(pod))), "{name}: {selector:?}");
            }
        }
    }
}

/// A pod's labels `calls.baton/...` are what it may connect to.
#[test]
fn every_label_for_a_connection_has_a_policy() {
    for manifests in BOTH.map(Manifests::render) {
        let selectors = manifests.policies.values().filter_map(|policy| spec(policy).pod_selector.as_ref());
        let keys: BTreeSet<&str> = selectors
            .flat_map(|selector| selector.match_expressions.iter().flatten())
            .map(|expression| expression.key.as_str())
            .collect();
        for (name, pod) in manifests.pods() {
            for label in labels(pod).keys().filter(|label| label.starts_with("calls.baton/")) {
                assert!(keys.contains(label.as_str()), "{name}: no policy is for {label}");
            }
        }
    }
}

#[test]
fn services_reach_exactly_their_upstreams() {
    for manifests in BOTH.map(Manifests::render) {
        let pods = manifests.pods();
        for caller in services() {
            let peers = called(caller);
            for (callee, pod) in &pods {
                let (from, to) = (labels(manifests.pod(caller.name)), labels(pod));
                let there = container(pod);
                let out: BTreeSet<i32> = openings(&manifests, from, "Egress")
                    .iter()
                    .filter(|opening| opening.is_about(to))
                    .flat_map(|opening| opening.ports(no_names))
                    .collect();
                let into: BTreeSet<i32> = openings(&manifests, to, "Ingress")
                    .iter()
                    .filter(|opening| opening.is_about(from))
                    .flat_map(|opening| opening.ports(|name| port(there, name)))
                    .collect();
                let peer = peers.iter().find(|peer| peer.name == *callee);
                let expected: BTreeSet<i32> = peer.map(|peer| i32::from(peer.port)).into_iter().collect();
                let hint = "`baton manifests k8s/base` writes the labels of peers";
                assert_eq!(out, expected, "egress from {} to {callee}: {hint}", caller.name);
                assert_eq!(into, expected, "ingress of {callee} from {}", caller.name);
            }
        }
    }
}

const DNS: i32 = 53;
const OTLP: i32 = 4317;

/// The ports of servers outside of Baton, by the end of the variable that says where the server is.
const SERVERS: [(&str, &[i32]); 7] = [
    ("_DATABASE_URL", &[5432]),
    ("_REDIS_URL", &[6379]),
    ("_SMTP_URL", &[465, 587]),
    ("_ATTACHMENTS_URL", &[443]),
    ("_EXPORTS_URL", &[443]),
    ("_LEDGER_URL", &[443]),
    ("_PROVIDERS", &[443]),
];

/// The ports of the servers that a service connects to.
fn ports_of_servers(service: &Service) -> BTreeSet<i32> {
    let variables = (service.variables)();
    let reads = |end: &str| variables.iter().any(|variable| variable.name.ends_with(end));
    SERVERS.iter().filter(|(end, _)| reads(end)).flat_map(|(_, ports)| ports.iter().copied()).collect()
}

#[test]
fn pods_reach_exactly_their_configured_servers() {
    for manifests in BOTH.map(Manifests::render) {
        let outside = |pod: &Labels| -> BTreeSet<i32> {
            let open = openings(&manifests, pod, "Egress");
            open.iter()
                .filter(|opening| opening.is_about_outside())
                .flat_map(|opening| opening.ports(no_names))
                .collect()
        };
        let everyone = BTreeSet::from([DNS, OTLP]);
        for service in services() {
            let expected: BTreeSet<i32> = everyone.union(&ports_of_servers(service)).copied().collect();
            assert_eq!(outside(labels(manifests.pod(service.name))), expected, "{}", service.name);
        }
        let pods = manifests.pods();
        let migration = manifests.jobs.keys().next().unwrap().as_str();
        assert_eq!(outside(labels(pods[migration])), BTreeSet::from([DNS, 5432]), "{migration}");
    }
}

#[test]
fn only_ingress_controller_and_prometheus_enter_from_outside() {
    for (manifests, open) in [(Manifests::render("base"), false), (Manifests::render("overlays/production"), true)] {
        for (name, pod) in manifests.pods() {
            let here = container(pod);
            let from_outside: BTreeSet<i32> = openings(&manifests, labels(pod), "Ingress")
                .iter()
                .filter(|opening| opening.is_about_outside())
                .flat_map(|opening| {
                    assert!(opening.peers.is_some(), "{name} is open to the world");
                    opening.ports(|name| port(here, name))
                })
                .collect();
            let expected: BTreeSet<i32> = match name {
                "gateway" if open => ["metrics", "http"].iter().filter_map(|name| port(here, name)).collect(),
                _ => port(here, "metrics").into_iter().collect(),
            };
            assert_eq!(from_outside, expected, "{name}");
        }
    }
}

/// The base leaves the addresses of Postgres, Redis and the mail server open; an overlay sets them.
#[test]
fn production_overlay_names_every_egress_destination() {
    let production = Manifests::render("overlays/production");
    for (name, policy) in &production.policies {
        for rule in spec(policy).egress.iter().flatten() {
            assert!(rule.to.as_ref().is_some_and(|to| !to.is_empty()), "{name} opens a port to the world");
        }
    }
}
