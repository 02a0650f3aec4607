//! HTTP client for providers: with timeouts, a size limit, and no redirects.

use std::time::Duration;

use baton_errors::{Error, Reason, Result};
use reqwest::{Client, RequestBuilder, StatusCode, header, redirect::Policy};
use serde::de::DeserializeOwned;
use url::{Host, Url, form_urlencoded};

use super::refused;

/// Maximum size of a response.
const MAX_RESPONSE_BYTES: usize = 256 * 1024;

/// Client for all providers. Clones share its connections.
#[derive(Clone)]
pub(super) struct Http(Client);

impl Http {
    pub(super) fn new() -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "this is the one client: bounded in time, without redirects")]
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(Duration::from_secs(6))
            // Endpoints come only from the configuration and the discovery document.
            .redirect(Policy::none())
            .user_agent("Baton")
            .build()?;
        Ok(Self(client))
    }

    /// Creates a GET request for JSON.
    pub(super) fn get(&self, url: Url) -> RequestBuilder {
        self.0.get(url).header(header::ACCEPT, "application/json")
    }

    /// Creates a POST request of a form, for JSON.
    pub(super) fn post_form(&self, url: Url, fields: &[(&str, &str)]) -> RequestBuilder {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.0
            .post(url)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
    }
}

/// Sends a request and parses its JSON. Errors name neither URL nor body, since both may hold codes and secrets.
///
/// # Errors
/// Those of [`fetch`]; PROVIDER_REFUSED when the response is not JSON.
pub(super) async fn json<T: DeserializeOwned>(request: RequestBuilder) -> Result<T> {
    parse(&fetch(request).await?.body)
}

/// A provider's response.
pub(super) struct HttpResponse {
    /// Whether the body is a JWT (RFC 7519, section 10.3.1) instead of JSON.
    pub(super) is_jwt: bool,
    pub(super) body: Vec<u8>,
}

/// Sends a request and reads the response.
///
/// # Errors
/// UNAVAILABLE without a response, or for status 429 or 5xx; PROVIDER_REFUSED for any other error.
pub(super) async fn fetch(request: RequestBuilder) -> Result<HttpResponse> {
    let unavailable = |error: reqwest::Error| Error::from(Reason::Unavailable).with_source(error.without_url());
    let mut response = request.send().await.map_err(unavailable)?;
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Error::from(Reason::Unavailable).with_source(format!("the provider returned {status}")));
    }
    if status != StatusCode::OK {
        return Err(refused(format!("the provider returned {status}")));
    }
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    let is_jwt = media_type.trim().eq_ignore_ascii_case("application/jwt");
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_RESPONSE_BYTES {
            return Err(refused("the provider's response is too long"));
        }
    }
    Ok(HttpResponse { is_jwt, body })
}

/// Parses the JSON of a response.
///
/// # Errors
/// PROVIDER_REFUSED.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        // The parser's message could quote the body.
        refused(format!("the provider's response cannot be parsed (column {})", error.column()))
    })
}

/// Whether secrets may be sent to this URL: over TLS, or without leaving this machine.
pub(super) fn is_safe(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    }
}
