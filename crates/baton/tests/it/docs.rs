//! Documents name files, crates and variables that exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use baton_platform::platform::services;
use baton_runtime::{process::ProcessConfig, telemetry::TelemetryConfig};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Extensions by which a word in backticks is a file of the repository, wherever it is.
const EXTENSIONS: [&str; 11] = ["css", "env", "html", "md", "mjs", "proto", "py", "rs", "sql", "toml", "yaml"];

/// Extensions of the text files that are searched for names of documents.
const SOURCES: [&str; 9] = ["css", "env", "md", "mjs", "proto", "rs", "sql", "toml", "yaml"];

/// Documents of other projects that sources cite.
const FOREIGN: [&str; 1] = ["PROTOCOL-WEB.md"];

/// The files and folders of the repository, by their paths from its root.
struct Tree(BTreeSet<String>);

impl Tree {
    fn read() -> Self {
        let mut paths = BTreeSet::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(Path::new(ROOT).join(&folder)).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                if matches!(name.as_str(), ".git" | ".baton" | "node_modules" | "target") {
                    continue;
                }
                let path = folder.join(name);
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path.clone());
                }
                paths.insert(path.into_os_string().into_string().unwrap());
            }
        }
        Self(paths)
    }

    fn with_extension<'a>(&'a self, extensions: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(String::as_str).filter(|path| extensions.contains(&extension(path)))
    }

    /// Whether a path exists that this pattern matches as a whole. `<service>` and `*` stand for one name or a part of it.
    fn has(&self, pattern: &str) -> bool {
        if !pattern.contains('*') { self.0.contains(pattern) } else { self.0.iter().any(|path| matches(pattern, path)) }
    }

    /// Whether a document in `folder` names an existing path: from the root, from the folder, or by its last parts.
    fn resolves(&self, folder: &Path, name: &str) -> bool {
        let name = name.trim_end_matches('/');
        if self.has(name) || normal(&folder.join(name)).is_some_and(|path| path.is_empty() || self.has(&path)) {
            return true;
        }
        let first = name.split('/').next().unwrap_or_default();
        // Documents of the whole repository describe the modules of every service; a crate's README describes its own.
        let is_of_crate =
            !folder.as_os_str().is_empty() && folder.to_str().is_some_and(|f| self.has(&format!("{f}/Cargo.toml")));
        let is_anchored = name.contains('/') && (first == "src" && is_of_crate || self.0.contains(first));
        let by_last_parts = |path: &String| path.match_indices('/').any(|(at, _)| matches(name, &path[at + 1..]));
        !is_anchored && self.0.iter().any(by_last_parts)
    }

    /// Whether a word in backticks, in a document in `folder`, is the path of a file or folder.
    fn is_path(&self, folder: &Path, word: &str) -> bool {
        let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "_./-*".contains(c));
        if !is_plain || word.starts_with(['/', '-', '.', '*']) || word.contains("NNNN") {
            return false;
        }
        let first = word.split('/').next().unwrap_or_default();
        let known = |first: &str| self.0.contains(first) || normal(&folder.join(first)).is_some_and(|p| self.has(&p));
        EXTENSIONS.contains(&extension(word)) && !word.starts_with('.') || word.contains('/') && known(first)
    }
}

fn extension(path: &str) -> &str {
    path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension)
}

/// A path without `.` and `..`; `None` if it leaves the repository.
fn normal(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// Whether a pattern matches a path. `*` stands for one or more characters of one name.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == path };
    let Some(rest) = path.strip_prefix(head) else { return false };
    let longest = rest.find('/').unwrap_or(rest.len());
    (1..=longest).filter(|&length| rest.is_char_boundary(length)).any(|length| matches(tail, &rest[length..]))
}

/// `<service>` as `*`.
fn with_wildcards(word: &str) -> String {
    let (mut pattern, mut rest) = (String::new(), word);
    while let Some((before, after)) = rest.split_once('<') {
        let Some((_, behind)) = after.split_once('>') else { break };
        pattern += before;
        pattern.push('*');
        rest = behind;
    }
    pattern + rest
}

/// The document without fenced code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The words in backticks.
fn words(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// The targets of relative links, without fragments.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    let targets = prose.split("](").skip(1).filter_map(|after| after.split_once(')')).map(|(target, _)| target);
    let relative = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    relative.map(|target| target.split('#').next().unwrap_or_default()).filter(|target| !target.is_empty())
}

fn folder_of(path: &str) -> &Path {
    Path::new(path).parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn paths_and_links_in_documents_exist() {
    let tree = Tree::read();
    let (mut checked, mut missing) = (0, Vec::new());
    for document in tree.with_extension(&["md"]) {
        let (folder, prose) = (folder_of(document), prose(&read(document)));
        for word in words(&prose).map(with_wildcards).filter(|word| tree.is_path(folder, word)) {
            checked += 1;
            if !tree.resolves(folder, &word) {
                missing.push(format!("{document}: `{word}`"));
            }
        }
        for target in links(&prose) {
            checked += 1;
            if !normal(&folder.join(target)).is_some_and(|path| tree.0.contains(&path)) {
                missing.push(format!("{document}: the link to {target}"));
            }
        }
    }
    assert!(missing.is_empty(), "missing: {missing:#?}");
    assert!(checked > 200, "only {checked} paths were found: the form of the documents has changed");
}

#[test]
fn documents_named_in_sources_exist() {
    let tree = Tree::read();
    let mut missing = Vec::new();
    for source in tree.with_extension(&SOURCES) {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
        for word in read(source).split(|c| !is_part(c)).map(|word| word.trim_end_matches('.')) {
            let is_document = word.ends_with(".md") && !word.starts_with(['/', '.']) && !FOREIGN.contains(&word);
            if is_document && !tree.resolves(folder_of(source), word) {
                missing.push(format!("{source}: {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "missing: {missing:#?}");
}

#[test]
fn the_map_has_every_crate() {
    let (tree, readme) = (Tree::read(), read("README.md"));
    let crates = tree.0.iter().filter_map(|path| path.strip_prefix("crates/")).filter(|name| !name.contains('/'));
    let missing: Vec<_> = crates.filter(|name| !readme.contains(&format!(" {name}/"))).collect();
    assert!(missing.is_empty(), "the map in README.md lacks {missing:?}");
}

#[test]
fn operations_has_every_environment_variable() {
    let page = read("docs/operations.md");
    let mut missing = BTreeSet::new();
    for service in services() {
        let variables = (service.variables)();
        for variable in variables.iter().chain(ProcessConfig::VARIABLES).chain(TelemetryConfig::VARIABLES) {
            let shared = services().iter().find_map(|other| {
                let suffix = variable.name.strip_prefix(&format!("BATON_{}_", other.name.to_uppercase()))?;
                Some(format!("BATON_<SERVICE>_{suffix}"))
            });
            let is_there = |name: &str| page.contains(&format!("`{name}`"));
            if !is_there(&variable.name) && !shared.is_some_and(|name| is_there(&name)) {
                missing.insert(format!("{} of {}", variable.name, service.name));
            }
        }
    }
    assert!(missing.is_empty(), "docs/operations.md lacks {missing:#?}");
}

#[test]
fn a_pattern_stands_for_one_name() {
    assert!(matches("services/*/src/*.rs", "services/task/src/lib.rs"));
    assert!(!matches("services/*/lib.rs", "services/task/src/lib.rs"));
    assert_eq!(with_wildcards("migrations/<service>/x"), "migrations/*/x");
    assert_eq!(normal(Path::new("docs/adr/../../proto/src")).unwrap(), "proto/src");
    assert_eq!(normal(Path::new("../outside")), None);
}
