//! `.sqlx` has no query that is gone from the sources. A query that is missing there does not compile, and `./test` compiles
//! all queries against a database with the migrations.

use std::{collections::BTreeSet, fs, path::Path};

use proc_macro2::{TokenStream, TokenTree};
use syn::Lit;

use crate::rendered_manifests::in_clone;

/// Length from which the beginning of a text identifies a query that a macro completes (`"select ..." + $condition`).
const MIN_PREFIX_LEN: usize = 30;

/// Collects all string literals of these tokens, those in macros and their definitions included.
fn literals(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => literals(group.stream(), found),
            TokenTree::Literal(literal) => {
                if let Lit::Str(text) = Lit::new(literal) {
                    found.insert(text.value());
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

fn sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            literals(fs::read_to_string(&path).unwrap().parse().unwrap(), found);
        }
    }
}

#[test]
fn no_prepared_query_is_gone_from_the_sources() {
    let mut texts = BTreeSet::new();
    for folder in ["crates", "services", "gateway", "tests/example"] {
        sources(&in_clone(folder), &mut texts);
    }
    let prefixes: Vec<&String> = texts.iter().filter(|text| text.len() >= MIN_PREFIX_LEN).collect();
    let mut stale = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(in_clone(".sqlx")).unwrap() {
        let path = entry.unwrap().path();
        let prepared: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let query = prepared["query"].as_str().unwrap();
        count += 1;
        if !texts.contains(query) && !prefixes.iter().any(|prefix| query.starts_with(prefix.as_str())) {
            stale.push(path.file_name().unwrap().to_owned());
        }
    }
    assert!(stale.is_empty(), "CONTRIBUTING.md says how to update .sqlx; to be deleted: {stale:#?}");
    assert!(count > 100, "the prepared queries were found");
}
