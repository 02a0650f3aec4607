//! Sign-in with other identity providers, and attacks on it.

mod attacks;
mod fake_provider;
mod linking;

use std::collections::HashMap;

use baton_auth::{Config, SPEC};
use baton_errors::Reason;
use baton_proto::baton::auth::v1::{
    AuthorizeRequest, CallbackRequest, CallbackResponse, GetMeRequest, ListProvidersRequest, RegisterRequest,
    VerifyEmailRequest, identity_service_client::IdentityServiceClient, o_auth_service_client::OAuthServiceClient,
    user_service_client::UserServiceClient,
};
use baton_runtime::Clock;
use baton_testkit::{PASSWORD, TestContext, reason};
use serde_json::{Value, json};
use tonic::{Request, Status, transport::Channel};
use url::Url;

use crate::{client, login, mailed_token};
use fake_provider::{CLIENT_ID, CLIENT_SECRET, FakeProvider, Token};

/// An auth service with providers, and the fake provider behind them.
struct Fixture {
    context: TestContext,
    fake: FakeProvider,
    clock: Clock,
    channel: Channel,
}

/// A browser that was redirected to a provider.
struct Redirected {
    provider: String,
    browser_token: String,
    url: HashMap<String, String>,
}

impl Fixture {
    async fn start() -> Self {
        Self::start_at(Clock::system()).await
    }

    async fn start_at(clock: Clock) -> Self {
        let (context, fake) = tokio::join!(TestContext::start(&[]), FakeProvider::start());
        let client = json!({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET});
        let provider = |name: &str, more: Value| {
            let mut provider = json!({"name": name, "kind": "oidc", "issuer": fake.issuer(name)});
            for other in [&client, &more] {
                provider.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
            }
            provider
        };
        let api = format!("{}/api", fake.root());
        let providers = json!([
            provider("acme", json!({})),
            provider("evil", json!({})),
            provider("strict", json!({})),
            provider("liar", json!({})),
            provider("off", json!({"enabled": false})),
            provider("github", json!({"kind": "github", "issuer": fake.root(), "api_url": api})),
        ]);
        let mut env = context.env();
        env.set("BATON_AUTH_PROVIDERS", providers.to_string());
        env.set("BATON_PUBLIC_URL", "https://app.example.org");
        let config = Config::from_env(&SPEC, &env).unwrap();
        let started = clock.clone();
        let channel = context.spawn(|listener, shutdown| baton_auth::start(config, started, listener, shutdown)).await;
        Self { context, fake, clock, channel }
    }

    fn oauth(&self) -> OAuthServiceClient<Channel> {
        OAuthServiceClient::new(self.channel.clone())
    }

    fn identities(&self) -> IdentityServiceClient<Channel> {
        IdentityServiceClient::new(self.channel.clone())
    }

    /// Starts a sign-in.
    async fn authorize(&self, provider: &str) -> Redirected {
        let request = AuthorizeRequest { provider: provider.to_owned(), redirect: "/inbox".to_owned() };
        let response = self.oauth().authorize(request).await.unwrap().into_inner();
        assert_eq!(response.expires_in, 600);
        Redirected::to(provider, &response.authorization_url, response.browser_token)
    }

    /// Returns the provider's code for a user with these claims.
    fn code(&self, sent: &Redirected, claims: Value) -> String {
        self.fake.issue_code(&sent.url["code_challenge"], claims, json!({}), None)
    }

    /// Valid claims.
    fn claims(&self, sent: &Redirected, subject: &str, email: &str) -> Value {
        let nonce = sent.url.get("nonce").cloned().unwrap_or_default();
        let mut claims = self.fake.claims(&sent.provider, subject, &nonce);
        claims["email"] = json!(email);
        claims["email_verified"] = json!(true);
        claims["given_name"] = json!("Ada");
        claims["family_name"] = json!("Lovelace");
        claims
    }

    async fn callback(&self, request: CallbackRequest) -> Result<CallbackResponse, Status> {
        self.oauth().callback(request).await.map(tonic::Response::into_inner)
    }

    /// A complete sign-in.
    async fn sign_in(&self, provider: &str, subject: &str, email: &str) -> Result<CallbackResponse, Status> {
        let sent = self.authorize(provider).await;
        let code = self.code(&sent, self.claims(&sent, subject, email));
        self.callback(sent.callback_request(&code)).await
    }

    /// A complete sign-in with a custom id_token.
    async fn forged(&self, change: impl FnOnce(&mut Value), token: Option<Token>) -> Result<CallbackResponse, Status> {
        let sent = self.authorize("acme").await;
        let mut claims = self.claims(&sent, "forged", &address("forged"));
        change(&mut claims);
        let code = self.fake.issue_code(&sent.url["code_challenge"], claims, json!({}), token);
        self.callback(sent.callback_request(&code)).await
    }
}

