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
    rate_limit::{Edge, Verdict},
    rest,
    upstream::{Upstream, Upstreams},
};

/// Where Stripe sends its events.
const STRIPE: &str = "/v1/webhooks/stripe";
/// How long the service may take. Stripe waits for ten seconds, and sends the event again.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Largest event, in bytes. Stripe's are a few KiB.
const LARGEST: usize = 256 * 1024;

#[derive(Clone)]
struct Webhook {
    billing: BillingServiceClient<Upstream>,
    edge: Edge,
    max_body_bytes: usize,
    timeout: Duration,
}

/// The routes of all webhooks.
pub(crate) fn router(upstreams: &Upstreams, config: &Config, edge: &Edge) -> Result<Router> {
    let tenancy = upstreams.of("baton.tenancy.v1").context("no upstream answers baton.tenancy.v1")?;
    let webhook = Webhook {
        billing: BillingServiceClient::new(tenancy),
        edge: edge.clone(),
        max_body_bytes: LARGEST.min(config.max_body_bytes),
        timeout: config.timeout,
    };
    Ok(Router::new().route(STRIPE, post(stripe)).layer(DefaultBodyLimit::disable()).with_state(webhook))
}

async fn stripe(State(webhook): State<Webhook>, request: Request) -> Response {
    let deadline = Instant::now() + webhook.timeout;
    let (parts, body) = request.into_parts();
    let client = webhook.edge.proxies.client(&parts.headers, &parts.extensions);
    if let Some(left) = webhook.edge.limiter.look(client).await
        && let Err(refused) = left.check()
    {
        return unread(Problem::of_unrouted(&refused.into()), &parts, Some(&left));
    }
    let Some(signature) = signature(&parts.headers) else {
        webhook.edge.limiter.charge(client).await;
        return unread(Reason::SignatureInvalid.into(), &parts, None);
    };
    let limiter = webhook.edge.limiter.clone();
    match rest::within(deadline, pass_on(webhook, &parts.headers, signature, body, client, deadline)).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(status)) => {
            if baton_errors::reason_of(&status) == Some(Reason::SignatureInvalid) {
                limiter.charge(client).await;
            }
            rest::refuse(Problem::of_unrouted(&status), &parts)
        }
        Err(problem) => rest::refuse(problem, &parts),
    }
}

/// The service's answer to the event, or what kept the event from it.
async fn pass_on(
    mut webhook: Webhook,
    headers: &HeaderMap,
    signature: &str,
    body: Body,
    client: Option<IpAddr>,
    deadline: Instant,
) -> Result<Result<(), Status>, Problem> {
    let payload = webhook.edge.buffers.read(body, headers, webhook.max_body_bytes, client).await;
    let payload = payload.map_err(|error| Problem::of_unrouted(&error.into()))?;
    let message = HandleStripeWebhookRequest { payload: payload.bytes.clone().into(), signature: signature.to_owned() };
    let mut call = tonic::Request::new(message);
    call.set_timeout(TIMEOUT.min(deadline.saturating_duration_since(Instant::now())));
    if let Some(id) = headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok()?.parse().ok()) {
        call.metadata_mut().insert("x-request-id", id);
    }
    propagation::inject(call.metadata_mut());
    Ok(webhook.billing.handle_stripe_webhook(call).await.map(drop))
}

/// Refuses a request whose body nobody reads.
fn unread(problem: Problem, parts: &Parts, left: Option<&Verdict>) -> Response {
    let mut response = rest::refuse(problem, parts);
    rest::end_connection(&mut response, parts);
    if let Some(left) = left {
        left.tell(response.headers_mut());
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
    let time = parts().any(|(name, time)| name == "t" && time.parse::<i64>().is_ok());
    let tag = |hex: &str| hex.len() == 64 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    (time && parts().any(|(name, hex)| name == "v1" && tag(hex))).then_some(value)
}
