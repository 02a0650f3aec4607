use baton_embedded::{Options, Redis, RedisBinary};
use chrono::TimeDelta;
use proptest::{prelude::*, strategy::ValueTree};

use super::*;

async fn redis(url: &str) -> ConnectionManager {
    baton_events::Streams::open(&Secret::new(url)).unwrap().connection()
}

fn throttle(redis: ConnectionManager, clock: &Clock) -> Throttle {
    Throttle::new(redis, &Secret::new("key"), clock.clone(), 8)
}

fn address(n: u8) -> Option<IpAddr> {
    Some(IpAddr::from([192, 0, 2, n]))
}

#[derive(Debug, Clone)]
enum Step {
    Attempt { key: u8, network: u8, outcome: Option<bool> },
    Vouch { key: u8, network: u8 },
    Mail { key: u8 },
    Wait { millis: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_u8, 0..2_u8, prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)])
            .prop_map(|(key, network, outcome)| Step::Attempt { key, network, outcome }),
        1 => (0..2_u8, 0..2_u8).prop_map(|(key, network)| Step::Vouch { key, network }),
        2 => (0..2_u8).prop_map(|key| Step::Mail { key }),
        1 => (1..1_000_000_i64).prop_map(|millis| Step::Wait { millis }),
        2 => (1..20_000_i64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// Whether each attempt or email was admitted.
async fn outcomes(throttle: &Throttle, clock: &Clock, steps: &[Step]) -> Vec<bool> {
    let mut admitted = Vec::new();
    for step in steps {
        match *step {
            Step::Wait { millis } => clock.advance(TimeDelta::milliseconds(millis)),
            Step::Mail { key } => {
                admitted.push(throttle.email_allowed(EmailCap::PasswordReset, &key.to_string()).await)
            }
            Step::Vouch { key, network } => {
                throttle.trust_network_for(Bucket::Login, &key.to_string(), address(network)).await;
            }
            Step::Attempt { key, network, outcome } => {
                let attempt = throttle.check_from(Bucket::Login, Some(&key.to_string()), address(network)).await;
                admitted.push(attempt.is_ok());
                match (attempt, outcome) {
                    (Ok(attempt), Some(true)) => attempt.record_success().await,
                    (Ok(attempt), Some(false)) => attempt.cancel().await,
                    _ => {}
                }
            }
        }
    }
    admitted
}

#[tokio::test]
async fn redis_and_the_fallback_decide_alike() {
    let folder = tempfile::tempdir().unwrap();
    let server = Redis::start(&RedisBinary::find().unwrap(), folder.path(), Options::throw_away()).await.unwrap();
    let connection = redis(&server.url()).await;
    let gone = redis("redis://127.0.0.1:1").await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..60 {
        let steps = proptest::collection::vec(step(), 1..60).new_tree(&mut runner).unwrap().current();
        let start = Clock::system().now();
        let clocks = [Clock::fixed(start), Clock::fixed(start)];
        let with = throttle(connection.clone(), &clocks[0]);
        let without = throttle(gone.clone(), &clocks[1]);
        // Waits of the steps must not end the pause.
        without.0.redis_down_until.store(i64::MAX, Ordering::Relaxed);
        assert_eq!(
            outcomes(&with, &clocks[0], &steps).await,
            outcomes(&without, &clocks[1], &steps).await,
            "{steps:?}"
        );
        let mut connection = connection.clone();
        let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    }
}

#[tokio::test]
async fn strangers_do_not_lock_out_a_user_on_a_trusted_network() {
    let clock = Clock::fixed(Clock::system().now());
    let throttle = throttle(redis("redis://127.0.0.1:1").await, &clock);
    let from = |n| throttle.check_from(Bucket::Login, Some("Ada@example.org"), address(n));
    from(1).await.unwrap().record_success().await;
    for n in 2..60 {
        let _ = from(n).await;
    }
    let refused = from(100).await.err().unwrap();
    assert_eq!(refused.reason(), Reason::TooManyAttempts, "strangers wait");
    from(1).await.unwrap().record_success().await;
    // Case does not matter, and another address has its own counter.
    assert!(throttle.check_from(Bucket::Login, Some("ada@EXAMPLE.org"), address(101)).await.is_err());
    assert!(throttle.check_from(Bucket::Login, Some("ben@example.org"), address(101)).await.is_ok());
    clock.advance(TimeDelta::from_std(MAX_WAIT).unwrap());
    from(100).await.unwrap().record_success().await;
}

#[tokio::test]
async fn trusted_network_is_admitted_while_strangers_guess() {
    let clock = Clock::fixed(Clock::system().now());
    let throttle = throttle(redis("redis://127.0.0.1:1").await, &clock);
    for n in 2..60 {
        let _ = throttle.check_from(Bucket::Login, Some("ada@example.org"), address(n)).await;
    }
    assert!(throttle.check_from(Bucket::Login, Some("ada@example.org"), address(100)).await.is_err());
    throttle.trust_network_for(Bucket::Login, "Ada@example.org", address(100)).await;
    assert!(throttle.check_from(Bucket::Login, Some("ada@example.org"), address(100)).await.is_ok());
    assert!(throttle.check_from(Bucket::Login, Some("ada@example.org"), address(101)).await.is_err());
}

#[tokio::test]
async fn network_limit_spans_all_addresses() {
    let clock = Clock::fixed(Clock::system().now());
    let throttle = throttle(redis("redis://127.0.0.1:1").await, &clock);
    for n in 0..8 {
        let _ = throttle.check_from(Bucket::Login, Some(&format!("{n}@example.org")), address(1)).await.unwrap();
    }
    assert!(throttle.check_from(Bucket::Login, Some("9@example.org"), address(1)).await.is_err());
    assert!(throttle.check_from(Bucket::Login, Some("9@example.org"), address(2)).await.is_ok());
    assert!(throttle.check_from(Bucket::Login, Some("10@example.org"), None).await.is_ok());
}

#[tokio::test]
async fn emails_per_address_are_capped_per_window() {
    let clock = Clock::fixed(Clock::system().now());
    let throttle = throttle(redis("redis://127.0.0.1:1").await, &clock);
    for cap in [EmailCap::Registration, EmailCap::Activation, EmailCap::PasswordReset] {
        let (max, window) = cap.limit();
        for _ in 0..2 {
            for _ in 0..max {
                assert!(throttle.email_allowed(cap, "ada@example.org").await, "{cap:?}");
            }
            assert!(!throttle.email_allowed(cap, "ADA@example.org").await, "{cap:?}");
            clock.advance(TimeDelta::from_std(window).unwrap() - TimeDelta::milliseconds(1));
            assert!(!throttle.email_allowed(cap, "ada@example.org").await, "{cap:?}");
            clock.advance(TimeDelta::milliseconds(1));
        }
    }
}

#[tokio::test]
async fn open_requests_are_counted_for_the_network_only() {
    let clock = Clock::fixed(Clock::system().now());
    let throttle = throttle(redis("redis://127.0.0.1:1").await, &clock);
    for _ in 0..8 {
        throttle.check_from(Bucket::Mail, None, address(1)).await.unwrap();
    }
    assert!(throttle.check_from(Bucket::Mail, None, address(1)).await.is_err());
    assert!(throttle.check_from(Bucket::Mail, None, address(2)).await.is_ok());
    for _ in 0..100 {
        throttle.check_from(Bucket::Mail, None, None).await.unwrap();
    }
}
