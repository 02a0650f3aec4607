//! `/healthz`: the process turns. `/readyz`: it can answer, because the services behind it do.

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

/// How long a service may take to say that it is well.
const CHECK_TIMEOUT: Duration = Duration::from_millis(800);
/// How long an answer stands. Kubelets, load balancers and people ask at the same time.
const CACHE_TTL: Duration = Duration::from_secs(1);

struct Health {
    upstreams: Upstreams,
    draining: CancellationToken,
    /// What the services said, and when. Held while they are checked_at, so that they are checked_at once.
    cached: Mutex<Option<(Instant, BTreeMap<&'static str, &'static str>)>>,
}

/// The two routes.
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
    let all_serving = services.values().all(|state| *state == SERVING);
    let (code, status) =
        if all_serving { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    (code, Json(json!({"status": status, "services": services})))
}

const SERVING: &str = "serving";

async fn check_services(health: &Health) -> BTreeMap<&'static str, &'static str> {
    let mut cached = health.cached.lock().await;
    if let Some((checked_at, services)) = &*cached
        && checked_at.elapsed() < CACHE_TTL
    {
        return services.clone();
    }
    let checks = health.upstreams.all().map(async |(package, upstream)| (package, check(upstream).await));
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
