//! Events of other companies' services. Their signatures are made over raw bytes, so nothing is decoded here: body
//! and signature go on as they came. Events are not counted against any rate limit; what is not signed counts for the
//! address that sent it, and once that has none left it is not read at all.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
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

/// Where Stripe sends its events.
const STRIPE_PATH: &str = "/v1/webhooks/stripe";
/// How long the service may take. Stripe waits for ten seconds, and sends the event again.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(8);
/// Largest event, in bytes. Stripe's are a few KiB.
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
    let tenancy = upstreams.get("baton.tenancy.v1").context("no upstream answers baton.tenancy.v1")?;
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

/// The service's answer to the event, or what kept the event from it.
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

/// Refuses a request whose body nobody reads.
fn refuse_unread(problem: Problem, parts: &Parts, verdict: Option<&Verdict>) -> Response {
    let mut response = rest::refuse(problem, parts);
    rest::close_connection(&mut response, parts);
    if let Some(verdict) = verdict {
        verdict.write_headers(response.headers_mut());
    }
    response
}

/// What has the form of a signature (`t=<seconds>,v1=<64 hex digits>`, others beside it): whether it is one is for the
/// service to say, who needs the body for it.
fn signature(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all("stripe-signature").iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let value = value.to_str().ok()?;
    let parts = || value.split(',').filter_map(|part| part.trim().split_once('='));
    let has_time = parts().any(|(name, time)| name == "t" && time.parse::<i64>().is_ok());
    let is_tag = |hex: &str| hex.len() == 64 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    (has_time && parts().any(|(name, hex)| name == "v1" && is_tag(hex))).then_some(value)
}
