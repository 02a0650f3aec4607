//! `baton manifests FOLDER`: the part of the Kubernetes manifests that follows from the registry.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, process::ExitCode};

use anyhow::Context;
use baton_service::Spec;

use crate::platform;

const HEADER: &str =
    "# Written by `baton manifests k8s/base` from the registry of services (crates/baton/src/platform.rs).\n";

pub(crate) fn run(folder: &Path) -> anyhow::Result<ExitCode> {
    for (path, text) in files(folder) {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The files by their path in `folder`, which is `k8s/base` or a copy of it. A service's own patch
/// (`<service>/deployment.yaml`) is included in its kustomization if it is there.
pub fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut resources = format!(
        "{HEADER}# All of Baton, for whatever namespace an overlay names. A folder is a service and can be rendered by \
         itself.\n\
         apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - shared\n  - migrate\n"
    );
    let mut urls = format!("{HEADER}# Where the services are.\n");
    for spec in platform::specs() {
        let (name, port) = (spec.name, spec.port);
        let mut patches = Vec::new();
        if let Some(peers) = peers(spec) {
            files.insert(format!("{name}/peers.yaml"), peers);
            patches.push("peers.yaml");
        }
        if folder.join(name).join("deployment.yaml").exists() {
            patches.push("deployment.yaml");
        }
        files.insert(format!("{name}/kustomization.yaml"), kustomization(spec, &patches));
        writeln!(urls, "{}=http://{name}:{port}", spec.url_variable()).ok();
        writeln!(resources, "  - {name}").ok();
    }
    resources += "  - gateway\n";
    files.insert("kustomization.yaml".to_owned(), resources);
    files.insert("shared/services.env".to_owned(), urls);
    let callees: Vec<&Spec> = platform::specs().collect();
    files.insert("gateway/peers.yaml".to_owned(), patch("gateway", &callees, &secret("gateway")));
    files
}

fn kustomization(spec: &Spec, patches: &[&str]) -> String {
    let (name, port, upper) = (spec.name, spec.port, spec.name.to_uppercase());
    let mut text = format!(
        "{HEADER}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\ncomponents:\n  \
         - ../../components/service\nconfigMapGenerator:\n  - name: {name}\n    \
         literals: [name={name}, NAME={upper}, port={port}]\n"
    );
    if !patches.is_empty() {
        text += "patches:\n";
    }
    for patch in patches {
        writeln!(text, "  - path: {patch}").ok();
    }
    text
}

/// The patch with the peers and the service secret; `None` for a service without any.
fn peers(spec: &Spec) -> Option<String> {
    let callees: Vec<&Spec> = platform::specs().filter(|callee| spec.peers.contains(&callee.name)).collect();
    let secret = if spec.has_service_secret { secret(spec.name) } else { String::new() };
    (!callees.is_empty() || !secret.is_empty()).then(|| patch(spec.name, &callees, &secret))
}

/// The variable with a service's own secret.
fn secret(name: &str) -> String {
    let key = platform::secret_variable(name);
    format!("            - name: {key}\n              valueFrom: {{secretKeyRef: {{name: {name}, key: {key}}}}}\n")
}

/// A patch of a Deployment: a label and a variable per callee, and more variables.
fn patch(name: &str, callees: &[&Spec], variables: &str) -> String {
    let mut text =
        format!("{HEADER}apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  template:\n");
    if !callees.is_empty() {
        text += "    metadata:\n      labels:\n";
    }
    for callee in callees {
        writeln!(text, "        calls.baton/{}: \"true\"", callee.name).ok();
    }
    text += "    spec:\n      containers:\n        - name: baton\n          env:\n";
    for url in callees.iter().map(|callee| callee.url_variable()) {
        writeln!(text, "            - name: {url}").ok();
        writeln!(text, "              valueFrom: {{configMapKeyRef: {{name: baton, key: {url}}}}}").ok();
    }
    text + variables
}
