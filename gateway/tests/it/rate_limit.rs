//! Exactly as many requests as the limit pass, through however many gateways.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_access::ApiKey;
use baton_embedded::{Options, Redis, RedisBinary};
use baton_errors::{Error, Reason};
use baton_proto::baton::{
    auth::v1::{CheckSessionResponse, GetJwksResponse, GetMeResponse, JsonWebKey},
    task::v1::GetTaskRequest,
    tenancy::v1::{Limits, ResolveMembershipResponse},
};
use baton_runtime::Secret;
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use reqwest::{RequestBuilder, Response};
use serde_json::json;
use tempfile::TempDir;

use crate::gateway::{ACCOUNT, Gateway, PERSON, header, problem};

const TASK: &str = "/v1/tasks/0198c0de-aaaa-7000-8000-000000000000";

pub(crate) async fn redis() -> (Redis, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let binary = RedisBinary::find().unwrap();
    (Redis::start(&binary, &folder.path().join("redis"), Options::throw_away()).await.unwrap(), folder)
}

async fn gateway(redis: &Redis, limit: u32) -> Gateway {
    let gateway = Gateway::start_with(|config| {
        config.redis_url = Secret::new(redis.url());
        config.requests_per_hour_anonymous = limit;
    })
    .await;
    gateway.service.has_task("0198c0de-aaaa-7000-8000-000000000000", 1);
    gateway
}

