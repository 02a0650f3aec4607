//! Stripe's events are forwarded unchanged; requests without a valid signature are cheap and limited.

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
    fixture::{Fixture, expect_problem, header, read_problem},
    rate_limit::redis,
};

const EVENTS: &str = "/v1/webhooks/stripe";
const RPC: &str = "BillingService/HandleStripeWebhook";

/// A well-formed signature; the fake service does not verify it.
fn signed() -> String {
    format!("t=1700000000,v1={}", "0a".repeat(32))
}

fn event(fixture: &Fixture, signature: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    fixture.post(EVENTS).header("stripe-signature", signature).body(body)
}

fn accept_events(fixture: &Fixture) {
    fixture.service.respond(RPC, |_| Ok(HandleStripeWebhookResponse::default()));
}

/// Sends these bytes, and returns all bytes until the gateway closes the connection.
async fn send_raw(fixture: &Fixture, sent: &str) -> String {
    let mut stream = TcpStream::connect(fixture.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(40), end).await.expect("closed in time").unwrap();
    String::from_utf8(answer).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn an_event_is_forwarded_unchanged() {
    let fixture = Fixture::start().await;
    accept_events(&fixture);
    let answer = event(&fixture, &signed(), "{ \"id\":1}\n").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "ratelimit")), (204, None));
    let call: HandleStripeWebhookRequest = fixture.service.call(RPC).decode();
    assert_eq!((&*call.payload, &*call.signature), (&b"{ \"id\":1}\n"[..], &*signed()));
}

#[tokio::test]
async fn a_body_that_never_ends_times_out() {
    let fixture = Fixture::start_with(|config| config.timeout = Duration::from_secs(30)).await;
    accept_events(&fixture);
    let sent =
        format!("POST {EVENTS} HTTP/1.1\r\nhost: a\r\nstripe-signature: {}\r\ncontent-length: 10\r\n\r\n{{", signed());
    let answer = send_raw(&fixture, &sent).await;
    assert!(answer.starts_with("http/1.1 408") && answer.contains("connection: close"), "{answer}");
    assert_eq!(fixture.service.count(), 0);
}

#[tokio::test]
async fn a_malformed_signature_is_refused_unread() {
    let fixture = Fixture::start().await;
    accept_events(&fixture);
    for wrong in ["", "stripe-signature: t=1,v1=ab\r\n", "stripe-signature: nonsense\r\n"] {
        // The body is never sent.
        let sent = format!("POST {EVENTS} HTTP/1.1\r\nhost: a\r\n{wrong}content-length: 10\r\n\r\n");
        let answer = send_raw(&fixture, &sent).await;
        assert!(answer.starts_with("http/1.1 400") && answer.contains("connection: close"), "{answer}");
        assert!(answer.contains("\"reason\":\"signature_invalid\""), "{answer}");
    }
    let tag = "0a".repeat(32);
    for wrong in [format!("v1={tag}"), format!("t=x,v1={tag}"), format!("t=1,v0={tag}"), format!("t=1,v1={tag}0")] {
        expect_problem(event(&fixture, &wrong, "{}"), 400, "SIGNATURE_INVALID").await;
    }
    expect_problem(event(&fixture, &signed(), "{}").header("stripe-signature", signed()), 400, "SIGNATURE_INVALID")
        .await;
    assert_eq!(fixture.service.count(), 0);
}

#[tokio::test]
async fn an_event_over_256_kib_is_refused() {
    let fixture = Fixture::start().await;
    accept_events(&fixture);
    let largest = event(&fixture, &signed(), vec![b' '; 256 * 1024]).send().await.unwrap();
    assert_eq!(largest.status(), 204);
    let sent = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: a\r\nstripe-signature: {}\r\ncontent-length: {}\r\n\r\n",
        signed(),
        256 * 1024 + 1
    );
    let answer = send_raw(&fixture, &sent).await;
    assert!(answer.starts_with("http/1.1 413") && answer.contains("connection: close"), "{answer}");
    assert_eq!(fixture.service.calls(RPC).len(), 1);
}

#[tokio::test]
async fn only_invalid_signatures_use_the_quota() {
    let (redis, _folder) = redis().await;
    let fixture = Fixture::start_with(|config| {
        config.redis_url = Secret::new(redis.url());
        config.requests_per_hour_anonymous = 2;
        config.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    })
    .await;
    let from = |address: &str| event(&fixture, &signed(), "{}").header("x-forwarded-for", address);
    accept_events(&fixture);
    for _ in 0..5 {
        assert_eq!(from("203.0.113.1").send().await.unwrap().status(), 204);
    }
    fixture.service.fail(RPC, || Error::from(Reason::SignatureInvalid).into());
    expect_problem(from("203.0.113.1"), 400, "SIGNATURE_INVALID").await;
    let unsigned = fixture.post(EVENTS).header("x-forwarded-for", "203.0.113.1");
    expect_problem(unsigned, 400, "SIGNATURE_INVALID").await;
    accept_events(&fixture);
    let exhausted = from("203.0.113.1").send().await.unwrap();
    assert_eq!(header(&exhausted, "x-ratelimit-remaining"), Some("0"));
    assert!(header(&exhausted, "retry-after").unwrap().parse::<u32>().unwrap() > 3000);
    read_problem(exhausted, 429, "RATE_LIMITED").await;
    assert_eq!(from("203.0.113.2").send().await.unwrap().status(), 204, "other addresses are not affected");
    assert_eq!(fixture.service.calls(RPC).len(), 7);
}
