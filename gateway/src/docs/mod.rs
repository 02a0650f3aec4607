//! `/docs`: Swagger UI for `/openapi.json`, and the table of reasons. It loads nothing from other hosts.

use std::{
    fmt::Write as _,
    io::{Cursor, Read as _},
    sync::LazyLock,
};

use anyhow::{Context as _, Result};
use axum::{Router, response::IntoResponse, routing::get};
use baton_errors::Reason;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// Forbids inline code and other hosts, so that markup in the contract's text cannot run. Swagger UI's style sheet
/// contains its icons as `data:` images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Swagger UI's style sheet and script, unpacked on first use: most gateways never serve them.
static SWAGGER_UI: LazyLock<(Bytes, Bytes)> =
    LazyLock::new(|| (unpacked("dist/swagger-ui.css"), unpacked("dist/swagger-ui-bundle.js")));

/// The routes of the page and its assets.
pub(crate) fn router() -> Router {
    let page = Bytes::from(page());
    let fixed =
        |content_type, text: &'static str| get(async move || file(content_type, Bytes::from_static(text.as_bytes())));
    Router::new()
        .route("/docs", get(async move || file(HTML, page.clone())))
        .route("/docs/style.css", fixed(CSS, include_str!("style.css")))
        .route("/docs/script.js", fixed(JAVASCRIPT, include_str!("script.js")))
        .route("/docs/icon.svg", fixed("image/svg+xml", include_str!("icon.svg")))
        .route("/docs/swagger-ui.css", get(async || file(CSS, SWAGGER_UI.0.clone())))
        .route("/docs/swagger-ui-bundle.js", get(async || file(JAVASCRIPT, SWAGGER_UI.1.clone())))
}

fn file(content_type: &'static str, bytes: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, content_type), (CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "public, no-cache")], bytes)
}

/// Builds the page with the table of reasons.
fn page() -> String {
    let mut rows = String::new();
    for reason in Reason::ALL {
        let (name, anchor) = (reason.name(), reason.name().to_ascii_lowercase());
        // Writing to a string cannot fail.
        let _ = writeln!(
            rows,
            r##"        <tr id="reason-{anchor}"><th scope="row"><a href="#reason-{anchor}"><code>{name}</code></a></th><td>{}</td><td>{:?}</td><td>{}</td></tr>"##,
            reason.http_status(),
            reason.code(),
            text(reason.description()),
        );
    }
    include_str!("page.html").replace("{reasons}", &rows)
}

/// Escapes text as HTML, and formats code between backticks.
fn text(plain: &str) -> String {
    let escaped = plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let pieces = escaped.split('`').enumerate();
    pieces.map(|(i, piece)| if i % 2 == 1 { format!("<code>{piece}</code>") } else { piece.to_owned() }).collect()
}

/// Unpacks a file of the vendored archive; empty if it is missing, which a test excludes.
fn unpacked(name: &str) -> Bytes {
    read(name).unwrap_or_else(|error| {
        tracing::error!(%error, name, "cannot unpack a file of Swagger UI");
        Bytes::new()
    })
}

fn read(name: &str) -> Result<Bytes> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    // The name of the archive's folder contains the version.
    let is_it = |path: &str| path.split_once('/').is_some_and(|(_, below)| below == name);
    let found = archive.file_names().filter_map(Result::ok).find(|path| is_it(path)).map(|path| path.into_owned());
    let found = found.with_context(|| format!("the archive has no {name}"))?;
    let mut bytes = Vec::new();
    archive.by_name(&found)?.read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_contains_the_assets_of_the_page() {
        let (style, script) = &*SWAGGER_UI;
        assert!(style.len() > 50_000 && script.len() > 500_000, "{} and {} bytes", style.len(), script.len());
    }

    #[test]
    fn every_reason_has_a_row_and_an_anchor() {
        let page = page();
        for reason in Reason::ALL {
            let anchor = reason.name().to_ascii_lowercase();
            assert!(page.contains(&format!("<tr id=\"reason-{anchor}\">")), "{anchor}");
        }
        assert!(!page.contains("{reasons}"));
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(text("a <b> & `limit`"), "a &lt;b&gt; &amp; <code>limit</code>");
    }
}
