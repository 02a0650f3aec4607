//! A provider that speaks OpenID Connect.

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
    cached::Cached,
    flow::Flow,
    http::{Http, fetch, is_safe, json, parse},
    id_token::{self, Claims, Expected, Signed},
    person::{Person, Profile},
    refused,
    settings::{Kind, Settings},
};

/// How long the provider's documents are kept.
const KEPT: Duration = Duration::from_secs(3600);
/// A token of an unknown key leads to one look at the keys, and to none for this long after.
const REFETCH: Duration = Duration::from_secs(60);

pub(super) struct Oidc {
    http: Http,
    kind: Kind,
    issuer: String,
    client_id: String,
    client_secret: String,
    scopes: String,
    discovery: Url,
    metadata: Cached<Metadata>,
    keys: Cached<Vec<Jwk>>,
}

/// The provider's own description (OpenID Connect Discovery 1.0).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    userinfo_endpoint: Option<Url>,
    id_token_signing_alg_values_supported: Vec<String>,
    /// Absent like that of the id_token when the provider signs no userinfo, or does not say so.
    userinfo_signing_alg_values_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

#[derive(Deserialize)]
struct Keys {
    // One key of a kind that we do not know must not hide the others.
    keys: Vec<serde_json::Value>,
}

/// What the token endpoint answers (RFC 6749, section 5.1). Neither its `expires_in` nor its `scope` is of use here.
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
    profile: Profile,
}

impl Oidc {
    pub(super) fn new(settings: Settings, http: Http) -> anyhow::Result<Self> {
        let issuer = settings.issuer().trim_end_matches('/').to_owned();
        let discovery = format!("{issuer}/.well-known/openid-configuration").parse();
        Ok(Self {
            http,
            kind: settings.kind,
            discovery: discovery.with_context(|| format!("{issuer} is no issuer"))?,
            issuer,
            scopes: settings.scopes(),
            client_id: settings.client_id,
            client_secret: settings.client_secret,
            metadata: Cached::new(),
            keys: Cached::new(),
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
    ) -> Result<Person> {
        let metadata = self.metadata().await?;
        metadata.check_sender(iss)?;
        let verifier = flow.verifier();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback.as_str()),
            ("code_verifier", &verifier),
        ];
        let tokens: Tokens = json(self.authenticated(&metadata, &form)).await?;
        let claims = self.claims(&metadata, &tokens.id_token, &flow.nonce(), now).await?;
        let Claims { iss, sub, mut profile, .. } = claims;
        if let Some(endpoint) = metadata.userinfo_endpoint.clone().filter(|_| profile.email.is_none()) {
            // RFC 6749, section 7.1: a token of a type that one does not know is not used. Its case does not matter.
            if tokens.token_type.is_some_and(|of| !of.eq_ignore_ascii_case("bearer")) {
                return Err(refused("the access token is no bearer token"));
            }
            let info = self.userinfo(&metadata, endpoint, &tokens.access_token).await?;
            // Section 5.3.2: it may be about another.
            if info.sub != sub {
                return Err(refused("the userinfo is another person's"));
            }
            profile = info.profile;
        }
        Ok(profile.person(iss, sub))
    }

    /// What the userinfo endpoint tells: as JSON, or signed, as the client is registered (section 5.3.2).
    async fn userinfo(&self, metadata: &Metadata, endpoint: Url, access_token: &str) -> Result<UserInfo> {
        let answer = fetch(self.http.get(endpoint).bearer_auth(access_token)).await?;
        if !answer.is_jwt {
            return parse(&answer.body);
        }
        let token = std::str::from_utf8(&answer.body).map_err(|_| refused("the userinfo is not understood"))?.trim();
        let algorithms = metadata.userinfo_signing_alg_values_supported.as_ref();
        let signed = id_token::signed(token, algorithms.unwrap_or(&metadata.id_token_signing_alg_values_supported))?;
        let key = self.key(metadata, &signed).await?;
        let ours = (metadata.issuer.as_str(), self.client_id.as_str());
        let (sub, profile) = id_token::verify_userinfo(token, &signed, &key, ours)?;
        Ok(UserInfo { sub, profile })
    }

