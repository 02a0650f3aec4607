//! By which names the gateway may be called (`Host`).
//!
//! A page whose name was rebound to the gateway's address (DNS rebinding) is of the same origin as the gateway to its
//! browser: it may send whatever it likes and read the answers. Only the name that it was called by tells it.

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

/// All names of this machine: `localhost` and its addresses.
const LOCAL: &str = "localhost";

/// Lets requests through that name one of these hosts; all, when there is none.
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
    fn a_host_is_allowed_by_its_name_whatever_its_port() {
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
