//! What every answer goes through, and the gateway's own health.

use std::time::{Duration, Instant};

use baton_proto::baton::task::v1::ListTasksResponse;
use reqwest::Method;
use serde_json::json;
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    gateway::{Gateway, TASK, header, json, problem},
    service::eventually,
};

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let gateway = Gateway::start().await;
    for path in ["/v1/tasks", "/nothing", "/healthz", "/panics"] {
        let made = gateway.get(path).send().await.expect("answered");
        let id = header(&made, "x-request-id").expect("an id");
        assert_eq!(uuid::Uuid::parse_str(id).expect("a UUID").get_version_num(), 7, "{path}");
        let kept = gateway.get(path).header("x-request-id", "abc-1").send().await.expect("answered");
        assert_eq!(header(&kept, "x-request-id"), Some("abc-1"), "{path}");
        let replaced = gateway.get(path).header("x-request-id", "a b").send().await.expect("answered");
        assert_ne!(header(&replaced, "x-request-id"), Some("a b"), "{path}");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_that_tells_nothing() {
    let gateway = Gateway::start().await;
    let response = gateway.get("/panics").send().await.expect("answered");
    assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
    let (problem, _) = problem(response, 500, "INTERNAL").await;
    assert!(!problem.to_string().contains("secret"), "{problem}");
    assert_eq!(gateway.get("/healthz").send().await.expect("still there").status(), 200);
}

#[tokio::test]
async fn pages_of_listed_origins_may_call_and_no_others() {
    let gateway = Gateway::start().await;
    let preflight = |origin: &'static str| {
        gateway
            .request(Method::OPTIONS, "/v1/tasks")
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization,if-match")
    };
    let response = preflight("https://app.example.com").send().await.expect("answered");
    assert_eq!(header(&response, "access-control-allow-origin"), Some("https://app.example.com"));
    assert!(header(&response, "access-control-allow-methods").expect("methods").contains("PATCH"));
    let allowed = header(&response, "access-control-allow-headers").expect("headers").to_owned();
    for name in ["authorization", "x-account-id", "idempotency-key", "if-match", "x-grpc-web", "grpc-timeout"] {
        assert!(allowed.split(',').any(|header| header == name), "{name}");
    }
    for other in ["https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "null"] {
        let response = preflight(other).send().await.expect("answered");
        assert_eq!(header(&response, "access-control-allow-origin"), None, "{other}");
    }
    let response = gateway.get("/nothing").header("origin", "https://app.example.com").send().await.expect("answered");
    assert_eq!(header(&response, "access-control-allow-origin"), Some("https://app.example.com"));
    // The cookie of browser mode is sent along, to origins that are named.
    assert_eq!(header(&response, "access-control-allow-credentials"), Some("true"));
    let exposed = header(&response, "access-control-expose-headers").expect("exposed");
    for name in ["etag", "x-request-id", "retry-after", "grpc-status", "grpc-message", "grpc-status-details-bin"] {
        assert!(exposed.split(',').any(|header| header == name), "{name}");
    }
}

#[tokio::test]
async fn a_star_lets_all_pages_call_without_credentials() {
    let gateway = Gateway::start_with(|config| config.cors_origins = vec!["*".to_owned()]).await;
    let response = gateway.get("/healthz").header("origin", "https://any.example").send().await.expect("answered");
    assert_eq!(header(&response, "access-control-allow-origin"), Some("*"));
    assert_eq!(header(&response, "access-control-allow-credentials"), None);
}

#[tokio::test]
async fn ready_is_who_has_its_services_and_is_not_leaving() {
    let gateway = Gateway::start().await;
    let (status, body) = json(gateway.get("/readyz")).await;
    assert_eq!((status.as_u16(), &body["status"]), (200, &json!("ready")), "{body}");
    assert_eq!(body["services"]["baton.task.v1"], "serving");

    let channel = Channel::from_shared(gateway.url.clone()).expect("a URL").connect_lazy();
    let mut health = HealthClient::new(channel);
    let mut serving = async || health.check(HealthCheckRequest::default()).await.expect("healthy").into_inner().status;
    assert_eq!(serving().await, 1);

    gateway.shutdown.draining().cancel();
    let (status, body) = json(gateway.get("/readyz")).await;
    assert_eq!((status.as_u16(), body), (503, json!({"status": "draining"})));
    eventually("NOT_SERVING", async || serving().await == 2).await;
    assert_eq!(gateway.get("/healthz").send().await.expect("turns").status(), 200);
}

#[tokio::test]
async fn without_a_service_it_is_not_ready() {
    let gateway = Gateway::start_with(|config| config.task_url = "http://127.0.0.1:1".to_owned()).await;
    let (status, body) = json(gateway.get("/readyz")).await;
    assert_eq!((status.as_u16(), &body["services"]["baton.task.v1"]), (503, &json!("unreachable")));
    assert_eq!(body["services"]["baton.auth.v1"], "serving");
}

#[tokio::test]
async fn stopping_finishes_what_was_begun_and_takes_nothing_new() {
    let gateway = Gateway::start().await;
    gateway.service.on_later("TaskService/ListTasks", |_| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(prost::Message::encode_to_vec(&ListTasksResponse::default()).into())
        })
    });
    let open = tokio::spawn(gateway.get("/v1/tasks").send());
    eventually("the call arrived", async || !gateway.service.calls("TaskService/ListTasks").is_empty()).await;
    gateway.shutdown.stop().cancel();
    assert_eq!(open.await.expect("joined").expect("answered").status(), 200);
    let begun = Instant::now();
    gateway.running.await.expect("stopped");
    assert!(begun.elapsed() < Duration::from_secs(2), "idle connections hold it up");
    assert!(reqwest::get(format!("{}/v1/tasks/{TASK}", gateway.url)).await.is_err());
}
