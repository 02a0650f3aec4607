//! Sign-in through a real OpenID provider, the npm package `oidc-provider`, with a simulated browser.

use std::collections::BTreeMap;

use baton_tests::{Node, PASSWORD, Platform};
use reqwest::{Client, Response, header, redirect::Policy};
use serde_json::{Value, json};
use url::Url;

const CLIENT_ID: &str = "baton";
const CLIENT_SECRET: &str = "a secret of the client";

/// The platform and its identity provider.
struct Fixture {
    platform: Platform,
    provider: Node,
}

/// A browser that follows no redirects by itself and stores cookies by origin.
struct Browser {
    client: Client,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

async fn start(accounts: &Value) -> Fixture {
    let argument = json!({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "accounts": accounts});
    let mut provider = Node::start("provider.mjs", &argument);
    let issuer = provider.wait_for("the issuer", |line| line["issuer"].is_string()).await["issuer"].clone();
    let of = |name: &str, enabled: bool| json!({"name": name, "kind": "oidc", "issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "enabled": enabled});
    let providers = json!([of("acme", true), of("off", false)]).to_string();
    let platform = Platform::start_with(&[("BATON_AUTH_PROVIDERS", &providers)]).await;
    let callback = format!("{}/v1/auth/oauth/acme/callback", platform.url());
    provider.write_line(&json!({"redirect_uri": callback})).await;
    provider.wait_for("the provider", |line| line["ready"] == true).await;
    Fixture { platform, provider }
}

impl Browser {
    fn new() -> Self {
        Self { client: Client::builder().redirect(Policy::none()).build().unwrap(), cookies: BTreeMap::new() }
    }

    /// A browser that is already signed in at the provider.
    fn of(account: &str) -> Self {
        let mut browser = Self::new();
        browser.cookies.entry("account".to_owned()).or_default().insert("account".to_owned(), account.to_owned());
        browser
    }

    async fn get(&mut self, url: &str, mode: Option<&str>) -> Response {
        let origin = Url::parse(url).unwrap().origin().ascii_serialization();
        let own = self.cookies.get(&origin).into_iter().chain(self.cookies.get("account")).flatten();
        let cookies: Vec<_> = own.map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = self.client.get(url).header(header::COOKIE, cookies.join("; "));
        if let Some(mode) = mode {
            request = request.header("sec-fetch-mode", mode);
        }
        let response = request.send().await.unwrap();
        self.keep(&origin, &response);
        response
    }

    fn keep(&mut self, origin: &str, response: &Response) {
        let jar = self.cookies.entry(origin.to_owned()).or_default();
        for line in response.headers().get_all(header::SET_COOKIE) {
            let (name, value) = line.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            jar.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Begins a sign-in and returns the URL of the provider's page.
    async fn begin(&mut self, platform: &Platform, provider: &str, query: &str) -> String {
        let url = format!("{}/v1/auth/oauth/{provider}/authorize{query}", platform.url());
        let response = self.get(&url, Some("navigate")).await;
        assert_eq!(response.status(), 302);
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
        for attribute in ["__Host-baton_oauth=", "Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        location(&response)
    }

    /// Follows the provider's pages and returns the callback URL.
    async fn through(&mut self, platform: &Platform, page: &str) -> String {
        let mut url = page.to_owned();
        for _ in 0..10 {
            if url.starts_with(&platform.url()) {
                return url;
            }
            let response = self.get(&url, Some("navigate")).await;
            assert!(response.status().is_redirection(), "{url}: {response:?}");
            url = Url::parse(&url).unwrap().join(&location(&response)).unwrap().into();
        }
        panic!("the provider does not redirect back: {url}");
    }
}

fn location(response: &Response) -> String {
    response.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

async fn refusal(response: Response) -> (u16, String) {
    let (status, problem) = (response.status().as_u16(), response.json::<Value>().await.unwrap());
    (status, problem["reason"].as_str().unwrap().to_owned())
}

fn accounts(more: Value) -> Value {
    let mut accounts = json!({
        "ada": {"email": "ada@example.org", "email_verified": true, "given_name": "Ada", "family_name": "Lovelace"},
        "shady": {"email": "shady@example.org", "email_verified": false},
    });
    accounts.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    accounts
}

#[tokio::test]
async fn user_signs_in_through_a_real_provider_repeatedly() {
    let Fixture { platform, provider: _provider } = start(&accounts(json!({}))).await;
    let rest = platform.rest();
    let listed = rest.get("/v1/auth/oauth/providers").ok().await;
    assert_eq!(listed["providers"], json!([{"name": "acme"}]));

    let mut browser = Browser::of("ada");
    let page = browser.begin(&platform, "acme", "?redirect=/inbox").await;
    for parameter in ["code_challenge=", "code_challenge_method=S256", "state=", "nonce="] {
        assert!(page.contains(parameter), "{page}");
    }
    let callback = browser.through(&platform, &page).await;
    assert!(callback.contains("iss="), "RFC 9207: {callback}");
    // A script's request gets the login response. Additional parameters of the provider are ignored.
    let response = browser.get(&format!("{callback}&session_state=x"), Some("cors")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert!(response.headers()[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    let session: Value = response.json().await.unwrap();
    assert_eq!((&session["token_type"], &session["expires_in"]), (&json!("Bearer"), &json!(900)), "{session}");
    assert_eq!(session["redirect"], format!("{}/inbox", platform.url()));
    assert_eq!(
        (&session["user"]["email"], &session["user"]["email_verified"]),
        (&json!("ada@example.org"), &json!(true))
    );
    let ada = rest.with_token(session["access_token"].as_str().unwrap());
    assert_eq!(ada.get("/v1/users/me").ok().await["id"], session["user"]["id"]);
    let identities = ada.get("/v1/users/me/identities").ok().await;
    let identity = &identities["identities"][0];
    assert_eq!((&identity["provider"], &identity["email"]), (&json!("acme"), &json!("ada@example.org")));
    let way = format!("/v1/users/me/identities/{}", identity["id"].as_str().unwrap());
    ada.delete(&way).refused(409, "LAST_WAY_TO_SIGN_IN").await;

    // The callback again: the state is used up.
    assert_eq!(refusal(browser.get(&callback, None).await).await, (400, "OAUTH_STATE_INVALID".to_owned()));

    // A browser navigation is redirected to the app, with the refresh token in an HttpOnly cookie.
    let page = browser.begin(&platform, "acme", "?redirect=/inbox").await;
    let callback = browser.through(&platform, &page).await;
    let response = browser.get(&callback, Some("navigate")).await;
    assert_eq!((response.status().as_u16(), location(&response)), (303, format!("{}/inbox", platform.url())));
    let set: Vec<_> = response.headers().get_all(header::SET_COOKIE).iter().map(|v| v.to_str().unwrap()).collect();
    assert!(
        set.iter().any(|cookie| cookie.starts_with("__Host-baton_refresh=") && cookie.contains("HttpOnly")),
        "{set:?}"
    );
    let jar = &browser.cookies[&platform.url()];
    let cookies = format!("__Host-baton_refresh={}", jar["__Host-baton_refresh"]);
    let refresh = rest.post("/v1/auth/refresh", &json!({})).header("cookie", &cookies);
    let refresh = refresh.header("x-csrf-token", &jar["__Host-baton_csrf"]).header("sec-fetch-site", "same-origin");
    let again = refresh.ok().await;
    assert_eq!(again["user"]["id"], session["user"]["id"], "{again}");
}

#[tokio::test]
async fn unverified_provider_claims_sign_nobody_in() {
    let Fixture { platform, provider: _provider } = start(&accounts(json!({}))).await;
    let mut shady = Browser::of("shady");
    let page = shady.begin(&platform, "acme", "").await;
    let callback = shady.through(&platform, &page).await;
    assert_eq!(refusal(shady.get(&callback, None).await).await, (403, "EMAIL_NOT_VERIFIED".to_owned()));

    // The user declined at the provider.
    let mut nobody = Browser::new();
    let page = nobody.begin(&platform, "acme", "").await;
    let callback = nobody.through(&platform, &page).await;
    assert!(callback.contains("error=access_denied"), "{callback}");
    assert_eq!(refusal(nobody.get(&callback, None).await).await, (401, "PROVIDER_REFUSED".to_owned()));

    // Login CSRF: Ada's link is opened in another browser, also with the browser token in the link.
    let mut ada = Browser::of("ada");
    let page = ada.begin(&platform, "acme", "").await;
    let callback = ada.through(&platform, &page).await;
    let token = &ada.cookies[&platform.url()]["__Host-baton_oauth"];
    for link in [callback.clone(), format!("{callback}&browser_token={token}")] {
        let mut victim = Browser::new();
        assert_eq!(refusal(victim.get(&link, None).await).await, (400, "OAUTH_STATE_INVALID".to_owned()));
    }
    // A modified code, and a used one.
    let forged = callback.replace("code=", "code=x");
    assert_eq!(refusal(ada.get(&forged, None).await).await, (401, "PROVIDER_REFUSED".to_owned()));

    let rest = platform.rest();
    for provider in ["off", "never-was"] {
        rest.get(&format!("/v1/auth/oauth/{provider}/authorize")).refused(404, "PROVIDER_UNKNOWN").await;
        let callback = format!("/v1/auth/oauth/{provider}/callback?code=a&state=b");
        rest.get(&callback).refused(404, "PROVIDER_UNKNOWN").await;
    }
    for redirect in ["//evil.example", "https://evil.example/", "/%5Cevil.example"] {
        let authorize = format!("/v1/auth/oauth/acme/authorize?redirect={redirect}");
        rest.get(&authorize).refused(400, "VALIDATION_FAILED").await;
    }
}

/// CVE-2026-105207.
#[tokio::test]
async fn existing_email_is_linked_only_with_proof_of_its_owner() {
    let Fixture { platform, provider: _provider } = start(&accounts(json!({}))).await;
    let rest = platform.rest();
    let email = "ada@example.org";
    let register = json!({"email": email, "password": PASSWORD, "first_name": "Ada", "last_name": "Lovelace"});
    rest.post("/v1/auth/register", &register).ok().await;
    let token = platform.mailed_token(email, "/verify-email").await;
    rest.post("/v1/auth/verify-email", &json!({"token": token})).ok().await;
    let ada = platform.sign_in(email).await;

    let mut browser = Browser::of("ada");
    let page = browser.begin(&platform, "acme", "").await;
    let callback = browser.through(&platform, &page).await;
    assert_eq!(refusal(browser.get(&callback, None).await).await, (409, "IDENTITY_NOT_LINKED".to_owned()));

    let link = "/v1/users/me/identities/acme";
    ada.post(link, &json!({})).refused(403, "PROOF_REQUIRED").await;
    ada.post(link, &json!({"password": "not her password"})).refused(403, "PROOF_INVALID").await;
    let started = ada.post(link, &json!({"password": PASSWORD, "redirect": "/settings"})).send().await;
    assert_eq!(started.status, 200, "{}", started.text);
    let cookie = started.header("set-cookie").split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
    let started: Value = serde_json::from_str(&started.text).unwrap();
    assert_eq!(started["browser_token"], "", "the browser token is only in the cookie");
    let jar = browser.cookies.entry(platform.url()).or_default();
    jar.insert("__Host-baton_oauth".to_owned(), cookie);
    let callback = browser.through(&platform, started["authorization_url"].as_str().unwrap()).await;
    let linked: Value = browser.get(&callback, None).await.json().await.unwrap();
    assert_eq!((&linked["identity"]["provider"], &linked["access_token"]), (&json!("acme"), &Value::Null), "{linked}");

    // It signs her in until she unlinks it.
    let page = browser.begin(&platform, "acme", "").await;
    let callback = browser.through(&platform, &page).await;
    let session: Value = browser.get(&callback, None).await.json().await.unwrap();
    assert_eq!(session["user"]["id"], json!(ada.id), "{session}");
    ada.delete(link).ok().await;
    assert_eq!(ada.get("/v1/users/me/identities").ok().await["identities"], json!([]));
    let page = browser.begin(&platform, "acme", "").await;
    let callback = browser.through(&platform, &page).await;
    assert_eq!(refusal(browser.get(&callback, None).await).await, (409, "IDENTITY_NOT_LINKED".to_owned()));
}
