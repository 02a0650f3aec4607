//! `.sqlx` has exactly the queries of the sources. What it says about each is checked by `./test`, which compiles the queries
//! against a database with the migrations.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use sha2::{Digest, Sha256};
use syn::{Lit, Macro, visit::Visit};

use crate::rendered_manifests::in_clone;

/// Texts of the queries in one file.
#[derive(Default)]
struct Queries(Vec<String>);

impl<'ast> Visit<'ast> for Queries {
    fn visit_macro(&mut self, invocation: &'ast Macro) {
        let name = invocation.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if ["query", "query_as", "query_scalar"].contains(&name.as_str()) {
            let text = invocation.tokens.clone().into_iter().find_map(|token| {
                match syn::parse_str::<Lit>(&token.to_string()) {
                    Ok(Lit::Str(text)) => Some(text.value()),
                    _ => None,
                }
            });
            self.0.push(text.expect("the text of the query is a literal"));
        }
    }
}

fn sources(folder: &Path, found: &mut BTreeMap<String, Vec<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
            let mut queries = Queries::default();
            queries.visit_file(&file);
            found.insert(path.display().to_string(), queries.0);
        }
    }
}

#[test]
fn the_committed_queries_are_those_of_the_sources() {
    let mut found = BTreeMap::new();
    for folder in ["crates", "services", "gateway"] {
        sources(&in_clone(folder), &mut found);
    }
    let queries: BTreeMap<String, String> = found
        .into_iter()
        .flat_map(|(file, texts)| texts.into_iter().map(move |text| (text, file.clone())))
        .map(|(text, file)| (format!("query-{}.json", hex(&Sha256::digest(text.as_bytes()))), file))
        .collect();
    let committed: BTreeSet<String> = fs::read_dir(in_clone(".sqlx"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let missing: Vec<_> = queries.iter().filter(|(name, _)| !committed.contains(*name)).collect();
    let stale: Vec<_> = committed.iter().filter(|name| !queries.contains_key(*name)).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "CONTRIBUTING.md says how to update .sqlx.\nmissing: {missing:#?}\nstale, to be deleted: {stale:#?}"
    );
    assert!(queries.len() > 100, "the queries were found");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
