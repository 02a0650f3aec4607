//! The layers of a service: which modules may depend on which. The dependencies are those of the source files: their `use`
//! lines and the paths in their code, tests excluded.
//!
//! ```text
//! rpc, events, maintenance, lib  ->  application  ->  store, clients, emails  ->  domain
//!                                      convert    ->  domain
//! ```
//!
//! The domain is every module that no folder below names: nouns, states, rules and policies. It is synchronous and knows
//! neither SQL, nor the contract, nor other services.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use baton_platform::platform::specs;
use syn::{Attribute, File, Item, ItemUse, UseTree, visit::Visit};

use crate::rendered_manifests::in_clone;

/// A layer: its modules, by the first part of their path, and the layers that it must not depend on.
struct Layer {
    name: &'static str,
    modules: &'static [&'static str],
    forbidden: &'static [&'static str],
    /// Crates that it must not depend on.
    forbidden_crates: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer { name: "wiring", modules: &["lib"], forbidden: &[], forbidden_crates: &[] },
    Layer {
        name: "entry",
        modules: &["rpc", "events", "maintenance", "admin", "membership_resolver"],
        forbidden: &["wiring"],
        forbidden_crates: &[],
    },
    Layer { name: "application", modules: &["application"], forbidden: &["wiring", "entry"], forbidden_crates: &[] },
    Layer {
        name: "adapter",
        modules: &["store", "clients", "emails", "oauth", "throttle", "config"],
        forbidden: &["wiring", "entry", "application"],
        forbidden_crates: &[],
    },
    Layer {
        name: "convert",
        modules: &["convert"],
        forbidden: &["wiring", "entry", "application", "adapter"],
        forbidden_crates: &["sqlx"],
    },
    Layer {
        name: "domain",
        modules: &[],
        forbidden: &["wiring", "entry", "application", "adapter", "convert"],
        forbidden_crates: &["baton_proto", "baton_clients", "sqlx", "tonic"],
    },
];

/// Events are published by the application and consumed by an entry: the publishing half is below the application.
const PUBLISH: &str = "events/publish";

fn layer(module: &str) -> &'static Layer {
    let first = module.split('/').next().unwrap_or(module);
    let named = if module == PUBLISH || module.starts_with("events/publish/") { "convert" } else { first };
    LAYERS.iter().find(|layer| layer.modules.contains(&named)).unwrap_or(&LAYERS[LAYERS.len() - 1])
}

