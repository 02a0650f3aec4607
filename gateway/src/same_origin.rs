//! Whether a page comes from the gateway's own host.

use http::{HeaderMap, Uri, header::HOST};

/// Whether an `Origin` names this host, as the request addresses it.
pub(crate) fn is_same_origin(origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    // HTTP/2 has the host in the URI.
    let host = uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| headers.get(HOST)?.to_str().ok());
    host.is_some_and(|host| origin.split_once("://").is_some_and(|(_, authority)| authority == host))
}
