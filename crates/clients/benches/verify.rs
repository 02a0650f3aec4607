//! What it costs to know a caller: `cargo bench -p baton-clients`.
//!
//! The signature of a token is checked once, and what auth says of the session or of an API key is remembered for a
//! second. "asked" is the same with nothing of that remembered: a gRPC call to an auth on loopback that answers at once,
//! so the least that it can cost.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark talks to people")]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_access::{
    AccessLayer, ApiKey, Claims, IdentityCache, Rules, TokenVerifier,
    identity_cache::NoMemberships,
    token::{AUDIENCE, KeySource},
};
use baton_clients::{Auth, Peer};
use baton_errors::Result;
use baton_proto::baton::auth::v1::{CheckSessionResponse, JsonWebKey, KeyGrant};
use baton_runtime::Clock;
use bytes::Bytes;
use http::{Request, Response};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use prost::Message;
use tonic::{body::Body, server::NamedService, transport::Channel};
use tower::{Layer, Service, ServiceExt};
use uuid::Uuid;

const ROUNDS: u32 = 2000;

struct OneKey(JsonWebKey);

#[async_trait]
impl KeySource for OneKey {
    async fn fetch(&self) -> Result<Vec<JsonWebKey>> {
        Ok(vec![self.0.clone()])
    }
}

/// Answers each call at once, and nothing.
#[derive(Clone)]
struct Nothing;

impl NamedService for Nothing {
    const NAME: &'static str = "baton.auth.v1.AuthService";
}

impl Service<Request<Body>> for Nothing {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<std::result::Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<std::result::Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        std::future::ready(Ok(Response::new(Body::empty())))
    }
}

#[tokio::main]
async fn main() {
    let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let jwk = JsonWebKey {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x: URL_SAFE_NO_PAD.encode(pair.public_key()),
        kid: "one".to_owned(),
        ..JsonWebKey::default()
    };
    let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::EdDSA) };
    let exp = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap() + 3600;
    let (user_id, sid) = (Uuid::now_v7(), Uuid::now_v7());
    let mut claims = Claims {
        iss: "us".to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: user_id,
        sid,
        amr: vec!["pwd".to_owned()],
        exp,
        iat: 0,
        jti: sid,
    };
    let signer = EncodingKey::from_ed_der(document.as_ref());
    let mut sign = |id| {
        claims.jti = id;
        encode(&header, &claims, &signer).unwrap()
    };
    let token = sign(sid);
    let others: Vec<String> = (0..=ROUNDS).map(|_| sign(Uuid::now_v7())).collect();
    let key = ApiKey::new();

    let verifier = TokenVerifier::new("us", OneKey(jwk));
    let next = AtomicUsize::new(0);
    time("signature and claims of a token", async || {
        verifier.verify(&others[next.fetch_add(1, Ordering::Relaxed)]).await.unwrap();
    })
    .await;
    time("the same token again", async || {
        verifier.verify(&token).await.unwrap();
    })
    .await;

    let auth = Auth::new(Peer::new("auth", an_auth(user_id).await));
    let rules = || Rules::of(&["baton.auth.v1.AuthService"]).unwrap();
    let remembers = IdentityCache::new(auth.clone(), NoMemberships);
    let asks = IdentityCache::uncached(auth);
    for (what, directory) in [("remembered", remembers), ("asked", asks)] {
        let layer = AccessLayer::new("task", rules(), verifier.clone(), directory, Clock::system());
        let service = layer.layer(Nothing);
        for (of, bearer) in [("a token", token.as_str()), ("an API key", key.expose())] {
            let service = &service;
            time(&format!("a whole decision about {of}, {what}"), async || {
                let request = Request::builder().uri("/baton.auth.v1.AuthService/CheckSession");
                let request = request.header("authorization", format!("Bearer {bearer}")).body(Body::empty()).unwrap();
                let answer = service.clone().oneshot(request).await.unwrap();
                assert!(!answer.headers().contains_key("grpc-status"), "{answer:?}");
            })
            .await;
        }
    }
}

async fn time(what: &str, work: impl AsyncFn()) {
    work().await;
    let mut each = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        work().await;
        each.push(begun.elapsed());
    }
    each.sort();
    let micros = |at: usize| each[at * each.len() / 1000].as_secs_f64() * 1e6;
    let mean = each.iter().sum::<Duration>().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    println!("{what:48} median {:8.1} µs   mean {mean:8.1} µs   p99 {:8.1} µs", micros(500), micros(990));
}

/// A server that says yes to every session and key.
async fn an_auth(user_id: Uuid) -> Channel {
    let key = KeyGrant { id: user_id.to_string(), ..KeyGrant::default() };
    let answer =
        CheckSessionResponse { user_id: user_id.to_string(), key: Some(key), ..CheckSessionResponse::default() }
            .encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(answer.len()).unwrap().to_be_bytes());
    frame.extend(answer);
    let yes = axum::Router::new().fallback(move || {
        let frame = Bytes::from(frame.clone());
        async move {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            let frames = [
                Ok::<_, std::convert::Infallible>(http_body::Frame::data(frame)),
                Ok(http_body::Frame::trailers(trailers)),
            ];
            let body = axum::body::Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
            ([("content-type", "application/grpc")], body)
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, yes).await });
    tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().tcp_nodelay(true).connect_lazy()
}