    /// The claims of the id_token.
    async fn claims(&self, metadata: &Metadata, token: &str, nonce: &str, now: DateTime<Utc>) -> Result<Claims> {
        let expected = Expected {
            issuer: &metadata.issuer,
            client_id: &self.client_id,
            nonce,
            algorithms: &metadata.id_token_signing_alg_values_supported,
            now: now.timestamp(),
        };
        let signed = id_token::signed(token, expected.algorithms)?;
        let key = self.key(metadata, &signed).await?;
        id_token::verify(token, &signed, &key, &expected)
    }

    /// The provider's key that signed a token. One that is not known yet is looked for once.
    async fn key(&self, metadata: &Metadata, signed: &Signed) -> Result<Jwk> {
        let mut keys = self.keys(metadata, KEPT).await?;
        if signed.key(&keys).is_none() {
            keys = self.keys(metadata, REFETCH).await?;
        }
        let key = signed.key(&keys).ok_or_else(|| refused("the token is signed by no key of the provider"))?;
        Ok(key.clone())
    }

    async fn metadata(&self) -> Result<std::sync::Arc<Metadata>> {
        let fetch = async {
            let metadata: Metadata = json(self.http.get(self.discovery.clone())).await.map_err(unavailable)?;
            metadata.check(self).map_err(|why| Error::from(Reason::Unavailable).with_source(why))?;
            Ok(metadata)
        };
        self.metadata.younger_than(KEPT, fetch).await
    }

    async fn keys(&self, metadata: &Metadata, age: Duration) -> Result<std::sync::Arc<Vec<Jwk>>> {
        let fetch = async {
            let Keys { keys } = json(self.http.get(metadata.jwks_uri.clone())).await.map_err(unavailable)?;
            Ok(keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
        };
        self.keys.younger_than(age, fetch).await
    }

    /// A call of the token endpoint, with the client's secret where the provider wants it: in the header, unless it
    /// takes it in the form only.
    fn authenticated(&self, metadata: &Metadata, form: &[(&str, &str)]) -> RequestBuilder {
        let (id, secret) = (&*self.client_id, &*self.client_secret);
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let url = metadata.token_endpoint.clone();
        let takes = |method: &str| methods.iter().any(|known| known == method);
        if takes("client_secret_post") && !takes("client_secret_basic") {
            return self.http.post_form(url, &[form, &[("client_id", id), ("client_secret", secret)]].concat());
        }
        // RFC 6749, section 2.3.1: both are encoded as in a form first.
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        self.http.post_form(url, form).basic_auth(encoded(id), Some(encoded(secret)))
    }
}

/// A document that cannot be had is the provider's trouble, not the sign-in's.
fn unavailable(error: Error) -> Error {
    Error::from(Reason::Unavailable).with_source(error)
}

impl Metadata {
    /// Whether it is the configured issuer's (section 4.3), and leads nowhere unsafe.
    fn check(&self, of: &Oidc) -> Result<(), &'static str> {
        // One document of Microsoft's speaks for all tenants: there the token names its own.
        let same = self.issuer.trim_end_matches('/') == of.issuer
            || of.kind == Kind::Microsoft
                && origin(&self.issuer).is_some_and(|found| Some(found) == origin(&of.issuer));
        if !same {
            return Err("the provider's document is another issuer's");
        }
        // Without TLS on this machine only, and only if the provider itself is there.
        let plain = of.discovery.scheme() == "http";
        let endpoints = [&self.authorization_endpoint, &self.token_endpoint, &self.jwks_uri];
        let safe = |url: &Url| is_safe(url) && (plain || url.scheme() == "https");
        if !endpoints.into_iter().chain(&self.userinfo_endpoint).all(safe) {
            return Err("the provider's document leads to an address without TLS");
        }
        Ok(())
    }

    /// Whether the answer came from this provider, as far as it says so (RFC 9207).
    fn check_sender(&self, iss: &str) -> Result<()> {
        let silent = iss.is_empty() && !self.authorization_response_iss_parameter_supported.unwrap_or_default();
        // A template stands for many issuers; which one it was is told by the id_token.
        let (before, after) = self.issuer.split_once("{tenantid}").unwrap_or((&self.issuer, ""));
        let fits = if before.len() == self.issuer.len() {
            iss == self.issuer
        } else {
            iss.strip_prefix(before).is_some_and(|rest| rest.ends_with(after))
        };
        if silent || fits { Ok(()) } else { Err(refused("the answer names another issuer")) }
    }
}

fn origin(url: &str) -> Option<url::Origin> {
    Url::parse(url).ok().map(|url| url.origin()).filter(url::Origin::is_tuple)
}
