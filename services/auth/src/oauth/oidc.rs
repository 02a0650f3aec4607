//! Providers that speak OpenID Connect.

use std::time::Duration;

use anyhow::Context as _;
use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::Jwk;
use reqwest::RequestBuilder;
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::{
    authorization_request,
    cache::DocumentCache,
    claims::{ExternalIdentity, UserClaims},
    flow::Flow,
    http::{Http, fetch, is_safe, json, parse},
    id_token::{self, Claims, Expected, TokenHeader},
    provider_config::{ProviderConfig, ProviderKind},
    refused,
};

/// How long a provider's documents are cached.
const DOCUMENT_TTL: Duration = Duration::from_secs(3600);
/// After a token with an unknown key the keys are fetched again, at most once per interval.
const KEY_REFETCH_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Oidc {
    http: Http,
    kind: ProviderKind,
    issuer: String,
    client_id: String,
    client_secret: String,
    scopes: String,
    discovery: Url,
    metadata: DocumentCache<Metadata>,
    keys: DocumentCache<Vec<Jwk>>,
}

/// Discovery document (OpenID Connect Discovery 1.0).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    userinfo_endpoint: Option<Url>,
    id_token_signing_alg_values_supported: Vec<String>,
    /// Absent when the provider does not sign userinfo, or does not announce it. The algorithms of the id_token apply
    /// then.
    userinfo_signing_alg_values_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

#[derive(Deserialize)]
struct Keys {
    // As raw values: a key of an unknown type must not hide the others.
    keys: Vec<serde_json::Value>,
}

/// Token response (RFC 6749, section 5.1). Its `expires_in` and `scope` are not needed.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: String,
    token_type: Option<String>,
}

#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    #[serde(flatten)]
    profile: UserClaims,
}

impl Oidc {
    pub(super) fn new(config: ProviderConfig, http: Http) -> anyhow::Result<Self> {
        let issuer = config.issuer().trim_end_matches('/').to_owned();
        let discovery = format!("{issuer}/.well-known/openid-configuration").parse();
        Ok(Self {
            http,
            kind: config.kind,
            discovery: discovery.with_context(|| format!("{issuer} is not a valid issuer URL"))?,
            issuer,
            scopes: config.scopes(),
            client_id: config.client_id,
            client_secret: config.client_secret,
            metadata: DocumentCache::new(),
            keys: DocumentCache::new(),
        })
    }

    pub(super) async fn authorization_url(&self, flow: &Flow, callback: &Url) -> Result<Url> {
        let metadata = self.metadata().await?;
        let endpoint = &metadata.authorization_endpoint;
        let mut url = authorization_request(endpoint, &self.client_id, &self.scopes, flow, callback);
        url.query_pairs_mut().append_pair("nonce", &flow.nonce());
        Ok(url)
    }

