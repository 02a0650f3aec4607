//! The manifests as `kubectl kustomize` renders them, each in its Kubernetes type.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::PathBuf,
    process::Command,
};

use k8s_openapi::{
    Metadata,
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::Job,
        core::v1::{ConfigMap, Container, Namespace, PodTemplateSpec, Service, ServiceAccount},
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The folders under test: the base and the production overlay.
pub(crate) const BOTH: [&str; 2] = ["base", "overlays/production"];

/// A path in the repository.
pub(crate) fn in_clone(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// All objects of a folder, by kind and name.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    pub(crate) deployments: BTreeMap<String, Deployment>,
    pub(crate) jobs: BTreeMap<String, Job>,
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) service_accounts: BTreeMap<String, ServiceAccount>,
    pub(crate) scalers: BTreeMap<String, HorizontalPodAutoscaler>,
    pub(crate) budgets: BTreeMap<String, PodDisruptionBudget>,
    pub(crate) policies: BTreeMap<String, NetworkPolicy>,
    pub(crate) config_maps: BTreeMap<String, ConfigMap>,
    pub(crate) ingresses: BTreeMap<String, Ingress>,
    pub(crate) namespaces: BTreeMap<String, Namespace>,
}

impl Manifests {
    /// Renders `k8s/<folder>`.
    pub(crate) fn render(folder: &str) -> Self {
        let rendered = Command::new("kubectl").arg("kustomize").arg(in_clone("k8s").join(folder)).output();
        let rendered = rendered.expect("kubectl is needed to render k8s/; scripts/setup --tests installs it");
        let errors = String::from_utf8_lossy(&rendered.stderr);
        assert!(rendered.status.success() && errors.is_empty(), "k8s/{folder} does not render: {errors}");
        let mut manifests = Self::default();
        for document in serde_yaml_ng::Deserializer::from_slice(&rendered.stdout) {
            manifests.add(&Value::deserialize(document).unwrap());
        }
        manifests
    }

    fn add(&mut self, document: &Value) {
        let text = |field: &str| document[field].as_str().unwrap_or_default();
        match (text("apiVersion"), text("kind")) {
            ("apps/v1", "Deployment") => insert(&mut self.deployments, document),
            ("batch/v1", "Job") => insert(&mut self.jobs, document),
            ("v1", "Service") => insert(&mut self.services, document),
            ("v1", "ServiceAccount") => insert(&mut self.service_accounts, document),
            ("autoscaling/v2", "HorizontalPodAutoscaler") => insert(&mut self.scalers, document),
            ("policy/v1", "PodDisruptionBudget") => insert(&mut self.budgets, document),
            ("networking.k8s.io/v1", "NetworkPolicy") => insert(&mut self.policies, document),
            ("v1", "ConfigMap") => insert(&mut self.config_maps, document),
            ("networking.k8s.io/v1", "Ingress") => insert(&mut self.ingresses, document),
            ("v1", "Namespace") => insert(&mut self.namespaces, document),
            other => panic!("{other:?} is a kind that these tests do not know; Secrets do not belong in k8s/"),
        }
    }

    /// The pods of Deployments and Jobs, by the object's name.
    pub(crate) fn pods(&self) -> BTreeMap<&str, &PodTemplateSpec> {
        let deployments = self.deployments.iter().map(|(name, made)| (name, &made.spec.as_ref().unwrap().template));
        let jobs = self.jobs.iter().map(|(name, made)| (name, &made.spec.as_ref().unwrap().template));
        deployments.chain(jobs).map(|(name, template)| (name.as_str(), template)).collect()
    }

    /// The pod of a service.
    pub(crate) fn pod(&self, service: &str) -> &PodTemplateSpec {
        let deployment = self.deployments.get(service);
        let deployment =
            deployment.unwrap_or_else(|| panic!("{service} has no Deployment; run: baton manifests k8s/base"));
        &deployment.spec.as_ref().unwrap().template
    }

    /// The values of the only ConfigMap.
    pub(crate) fn common(&self) -> &BTreeMap<String, String> {
        assert_eq!(self.config_maps.len(), 1);
        self.config_maps.values().next().unwrap().data.as_ref().unwrap()
    }
}

/// The only container of a pod.
pub(crate) fn container(pod: &PodTemplateSpec) -> &Container {
    let spec = pod.spec.as_ref().unwrap();
    assert!(spec.init_containers.is_none() && spec.ephemeral_containers.is_none());
    assert_eq!(spec.containers.len(), 1);
    &spec.containers[0]
}

/// The labels of a pod.
pub(crate) fn labels(pod: &PodTemplateSpec) -> &BTreeMap<String, String> {
    pod.metadata.as_ref().unwrap().labels.as_ref().unwrap()
}

/// The container port with this name.
pub(crate) fn port(container: &Container, name: &str) -> Option<i32> {
    let ports = container.ports.iter().flatten();
    ports.filter(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port).next()
}

fn insert<T>(objects: &mut BTreeMap<String, T>, document: &Value)
where
    T: DeserializeOwned + Serialize + Debug + Metadata<Ty = ObjectMeta>,
{
    let object: T = typed(document);
    let name = object.metadata().name.clone().unwrap();
    let twice = objects.insert(name.clone(), object);
    assert!(twice.is_none(), "two {} are named {name}", document["kind"]);
}

/// Parses `document` into its type. The type drops unknown fields, so a misspelt or misplaced field is missing when the
/// object is serialized again.
fn typed<T: DeserializeOwned + Serialize>(document: &Value) -> T {
    let what = format!("{} {}", document["kind"], document["metadata"]["name"]);
    let object: T = serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut lost = BTreeSet::new();
    compare(document, &serde_json::to_value(&object).unwrap(), String::new(), &mut lost);
    assert!(lost.is_empty(), "{what}: unknown fields: {lost:?}");
    object
}

fn compare(written: &Value, kept: &Value, path: String, lost: &mut BTreeSet<String>) {
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => {
            for (field, value) in written {
                let path = format!("{path}.{field}");
                match kept.get(field) {
                    Some(kept) => compare(value, kept, path, lost),
                    None => _ = lost.insert(path),
                }
            }
        }
        (Value::Array(written), Value::Array(kept)) if written.len() == kept.len() => {
            for (index, (value, kept)) in written.iter().zip(kept).enumerate() {
                compare(value, kept, format!("{path}[{index}]"), lost);
            }
        }
        _ if written == kept => {}
        _ => _ = lost.insert(path),
    }
}

#[test]
fn misspelt_field_is_detected() {
    let pod = |field: &str| serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}, field: false});
    let account: ServiceAccount = typed(&pod("automountServiceAccountToken"));
    assert_eq!(account.automount_service_account_token, Some(false));
    let misspelt = std::panic::catch_unwind(|| typed::<ServiceAccount>(&pod("automountServiceAccountTokens")));
    assert!(misspelt.is_err());
}
