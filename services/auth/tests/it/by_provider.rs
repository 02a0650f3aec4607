//! Signing in by another provider of identities, and what an attacker would try about it.

mod attacks;
mod fake;
mod linking;

use std::collections::HashMap;

use baton_auth::Config;
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
use fake::{CLIENT_ID, CLIENT_SECRET, Fake, Token};

/// The auth service with providers, and the fake behind them.
struct Stage {
    world: TestContext,
    fake: Fake,
    clock: Clock,
    channel: Channel,
}

/// A browser that was sent to a provider.
struct Sent {
    provider: String,
    browser_token: String,
    url: HashMap<String, String>,
}

impl Stage {
    async fn start() -> Self {
        Self::start_at(Clock::system()).await
    }

    async fn start_at(clock: Clock) -> Self {
        let (world, fake) = tokio::join!(TestContext::start(&[]), Fake::start());
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
        let mut env = world.env();
        env.set("BATON_AUTH_PROVIDERS", providers.to_string());
        env.set("BATON_PUBLIC_URL", "https://app.example.org");
        let config = Config::from_env(&env).unwrap();
        let started = clock.clone();
        let channel = world.spawn(|listener, shutdown| baton_auth::start(config, started, listener, shutdown)).await;
        Self { world, fake, clock, channel }
    }

    fn oauth(&self) -> OAuthServiceClient<Channel> {
        OAuthServiceClient::new(self.channel.clone())
    }

    fn identities(&self) -> IdentityServiceClient<Channel> {
        IdentityServiceClient::new(self.channel.clone())
    }

    /// OffsetCache a sign-in.
    async fn authorize(&self, provider: &str) -> Sent {
        let request = AuthorizeRequest { provider: provider.to_owned(), redirect: "/inbox".to_owned() };
        let answer = self.oauth().authorize(request).await.unwrap().into_inner();
        assert_eq!(answer.expires_in, 600);
        Sent::to(provider, &answer.authorization_url, answer.browser_token)
    }

    /// The code that the provider gives for it, when the person says who they are.
    fn code(&self, sent: &Sent, claims: Value) -> String {
        self.fake.give(&sent.url["code_challenge"], claims, json!({}), None)
    }

    /// Claims that hold.
    fn claims(&self, sent: &Sent, subject: &str, email: &str) -> Value {
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

    /// A whole sign-in.
    async fn sign_in(&self, provider: &str, subject: &str, email: &str) -> Result<CallbackResponse, Status> {
        let sent = self.authorize(provider).await;
        let code = self.code(&sent, self.claims(&sent, subject, email));
        self.callback(sent.back(&code)).await
    }

    /// A whole sign-in with an id_token of this making.
    async fn forged(&self, change: impl FnOnce(&mut Value), token: Option<Token>) -> Result<CallbackResponse, Status> {
        let sent = self.authorize("acme").await;
        let mut claims = self.claims(&sent, "forged", &address("forged"));
        change(&mut claims);
        let code = self.fake.give(&sent.url["code_challenge"], claims, json!({}), token);
        self.callback(sent.back(&code)).await
    }
}

impl Sent {
    fn to(provider: &str, url: &str, browser_token: String) -> Self {
        let url = Url::parse(url).unwrap().query_pairs().into_owned().collect();
        Self { provider: provider.to_owned(), browser_token, url }
    }

