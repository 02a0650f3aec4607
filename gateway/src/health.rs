//! `/healthz`: the process is alive. `/readyz`: the services that it needs serve, and it is not draining. `/readyz`
//! lists the state of all services; an optional one that is down leaves the gateway ready.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, response::IntoResponse, routing::get};
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::upstream::{Upstream, Upstreams};

/// Timeout of a service's health check.
const CHECK_TIMEOUT: Duration = Duration::from_millis(800);
/// How long a result is cached: kubelets, load balancers and people check at the same time.
const CACHE_TTL: Duration = Duration::from_secs(1);

struct Health {
    upstreams: Upstreams,
    draining: CancellationToken,
    /// Time and results of the last checks. Locked while checking, so that concurrent requests share one check.
    cached: Mutex<Option<(Instant, BTreeMap<&'static str, ServiceHealth>)>>,
}

#[derive(Debug, Clone, Copy)]
struct ServiceHealth {
    state: &'static str,
    optional: bool,
}

/// The routes `/healthz` and `/readyz`.
pub(crate) fn router(upstreams: Upstreams, draining: CancellationToken) -> Router {
    let health = Arc::new(Health { upstreams, draining, cached: Mutex::default() });
    Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(ready).with_state(health))
}

async fn ready(State(health): State<Arc<Health>>) -> impl IntoResponse {
    if health.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "draining"})));
    }
    let services = check_services(&health).await;
    let is_ready = services.values().all(|service| service.optional || service.state == SERVING);
    let (code, status) =
        if is_ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    let states: BTreeMap<_, _> = services.into_iter().map(|(name, service)| (name, service.state)).collect();
    (code, Json(json!({"status": status, "services": states})))
}

const SERVING: &str = "serving";

async fn check_services(health: &Health) -> BTreeMap<&'static str, ServiceHealth> {
    let mut cached = health.cached.lock().await;
    if let Some((checked_at, services)) = &*cached
        && checked_at.elapsed() < CACHE_TTL
    {
        return services.clone();
    }
    let checks = health
        .upstreams
        .all()
        .map(async |(name, upstream, optional)| (name, ServiceHealth { state: check(upstream).await, optional }));
    let services: BTreeMap<_, _> = join_all(checks).await.into_iter().collect();
    *cached = Some((Instant::now(), services.clone()));
    services
}

async fn check(upstream: Upstream) -> &'static str {
    let mut client = HealthClient::new(upstream);
    match timeout(CHECK_TIMEOUT, client.check(HealthCheckRequest::default())).await {
        Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving => SERVING,
        Ok(Ok(_)) => "not_serving",
        Ok(Err(_)) => "unreachable",
        Err(_) => "silent",
    }
}