    pub(super) async fn identify(
        &self,
        code: &str,
        iss: &str,
        flow: &Flow,
        callback: &Url,
        now: DateTime<Utc>,
    ) -> Result<ExternalIdentity> {
        let metadata = self.metadata().await?;
        metadata.check_issuer_parameter(iss)?;
        let verifier = flow.verifier();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback.as_str()),
            ("code_verifier", &verifier),
        ];
        let tokens: Tokens = json(self.token_request(&metadata, &form)).await?;
        let claims = self.claims(&metadata, &tokens.id_token, &flow.nonce(), now).await?;
        let Claims { iss, sub, mut profile, .. } = claims;
        if let Some(endpoint) = metadata.userinfo_endpoint.clone().filter(|_| profile.email.is_none()) {
            // RFC 6749, section 7.1: a token of an unknown type must not be used. The type is case-insensitive.
            if tokens.token_type.is_some_and(|of| !of.eq_ignore_ascii_case("bearer")) {
                return Err(refused("the access token is not a bearer token"));
            }
            let info = self.userinfo(&metadata, endpoint, &tokens.access_token).await?;
            // Section 5.3.2: the subject may differ, and then the claims must not be used.
            if info.sub != sub {
                return Err(refused("the userinfo belongs to another subject"));
            }
            profile = info.profile;
        }
        Ok(profile.into_identity(iss, sub))
    }

    /// Fetches the userinfo: JSON, or a signed JWT, depending on the client's registration (section 5.3.2).
    async fn userinfo(&self, metadata: &Metadata, endpoint: Url, access_token: &str) -> Result<UserInfo> {
        let response = fetch(self.http.get(endpoint).bearer_auth(access_token)).await?;
        if !response.is_jwt {
            return parse(&response.body);
        }
        let token = std::str::from_utf8(&response.body).map_err(|_| refused("the userinfo is not UTF-8"))?.trim();
        let algorithms = metadata.userinfo_signing_alg_values_supported.as_ref();
        let header =
            id_token::parse_header(token, algorithms.unwrap_or(&metadata.id_token_signing_alg_values_supported))?;
        let key = self.find_key(metadata, &header).await?;
        let ours = (metadata.issuer.as_str(), self.client_id.as_str());
        let (sub, profile) = id_token::verify_userinfo(token, &header, &key, ours)?;
        Ok(UserInfo { sub, profile })
    }

    /// Verifies the id_token and returns its claims.
    async fn claims(&self, metadata: &Metadata, token: &str, nonce: &str, now: DateTime<Utc>) -> Result<Claims> {
        let expected = Expected {
            issuer: &metadata.issuer,
            client_id: &self.client_id,
            nonce,
            algorithms: &metadata.id_token_signing_alg_values_supported,
            now: now.timestamp(),
        };
        let header = id_token::parse_header(token, expected.algorithms)?;
        let key = self.find_key(metadata, &header).await?;
        id_token::verify(token, &header, &key, &expected)
    }

    /// Finds the provider's key that signed a token. An unknown key causes one more fetch.
    async fn find_key(&self, metadata: &Metadata, header: &TokenHeader) -> Result<Jwk> {
        let mut keys = self.keys(metadata, DOCUMENT_TTL).await?;
        if header.find_key(&keys).is_none() {
            keys = self.keys(metadata, KEY_REFETCH_INTERVAL).await?;
        }
        let key = header.find_key(&keys).ok_or_else(|| refused("no key of the provider signed the token"))?;
        Ok(key.clone())
    }

    async fn metadata(&self) -> Result<std::sync::Arc<Metadata>> {
        let fetch = async {
            let metadata: Metadata = json(self.http.get(self.discovery.clone())).await.map_err(unavailable)?;
            metadata.check(self).map_err(|reason| Error::from(Reason::Unavailable).with_source(reason))?;
            Ok(metadata)
        };
        self.metadata.get(DOCUMENT_TTL, fetch).await
    }

    async fn keys(&self, metadata: &Metadata, max_age: Duration) -> Result<std::sync::Arc<Vec<Jwk>>> {
        let fetch = async {
            let Keys { keys } = json(self.http.get(metadata.jwks_uri.clone())).await.map_err(unavailable)?;
            Ok(keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
        };
        self.keys.get(max_age, fetch).await
    }

    /// Creates a token request with the client's secret: in the header, unless the provider accepts it only in the
    /// form.
    fn token_request(&self, metadata: &Metadata, form: &[(&str, &str)]) -> RequestBuilder {
        let (id, secret) = (&*self.client_id, &*self.client_secret);
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let url = metadata.token_endpoint.clone();
        let takes = |method: &str| methods.iter().any(|known| known == method);
        if takes("client_secret_post") && !takes("client_secret_basic") {
            return self.http.post_form(url, &[form, &[("client_id", id), ("client_secret", secret)]].concat());
        }
        // RFC 6749, section 2.3.1: both are form-encoded first.
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        self.http.post_form(url, form).basic_auth(encoded(id), Some(encoded(secret)))
    }
}

/// Maps a failed fetch of a document to UNAVAILABLE: the provider is at fault, not the sign-in.
fn unavailable(error: Error) -> Error {
    Error::from(Reason::Unavailable).with_source(error)
}

impl Metadata {
    /// Checks that the document belongs to the configured issuer (section 4.3) and that its endpoints are safe.
    fn check(&self, provider: &Oidc) -> Result<(), &'static str> {
        // Microsoft has one document for all tenants. There the token names its tenant.
        let same = self.issuer.trim_end_matches('/') == provider.issuer
            || provider.kind == ProviderKind::Microsoft
                && origin(&self.issuer).is_some_and(|found| Some(found) == origin(&provider.issuer));
        if !same {
            return Err("the discovery document belongs to another issuer");
        }
        // Endpoints without TLS are allowed only on this machine, and only if the provider itself has no TLS.
        let plain = provider.discovery.scheme() == "http";
        let endpoints = [&self.authorization_endpoint, &self.token_endpoint, &self.jwks_uri];
        let safe = |url: &Url| is_safe(url) && (plain || url.scheme() == "https");
        if !endpoints.into_iter().chain(&self.userinfo_endpoint).all(safe) {
            return Err("the discovery document names an endpoint without TLS");
        }
        Ok(())
    }

    /// Checks the `iss` parameter of the authorization response (RFC 9207). It is optional unless the provider
    /// announces it.
    fn check_issuer_parameter(&self, iss: &str) -> Result<()> {
        let silent = iss.is_empty() && !self.authorization_response_iss_parameter_supported.unwrap_or_default();
        // A template matches many issuers. The id_token names the actual one.
        let (before, after) = self.issuer.split_once("{tenantid}").unwrap_or((&self.issuer, ""));
        let fits = if before.len() == self.issuer.len() {
            iss == self.issuer
        } else {
            iss.strip_prefix(before).is_some_and(|rest| rest.ends_with(after))
        };
        if silent || fits { Ok(()) } else { Err(refused("the response names another issuer")) }
    }
}

fn origin(url: &str) -> Option<url::Origin> {
    Url::parse(url).ok().map(|url| url.origin()).filter(url::Origin::is_tuple)
}