/// The modules of a service: path below `src` without `.rs`, and source.
fn modules(service: &str) -> BTreeMap<String, File> {
    fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, File>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let name = if prefix.is_empty() { stem.to_owned() } else { format!("{prefix}/{stem}") };
            if path.is_dir() {
                collect(&path, &name, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "tests" {
                let source = fs::read_to_string(&path).unwrap();
                found.insert(name, syn::parse_file(&source).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(&in_clone(&format!("services/{service}/src")), "", &mut found);
    found.retain(|name, _| !name.split('/').any(|part| part == "tests"));
    found
}

/// Collects the paths of a file, as lists of their segments.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl Paths {
    fn tree(&mut self, prefix: &[String], tree: &UseTree) {
        let with = |name: String| prefix.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.tree(&with(path.ident.to_string()), &path.tree),
            UseTree::Name(name) => self.0.push(with(name.ident.to_string())),
            UseTree::Rename(rename) => self.0.push(with(rename.ident.to_string())),
            UseTree::Glob(_) => self.0.push(prefix.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(prefix, tree)),
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        if let Item::Mod(module) = item
            && is_test(&module.attrs)
        {
            return;
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.0.push(invocation.path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        // Expressions in a macro are tokens: its paths begin with a keyword or a crate.
        let tokens = invocation.tokens.to_string().replace(' ', "");
        for (at, _) in tokens.match_indices("crate::") {
            let path = tokens[at..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next().unwrap();
            self.0.push(path.split("::").map(str::to_owned).collect());
        }
    }
}

/// What a module depends on.
#[derive(Debug, Default)]
struct Dependencies {
    modules: BTreeSet<String>,
    crates: BTreeSet<String>,
}

fn dependencies(module: &str, file: &File, modules: &BTreeMap<String, File>) -> Dependencies {
    let mut paths = Paths::default();
    paths.visit_file(file);
    let mut found = Dependencies::default();
    for path in paths.0 {
        let mut here: Vec<&str> = if module == "lib" { Vec::new() } else { module.split('/').collect() };
        let mut segments = path.iter().map(String::as_str).peekable();
        match segments.peek().copied() {
            Some("crate") => {
                segments.next();
                here.clear();
            }
            Some("self") => {
                segments.next();
            }
            Some("super") => {
                while segments.next_if_eq(&"super").is_some() {
                    here.pop();
                }
            }
            Some(name) => {
                found.crates.insert(name.to_owned());
                continue;
            }
            None => continue,
        }
        here.extend(segments);
        let longest = (1..=here.len()).rev().map(|len| here[..len].join("/")).find(|name| modules.contains_key(name));
        found.modules.extend(longest.filter(|name| name != module));
    }
    found
}

fn graph(service: &str) -> BTreeMap<String, Dependencies> {
    let modules = modules(service);
    modules.iter().map(|(name, file)| (name.clone(), dependencies(name, file, &modules))).collect()
}

/// The forbidden dependencies of a graph, each as a line.
fn forbidden(graph: &BTreeMap<String, Dependencies>) -> Vec<String> {
    let mut found = Vec::new();
    for (module, dependencies) in graph {
        let own = layer(module);
        for other in &dependencies.modules {
            if own.forbidden.contains(&layer(other).name) {
                found.push(format!("{module} ({}) uses {other} ({})", own.name, layer(other).name));
            }
        }
        for name in dependencies.crates.iter().filter(|name| own.forbidden_crates.contains(&name.as_str())) {
            found.push(format!("{module} ({}) uses the crate {name}", own.name));
        }
    }
    found
}

/// The cycles between modules, each as the sorted list of its members. A module and its own submodules do not count: they
/// are one module in several files.
fn cycles(graph: &BTreeMap<String, Dependencies>) -> Vec<Vec<String>> {
    let reaches = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(next) = open.pop() {
            for other in &graph[&next].modules {
                let family = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
                if !family(&next, other) && !family(other, &next) && seen.insert(other.clone()) {
                    open.push(other.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = graph.keys().map(|module| (module, reaches(module))).collect();
    let mut found = BTreeSet::new();
    for (module, others) in &reached {
        let mut cycle: Vec<String> = others.iter().filter(|other| reached[other].contains(*module)).cloned().collect();
        if !cycle.is_empty() {
            cycle.push((*module).clone());
            cycle.sort();
            cycle.dedup();
            found.insert(cycle);
        }
    }
    found.into_iter().collect()
}

#[test]
fn services_keep_to_their_layers_and_have_no_cycles() {
    let mut wrong = Vec::new();
    for spec in specs() {
        let graph = graph(spec.name);
        assert!(graph.contains_key("lib"), "{} has no lib.rs", spec.name);
        wrong.extend(forbidden(&graph).into_iter().map(|line| format!("{}: {line}", spec.name)));
        wrong.extend(cycles(&graph).into_iter().map(|cycle| format!("{}: cycle of {}", spec.name, cycle.join(", "))));
    }
    assert!(wrong.is_empty(), "{} forbidden dependencies:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_forbidden_dependency_and_a_cycle_are_found() {
    let parse = |source: &str| syn::parse_file(source).unwrap();
    let modules: BTreeMap<String, File> = [
        ("lib", ""),
        ("task", "use crate::store; fn f() { crate::rpc::g() }"),
        ("store", "use baton_proto::x; use crate::task::Task;"),
        ("rpc", "#[cfg(test)] mod tests { use crate::lib; }"),
        ("visibility", "use super::policy; use baton_proto::y;"),
        ("policy", "use crate::visibility::{self, Actor};"),
    ]
    .map(|(name, source)| (name.to_owned(), parse(source)))
    .into();
    let graph = modules.iter().map(|(name, file)| (name.clone(), dependencies(name, file, &modules))).collect();
    assert_eq!(
        forbidden(&graph),
        [
            "task (domain) uses rpc (entry)",
            "task (domain) uses store (adapter)",
            "visibility (domain) uses the crate baton_proto"
        ]
    );
    assert_eq!(cycles(&graph), [vec!["policy", "visibility"], vec!["store", "task"]]);
}
