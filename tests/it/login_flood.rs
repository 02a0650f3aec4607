//! A flood of sign-ins: memory stays bounded, and nobody gets in.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use baton_tests::{PASSWORD, Platform};
use serde_json::json;

const LOGINS: usize = 1000;
const MAX_CONCURRENT_HASHES: u64 = 2;
/// Memory of Argon2id per hash, in KiB.
const ARGON2_KIB: u64 = 19 * 1024;
/// Memory per connection with its buffers and call, including allocator overhead, in KiB.
const CONNECTION_KIB: u64 = 160;

// ASVS 5.0, 6.3.1 and 2.4.1: expensive operations are bounded for every caller.
#[tokio::test]
async fn thousand_concurrent_sign_ins_stay_within_memory() {
    let platform = Platform::start_with(&[
        ("BATON_AUTH_HASH_THREADS", &MAX_CONCURRENT_HASHES.to_string()),
        // All sign-ins come from one address.
        ("BATON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", "4000"),
    ])
    .await;
    let ada = platform.person("ada").await;
    let Some(base) = platform.memory_kib() else { return };

    let over = Arc::new(AtomicBool::new(false));
    let flood: Vec<_> = (0..LOGINS)
        .map(|n| {
            // Every tenth sends a password of a megabyte.
            let password = if n % 10 == 0 { "a".repeat(1_000_000) } else { format!("wrong password {n}") };
            let call = platform.rest().post("/v1/auth/login", &json!({"email": ada.email, "password": password}));
            tokio::spawn(async move { call.send().await.status })
        })
        .collect();
    let watch = async {
        let mut peak = base;
        while !over.load(Ordering::Relaxed) {
            peak = peak.max(platform.memory_kib().unwrap_or_default());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        peak
    };
    let responses = async {
        let mut refused = 0;
        for call in flood {
            let status = call.await.unwrap();
            assert!([400, 401, 413, 429].contains(&status), "{status}");
            refused += 1;
        }
        over.store(true, Ordering::Relaxed);
        refused
    };
    let (peak, refused) = tokio::join!(watch, responses);
    assert_eq!(refused, LOGINS);
    let bound = base + MAX_CONCURRENT_HASHES * ARGON2_KIB + LOGINS as u64 * CONNECTION_KIB;
    assert!(peak <= bound, "{peak} KiB at the peak, {base} KiB before; the bound is {bound}");

    // A registered user still signs in: the flood locked nobody out permanently.
    let let_in = baton_tests::eventually("the person signs in again", || async {
        let call = platform.rest().post("/v1/auth/login", &json!({"email": ada.email, "password": PASSWORD}));
        let response = call.send().await;
        assert!([200, 429].contains(&response.status), "{}", response.text);
        (response.status == 200).then_some(())
    });
    let_in.await;
}
