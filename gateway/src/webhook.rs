//! Webhooks: events of other companies' services.
//!
//! Signatures cover raw bytes, so the gateway decodes nothing: it forwards body and signature unchanged. Valid events
//! use no rate limit. Events without a valid signature use the quota of their address; after that, requests of this
//! address are rejected unread.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use baton_errors::Reason;
use baton_proto::baton::tenancy::v1::{HandleStripeWebhookRequest, billing_service_client::BillingServiceClient};
use baton_runtime::propagation;
use http::{HeaderMap, StatusCode, request::Parts};
use tokio::time::Instant;
use tonic::Status;

use crate::{
    config::Config,
    headers::X_REQUEST_ID,
    problem::Problem,
    rate_limit::Verdict,
    request_guard::RequestGuard,
    rest,
    upstream::{Upstream, Upstreams},
};

/// The path of Stripe's events.
const STRIPE_PATH: &str = "/v1/webhooks/stripe";
/// Timeout of the service. Stripe waits for ten seconds before it retries.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(8);
/// Maximum event, in bytes. Stripe's have a few KiB.
const MAX_BODY_BYTES: usize = 256 * 1024;

#[derive(Clone)]
struct Webhook {
    billing: BillingServiceClient<Upstream>,
    guard: RequestGuard,
    max_body_bytes: usize,
    timeout: Duration,
}

/// The routes of all webhooks.
pub(crate) fn router(upstreams: &Upstreams, config: &Config, guard: &RequestGuard) -> Result<Router> {
    let tenancy = upstreams.get("tenancy")?;
    let webhook = Webhook {
        billing: BillingServiceClient::new(tenancy),
        guard: guard.clone(),
        max_body_bytes: MAX_BODY_BYTES.min(config.max_body_bytes),
        timeout: config.timeout,
    };
    Ok(Router::new().route(STRIPE_PATH, post(stripe)).layer(DefaultBodyLimit::disable()).with_state(webhook))
}

async fn stripe(State(webhook): State<Webhook>, request: Request) -> Response {
    let deadline = Instant::now() + webhook.timeout;
    let (parts, body) = request.into_parts();
    let client = webhook.guard.trusted_proxies.client_ip(&parts.headers, &parts.extensions);
    if let Some(verdict) = webhook.guard.limiter.peek(client).await
        && let Err(refused) = verdict.check()
    {
        return refuse_unread(Problem::from_unrouted_status(&refused.into()), &parts, Some(&verdict));
    }
    let Some(signature) = signature(&parts.headers) else {
        webhook.guard.limiter.charge(client).await;
        return refuse_unread(Reason::SignatureInvalid.into(), &parts, None);
    };
    let limiter = webhook.guard.limiter.clone();
    match rest::with_deadline(deadline, forward(webhook, &parts.headers, signature, body, client, deadline)).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(status)) => {
            if baton_errors::reason_of(&status) == Some(Reason::SignatureInvalid) {
                limiter.charge(client).await;
            }
            rest::refuse(Problem::from_unrouted_status(&status), &parts)
        }
        Err(problem) => rest::refuse(problem, &parts),
    }
}

/// Forwards the event. The outer error means that it did not reach the service.
async fn forward(
    mut webhook: Webhook,
    headers: &HeaderMap,
    signature: &str,
    body: Body,
    client: Option<IpAddr>,
    deadline: Instant,
) -> Result<Result<(), Status>, Problem> {
    let payload = webhook.guard.buffers.read(body, headers, webhook.max_body_bytes, client).await;
    let payload = payload.map_err(|error| Problem::from_unrouted_status(&error.into()))?;
    let message = HandleStripeWebhookRequest { payload: payload.bytes.clone().into(), signature: signature.to_owned() };
    let mut call = tonic::Request::new(message);
    call.set_timeout(UPSTREAM_TIMEOUT.min(deadline.saturating_duration_since(Instant::now())));
    if let Some(id) = headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok()?.parse().ok()) {
        call.metadata_mut().insert("x-request-id", id);
    }
    propagation::inject(call.metadata_mut());
    Ok(webhook.billing.handle_stripe_webhook(call).await.map(drop))
}

/// Refuses a request without reading its body.
fn refuse_unread(problem: Problem, parts: &Parts, verdict: Option<&Verdict>) -> Response {
    let mut response = rest::refuse(problem, parts);
    rest::close_connection(&mut response, parts);
    if let Some(verdict) = verdict {
        verdict.write_headers(response.headers_mut());
    }
    response
}

/// Returns the signature header if it is well-formed (`t=<seconds>,v1=<64 hex digits>`, and possibly more). The service
/// verifies it, which needs the body.
fn signature(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all("stripe-signature").iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let value = value.to_str().ok()?;
    let parts = || value.split(',').filter_map(|part| part.trim().split_once('='));
    let has_time = parts().any(|(name, time)| name == "t" && time.parse::<i64>().is_ok());
    let is_tag = |hex: &str| hex.len() == 64 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    (has_time && parts().any(|(name, hex)| name == "v1" && is_tag(hex))).then_some(value)
}
