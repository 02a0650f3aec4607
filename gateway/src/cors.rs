//! CORS (the Fetch standard): which browser origins may call.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{
    HeaderName, HeaderValue, Method,
    header::{
        ACCEPT, ACCEPT_RANGES, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE,
        RANGE, RETRY_AFTER,
    },
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::cookies::{X_BATON_SESSION, X_CSRF_TOKEN};
use crate::headers::{IDEMPOTENCY_KEY, LIVE_POSITION, X_ACCOUNT_ID, X_REQUEST_ID};
use crate::rate_limit;

/// Allows these origins, or all if the list is a single `*`. Only named origins may use the refresh token's cookie;
/// other tokens are sent by the page's own code.
pub(crate) fn layer(origins: &[String]) -> Result<CorsLayer> {
    let (origin, credentials) = match origins {
        [star] if star == "*" => (AllowOrigin::any(), false),
        _ => (AllowOrigin::list(origins.iter().map(|origin| parse_origin(origin)).collect::<Result<Vec<_>>>()?), true),
    };
    let header = HeaderName::from_static;
    Ok(CorsLayer::new()
        .allow_origin(origin)
        .allow_credentials(credentials)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            ACCEPT,
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_MATCH,
            IF_NONE_MATCH,
            RANGE,
            IF_RANGE,
            X_ACCOUNT_ID,
            IDEMPOTENCY_KEY,
            X_REQUEST_ID,
            header("last-event-id"),
            X_BATON_SESSION,
            X_CSRF_TOKEN,
            header("traceparent"),
            header("tracestate"),
            header("grpc-timeout"),
            header("x-grpc-web"),
            header("x-user-agent"),
        ])
        .expose_headers(
            [
                ETAG,
                ACCEPT_RANGES,
                CONTENT_RANGE,
                RETRY_AFTER,
                LIVE_POSITION,
                X_REQUEST_ID,
                X_CSRF_TOKEN,
                header("grpc-status"),
                header("grpc-message"),
                header("grpc-status-details-bin"),
            ]
            .into_iter()
            .chain(rate_limit::HEADERS)
            .collect::<Vec<_>>(),
        )
        .max_age(Duration::from_secs(3600)))
}

/// Parses an origin as browsers send it: scheme, host and optionally a port.
fn parse_origin(origin: &str) -> Result<HeaderValue> {
    let parsed =
        url::Url::parse(origin).with_context(|| format!("BATON_GATEWAY_CORS_ORIGINS: {origin} must be an origin"))?;
    let canonical = parsed.origin().ascii_serialization();
    ensure!(canonical == origin, "BATON_GATEWAY_CORS_ORIGINS: {origin} never matches; write {canonical}");
    Ok(HeaderValue::from_str(origin)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_origins_are_refused_at_start() {
        let try_list = |list: &[&str]| layer(&list.iter().map(|&s| s.to_owned()).collect::<Vec<_>>());
        for good in [&["https://app.example.com", "http://localhost:3000"][..], &["*"], &[]] {
            assert!(try_list(good).is_ok(), "{good:?}");
        }
        for bad in [&["https://app.example.com/"][..], &["app.example.com"], &["*", "https://a.example"], &["null"]] {
            assert!(try_list(bad).is_err(), "{bad:?}");
        }
    }
}