impl Redirected {
    fn to(provider: &str, url: &str, browser_token: String) -> Self {
        let url = Url::parse(url).unwrap().query_pairs().into_owned().collect();
        Self { provider: provider.to_owned(), browser_token, url }
    }

    /// The callback request of the browser.
    fn callback_request(&self, code: &str) -> CallbackRequest {
        CallbackRequest {
            provider: self.provider.clone(),
            code: code.to_owned(),
            state: self.url["state"].clone(),
            iss: String::new(),
            error: String::new(),
            browser_token: self.browser_token.clone(),
        }
    }
}

fn address(name: &str) -> String {
    format!("{name}-{}@example.org", uuid::Uuid::new_v4().simple())
}

fn bearer<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn refusal<T: std::fmt::Debug>(response: Result<T, Status>) -> Reason {
    reason(&response.unwrap_err()).unwrap()
}

#[tokio::test]
async fn new_identity_registers_a_user_and_signs_in_again() {
    let fixture = Fixture::start().await;
    let listed = fixture.oauth().list_providers(ListProvidersRequest {}).await.unwrap().into_inner().providers;
    let names: Vec<_> = listed.into_iter().map(|provider| provider.name).collect();
    assert_eq!(names, ["acme", "evil", "github", "liar", "strict"]);

    let email = address("ada");
    let sent = fixture.authorize("acme").await;
    let of = |name: &str| sent.url[name].as_str();
    assert_eq!((of("response_type"), of("client_id"), of("prompt")), ("code", CLIENT_ID, "login"));
    assert_eq!((of("code_challenge_method"), of("scope")), ("S256", "openid email profile"));
    assert_eq!(of("redirect_uri"), "https://app.example.org/v1/auth/oauth/acme/callback");
    let code = fixture.code(&sent, fixture.claims(&sent, "1", &email));
    let first = fixture.callback(sent.callback_request(&code)).await.unwrap();
    assert_eq!(first.redirect, "https://app.example.org/inbox");
    let user = first.user.clone().unwrap();
    assert_eq!((user.email.as_str(), user.email_verified, user.first_name.as_str()), (email.as_str(), true, "Ada"));

    // The subject identifies the user, neither the address nor the name.
    let second = fixture.sign_in("acme", "1", &address("renamed")).await.unwrap();
    assert_eq!(second.user.unwrap().id, user.id);
    let me = UserServiceClient::new(fixture.context.auth());
    let me = me.clone().get_me(bearer(first.access_token(), GetMeRequest {})).await.unwrap().into_inner();
    assert_eq!(me.user.unwrap().id, user.id);
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(first.access_token()).unwrap().claims;
    assert_eq!(claims["amr"], json!(["fed"]));
    // The user has no password, and none matches.
    assert_eq!(refusal(login(&fixture.context, &email, PASSWORD).await), Reason::CredentialsInvalid);
}

#[tokio::test]
async fn unverified_address_registers_nobody() {
    let fixture = Fixture::start().await;
    for change in [json!(false), json!("false"), json!(null)] {
        let response = fixture.forged(|claims| claims["email_verified"] = change.clone(), None).await;
        assert_eq!(refusal(response), Reason::EmailNotVerified, "{change}");
    }
    assert_eq!(
        refusal(fixture.forged(|claims| claims["email"] = json!("nobody"), None).await),
        Reason::EmailNotVerified
    );
}

#[tokio::test]
async fn missing_claims_come_from_the_userinfo() {
    let fixture = Fixture::start().await;
    let email = address("ada");
    let begun = fixture.authorize("acme").await;
    let claims = fixture.fake.claims("acme", "1", &begun.url["nonce"]);
    let info =
        |subject: &str| json!({"sub": subject, "email": email, "email_verified": true, "name": "Ada King Lovelace"});
    let give = |sent: &Redirected, claims: Value, info: Value| {
        fixture.fake.issue_code(&sent.url["code_challenge"], claims, info, None)
    };
    // OpenID Connect Core 1.0, section 5.3.2: the userinfo of another subject.
    let code = give(&begun, claims, info("2"));
    assert_eq!(refusal(fixture.callback(begun.callback_request(&code)).await), Reason::ProviderRefused);

    let begun = fixture.authorize("acme").await;
    let claims = fixture.fake.claims("acme", "1", &begun.url["nonce"]);
    let code = give(&begun, claims, info("1"));
    let user = fixture.callback(begun.callback_request(&code)).await.unwrap().user.unwrap();
    assert_eq!((user.email, user.first_name, user.last_name), (email, "Ada".to_owned(), "King Lovelace".to_owned()));
}

