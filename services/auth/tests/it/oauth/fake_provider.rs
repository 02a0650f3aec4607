//! A fake identity provider with programmable responses: OpenID Connect, and GitHub's API.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

pub(crate) const CLIENT_ID: &str = "baton";
/// Has characters that a form and a header encode differently.
pub(crate) const CLIENT_SECRET: &str = "a secret: with+signs%";

/// Creates the id_token for a code.
pub(crate) type Token = Arc<dyn Fn(&FakeProvider, Value) -> String + Send + Sync>;

/// An issued code.
#[derive(Clone)]
struct IssuedCode {
    challenge: String,
    claims: Value,
    userinfo: Value,
    token: Token,
}

/// A provider, which runs as long as the test. Clones share it.
#[derive(Clone)]
pub(crate) struct FakeProvider(Arc<Inner>);

struct Inner {
    root: String,
    kid: String,
    key: Vec<u8>,
    public: Vec<u8>,
    codes: Mutex<HashMap<String, IssuedCode>>,
    github: Mutex<(Value, Value)>,
    token_endpoint: Mutex<TokenEndpoint>,
}

/// Behaviour of the token endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenEndpoint {
    Fine,
    Redirects,
    Endless,
    Broken,
}

impl FakeProvider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let (key, public) = key();
        let fake = Self(Arc::new(Inner {
            kid: "first".to_owned(),
            root,
            key,
            public,
            codes: Mutex::default(),
            github: Mutex::default(),
            token_endpoint: Mutex::new(TokenEndpoint::Fine),
        }));
        let app = Router::new()
            .route("/{issuer}/.well-known/openid-configuration", get(discovery))
            .route("/{issuer}/jwks", get(jwks))
            .route("/{issuer}/token", post(token))
            .route("/{issuer}/userinfo", get(userinfo))
            .route("/login/oauth/access_token", post(github_token))
            .route("/api/user", get(github_user))
            .route("/api/user/emails", get(github_emails))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        fake
    }

    /// Another provider that uses the same key id.
    pub(crate) async fn start_with_another_key() -> Self {
        Self::start().await
    }

    pub(crate) fn root(&self) -> &str {
        &self.0.root
    }

    /// One of its issuers; all sign with the same key.
    pub(crate) fn issuer(&self, name: &str) -> String {
        format!("{}/{name}", self.0.root)
    }

    /// Valid claims for the sign-in of this authorization URL.
    pub(crate) fn claims(&self, issuer: &str, subject: &str, nonce: &str) -> Value {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        json!({"iss": self.issuer(issuer), "sub": subject, "aud": CLIENT_ID, "exp": now + 300, "iat": now, "nonce": nonce})
    }

    /// Issues a code for an authorization request.
    pub(crate) fn issue_code(&self, challenge: &str, claims: Value, userinfo: Value, token: Option<Token>) -> String {
        let code = uuid::Uuid::new_v4().to_string();
        let token = token.unwrap_or_else(|| Arc::new(|fake: &Self, claims: Value| fake.sign(&claims)));
        let given = IssuedCode { challenge: challenge.to_owned(), claims, userinfo, token };
        self.0.codes.lock().unwrap().insert(code.clone(), given);
        code
    }

    /// Sets the user that GitHub's API returns.
    pub(crate) fn github(&self, user: Value, emails: Value) {
        *self.0.github.lock().unwrap() = (user, emails);
    }

    pub(crate) fn set_token_endpoint(&self, token_endpoint: TokenEndpoint) {
        *self.0.token_endpoint.lock().unwrap() = token_endpoint;
    }

    /// Signs an id_token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.0.kid.clone()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &EncodingKey::from_ec_der(&self.0.key)).unwrap()
    }

    /// The public key, as an attacker would obtain it.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.0.public
    }
}

