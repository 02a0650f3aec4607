//! Events of other companies' services. Their signatures are made over raw bytes, so nothing is decoded here: body
//! and signature go on as they came. They are not counted against any rate limit; what is not signed costs a hash.

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use baton_proto::baton::tenancy::v1::{HandleStripeWebhookRequest, billing_service_client::BillingServiceClient};
use baton_runtime::propagation;
use http::{HeaderMap, StatusCode};
use tonic::transport::Channel;

use crate::{headers::X_REQUEST_ID, problem::Problem, rest, upstream::Upstreams};

/// Where Stripe sends its events.
const STRIPE: &str = "/v1/webhooks/stripe";
/// How long the service may take. Stripe waits for ten seconds, and sends the event again.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(8);

#[derive(Clone)]
struct Webhook {
    billing: BillingServiceClient<Channel>,
    max_body_bytes: usize,
}

/// The routes of all webhooks.
pub(crate) fn router(upstreams: &Upstreams, max_body_bytes: usize) -> Result<Router> {
    let tenancy = upstreams.of("baton.tenancy.v1").context("no upstream answers baton.tenancy.v1")?;
    let webhook = Webhook { billing: BillingServiceClient::new(tenancy), max_body_bytes };
    Ok(Router::new().route(STRIPE, post(stripe)).layer(DefaultBodyLimit::disable()).with_state(webhook))
}

async fn stripe(State(webhook): State<Webhook>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = pass_on(webhook, &parts.headers, body).await;
    answer.map_or_else(|problem| problem.answer(&parts.headers), |()| StatusCode::NO_CONTENT.into_response())
}

async fn pass_on(mut webhook: Webhook, headers: &HeaderMap, body: Body) -> Result<(), Problem> {
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let payload = rest::read(body, headers, webhook.max_body_bytes).await?;
    let message = HandleStripeWebhookRequest { payload: payload.into(), signature: signature.to_owned() };
    let mut call = tonic::Request::new(message);
    call.set_timeout(TIMEOUT);
    if let Some(id) = headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok()?.parse().ok()) {
        call.metadata_mut().insert("x-request-id", id);
    }
    propagation::inject(call.metadata_mut());
    match webhook.billing.handle_stripe_webhook(call).await {
        Ok(_) => Ok(()),
        Err(status) => Err(Problem::of_unrouted(&status)),
    }
}