#[tokio::test]
async fn signed_userinfo_is_accepted() {
    let fixture = Fixture::start().await;
    let email = address("ada");
    let ours = json!({"sub": "1", "email": email, "email_verified": "true", "given_name": "Ada"});
    let sign_in = async |change: &dyn Fn(&mut Value), foreign: bool| {
        let begun = fixture.authorize("acme").await;
        let claims = fixture.fake.claims("acme", "1", &begun.url["nonce"]);
        let mut info = ours.clone();
        change(&mut info);
        // Only the provider's key is accepted.
        let token =
            if foreign { FakeProvider::start_with_another_key().await.sign(&info) } else { fixture.fake.sign(&info) };
        let code = fixture.fake.issue_code(&begun.url["code_challenge"], claims, json!(token), None);
        fixture.callback(begun.callback_request(&code)).await
    };
    for change in [
        &(|info: &mut Value| info["iss"] = json!("https://evil.example")) as &dyn Fn(&mut Value),
        &|info| info["aud"] = json!("another client"),
        &|info| info["sub"] = json!("2"),
    ] {
        assert_eq!(refusal(sign_in(change, false).await), Reason::ProviderRefused);
    }
    assert_eq!(refusal(sign_in(&|_| {}, true).await), Reason::ProviderRefused);
    let issuer = fixture.fake.issuer("acme");
    for change in [&(|_: &mut Value| {}) as &dyn Fn(&mut Value), &|info| {
        info["iss"] = json!(issuer);
        info["aud"] = json!([CLIENT_ID, "another client"]);
    }] {
        assert_eq!(sign_in(change, false).await.unwrap().user.unwrap().email, email);
    }
}

#[tokio::test]
async fn github_identity_comes_from_its_api() {
    let fixture = Fixture::start().await;
    let email = address("ada");
    let sign_in = async |user: Value, emails: Value| {
        fixture.fake.github(user, emails);
        let sent = fixture.authorize("github").await;
        assert!(!sent.url.contains_key("nonce") && sent.url["scope"] == "read:user user:email");
        let code = fixture.code(&sent, json!({}));
        fixture.callback(sent.callback_request(&code)).await
    };
    let user = json!({"id": 7, "login": "ada", "name": "Ada Lovelace", "email": "seen-by-nobody@example.org"});
    let emails = |verified: bool| {
        json!([{"email": "other@example.org", "primary": false, "verified": true, "visibility": null},
               {"email": email, "primary": true, "verified": verified, "visibility": "private"}])
    };
    assert_eq!(refusal(sign_in(user.clone(), emails(false)).await), Reason::EmailNotVerified);
    assert_eq!(refusal(sign_in(user.clone(), json!([])).await), Reason::EmailNotVerified);
    let first = sign_in(user, emails(true)).await.unwrap().user.unwrap();
    assert_eq!((first.email, first.last_name.as_str()), (email, "Lovelace"));
    // The login may belong to someone else tomorrow; the id identifies the user.
    let renamed = sign_in(json!({"id": 7, "login": "ada2", "name": null}), json!([])).await.unwrap().user.unwrap();
    assert_eq!(renamed.id, first.id);
    let other = sign_in(json!({"id": 8, "login": "ada", "name": null}), json!([])).await;
    assert_eq!(refusal(other), Reason::EmailNotVerified);

    // GitHub returns status 200 and an error for an unknown code.
    let sent = fixture.authorize("github").await;
    assert_eq!(refusal(fixture.callback(sent.callback_request("no code")).await), Reason::ProviderRefused);
}

#[tokio::test]
async fn second_factor_is_required_after_a_provider_sign_in() {
    let fixture = Fixture::start().await;
    let email = address("ada");
    let user = fixture.sign_in("acme", "1", &email).await.unwrap().user.unwrap();
    sqlx::query("insert into auth.second_factors (user_id, secret, enabled_at) values ($1::uuid, '\\x00', now())")
        .bind(&user.id)
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    let response = fixture.sign_in("acme", "1", &email).await.unwrap();
    assert!(response.mfa_required && response.mfa_token.is_some(), "{response:?}");
    assert!(
        response.access_token.is_none() && response.refresh_token.is_none() && response.user.is_none(),
        "{response:?}"
    );
}

#[tokio::test]
async fn provider_outage_is_unavailable_not_refused() {
    let fixture = Fixture::start().await;
    let sent = fixture.authorize("acme").await;
    fixture.fake.set_token_endpoint(fake_provider::TokenEndpoint::Broken);
    let code = fixture.code(&sent, fixture.claims(&sent, "1", &address("ada")));
    assert_eq!(refusal(fixture.callback(sent.callback_request(&code)).await), Reason::Unavailable);
    // A discovery document of another issuer is not trusted at all (OpenID Connect Discovery 1.0, section 4.3).
    let liar = AuthorizeRequest { provider: "liar".to_owned(), redirect: String::new() };
    assert_eq!(refusal(fixture.oauth().authorize(liar).await), Reason::Unavailable);
}
