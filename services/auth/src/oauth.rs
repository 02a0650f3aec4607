//! Sign-in by other providers of identities: OpenID Connect and GitHub, as the authorization code flow with
//! PKCE (RFC 6749, RFC 7636, RFC 9700).
//!
//! Written on `jsonwebtoken` and `reqwest`, which are here anyway: the crate `openidconnect` brings forty more,
//! with a second stack of cryptography beside aws-lc-rs and an RSA that leaks by its timing (RUSTSEC-2023-0071).

mod cached;
pub(crate) mod flow;
mod github;
mod http;
mod id_token;
mod oidc;
mod person;
mod settings;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, Utc};
use url::Url;

use flow::Flow;
use github::GitHub;
use http::Http;
use oidc::Oidc;
pub(crate) use person::Person;
use settings::{Kind, Settings};

use crate::config::AuthConfig;

/// The providers that are switched on. Clones share them.
#[derive(Clone)]
pub(crate) struct Providers(Arc<Inner>);

struct Inner {
    providers: BTreeMap<String, Provider>,
    /// Where the web app is: what a path to go on at is a path of.
    app: Url,
    /// The app's origin, and others that may be gone on at.
    origins: Vec<url::Origin>,
}

/// One provider.
pub(crate) struct Provider {
    name: String,
    /// Where it sends browsers back to.
    callback: Url,
    kind: Protocol,
}

enum Protocol {
    Oidc(Oidc),
    GitHub(GitHub),
}

impl Providers {
    /// Reads the configuration; `app` is the address of the web app.
    pub(crate) fn new(config: &AuthConfig, app: &Url) -> anyhow::Result<Self> {
        let settings = settings::parse(config.providers.as_ref())?;
        let gateway = config.gateway_public_url.as_ref().unwrap_or(app);
        let mut providers = BTreeMap::new();
        // Without providers there is nobody to call, and no need for the roots of TLS.
        if !settings.is_empty() {
            let http = Http::new()?;
            for settings in settings {
                let provider = Provider::new(settings, gateway, &http)?;
                providers.insert(provider.name.clone(), provider);
            }
        }
        let mut origins = vec![app.origin()];
        for origin in &config.redirect_origins {
            let url: Url =
                origin.parse().with_context(|| format!("BATON_AUTH_REDIRECT_ORIGINS: {origin} is no URL"))?;
            anyhow::ensure!(url.origin().is_tuple(), "BATON_AUTH_REDIRECT_ORIGINS: {origin} is no origin");
            origins.push(url.origin());
        }
        Ok(Self(Arc::new(Inner { providers, app: app.clone(), origins })))
    }

    /// The provider of this name.
    pub(crate) fn get(&self, name: &str) -> Result<&Provider> {
        self.0.providers.get(name).ok_or_else(|| Reason::ProviderUnknown.into())
    }

    /// The names of all.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.providers.keys().cloned().collect()
    }

    /// The URL of the web app that `redirect` stands for: what is answered later is this URL, so that nobody
    /// reads the text anew and understands it otherwise (open redirects, CWE-601).
    pub(crate) fn redirect(&self, redirect: &str) -> Result<Url> {
        let Inner { app, origins, .. } = &*self.0;
        app.join(redirect)
            .ok()
            .filter(|url| origins.contains(&url.origin()) && url.username().is_empty() && url.password().is_none())
            .ok_or_else(|| Error::invalid("redirect", "leads elsewhere than to the web app"))
    }
}

impl Provider {
    fn new(settings: Settings, gateway: &Url, http: &Http) -> anyhow::Result<Self> {
        let mut callback = gateway.clone();
        callback.set_path(&format!("/v1/auth/oauth/{}/callback", settings.name));
        let name = settings.name.clone();
        let kind = match settings.kind {
            Kind::Github => Protocol::GitHub(GitHub::new(settings, http.clone())?),
            _ => Protocol::Oidc(Oidc::new(settings, http.clone())?),
        };
        Ok(Self { name, callback, kind })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the browser goes.
    pub(crate) async fn authorization_url(&self, flow: &Flow) -> Result<Url> {
        match &self.kind {
            Protocol::Oidc(oidc) => oidc.authorization_url(flow, &self.callback).await,
            Protocol::GitHub(github) => Ok(github.authorization_url(flow, &self.callback)),
        }
    }

    /// Who the browser came back as. `iss` is what the answer says of its issuer (RFC 9207); empty when nothing.
    pub(crate) async fn identify(&self, code: &str, iss: &str, flow: &Flow, now: DateTime<Utc>) -> Result<Person> {
        match &self.kind {
            Protocol::Oidc(oidc) => oidc.identify(code, iss, flow, &self.callback, now).await,
            Protocol::GitHub(github) => github.identify(code, iss, flow, &self.callback).await,
        }
    }
}

/// An answer of a provider's that does not hold; `why` is for the log.
fn refused(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::from(Reason::ProviderRefused).with_source(why)
}

/// Adds what every authorization request has.
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
    fn browsers_go_on_within_the_app_only() {
        let providers = providers();
        for (redirect, url) in [
            ("", "https://app.example.org/"),
            ("/boards/1?tab=2#top", "https://app.example.org/boards/1?tab=2#top"),
            ("/a/../b", "https://app.example.org/b"),
            ("https://app.example.org/x", "https://app.example.org/x"),
            ("https://admin.example.org/", "https://admin.example.org/"),
            // A path, for all that it looks like: browsers would read it the same.
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
