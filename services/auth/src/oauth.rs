//! Sign-in with other identity providers: OpenID Connect and GitHub, with the authorization code flow and PKCE (RFC
//! 6749, RFC 7636, RFC 9700).
//!
//! Built on `jsonwebtoken` and `reqwest`, which are dependencies anyway. The crate `openidconnect` would add forty
//! more, with a second cryptography stack beside aws-lc-rs and an RSA that leaks by its timing (RUSTSEC-2023-0071).

mod cache;
mod claims;
pub(crate) mod flow;
mod github;
mod http;
mod id_token;
mod oidc;
mod provider_config;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, Utc};
use url::Url;

pub(crate) use claims::ExternalIdentity;
use flow::Flow;
use github::GitHub;
use http::Http;
use oidc::Oidc;
use provider_config::{ProviderConfig, ProviderKind};

use crate::config::AuthConfig;

/// The enabled providers. Clones share them.
#[derive(Clone)]
pub(crate) struct Providers(Arc<Inner>);

struct Inner {
    providers: BTreeMap<String, Provider>,
    /// Base URL of the web app, against which relative redirects are resolved.
    app: Url,
    /// Origins to which a sign-in may redirect; the web app's comes first.
    origins: Vec<url::Origin>,
}

/// One provider.
pub(crate) struct Provider {
    name: String,
    /// Redirect URI that is registered at the provider.
    callback: Url,
    kind: Protocol,
}

enum Protocol {
    Oidc(Oidc),
    GitHub(GitHub),
}

impl Providers {
    /// Reads the configuration. `app` is the URL of the web app.
    pub(crate) fn new(config: &AuthConfig, app: &Url) -> anyhow::Result<Self> {
        let provider_configs = provider_config::parse(config.providers.as_ref())?;
        let gateway = config.gateway_public_url.as_ref().unwrap_or(app);
        let mut providers = BTreeMap::new();
        // Without providers no HTTP client is needed, and no TLS roots.
        if !provider_configs.is_empty() {
            let http = Http::new()?;
            for provider_config in provider_configs {
                let provider = Provider::new(provider_config, gateway, &http)?;
                providers.insert(provider.name.clone(), provider);
            }
        }
        let mut origins = vec![app.origin()];
        for origin in &config.redirect_origins {
            let url: Url =
                origin.parse().with_context(|| format!("BATON_AUTH_REDIRECT_ORIGINS: {origin} is not a URL"))?;
            anyhow::ensure!(url.origin().is_tuple(), "BATON_AUTH_REDIRECT_ORIGINS: {origin} is not an origin");
            origins.push(url.origin());
        }
        Ok(Self(Arc::new(Inner { providers, app: app.clone(), origins })))
    }

    /// Returns the provider with this name.
    ///
    /// # Errors
    /// PROVIDER_UNKNOWN.
    pub(crate) fn get(&self, name: &str) -> Result<&Provider> {
        self.0.providers.get(name).ok_or_else(|| Reason::ProviderUnknown.into())
    }

    /// Returns the names of all providers.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.providers.keys().cloned().collect()
    }

    /// Resolves `redirect` to a URL of the web app. Later steps use this URL and never parse the text again, so that no
    /// second parser can read it differently (open redirects, CWE-601).
    ///
    /// # Errors
    /// VALIDATION_FAILED when the URL has another origin.
    pub(crate) fn redirect(&self, redirect: &str) -> Result<Url> {
        let Inner { app, origins, .. } = &*self.0;
        app.join(redirect)
            .ok()
            .filter(|url| origins.contains(&url.origin()) && url.username().is_empty() && url.password().is_none())
            .ok_or_else(|| Error::invalid("redirect", "must be a URL of the web app"))
    }
}

impl Provider {
    fn new(config: ProviderConfig, gateway: &Url, http: &Http) -> anyhow::Result<Self> {
        let mut callback = gateway.clone();
        callback.set_path(&format!("/v1/auth/oauth/{}/callback", config.name));
        let name = config.name.clone();
        let kind = match config.kind {
            ProviderKind::Github => Protocol::GitHub(GitHub::new(config, http.clone())?),
            _ => Protocol::Oidc(Oidc::new(config, http.clone())?),
        };
        Ok(Self { name, callback, kind })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URL that starts a sign-in at the provider.
    pub(crate) async fn authorization_url(&self, flow: &Flow) -> Result<Url> {
        match &self.kind {
            Protocol::Oidc(oidc) => oidc.authorization_url(flow, &self.callback).await,
            Protocol::GitHub(github) => Ok(github.authorization_url(flow, &self.callback)),
        }
    }

    /// Exchanges the code for the user's identity at the provider. `iss` is the issuer in the authorization response
    /// (RFC 9207), or empty.
    pub(crate) async fn identify(
        &self,
        code: &str,
        iss: &str,
        flow: &Flow,
        now: DateTime<Utc>,
    ) -> Result<ExternalIdentity> {
        match &self.kind {
            Protocol::Oidc(oidc) => oidc.identify(code, iss, flow, &self.callback, now).await,
            Protocol::GitHub(github) => github.identify(code, iss, flow, &self.callback).await,
        }
    }
}

/// Error for an invalid response of a provider. `reason` is only logged.
fn refused(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::from(Reason::ProviderRefused).with_source(reason)
}

/// Builds the authorization request that all providers share.
fn authorization_request(endpoint: &Url, client_id: &str, scopes: &str, flow: &Flow, callback: &Url) -> Url {
    let mut url = endpoint.clone();
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", callback.as_str())
        .append_pair("scope", scopes)
        .append_pair("state", flow.state())
        .append_pair("code_challenge", &flow.challenge())
        .append_pair("code_challenge_method", "S256");
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn providers() -> Providers {
        let origins =
            [Url::parse("https://app.example.org").unwrap(), Url::parse("https://admin.example.org").unwrap()];
        Providers(Arc::new(Inner {
            providers: BTreeMap::new(),
            app: origins[0].clone(),
            origins: origins.iter().map(Url::origin).collect(),
        }))
    }

    #[test]
    fn redirects_stay_within_the_web_app() {
        let providers = providers();
        for (redirect, url) in [
            ("", "https://app.example.org/"),
            ("/boards/1?tab=2#top", "https://app.example.org/boards/1?tab=2#top"),
            ("/a/../b", "https://app.example.org/b"),
            ("https://app.example.org/x", "https://app.example.org/x"),
            ("https://admin.example.org/", "https://admin.example.org/"),
            // A relative path, although it resembles a URL: browsers read it the same way.
            ("https:evil.example", "https://app.example.org/evil.example"),
        ] {
            assert_eq!(providers.redirect(redirect).unwrap().as_str(), url, "{redirect}");
        }
        for redirect in [
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "https://evil.example/",
            "http://app.example.org/",
            "https://app.example.org:444/",
            "https://app.example.org.evil.example/",
            "https://app.example.org@evil.example/",
            "https://evil@app.example.org/",
            "javascript:alert(1)",
            "data:text/html,x",
            " //evil.example",
        ] {
            assert_eq!(providers.redirect(redirect).unwrap_err().reason(), Reason::ValidationFailed, "{redirect}");
        }
    }
}
