//! GitHub, which speaks OAuth 2.0 but no OpenID Connect: who somebody is, its API says.

use anyhow::Context as _;
use baton_errors::Result;
use reqwest::RequestBuilder;
use serde::Deserialize;
use url::Url;

use super::{
    authorization_request,
    flow::Flow,
    http::{Http, json},
    person::{Person, split},
    refused,
    settings::Settings,
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

/// GitHub answers errors with 200 as well; then there is no token.
#[derive(Deserialize)]
struct Tokens {
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct User {
    /// The login can be given up and taken by another; the id cannot.
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
    pub(super) fn new(settings: Settings, http: Http) -> anyhow::Result<Self> {
        let issuer = settings.issuer().trim_end_matches('/').to_owned();
        let api = settings.api_url().trim_end_matches('/').to_owned();
        let url = |text: String| text.parse::<Url>().with_context(|| format!("{text} is no URL"));
        Ok(Self {
            http,
            authorize: url(format!("{issuer}/login/oauth/authorize"))?,
            token: url(format!("{issuer}/login/oauth/access_token"))?,
            user: url(format!("{api}/user"))?,
            emails: url(format!("{api}/user/emails"))?,
            issuer,
            scopes: settings.scopes(),
            client_id: settings.client_id,
            client_secret: settings.client_secret,
        })
    }

    pub(super) fn authorization_url(&self, flow: &Flow, callback: &Url) -> Url {
        authorization_request(&self.authorize, &self.client_id, &self.scopes, flow, callback)
    }

    pub(super) async fn identify(&self, code: &str, iss: &str, flow: &Flow, callback: &Url) -> Result<Person> {
        if !iss.is_empty() && iss.trim_end_matches('/') != self.issuer {
            return Err(refused("the answer names another issuer"));
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
        let token = access_token.ok_or_else(|| refused("GitHub gave no token for the code"))?;
        let of_api = |url: &Url| -> RequestBuilder {
            self.http.get(url.clone()).bearer_auth(&token).header("x-github-api-version", "2022-11-28")
        };
        let user: User = json(of_api(&self.user)).await?;
        let addresses: Vec<Address> = json(of_api(&self.emails)).await?;
        let (email, verified) =
            addresses.into_iter().find(|address| address.primary).map(|a| (a.email, a.verified)).unzip();
        let (first, last) = split(user.name.as_deref().unwrap_or(&user.login));
        let (issuer, subject) = (self.issuer.clone(), user.id.to_string());
        Ok(Person::new(issuer, subject, email, verified.unwrap_or_default(), [&first, &last]))
    }
}