/// Ten thousand requests from 50 clients, spread over the gateways; answers how many passed.
async fn storm(gateways: &[Gateway]) -> usize {
    let clients = (0..50).map(|client| async move {
        let gateway = &gateways[client % gateways.len()];
        // A kept connection that the gateway ends just then would lose a request.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let mut passed = 0;
        for _ in 0..200 {
            match client.get(format!("{}{TASK}", gateway.url)).send().await.unwrap().status().as_u16() {
                200 => passed += 1,
                status => assert_eq!(status, 429),
            }
        }
        passed
    });
    join_all(clients).await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_requests_exactly_a_thousand_pass_through_one_gateway() {
    let (redis, _folder) = redis().await;
    let gateways = [gateway(&redis, 1000).await];
    assert_eq!(storm(&gateways).await, 1000);
    assert_eq!(gateways[0].service.calls("TaskService/GetTask").len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_requests_exactly_a_thousand_pass_through_three_gateways() {
    let (redis, _folder) = redis().await;
    let gateways = [gateway(&redis, 1000).await, gateway(&redis, 1000).await, gateway(&redis, 1000).await];
    assert_eq!(storm(&gateways).await, 1000);
    let arrived = gateways.iter().map(|gateway| gateway.service.calls("TaskService/GetTask").len());
    assert_eq!(arrived.sum::<usize>(), 1000);
}

#[tokio::test]
async fn when_redis_goes_a_gateway_counts_on_from_where_it_was() {
    let (redis, _folder) = redis().await;
    let gateway = gateway(&redis, 3).await;
    for _ in 0..2 {
        assert_eq!(gateway.get(TASK).send().await.unwrap().status(), 200);
    }
    redis.stop().await;
    let third = gateway.get(TASK).send().await.unwrap();
    assert_eq!((third.status().as_u16(), header(&third, "x-ratelimit-remaining")), (200, Some("0")));
    problem(gateway.get(TASK).send().await.unwrap(), 429, "RATE_LIMITED").await;
}

#[tokio::test]
async fn every_answer_tells_what_is_left_and_a_refusal_when_to_come_back() {
    let (redis, _folder) = redis().await;
    let gateway = gateway(&redis, 2).await;
    let first = gateway.get(TASK).send().await.unwrap();
    assert_eq!(header(&first, "x-ratelimit-limit"), Some("2"));
    assert_eq!(header(&first, "x-ratelimit-remaining"), Some("1"));
    assert_eq!(header(&first, "ratelimit-policy"), Some(r#""address";q=2;w=3600"#));
    assert!(header(&first, "ratelimit").unwrap().starts_with(r#""address";r=1;t=3"#));
    // What fails counts as well.
    let second = gateway.get("/v1/tasks?per_page=x").send().await.unwrap();
    assert_eq!((second.status().as_u16(), header(&second, "x-ratelimit-remaining")), (400, Some("0")));
    let refused = gateway.get(TASK).send().await.unwrap();
    let wait: u64 = header(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert_eq!(header(&refused, "x-ratelimit-remaining"), Some("0"));
    problem(refused, 429, "RATE_LIMITED").await;
    assert_eq!(gateway.service.calls("TaskService/GetTask").len(), 1);

    // Neither the platform's own paths nor what says so in the contract are counted.
    gateway.service.on("AuthService/GetJwks", |_| Ok(GetJwksResponse::default()));
    for path in ["/healthz", "/docs", "/openapi.json", "/.well-known/jwks.json"] {
        let answer = gateway.get(path).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "ratelimit")), (200, None), "{path}");
    }
}

#[tokio::test]
async fn tokens_that_anybody_can_make_up_do_not_make_another_client() {
    let (redis, _folder) = redis().await;
    let gateway = gateway(&redis, 3).await;
    let keyed = format!("bat_{}000000", "x".repeat(40));
    for token in ["nonsense", "a.b.c", &keyed] {
        let answer = gateway.get(TASK).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "the services decide about tokens");
    }
    for token in ["other", "d.e.f"] {
        problem(gateway.get(TASK).bearer_auth(token).send().await.unwrap(), 429, "RATE_LIMITED").await;
    }
    // Nor does the word of who is no proxy of ours.
    let forged = gateway.get(TASK).header("x-forwarded-for", "203.0.113.9").send().await.unwrap();
    problem(forged, 429, "RATE_LIMITED").await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_clients_are_told_apart() {
    let (redis, _folder) = redis().await;
    let gateway = Gateway::start_with(|config| {
        config.redis_url = Secret::new(redis.url());
        config.requests_per_hour_anonymous = 1;
        config.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    })
    .await;
    gateway.service.has_task("0198c0de-aaaa-7000-8000-000000000000", 1);
    let from = async |address: &str| {
        let forwarded = format!("198.51.100.1, {address}");
        gateway.get(TASK).header("x-forwarded-for", forwarded).send().await.unwrap().status().as_u16()
    };
    assert_eq!([from("203.0.113.1").await, from("203.0.113.1").await, from("203.0.113.2").await], [200, 429, 200]);
    let told = gateway.service.calls("TaskService/GetTask");
    let told: Vec<_> = told.iter().map(|call| call.header("x-forwarded-for").unwrap()).collect();
    assert_eq!(told, ["203.0.113.1", "203.0.113.2"]);
    // One customer of IPv6 is one.
    assert_eq!([from("2001:db8::1").await, from("2001:db8::2").await], [200, 429]);
}

#[tokio::test]
async fn grpc_is_counted_with_rest_and_refused_with_a_status() {
    let (redis, _folder) = redis().await;
    let gateway = gateway(&redis, 2).await;
    let channel = tonic::transport::Endpoint::from_shared(gateway.url.clone()).unwrap().connect_lazy();
    let mut tasks = baton_proto::baton::task::v1::task_service_client::TaskServiceClient::new(channel);
    let request = GetTaskRequest { id: "0198c0de-aaaa-7000-8000-000000000000".to_owned(), as_of: None };
    let answer = tasks.get_task(request.clone()).await.unwrap();
    assert_eq!(answer.metadata().get("x-ratelimit-remaining").unwrap(), "1");
    assert_eq!(gateway.get(TASK).send().await.unwrap().status(), 200);
    let refused = tasks.get_task(request).await.unwrap_err();
    assert_eq!(baton_errors::reason_of(&refused), Some(baton_errors::Reason::RateLimited));
    assert_eq!(refused.metadata().get("x-ratelimit-remaining").unwrap(), "0");
}

const OTHER: &str = "0198c0de-0000-7000-8000-00000000000c";

/// A gateway whose address has 2 requests, every user 3, and the one account 4. `PERSON` and their API keys are its
/// members; answers a token of theirs, too.
async fn with_members(redis: &Redis) -> (Gateway, String) {
    let gateway = Gateway::start_with(|config| {
        config.redis_url = Secret::new(redis.url());
        config.requests_per_hour_anonymous = 2;
        config.requests_per_hour_user = 3;
    })
    .await;
    let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap().public_key());
    let [kty, crv, kid] = ["OKP", "Ed25519", "one"].map(str::to_owned);
    let key = JsonWebKey { kty, crv, kid, x, ..JsonWebKey::default() };
    gateway.service.on("AuthService/GetJwks", move |_| Ok(GetJwksResponse { keys: vec![key.clone()] }));
    gateway.service.on("AuthService/CheckSession", |_| {
        Ok(CheckSessionResponse { user_id: PERSON.to_owned(), ..CheckSessionResponse::default() })
    });
    gateway.service.on("UserService/GetMe", |_| Ok(GetMeResponse::default()));
    gateway.service.refuses("AuthService/Login", || Error::from(Reason::CredentialsInvalid).into());
    gateway.service.on("MemberService/ResolveMembership", |call| match call.header("x-account-id") {
        None | Some(ACCOUNT) => Ok(ResolveMembershipResponse {
            account_id: ACCOUNT.to_owned(),
            limits: Some(Limits { api_requests_per_hour: Some(4), ..Limits::default() }),
            ..ResolveMembershipResponse::default()
        }),
        Some(_) => Err(Error::from(Reason::NotAMember).into()),
    });
    gateway.service.has_task("0198c0de-aaaa-7000-8000-000000000000", 1);
    let claims = json!({
        "iss": "https://baton.localhost", "aud": "baton", "sub": PERSON, "sid": PERSON, "jti": PERSON, "amr": ["pwd"],
        "iat": get_current_timestamp(), "exp": get_current_timestamp() + 600,
    });
    let head = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::EdDSA) };
    (gateway, encode(&head, &claims, &EncodingKey::from_ed_der(document.as_ref())).unwrap())
}

/// Who pays, and what they have left.
async fn paid(request: RequestBuilder) -> String {
    let response: Response = request.send().await.unwrap();
    let policy = header(&response, "ratelimit-policy").unwrap().split('"').nth(1).unwrap().to_owned();
    let refused = if response.status() == 429 { " refused" } else { "" };
    format!("{policy} {}{refused}", header(&response, "x-ratelimit-remaining").unwrap())
}

#[tokio::test]
async fn what_anyone_may_call_counts_by_address_whatever_token_comes_with_it() {
    let (redis, _folder) = redis().await;
    let (gateway, token) = with_members(&redis).await;
    let login = |token: &str, account: &str| {
        let body = r#"{"email": "a@example.com", "password": "guessed"}"#;
        gateway.post_json("/v1/auth/login", body).bearer_auth(token).header("x-account-id", account)
    };
    assert_eq!(paid(login(&token, ACCOUNT)).await, "address 1");
    assert_eq!(paid(login(ApiKey::new().expose(), OTHER)).await, "address 0");
    for token in [&*token, ApiKey::new().expose(), "nonsense"] {
        assert_eq!(paid(login(token, ACCOUNT)).await, "address 0 refused");
    }
    assert_eq!(gateway.service.calls("MemberService/ResolveMembership").len(), 0, "nobody is asked about it");
    assert_eq!(paid(gateway.get(TASK).bearer_auth(&token)).await, "account 3", "nobody else has paid");
}

#[tokio::test]
async fn what_is_no_accounts_counts_for_the_user_whatever_account_is_named() {
    let (redis, _folder) = redis().await;
    let (gateway, token) = with_members(&redis).await;
    let me = |token: &str| gateway.get("/v1/users/me").bearer_auth(token);
    assert_eq!(paid(me(&token)).await, "user 2");
    assert_eq!(paid(me(&token).header("x-account-id", ACCOUNT)).await, "user 1");
    // All keys of a person are that person.
    assert_eq!(paid(me(ApiKey::new().expose()).header("x-account-id", OTHER)).await, "user 0");
    assert_eq!(paid(me(ApiKey::new().expose())).await, "user 0 refused");
    assert_eq!(paid(me(&token).header("x-account-id", OTHER)).await, "user 0 refused");
    assert_eq!(paid(gateway.get(TASK).bearer_auth(&token)).await, "account 3", "the account has not paid");

    // A key that auth does not know is nobody's.
    gateway.service.refuses("AuthService/CheckSession", || Error::from(Reason::TokenInvalid).into());
    for left in ["address 1", "address 0", "address 0 refused"] {
        assert_eq!(paid(me(ApiKey::new().expose())).await, left);
    }
}

#[tokio::test]
async fn what_needs_a_permission_counts_for_the_account_of_its_members_and_for_the_user_elsewhere() {
    let (redis, _folder) = redis().await;
    let (gateway, token) = with_members(&redis).await;
    let task = |token: &str| gateway.get(TASK).bearer_auth(token);
    assert_eq!(paid(task(&token)).await, "account 3");
    assert_eq!(paid(task(&token).header("x-account-id", ACCOUNT)).await, "account 2");
    assert_eq!(paid(task(ApiKey::new().expose())).await, "account 1");
    assert_eq!(paid(task(&token).header("x-account-id", OTHER)).await, "user 2");
    assert_eq!(paid(task(ApiKey::new().expose()).header("x-account-id", OTHER)).await, "user 1");
    assert_eq!(paid(task(&token).header("x-account-id", ACCOUNT)).await, "account 0");
    assert_eq!(paid(task(&token)).await, "account 0 refused");
}
