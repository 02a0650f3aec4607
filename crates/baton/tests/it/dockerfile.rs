//! The Dockerfile builds the image of `k8s/` from existing files. The tests read it, because no container engine is
//! available.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use toml::Table;

use crate::rendered_manifests::{Manifests, container, in_clone};

/// A build stage: its base image and instructions.
#[derive(Debug)]
struct Stage {
    from: String,
    instructions: Vec<(String, String)>,
}

impl Stage {
    /// The last instruction of this kind.
    fn last(&self, instruction: &str) -> Option<&str> {
        self.instructions.iter().rev().find(|(name, _)| name == instruction).map(|(_, rest)| rest.as_str())
    }
}

fn stages() -> BTreeMap<String, Stage> {
    let text = fs::read_to_string(in_clone("Dockerfile")).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let mut stages = BTreeMap::new();
    let mut current = String::new();
    for line in lines.replace("\\\n", " ").lines().filter(|line| !line.trim().is_empty()) {
        let (instruction, rest) = line.split_once(' ').unwrap();
        if instruction == "FROM" {
            let (from, name) = rest.split_once(" AS ").unwrap();
            current = name.to_owned();
            let fresh = stages.insert(current.clone(), Stage { from: from.to_owned(), instructions: Vec::new() });
            assert!(fresh.is_none(), "two stages are named {name}");
        } else {
            let stage: &mut Stage = stages.get_mut(&current).unwrap();
            stage.instructions.push((instruction.to_owned(), rest.trim().to_owned()));
        }
    }
    stages
}

/// Paths that the build copies from the repository.
fn copied() -> BTreeSet<String> {
    let stages = stages();
    let copies = stages["build"].instructions.iter().filter(|(name, _)| name == "COPY");
    copies
        .flat_map(|(_, rest)| {
            let mut words: Vec<&str> = rest.split_whitespace().collect();
            words.pop();
            words.into_iter().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn copied_paths_exist_and_cover_the_build() {
    let copied = copied();
    let ignored = fs::read_to_string(in_clone(".dockerignore")).unwrap();
    for path in &copied {
        assert!(in_clone(path).exists(), "{path} does not exist");
        let ignores = |line: &str| line.trim_matches('/') == path || line == format!("**/{path}");
        assert!(!ignored.lines().any(ignores), "{path} is ignored");
    }
    let workspace: Table = fs::read_to_string(in_clone("Cargo.toml")).unwrap().parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap().iter().map(|member| member.as_str().unwrap());
    let folders = members.map(|member| member.trim_end_matches("/*"));
    // Compiling the services reads `migrations` and `.sqlx`.
    for needed in folders.chain(["Cargo.toml", "Cargo.lock", "migrations", ".sqlx"]) {
        let covered = Path::new(needed).ancestors().any(|path| path.to_str().is_some_and(|path| copied.contains(path)));
        assert!(covered, "the build needs {needed} but does not copy it");
    }
    let version = workspace["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(stages()["build"].from.starts_with(&format!("rust:{version}-")), "the toolchain is not Rust {version}");
}

#[test]
fn every_pod_runs_the_one_image() {
    let stages = stages();
    assert!(stages.keys().eq(["baton", "build"]), "the Dockerfile has a build stage and one image");
    let entry: Vec<String> = serde_json::from_str(stages["baton"].last("ENTRYPOINT").unwrap()).unwrap();
    assert_eq!(entry, ["/baton"]);
    let base = Manifests::render("base");
    for (name, pod) in base.pods() {
        let container = container(pod);
        assert_eq!(container.image.as_deref(), Some("baton"), "{name}");
        assert!(container.command.is_none(), "{name}: the image defines its command");
        let args: Vec<&str> = container.args.iter().flatten().map(String::as_str).collect();
        if base.jobs.contains_key(name) {
            assert_eq!(args, ["migrate"], "{name}");
        } else {
            assert_eq!(args, ["serve", name]);
        }
    }
}

#[test]
fn image_user_matches_the_pod_user() {
    let stages = stages();
    let (user, group) = stages["baton"].last("USER").unwrap().split_once(':').unwrap();
    for (name, pod) in Manifests::render("base").pods() {
        let security = pod.spec.as_ref().unwrap().security_context.as_ref().unwrap();
        assert_eq!(security.run_as_user, user.parse().ok(), "{name}");
        assert_eq!(security.run_as_group, group.parse().ok(), "{name}");
    }
}

#[test]
fn production_overlay_pins_the_image_and_its_migration() {
    let production = Manifests::render("overlays/production");
    let mut images = BTreeSet::new();
    for (name, pod) in production.pods() {
        let image = container(pod).image.as_deref().unwrap();
        let (repository, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image} has no tag"));
        assert!(repository.contains('.') && repository.ends_with("/baton"), "{name}: {repository}");
        assert!(!tag.contains('/') && tag != "latest", "{name}: {tag}");
        // A Job is immutable, so each release needs its own name.
        if production.jobs.contains_key(name) {
            assert_eq!(name, format!("migrate-{tag}"));
        }
        images.insert(image);
    }
    assert_eq!(images.len(), 1, "{images:?}");
}