    /// What the provider sends it back with.
    fn back(&self, code: &str) -> CallbackRequest {
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

fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> Reason {
    reason(&answer.unwrap_err()).unwrap()
}

#[tokio::test]
async fn a_new_person_is_registered_and_comes_back_as_the_same() {
    let stage = Stage::start().await;
    let listed = stage.oauth().list_providers(ListProvidersRequest {}).await.unwrap().into_inner().providers;
    let names: Vec<_> = listed.into_iter().map(|provider| provider.name).collect();
    assert_eq!(names, ["acme", "evil", "github", "liar", "strict"]);

    let email = address("ada");
    let sent = stage.authorize("acme").await;
    let of = |name: &str| sent.url[name].as_str();
    assert_eq!((of("response_type"), of("client_id"), of("prompt")), ("code", CLIENT_ID, "login"));
    assert_eq!((of("code_challenge_method"), of("scope")), ("S256", "openid email profile"));
    assert_eq!(of("redirect_uri"), "https://app.example.org/v1/auth/oauth/acme/callback");
    let code = stage.code(&sent, stage.claims(&sent, "1", &email));
    let first = stage.callback(sent.back(&code)).await.unwrap();
    assert_eq!(first.redirect, "https://app.example.org/inbox");
    let user = first.user.clone().unwrap();
    assert_eq!((user.email.as_str(), user.email_verified, user.first_name.as_str()), (email.as_str(), true, "Ada"));

    // Who they are, the subject says: neither the address nor the name.
    let second = stage.sign_in("acme", "1", &address("renamed")).await.unwrap();
    assert_eq!(second.user.unwrap().id, user.id);
    let me = UserServiceClient::new(stage.world.auth());
    let me = me.clone().get_me(bearer(first.access_token(), GetMeRequest {})).await.unwrap().into_inner();
    assert_eq!(me.user.unwrap().id, user.id);
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(first.access_token()).unwrap().claims;
    assert_eq!(claims["amr"], json!(["fed"]));
    // They have no password, and none fits.
    assert_eq!(refusal(login(&stage.world, &email, PASSWORD).await), Reason::CredentialsInvalid);
}

#[tokio::test]
async fn an_address_that_the_provider_has_not_verified_registers_nobody() {
    let stage = Stage::start().await;
    for change in [json!(false), json!("false"), json!(null)] {
        let answer = stage.forged(|claims| claims["email_verified"] = change.clone(), None).await;
        assert_eq!(refusal(answer), Reason::EmailNotVerified, "{change}");
    }
    assert_eq!(refusal(stage.forged(|claims| claims["email"] = json!("nobody"), None).await), Reason::EmailNotVerified);
}

#[tokio::test]
async fn what_the_id_token_does_not_tell_the_userinfo_does() {
    let stage = Stage::start().await;
    let email = address("ada");
    let begun = stage.authorize("acme").await;
    let claims = stage.fake.claims("acme", "1", &begun.url["nonce"]);
    let info =
        |subject: &str| json!({"sub": subject, "email": email, "email_verified": true, "name": "Ada King Lovelace"});
    let give =
        |sent: &Sent, claims: Value, info: Value| stage.fake.give(&sent.url["code_challenge"], claims, info, None);
    // OpenID Connect Core 1.0, section 5.3.2: userinfo of somebody else.
    let code = give(&begun, claims, info("2"));
    assert_eq!(refusal(stage.callback(begun.back(&code)).await), Reason::ProviderRefused);

    let begun = stage.authorize("acme").await;
    let claims = stage.fake.claims("acme", "1", &begun.url["nonce"]);
    let code = give(&begun, claims, info("1"));
    let user = stage.callback(begun.back(&code)).await.unwrap().user.unwrap();
    assert_eq!((user.email, user.first_name, user.last_name), (email, "Ada".to_owned(), "King Lovelace".to_owned()));
}

#[tokio::test]
async fn the_userinfo_may_be_signed() {
    let stage = Stage::start().await;
    let email = address("ada");
    let ours = json!({"sub": "1", "email": email, "email_verified": "true", "given_name": "Ada"});
    let sign_in = async |change: &dyn Fn(&mut Value), foreign: bool| {
        let begun = stage.authorize("acme").await;
        let claims = stage.fake.claims("acme", "1", &begun.url["nonce"]);
        let mut info = ours.clone();
        change(&mut info);
        // Only the provider's key counts.
        let token = if foreign { Fake::start_with_another_key().await.sign(&info) } else { stage.fake.sign(&info) };
        let code = stage.fake.give(&begun.url["code_challenge"], claims, json!(token), None);
        stage.callback(begun.back(&code)).await
    };
    for change in [
        &(|info: &mut Value| info["iss"] = json!("https://evil.example")) as &dyn Fn(&mut Value),
        &|info| info["aud"] = json!("another client"),
        &|info| info["sub"] = json!("2"),
    ] {
        assert_eq!(refusal(sign_in(change, false).await), Reason::ProviderRefused);
    }
    assert_eq!(refusal(sign_in(&|_| {}, true).await), Reason::ProviderRefused);
    let issuer = stage.fake.issuer("acme");
    for change in [&(|_: &mut Value| {}) as &dyn Fn(&mut Value), &|info| {
        info["iss"] = json!(issuer);
        info["aud"] = json!([CLIENT_ID, "another client"]);
    }] {
        assert_eq!(sign_in(change, false).await.unwrap().user.unwrap().email, email);
    }
}

#[tokio::test]
async fn github_tells_by_its_api_who_somebody_is() {
    let stage = Stage::start().await;
    let email = address("ada");
    let sign_in = async |user: Value, emails: Value| {
        stage.fake.github(user, emails);
        let sent = stage.authorize("github").await;
        assert!(!sent.url.contains_key("nonce") && sent.url["scope"] == "read:user user:email");
        let code = stage.code(&sent, json!({}));
        stage.callback(sent.back(&code)).await
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
    // The login can be another's tomorrow; the id says who it is.
    let renamed = sign_in(json!({"id": 7, "login": "ada2", "name": null}), json!([])).await.unwrap().user.unwrap();
    assert_eq!(renamed.id, first.id);
    let other = sign_in(json!({"id": 8, "login": "ada", "name": null}), json!([])).await;
    assert_eq!(refusal(other), Reason::EmailNotVerified);

    // A code that GitHub does not know is answered with 200 and an error.
    let sent = stage.authorize("github").await;
    assert_eq!(refusal(stage.callback(sent.back("no code")).await), Reason::ProviderRefused);
}

#[tokio::test]
async fn a_second_factor_is_asked_for_all_the_same() {
    let stage = Stage::start().await;
    let email = address("ada");
    let user = stage.sign_in("acme", "1", &email).await.unwrap().user.unwrap();
    sqlx::query("insert into auth.second_factors (user_id, secret, enabled_at) values ($1::uuid, '\\x00', now())")
        .bind(&user.id)
        .execute(&stage.world.admin())
        .await
        .unwrap();
    let answer = stage.sign_in("acme", "1", &email).await.unwrap();
    assert!(answer.mfa_required && answer.mfa_token.is_some(), "{answer:?}");
    assert!(answer.access_token.is_none() && answer.refresh_token.is_none() && answer.user.is_none(), "{answer:?}");
}

#[tokio::test]
async fn a_provider_in_trouble_is_no_refusal() {
    let stage = Stage::start().await;
    let sent = stage.authorize("acme").await;
    stage.fake.mood(fake::Mood::Broken);
    let code = stage.code(&sent, stage.claims(&sent, "1", &address("ada")));
    assert_eq!(refusal(stage.callback(sent.back(&code)).await), Reason::Unavailable);
    // One whose document is another's is not trusted at all (OpenID Connect Discovery 1.0, section 4.3).
    let liar = AuthorizeRequest { provider: "liar".to_owned(), redirect: String::new() };
    assert_eq!(refusal(stage.oauth().authorize(liar).await), Reason::Unavailable);
}
