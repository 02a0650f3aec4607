//! `docs/asvs.md` names existing tests.

use std::{collections::HashMap, fs, path::Path};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Folders by the prefix used in the page.
fn folders() -> HashMap<&'static str, Vec<&'static str>> {
    HashMap::from([
        ("auth", vec!["services/auth/tests/it", "services/auth/src"]),
        ("tenancy", vec!["services/tenancy/tests/it", "services/tenancy/src"]),
        ("task", vec!["services/task/tests/it", "services/task/src"]),
        ("access", vec!["crates/access/src"]),
        ("recurrence", vec!["crates/recurrence/src"]),
        ("files", vec!["crates/files/src"]),
        ("gateway", vec!["gateway/src", "gateway/tests/it", "gateway/tests"]),
        ("baton", vec!["crates/baton/tests/it"]),
        ("black-box", vec!["tests/it"]),
    ])
}

#[test]
fn every_test_named_in_asvs_md_exists() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/asvs.md")).unwrap();
    let folders = folders();
    let mut named = 0;
    let mut missing = Vec::new();
    for name in page.split('`').skip(1).step_by(2) {
        let Some((file, test)) = name.split_once(".rs::") else { continue };
        named += 1;
        let (place, file) = file.split_once('/').unwrap();
        let is_there = folders[place].iter().any(|folder| {
            let text = fs::read_to_string(Path::new(ROOT).join(folder).join(format!("{file}.rs")));
            text.is_ok_and(|text| text.contains(&format!("fn {test}(")))
        });
        if !is_there {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "missing: {missing:#?}");
    assert!(named > 60, "only {named} tests: the page's format has changed");
}
