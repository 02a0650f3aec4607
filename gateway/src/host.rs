//! The `Host` allow-list.
//!
//! It protects against DNS rebinding. To its browser, a page whose name was rebound to the gateway's address has the
//! gateway's origin: it may send any request and read the response. Only the `Host` header reveals it.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use baton_errors::Reason;
use baton_runtime::host;
use http::{header::HOST, uri::Authority};

use crate::problem::Problem;

/// Stands for all names and addresses of this machine.
const LOCAL: &str = "localhost";

/// Rejects requests whose `Host` is not in the list. An empty list allows all.
pub(crate) async fn require_allowed(State(allowed): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    let named = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    // HTTP/2 has it in the URI.
    let named = named.or_else(|| request.uri().authority().map(Authority::as_str)).unwrap_or_default();
    if is_allowed(&allowed, named) {
        return next.run(request).await;
    }
    Problem::from(Reason::HostNotAllowed).into_response_for(request.headers())
}

fn is_allowed(allowed: &[String], named: &str) -> bool {
    let is = |allowed: &String| match allowed.as_str() {
        LOCAL => host::is_local(named),
        name => named.parse::<Authority>().is_ok_and(|named| named.host().eq_ignore_ascii_case(name)),
    };
    allowed.is_empty() || allowed.iter().any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_port_and_case() {
        let allowed = ["localhost", "api.example.org"].map(str::to_owned);
        for host in ["localhost:8080", "127.0.0.1", "[::1]:8080", "API.example.org", "api.example.org:443"] {
            assert!(is_allowed(&allowed, host), "{host}");
        }
        for host in ["", "evil.example", "api.example.org.evil.example", "evil.example:8080", "192.168.0.7"] {
            assert!(!is_allowed(&allowed, host), "{host}");
            assert!(is_allowed(&[], host), "{host}");
        }
    }
}
