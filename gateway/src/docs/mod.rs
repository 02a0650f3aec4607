//! `/docs`: the documentation for people. It reads `/openapi.json` and nothing from elsewhere.

use axum::{Router, response::IntoResponse, routing::get};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

/// Nothing inline, nothing foreign: text of the contract that looks like markup stays text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and its parts.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/docs", get(|| file("text/html; charset=utf-8", include_str!("page.html"))))
        .route("/docs/style.css", get(|| file("text/css; charset=utf-8", include_str!("style.css"))))
        .route("/docs/script.js", get(|| file("text/javascript; charset=utf-8", include_str!("script.js"))))
        .route("/docs/icon.svg", get(|| file("image/svg+xml", include_str!("icon.svg"))))
}

async fn file(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, content_type), (CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "public, no-cache")], text)
}
