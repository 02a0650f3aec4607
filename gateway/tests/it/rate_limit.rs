//! Rate limits: exact counts over several gateways, and the quota of each kind of request.

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

use crate::fixture::{ACCOUNT, Fixture, USER, header, read_problem};

const TASK: &str = "/v1/tasks/0198c0de-aaaa-7000-8000-000000000000";

pub(crate) async fn redis() -> (Redis, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let binary = RedisBinary::find().unwrap();
    (Redis::start(&binary, &folder.path().join("redis"), Options::throw_away()).await.unwrap(), folder)
}

async fn fixture(redis: &Redis, limit: u32) -> Fixture {
    let fixture = Fixture::start_with(|config| {
        config.redis_url = Secret::new(redis.url());
        config.requests_per_hour_anonymous = limit;
    })
    .await;
    fixture.service.respond_with_task("0198c0de-aaaa-7000-8000-000000000000", 1);
    fixture
}

/// Sends ten thousand requests from 50 clients to the gateways, and returns how many passed.
async fn storm(fixtures: &[Fixture]) -> usize {
    let clients = (0..50).map(|client| async move {
        let fixture = &fixtures[client % fixtures.len()];
        // A request on a kept connection would be lost if the gateway closed it at that moment.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let mut passed = 0;
        for _ in 0..200 {
            match client.get(format!("{}{TASK}", fixture.url)).send().await.unwrap().status().as_u16() {
                200 => passed += 1,
                status => assert_eq!(status, 429),
            }
        }
        passed
    });
    join_all(clients).await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_limit_passes_through_one_gateway() {
    let (redis, _folder) = redis().await;
    let fixtures = [fixture(&redis, 1000).await];
    assert_eq!(storm(&fixtures).await, 1000);
    assert_eq!(fixtures[0].service.calls("TaskService/GetTask").len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_limit_passes_through_three_gateways() {
    let (redis, _folder) = redis().await;
    let fixtures = [fixture(&redis, 1000).await, fixture(&redis, 1000).await, fixture(&redis, 1000).await];
    assert_eq!(storm(&fixtures).await, 1000);
    let arrived = fixtures.iter().map(|fixture| fixture.service.calls("TaskService/GetTask").len());
    assert_eq!(arrived.sum::<usize>(), 1000);
}

#[tokio::test]
async fn a_gateway_without_redis_continues_from_the_last_count() {
    let (redis, _folder) = redis().await;
    let fixture = fixture(&redis, 3).await;
    for _ in 0..2 {
        assert_eq!(fixture.get(TASK).send().await.unwrap().status(), 200);
    }
    redis.stop().await;
    let third = fixture.get(TASK).send().await.unwrap();
    assert_eq!((third.status().as_u16(), header(&third, "x-ratelimit-remaining")), (200, Some("0")));
    read_problem(fixture.get(TASK).send().await.unwrap(), 429, "RATE_LIMITED").await;
}

#[tokio::test]
async fn responses_have_rate_limit_headers_and_refusals_retry_after() {
    let (redis, _folder) = redis().await;
    let fixture = fixture(&redis, 2).await;
    let first = fixture.get(TASK).send().await.unwrap();
    assert_eq!(header(&first, "x-ratelimit-limit"), Some("2"));
    assert_eq!(header(&first, "x-ratelimit-remaining"), Some("1"));
    assert_eq!(header(&first, "ratelimit-policy"), Some(r#""address";q=2;w=3600"#));
    assert!(header(&first, "ratelimit").unwrap().starts_with(r#""address";r=1;t=3"#));
    // Failed requests count too.
    let second = fixture.get("/v1/tasks?per_page=x").send().await.unwrap();
    assert_eq!((second.status().as_u16(), header(&second, "x-ratelimit-remaining")), (400, Some("0")));
    let refused = fixture.get(TASK).send().await.unwrap();
    let wait: u64 = header(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert_eq!(header(&refused, "x-ratelimit-remaining"), Some("0"));
    read_problem(refused, 429, "RATE_LIMITED").await;
    assert_eq!(fixture.service.calls("TaskService/GetTask").len(), 1);

    // The gateway's own paths, and RPCs with weight 0, are not counted.
    fixture.service.respond("AuthService/GetJwks", |_| Ok(GetJwksResponse::default()));
    for path in ["/healthz", "/docs", "/openapi.json", "/.well-known/jwks.json"] {
        let answer = fixture.get(path).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "ratelimit")), (200, None), "{path}");
    }
}

#[tokio::test]
async fn made_up_tokens_use_the_quota_of_the_address() {
    let (redis, _folder) = redis().await;
    let fixture = fixture(&redis, 3).await;
    let malformed_key = format!("bat_{}000000", "x".repeat(40));
    for token in ["nonsense", "a.b.c", &malformed_key] {
        let answer = fixture.get(TASK).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "services verify tokens");
    }
    for token in ["other", "d.e.f"] {
        read_problem(fixture.get(TASK).bearer_auth(token).send().await.unwrap(), 429, "RATE_LIMITED").await;
    }
    // `X-Forwarded-For` of an untrusted peer does not either.
    let forged = fixture.get(TASK).header("x-forwarded-for", "203.0.113.9").send().await.unwrap();
    read_problem(forged, 429, "RATE_LIMITED").await;
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_have_separate_quotas() {
    let (redis, _folder) = redis().await;
    let fixture = Fixture::start_with(|config| {
        config.redis_url = Secret::new(redis.url());
        config.requests_per_hour_anonymous = 1;
        config.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    })
    .await;
    fixture.service.respond_with_task("0198c0de-aaaa-7000-8000-000000000000", 1);
    let from = async |address: &str| {
        let forwarded = format!("198.51.100.1, {address}");
        fixture.get(TASK).header("x-forwarded-for", forwarded).send().await.unwrap().status().as_u16()
    };
    assert_eq!([from("203.0.113.1").await, from("203.0.113.1").await, from("203.0.113.2").await], [200, 429, 200]);
    let calls = fixture.service.calls("TaskService/GetTask");
    let forwarded: Vec<_> = calls.iter().map(|call| call.header("x-forwarded-for").unwrap()).collect();
    assert_eq!(forwarded, ["203.0.113.1", "203.0.113.2"]);
    // An IPv6 /64 is one client.
    assert_eq!([from("2001:db8::1").await, from("2001:db8::2").await], [200, 429]);
}

#[tokio::test]
async fn grpc_shares_the_quota_of_rest() {
    let (redis, _folder) = redis().await;
    let fixture = fixture(&redis, 2).await;
    let channel = tonic::transport::Endpoint::from_shared(fixture.url.clone()).unwrap().connect_lazy();
    let mut tasks = baton_proto::baton::task::v1::task_service_client::TaskServiceClient::new(channel);
    let request = GetTaskRequest { id: "0198c0de-aaaa-7000-8000-000000000000".to_owned(), as_of: None };
    let answer = tasks.get_task(request.clone()).await.unwrap();
    assert_eq!(answer.metadata().get("x-ratelimit-remaining").unwrap(), "1");
    assert_eq!(fixture.get(TASK).send().await.unwrap().status(), 200);
    let refused = tasks.get_task(request).await.unwrap_err();
    assert_eq!(baton_errors::reason_of(&refused), Some(baton_errors::Reason::RateLimited));
    assert_eq!(refused.metadata().get("x-ratelimit-remaining").unwrap(), "0");
}

const OTHER: &str = "0198c0de-0000-7000-8000-00000000000c";

/// Starts a gateway with a limit of 2 per address, 3 per user, and 4 for the one account, of which `USER` is a member.
/// Returns it with a token of `USER`.
async fn with_members(redis: &Redis) -> (Fixture, String) {
    let fixture = Fixture::start_with(|config| {
        config.redis_url = Secret::new(redis.url());
        config.requests_per_hour_anonymous = 2;
        config.requests_per_hour_user = 3;
    })
    .await;
    let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap().public_key());
    let [kty, crv, kid] = ["OKP", "Ed25519", "one"].map(str::to_owned);
    let key = JsonWebKey { kty, crv, kid, x, ..JsonWebKey::default() };
    fixture.service.respond("AuthService/GetJwks", move |_| Ok(GetJwksResponse { keys: vec![key.clone()] }));
    fixture.service.respond("AuthService/CheckSession", |_| {
        Ok(CheckSessionResponse { user_id: USER.to_owned(), ..CheckSessionResponse::default() })
    });
    fixture.service.respond("UserService/GetMe", |_| Ok(GetMeResponse::default()));
    fixture.service.fail("AuthService/Login", || Error::from(Reason::CredentialsInvalid).into());
    fixture.service.respond("MemberService/ResolveMembership", |call| match call.header("x-account-id") {
        None | Some(ACCOUNT) => Ok(ResolveMembershipResponse {
            account_id: ACCOUNT.to_owned(),
            limits: Some(Limits { api_requests_per_hour: Some(4), ..Limits::default() }),
            ..ResolveMembershipResponse::default()
        }),
        Some(_) => Err(Error::from(Reason::NotAMember).into()),
    });
    fixture.service.respond_with_task("0198c0de-aaaa-7000-8000-000000000000", 1);
    let claims = json!({
        "iss": "https://baton.localhost", "aud": "baton", "sub": USER, "sid": USER, "jti": USER, "amr": ["pwd"],
        "iat": get_current_timestamp(), "exp": get_current_timestamp() + 600,
    });
    let head = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::EdDSA) };
    (fixture, encode(&head, &claims, &EncodingKey::from_ed_der(document.as_ref())).unwrap())
}

/// Returns the quota that a request used, and its rest.
async fn quota_of(request: RequestBuilder) -> String {
    let response: Response = request.send().await.unwrap();
    let policy = header(&response, "ratelimit-policy").unwrap().split('"').nth(1).unwrap().to_owned();
    let refused = if response.status() == 429 { " refused" } else { "" };
    format!("{policy} {}{refused}", header(&response, "x-ratelimit-remaining").unwrap())
}

#[tokio::test]
async fn public_rpcs_use_the_quota_of_the_address_whatever_the_token() {
    let (redis, _folder) = redis().await;
    let (fixture, token) = with_members(&redis).await;
    let login = |token: &str, account: &str| {
        let body = r#"{"email": "a@example.com", "password": "guessed"}"#;
        fixture.post_json("/v1/auth/login", body).bearer_auth(token).header("x-account-id", account)
    };
    assert_eq!(quota_of(login(&token, ACCOUNT)).await, "address 1");
    assert_eq!(quota_of(login(ApiKey::new().expose(), OTHER)).await, "address 0");
    for token in [&*token, ApiKey::new().expose(), "nonsense"] {
        assert_eq!(quota_of(login(token, ACCOUNT)).await, "address 0 refused");
    }
    assert_eq!(fixture.service.calls("MemberService/ResolveMembership").len(), 0, "no lookup");
    assert_eq!(quota_of(fixture.get(TASK).bearer_auth(&token)).await, "account 3", "the account's quota is unused");
}

#[tokio::test]
async fn authenticated_rpcs_use_the_quota_of_the_user_whatever_the_account() {
    let (redis, _folder) = redis().await;
    let (fixture, token) = with_members(&redis).await;
    let me = |token: &str| fixture.get("/v1/users/me").bearer_auth(token);
    assert_eq!(quota_of(me(&token)).await, "user 2");
    assert_eq!(quota_of(me(&token).header("x-account-id", ACCOUNT)).await, "user 1");
    // All API keys of a user share the user's quota.
    assert_eq!(quota_of(me(ApiKey::new().expose()).header("x-account-id", OTHER)).await, "user 0");
    assert_eq!(quota_of(me(ApiKey::new().expose())).await, "user 0 refused");
    assert_eq!(quota_of(me(&token).header("x-account-id", OTHER)).await, "user 0 refused");
    assert_eq!(quota_of(fixture.get(TASK).bearer_auth(&token)).await, "account 3", "the account's quota is unused");

    // An unknown key uses the quota of the address.
    fixture.service.fail("AuthService/CheckSession", || Error::from(Reason::TokenInvalid).into());
    for left in ["address 1", "address 0", "address 0 refused"] {
        assert_eq!(quota_of(me(ApiKey::new().expose())).await, left);
    }
}

#[tokio::test]
async fn rpcs_with_a_permission_use_the_quota_of_the_account_for_members() {
    let (redis, _folder) = redis().await;
    let (fixture, token) = with_members(&redis).await;
    let task = |token: &str| fixture.get(TASK).bearer_auth(token);
    assert_eq!(quota_of(task(&token)).await, "account 3");
    assert_eq!(quota_of(task(&token).header("x-account-id", ACCOUNT)).await, "account 2");
    assert_eq!(quota_of(task(ApiKey::new().expose())).await, "account 1");
    assert_eq!(quota_of(task(&token).header("x-account-id", OTHER)).await, "user 2");
    assert_eq!(quota_of(task(ApiKey::new().expose()).header("x-account-id", OTHER)).await, "user 1");
    assert_eq!(quota_of(task(&token).header("x-account-id", ACCOUNT)).await, "account 0");
    assert_eq!(quota_of(task(&token)).await, "account 0 refused");
}