/// A P-256 key: private half as PKCS#8, public half as a point.
pub(crate) fn key() -> (Vec<u8>, Vec<u8>) {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
    (document.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
}

async fn discovery(State(fake): State<FakeProvider>, Path(issuer): Path<String>) -> Json<Value> {
    let root = fake.issuer(&issuer);
    // `liar` claims another issuer.
    let named = if issuer == "liar" { fake.issuer("acme") } else { root.clone() };
    Json(json!({
        "issuer": named,
        "authorization_endpoint": format!("{root}/authorize?prompt=login"),
        "token_endpoint": format!("{root}/token"),
        "jwks_uri": format!("{root}/jwks"),
        "userinfo_endpoint": format!("{root}/userinfo"),
        // A careless provider: its announcement alone must not decide.
        "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        "authorization_response_iss_parameter_supported": issuer == "strict",
    }))
}

async fn jwks(State(fake): State<FakeProvider>) -> Json<Value> {
    let part = |range| URL_SAFE_NO_PAD.encode(&fake.0.public[range]);
    let (x, y) = (part(1..33), part(33..65));
    Json(json!({"keys": [
        {"kty": "mystery", "kid": "of a kind that nobody knows"},
        {"kty": "oct", "kid": "first", "k": URL_SAFE_NO_PAD.encode(CLIENT_SECRET)},
        {"kty": "EC", "crv": "P-256", "kid": fake.0.kid, "alg": "ES256", "use": "sig", "x": x, "y": y},
    ]}))
}

fn form(body: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

/// Redeems a code once, for the client that proves that it started the sign-in.
fn redeem(fake: &FakeProvider, form: &HashMap<String, String>) -> Option<IssuedCode> {
    let given = fake.0.codes.lock().unwrap().remove(form.get("code")?)?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form.get("code_verifier")?));
    (challenge == given.challenge).then_some(given)
}

async fn token(State(fake): State<FakeProvider>, headers: HeaderMap, body: String) -> Response {
    match *fake.0.token_endpoint.lock().unwrap() {
        TokenEndpoint::Fine => {}
        TokenEndpoint::Redirects => return Redirect::temporary(&format!("{}/acme/token", fake.0.root)).into_response(),
        TokenEndpoint::Endless => return "x".repeat(1_000_000).into_response(),
        TokenEndpoint::Broken => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
    let basic = STANDARD.encode("baton:a+secret%3A+with%2Bsigns%25");
    if headers.get(header::AUTHORIZATION).is_none_or(|sent| sent != &format!("Basic {basic}")) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_client"}))).into_response();
    }
    let Some(given) = redeem(&fake, &form(&body)) else {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
    };
    let id_token = (given.token)(&fake, given.claims);
    // A text is returned as a JWT. The token type is case-insensitive (RFC 6749, section 5.1).
    let access_token = given.userinfo.as_str().map_or_else(|| given.userinfo.to_string(), str::to_owned);
    Json(json!({
        "id_token": id_token, "access_token": access_token, "token_type": "bEARER", "expires_in": "3600", "scope": null
    }))
    .into_response()
}

/// The access token holds the response itself: JSON, or a JWT.
async fn userinfo(headers: HeaderMap) -> Response {
    let response = headers[header::AUTHORIZATION].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
    let media_type = if response.starts_with('{') { "application/json" } else { "application/jwt; charset=utf-8" };
    ([(header::CONTENT_TYPE, media_type)], response).into_response()
}

async fn github_token(State(fake): State<FakeProvider>, body: String) -> Json<Value> {
    let form = form(&body);
    let known = form["client_id"] == CLIENT_ID && form["client_secret"] == CLIENT_SECRET;
    match redeem(&fake, &form).filter(|_| known) {
        Some(_) => Json(json!({"access_token": "gho_1", "scope": "read:user,user:email", "token_type": "bearer"})),
        // With status 200, as GitHub does.
        None => Json(json!({"error": "bad_verification_code"})),
    }
}

async fn github_user(State(fake): State<FakeProvider>, headers: HeaderMap) -> Json<Value> {
    assert_eq!(headers[header::AUTHORIZATION], "Bearer gho_1");
    Json(fake.0.github.lock().unwrap().0.clone())
}

async fn github_emails(State(fake): State<FakeProvider>) -> Json<Value> {
    Json(fake.0.github.lock().unwrap().1.clone())
}
