//! Stripe's events arrive as they were signed; strangers cost little, and run dry.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::time::Duration;

use baton_errors::{Error, Reason};
use baton_proto::baton::tenancy::v1::{HandleStripeWebhookRequest, HandleStripeWebhookResponse};
use baton_runtime::Secret;
use reqwest::RequestBuilder;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    gateway::{Gateway, header, problem, refused},
    rate_limit::redis,
};

const EVENTS: &str = "/v1/webhooks/stripe";
const RPC: &str = "BillingService/HandleStripeWebhook";

/// Of the right form; the scripted service knows no secret.
fn signed() -> String {
    format!("t=1700000000,v1={}", "0a".repeat(32))
}

fn event(gateway: &Gateway, signature: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    gateway.post(EVENTS).header("stripe-signature", signature).body(body)
}

fn takes_events(gateway: &Gateway) {
    gateway.service.on(RPC, |_| Ok(HandleStripeWebhookResponse::default()));
}

/// Sends this and nothing more; answers all that comes until the gateway hangs up.
async fn answer_to(gateway: &Gateway, sent: &str) -> String {
    let mut stream = TcpStream::connect(gateway.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(40), end).await.expect("the gateway ends it").unwrap();
    String::from_utf8(answer).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn an_event_goes_on_as_it_came() {
    let gateway = Gateway::start().await;
    takes_events(&gateway);
    let answer = event(&gateway, &signed(), "{ \"id\":1}\n").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "ratelimit")), (204, None));
    let call: HandleStripeWebhookRequest = gateway.service.call(RPC).as_a();
    assert_eq!((&*call.payload, &*call.signature), (&b"{ \"id\":1}\n"[..], &*signed()));
}

#[tokio::test]
async fn a_body_that_never_ends_is_not_waited_for() {
    let gateway = Gateway::start_with(|config| config.timeout = Duration::from_secs(30)).await;
    takes_events(&gateway);
    let sent =
        format!("POST {EVENTS} HTTP/1.1\r\nhost: a\r\nstripe-signature: {}\r\ncontent-length: 10\r\n\r\n{{", signed());
    let answer = answer_to(&gateway, &sent).await;
    assert!(answer.starts_with("http/1.1 408") && answer.contains("connection: close"), "{answer}");
    assert_eq!(gateway.service.count(), 0);
}

#[tokio::test]
async fn what_has_not_the_form_of_a_signature_is_refused_unread() {
    let gateway = Gateway::start().await;
    takes_events(&gateway);
    for wrong in ["", "stripe-signature: t=1,v1=ab\r\n", "stripe-signature: nonsense\r\n"] {
        // Of this body not a byte comes.
        let sent = format!("POST {EVENTS} HTTP/1.1\r\nhost: a\r\n{wrong}content-length: 10\r\n\r\n");
        let answer = answer_to(&gateway, &sent).await;
        assert!(answer.starts_with("http/1.1 400") && answer.contains("connection: close"), "{answer}");
        assert!(answer.contains("\"reason\":\"signature_invalid\""), "{answer}");
    }
    let tag = "0a".repeat(32);
    for wrong in [format!("v1={tag}"), format!("t=x,v1={tag}"), format!("t=1,v0={tag}"), format!("t=1,v1={tag}0")] {
        refused(event(&gateway, &wrong, "{}"), 400, "SIGNATURE_INVALID").await;
    }
    refused(event(&gateway, &signed(), "{}").header("stripe-signature", signed()), 400, "SIGNATURE_INVALID").await;
    assert_eq!(gateway.service.count(), 0);
}

#[tokio::test]
async fn an_event_has_at_most_256_kib() {
    let gateway = Gateway::start().await;
    takes_events(&gateway);
    let largest = event(&gateway, &signed(), vec![b' '; 256 * 1024]).send().await.unwrap();
    assert_eq!(largest.status(), 204);
    let sent = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: a\r\nstripe-signature: {}\r\ncontent-length: {}\r\n\r\n",
        signed(),
        256 * 1024 + 1
    );
    let answer = answer_to(&gateway, &sent).await;
    assert!(answer.starts_with("http/1.1 413") && answer.contains("connection: close"), "{answer}");
    assert_eq!(gateway.service.calls(RPC).len(), 1);
}

#[tokio::test]
async fn who_sends_wrong_signatures_runs_dry_and_who_sends_right_ones_never_does() {
    let (redis, _folder) = redis().await;
    let gateway = Gateway::start_with(|config| {
        config.redis_url = Secret::new(redis.url());
        config.requests_per_hour_anonymous = 2;
        config.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    })
    .await;
    let from = |address: &str| event(&gateway, &signed(), "{}").header("x-forwarded-for", address);
    takes_events(&gateway);
    for _ in 0..5 {
        assert_eq!(from("203.0.113.1").send().await.unwrap().status(), 204);
    }
    gateway.service.refuses(RPC, || Error::from(Reason::SignatureInvalid).into());
    refused(from("203.0.113.1"), 400, "SIGNATURE_INVALID").await;
    let formless = gateway.post(EVENTS).header("x-forwarded-for", "203.0.113.1");
    refused(formless, 400, "SIGNATURE_INVALID").await;
    takes_events(&gateway);
    let dry = from("203.0.113.1").send().await.unwrap();
    assert_eq!(header(&dry, "x-ratelimit-remaining"), Some("0"));
    assert!(header(&dry, "retry-after").unwrap().parse::<u32>().unwrap() > 3000);
    problem(dry, 429, "RATE_LIMITED").await;
    assert_eq!(from("203.0.113.2").send().await.unwrap().status(), 204, "others are not concerned");
    assert_eq!(gateway.service.calls(RPC).len(), 7);
}
