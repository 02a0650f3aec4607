//! Middleware, health and shutdown.

use std::time::{Duration, Instant};

use baton_proto::baton::task::v1::ListTasksResponse;
use reqwest::Method;
use serde_json::json;
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    fake_service::eventually,
    fixture::{Fixture, TASK, expect_problem, header, json, read_problem},
};

#[tokio::test]
async fn every_response_has_a_request_id() {
    let fixture = Fixture::start().await;
    for path in ["/v1/tasks", "/nothing", "/healthz", "/panics"] {
        let made = fixture.get(path).send().await.expect("a response");
        let id = header(&made, "x-request-id").expect("an id");
        assert_eq!(uuid::Uuid::parse_str(id).expect("a UUID").get_version_num(), 7, "{path}");
        let kept = fixture.get(path).header("x-request-id", "abc-1").send().await.expect("a response");
        assert_eq!(header(&kept, "x-request-id"), Some("abc-1"), "{path}");
        let replaced = fixture.get(path).header("x-request-id", "a b").send().await.expect("a response");
        assert_ne!(header(&replaced, "x-request-id"), Some("a b"), "{path}");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_without_details() {
    let fixture = Fixture::start().await;
    let response = fixture.get("/panics").send().await.expect("a response");
    assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
    let (problem, _) = read_problem(response, 500, "INTERNAL").await;
    assert!(!problem.to_string().contains("secret"), "{problem}");
    assert_eq!(fixture.get("/healthz").send().await.expect("still there").status(), 200);
}

#[tokio::test]
async fn only_configured_origins_may_call() {
    let fixture = Fixture::start().await;
    let preflight = |origin: &'static str| {
        fixture
            .request(Method::OPTIONS, "/v1/tasks")
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization,if-match")
    };
    let response = preflight("https://app.example.com").send().await.expect("a response");
    assert_eq!(header(&response, "access-control-allow-origin"), Some("https://app.example.com"));
    assert!(header(&response, "access-control-allow-methods").expect("methods").contains("PATCH"));
    let allowed = header(&response, "access-control-allow-headers").expect("headers").to_owned();
    for name in ["authorization", "x-account-id", "idempotency-key", "if-match", "x-grpc-web", "grpc-timeout"] {
        assert!(allowed.split(',').any(|header| header == name), "{name}");
    }
    for other in ["https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "null"] {
        let response = preflight(other).send().await.expect("a response");
        assert_eq!(header(&response, "access-control-allow-origin"), None, "{other}");
    }
    let response =
        fixture.get("/nothing").header("origin", "https://app.example.com").send().await.expect("a response");
    assert_eq!(header(&response, "access-control-allow-origin"), Some("https://app.example.com"));
    // Configured origins may send the refresh token cookie.
    assert_eq!(header(&response, "access-control-allow-credentials"), Some("true"));
    let exposed = header(&response, "access-control-expose-headers").expect("exposed");
    for name in ["etag", "x-request-id", "retry-after", "grpc-status", "grpc-message", "grpc-status-details-bin"] {
        assert!(exposed.split(',').any(|header| header == name), "{name}");
    }
}

#[tokio::test]
async fn a_star_allows_all_origins_without_credentials() {
    let fixture = Fixture::start_with(|config| config.cors_origins = vec!["*".to_owned()]).await;
    let response = fixture.get("/healthz").header("origin", "https://any.example").send().await.expect("a response");
    assert_eq!(header(&response, "access-control-allow-origin"), Some("*"));
    assert_eq!(header(&response, "access-control-allow-credentials"), None);
}

#[tokio::test]
async fn readiness_follows_services_and_draining() {
    let fixture = Fixture::start().await;
    let (status, body) = json(fixture.get("/readyz")).await;
    assert_eq!((status.as_u16(), &body["status"]), (200, &json!("ready")), "{body}");
    assert_eq!(body["services"]["task"], "serving");

    let channel = Channel::from_shared(fixture.url.clone()).expect("a URL").connect_lazy();
    let mut health = HealthClient::new(channel);
    let mut serving = async || health.check(HealthCheckRequest::default()).await.expect("healthy").into_inner().status;
    assert_eq!(serving().await, 1);

    fixture.shutdown.draining().cancel();
    let (status, body) = json(fixture.get("/readyz")).await;
    assert_eq!((status.as_u16(), body), (503, json!({"status": "draining"})));
    eventually("NOT_SERVING", async || serving().await == 2).await;
    assert_eq!(fixture.get("/healthz").send().await.expect("turns").status(), 200);
}

#[tokio::test]
async fn a_gateway_without_a_service_is_not_ready() {
    let fixture = Fixture::start_with_urls(&[("task", "http://127.0.0.1:1")]).await;
    let (status, body) = json(fixture.get("/readyz")).await;
    assert_eq!((status.as_u16(), &body["services"]["task"]), (503, &json!("unreachable")));
    assert_eq!(body["services"]["auth"], "serving");
}

#[tokio::test]
async fn an_optional_service_that_is_down_affects_its_own_calls_only() {
    let fixture = Fixture::start_with_urls(&[("notification", "http://127.0.0.1:1")]).await;
    let (status, body) = json(fixture.get("/readyz")).await;
    assert_eq!((status.as_u16(), &body["status"]), (200, &json!("ready")), "{body}");
    assert_eq!(
        (&body["services"]["notification"], &body["services"]["task"]),
        (&json!("unreachable"), &json!("serving"))
    );
    expect_problem(fixture.get("/v1/notifications"), 503, "UNAVAILABLE").await;
    fixture.service.respond_with_task(TASK, 1);
    assert_eq!(fixture.get(&format!("/v1/tasks/{TASK}")).send().await.expect("a response").status(), 200);
}

#[tokio::test]
async fn shutdown_finishes_open_requests_and_refuses_new_ones() {
    let fixture = Fixture::start().await;
    fixture.service.respond_async("TaskService/ListTasks", |_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(prost::Message::encode_to_vec(&ListTasksResponse::default()).into())
        })
    });
    let open = tokio::spawn(fixture.get("/v1/tasks").send());
    eventually("the call arrived", async || !fixture.service.calls("TaskService/ListTasks").is_empty()).await;
    fixture.shutdown.stop().cancel();
    assert_eq!(open.await.expect("joined").expect("a response").status(), 200);
    let begun = Instant::now();
    fixture.running.await.expect("stopped");
    assert!(begun.elapsed() < Duration::from_secs(2), "idle connections hold it up");
    assert!(reqwest::get(format!("{}/v1/tasks/{TASK}", fixture.url)).await.is_err());
}
