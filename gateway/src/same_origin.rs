//! Which pages may open a WebSocket, and the token that they offer.

use axum::extract::WebSocketUpgrade;
use http::{
    HeaderMap, Uri,
    header::{HOST, ORIGIN},
};

const TOKEN_SUBPROTOCOL: &str = "baton.token.";

/// Whether an `Origin` names this host, as the request addresses it.
pub(crate) fn is_same_origin(origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    // HTTP/2 has the host in the URI.
    let host = uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| headers.get(HOST)?.to_str().ok());
    host.is_some_and(|host| origin.split_once("://").is_some_and(|(_, authority)| authority == host))
}

/// Whether the page's origin may connect. Browsers always send `Origin`; clients without it are not browsers.
pub(crate) fn may_connect(allowed: &[String], uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    is_same_origin(origin, uri, headers) || allowed.iter().any(|allowed| allowed == "*" || allowed == origin)
}

/// The access token that a WebSocket offers as a subprotocol, which unlike the query is not logged.
pub(crate) fn subprotocol_token(upgrade: &WebSocketUpgrade) -> Option<String> {
    let mut offered = upgrade.requested_protocols().filter_map(|protocol| protocol.to_str().ok());
    offered.find_map(|protocol| protocol.strip_prefix(TOKEN_SUBPROTOCOL)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;

    #[test]
    fn only_allowed_origins_and_the_own_host_may_connect() {
        let uri = Uri::from_static("/cable");
        let may = |origin: Option<&str>, allowed: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "api.example.com:8080".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            may_connect(&allowed.iter().map(|&s| s.to_owned()).collect::<Vec<_>>(), &uri, &headers)
        };
        let app = &["https://app.example.com"][..];
        assert!(may(None, &[]));
        assert!(may(Some("https://app.example.com"), app));
        assert!(may(Some("http://api.example.com:8080"), &[]));
        assert!(may(Some("https://evil.example"), &["*"]));
        for evil in ["https://evil.example", "null", "http://api.example.com", "https://app.example.com.evil.example"] {
            assert!(!may(Some(evil), app), "{evil}");
        }
    }
}
