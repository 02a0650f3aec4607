//! `/docs` in a browser: every operation opens (in the light theme), no request fails or goes to another host, and axe finds no violation.
//!
//! axe checks the first operations of each group; with `BATON_DOCS_WHOLE=1` all of them, which takes minutes.
//! `BATON_SCREENSHOTS=<folder>` saves screenshots.

use baton_tests::{Platform, run_node};
use serde_json::{Value, json};

async fn check_page(theme: &str) {
    let platform = Platform::start().await;
    let screenshot = std::env::var("BATON_SCREENSHOTS").ok().map(|folder| format!("{folder}/docs-{theme}.png"));
    let url = format!("{}/docs", platform.url());
    let whole = std::env::var("BATON_DOCS_WHOLE").is_ok();
    let printed =
        run_node("docs.mjs", &json!({"url": url, "theme": theme, "screenshot": screenshot, "whole": whole})).await;

    let of = |key: &str| printed.iter().filter_map(|line| line.get(key)).collect::<Vec<_>>();
    assert_eq!(of("problem"), Vec::<&Value>::new(), "the console has errors");
    assert_eq!(of("foreign_request"), Vec::<&Value>::new(), "the page sent requests to other hosts");
    assert_eq!(of("violation"), Vec::<&Value>::new(), "axe found violations");
    let shown = printed.last().unwrap();
    assert_eq!(shown["missing"], json!([]), "operations that do not open");
    assert!(shown["operations"].as_u64() > Some(100), "{shown}");
    assert_eq!(shown["samples"], shown["shown"], "each operation has a sample");
    assert!(theme == "dark" || shown["shown"] == shown["operations"], "{shown}");
    assert!(shown["tables"].as_u64() > Some(0), "tables in contract comments are rendered");
}

#[tokio::test]
async fn page_is_complete_and_accessible_in_the_light_theme() {
    check_page("light").await;
}

#[tokio::test]
async fn page_is_complete_and_accessible_in_the_dark_theme() {
    check_page("dark").await;
}

#[tokio::test]
async fn page_runs_no_inline_and_no_third_party_script() {
    let platform = Platform::start().await;
    let page = platform.rest().get("/docs").send().await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
    for word in ["unsafe", "http", "*", "nonce"] {
        assert!(!policy.contains(word), "{policy}");
    }
    let parts: Vec<_> = ["src=\"", "href=\"/"].iter().flat_map(|start| page.text.split(start).skip(1)).collect();
    assert!(parts.len() > 4, "{parts:?}");
    for part in parts {
        let path = format!("/{}", part.split('"').next().unwrap().trim_start_matches('/'));
        let response = platform.rest().get(&path).send().await;
        assert!(response.status == 200 && !response.text.is_empty(), "{path}: {}", response.status);
    }
}
