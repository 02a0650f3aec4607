//! GitHub: OAuth 2.0 without OpenID Connect. The user's identity comes from the API.

use anyhow::Context as _;
use baton_errors::Result;
use reqwest::RequestBuilder;
use serde::Deserialize;
use url::Url;

use super::{
    authorization_request,
    claims::{ExternalIdentity, split_name},
    flow::Flow,
    http::{Http, json},
    provider_config::ProviderConfig,
    refused,
};

pub(super) struct GitHub {
    http: Http,
    issuer: String,
    client_id: String,
    client_secret: String,
    scopes: String,
    authorize: Url,
    token: Url,
    user: Url,
    emails: Url,
}

/// Token response. GitHub returns errors with status 200 too, without a token.
#[derive(Deserialize)]
struct Tokens {
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct User {
    /// The login can change hands; the id cannot.
    id: u64,
    login: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

impl GitHub {
    pub(super) fn new(config: ProviderConfig, http: Http) -> anyhow::Result<Self> {
        let issuer = config.issuer().trim_end_matches('/').to_owned();
        let api = config.api_url().trim_end_matches('/').to_owned();
        let url = |text: String| text.parse::<Url>().with_context(|| format!("{text} is not a URL"));
        Ok(Self {
            http,
            authorize: url(format!("{issuer}/login/oauth/authorize"))?,
            token: url(format!("{issuer}/login/oauth/access_token"))?,
            user: url(format!("{api}/user"))?,
            emails: url(format!("{api}/user/emails"))?,
            issuer,
            scopes: config.scopes(),
            client_id: config.client_id,
            client_secret: config.client_secret,
        })
    }

    pub(super) fn authorization_url(&self, flow: &Flow, callback: &Url) -> Url {
        authorization_request(&self.authorize, &self.client_id, &self.scopes, flow, callback)
    }

    pub(super) async fn identify(
        &self,
        code: &str,
        iss: &str,
        flow: &Flow,
        callback: &Url,
    ) -> Result<ExternalIdentity> {
        if !iss.is_empty() && iss.trim_end_matches('/') != self.issuer {
            return Err(refused("the response names another issuer"));
        }
        let verifier = flow.verifier();
        let form = [
            ("client_id", self.client_id.as_str()),
            ("client_secret", &self.client_secret),
            ("code", code),
            ("redirect_uri", callback.as_str()),
            ("code_verifier", &verifier),
        ];
        let Tokens { access_token } = json(self.http.post_form(self.token.clone(), &form)).await?;
        let token = access_token.ok_or_else(|| refused("GitHub returned no token for the code"))?;
        let api_request = |url: &Url| -> RequestBuilder {
            self.http.get(url.clone()).bearer_auth(&token).header("x-github-api-version", "2022-11-28")
        };
        let user: User = json(api_request(&self.user)).await?;
        let addresses: Vec<Address> = json(api_request(&self.emails)).await?;
        let (email, verified) =
            addresses.into_iter().find(|address| address.primary).map(|a| (a.email, a.verified)).unzip();
        let (first, last) = split_name(user.name.as_deref().unwrap_or(&user.login));
        let (issuer, subject) = (self.issuer.clone(), user.id.to_string());
        Ok(ExternalIdentity::new(issuer, subject, email, verified.unwrap_or_default(), [&first, &last]))
    }
}
