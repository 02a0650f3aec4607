//! Load of many parallel sign-ins.

use baton_errors::Reason;
use baton_proto::baton::auth::v1::{LoginRequest, RegisterRequest, auth_service_client::AuthServiceClient};
use baton_runtime::Clock;
use baton_testkit::{TestContext, reason};

use crate::{PASSWORD, client, registration};

/// Peak resident memory of this process, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn password_of_a_megabyte_is_refused_before_hashing() {
    let context = TestContext::start(&[]).await;
    let huge = "x".repeat(1 << 20);
    for attempt in 0..2 {
        let email = format!("{attempt}@example.org");
        let login = LoginRequest { email: email.clone(), password: huge.clone() };
        let refused = client(&context).login(login).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::ValidationFailed));
        let register = RegisterRequest { password: huge.clone(), ..registration(&email) };
        let refused = client(&context).register(register).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::ValidationFailed));
    }
}

/// Memory is bounded by the number of hashing threads: two, with 19 MiB each.
#[tokio::test]
async fn memory_is_bounded_by_the_hashing_threads() {
    let context = TestContext::start(&[]).await;
    let mut env = context.env();
    env.set("BATON_AUTH_HASH_THREADS", "2");
    let config = baton_auth::Config::from_env(&baton_auth::SPEC, &env).unwrap();
    let channel = context.spawn(|listener, stop| baton_auth::start(config, Clock::system(), listener, stop)).await;
    let login = |email: String, password: &str| {
        let (mut auth, password) = (AuthServiceClient::new(channel.clone()), password.to_owned());
        async move { reason(&auth.login(LoginRequest { email, password }).await.unwrap_err()) }
    };
    // Both threads have hashed once, so the baseline includes their memory.
    futures_util::future::join_all((0..4).map(|n| login(format!("warm-{n}@example.org"), PASSWORD))).await;
    let before = peak_mib();

    let huge = "x".repeat(1 << 20);
    let calls = (0..300).map(|n| login(format!("{n}@example.org"), if n % 10 == 0 { &huge } else { PASSWORD }));
    let responses = futures_util::future::join_all(calls).await;
    let count = |expected| responses.iter().filter(|&&reason| reason == Some(expected)).count();
    let (hashed, busy) = (count(Reason::CredentialsInvalid), count(Reason::Busy));
    assert_eq!(count(Reason::ValidationFailed), 30, "the huge ones");
    assert_eq!(hashed + busy, 270);
    assert!(busy > 0 && hashed >= 34, "{hashed} hashed, {busy} refused at once");

    // 34 hashes at once would take 34 times 19 MiB. The huge passwords themselves, in this process as client and
    // server, take several times 30 MB.
    let grown = peak_mib() - before;
    assert!(grown < 34 * 19 / 2, "the process grew by {grown} MiB");
}
