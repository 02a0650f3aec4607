//! Rate limits: requests per hour.
//!
//! The access rule of the RPC decides which quota a request uses, since services authorize by it:
//! - An RPC with a permission uses the account's, by its tier. All members, API keys and gateways share one counter in
//!   Redis.
//! - An RPC that only needs sign-in uses the user's, as do calls in accounts of which the user is not a member.
//! - A public RPC uses the address's (IPv6: the /64), whatever token is sent.
//!
//! The window of one hour begins with the first request and is fixed, so exactly the limit passes in it. Refused
//! requests do not count. An RPC counts as often as its option `baton.access.v1.weight` says.
//!
//! Counting is one script and one round trip. Without Redis every gateway continues from the last counts that it has
//! seen. The token decides the quota only: services authorize the call.

mod key_resolver;
mod window;

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use baton_access::{Rule, rules};
use baton_errors::{Error, Reason};
use baton_events::Streams;
use baton_proto::pool;
use baton_runtime::{Clock, origin};
use http::{HeaderMap, HeaderName, HeaderValue};

use self::{
    key_resolver::{KeyResolver, RateLimitKey},
    window::Windows,
};
use crate::{
    admission::{CallerKey, StreamAccount},
    config::Config,
    upstream::Upstreams,
};

/// Length of a window.
const HOUR: Duration = Duration::from_secs(3600);

/// The rate limit headers: those that most APIs send, and the IETF's (draft-ietf-httpapi-ratelimit-headers-10).
pub(crate) const HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("ratelimit"),
];

/// Counts requests. Clones share its state.
#[derive(Clone)]
pub(crate) struct Limiter(Arc<Inner>);

struct Inner {
    keys: KeyResolver,
    windows: Windows,
    rules: HashMap<String, Rule>,
    weights: HashMap<String, u32>,
    clock: Clock,
}

impl Limiter {
    /// Creates a limiter that counts in the Redis of `streams`, and looks callers up at auth and tenancy.
    pub(crate) fn new(
        config: &Config,
        rules: HashMap<String, Rule>,
        upstreams: &Upstreams,
        streams: &Streams,
    ) -> Result<Self> {
        let clock = Clock::system();
        let windows = Windows::new(streams.connection(), clock.clone());
        let keys = KeyResolver::new(config, upstreams)?;
        Ok(Self(Arc::new(Inner { keys, windows, rules, weights: weights()?, clock })))
    }

    /// Returns the caller of this RPC (`/baton.task.v1.TaskService/GetTask`). `account` is that of the path, if it has
    /// one; otherwise the header's is used.
    pub(crate) async fn caller(
        &self,
        rpc: &str,
        headers: &HeaderMap,
        account: Option<&str>,
        client: Option<IpAddr>,
    ) -> Caller {
        let rule = self.0.rules.get(rpc).copied();
        Caller(self.0.keys.resolve(rule, headers, account, client.map(origin::network)).await)
    }

    /// Counts a call of this RPC. `None` if it is not limited.
    pub(crate) async fn count(&self, rpc: &str, caller: &Caller) -> Option<Verdict> {
        let cost = self.0.weights.get(rpc).copied().unwrap_or(1);
        if cost == 0 { None } else { self.take(caller.0.clone(), cost).await }
    }

    /// Returns the state of this address's quota without counting a request.
    pub(crate) async fn peek(&self, client: Option<IpAddr>) -> Option<Verdict> {
        self.take(self.0.keys.address_key(client.map(origin::network)), 0).await
    }

    /// Counts one request of this address.
    pub(crate) async fn charge(&self, client: Option<IpAddr>) -> Option<Verdict> {
        self.take(self.0.keys.address_key(client.map(origin::network)), 1).await
    }

    async fn take(&self, RateLimitKey { policy, redis_key, limit, .. }: RateLimitKey, cost: u32) -> Option<Verdict> {
        let limit = limit?;
        let count = self.0.windows.take(&redis_key, cost, limit).await;
        // Rounded up: a client that retries then finds a new window.
        let reset = count.reset.as_secs() + u64::from(count.reset.subsec_nanos() > 0);
        let resets_at = self.0.clock.now().timestamp() + i64::try_from(reset).unwrap_or_default();
        Some(Verdict {
            policy,
            is_allowed: count.is_allowed,
            limit,
            remaining: limit.saturating_sub(count.used),
            reset,
            resets_at,
        })
    }
}

/// The caller of an RPC: decides its permits and its quota.
#[derive(Debug, Clone)]
pub(crate) struct Caller(RateLimitKey);

impl Caller {
    /// The key for admission control.
    pub(crate) fn key(&self) -> CallerKey {
        self.0.caller
    }

    /// The account of the call, if its RPC uses one.
    pub(crate) fn account(&self) -> Option<uuid::Uuid> {
        self.0.account
    }

    /// The account whose streams a stream of the caller counts among.
    pub(crate) fn stream_account(&self) -> Option<StreamAccount> {
        Some(StreamAccount { id: self.0.account?, max_users: self.0.max_users })
    }
}

/// Whether a call is allowed, and the state of its quota.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    policy: &'static str,
    is_allowed: bool,
    limit: u32,
    remaining: u32,
    /// Seconds until the next window.
    reset: u64,
    /// Begin of the next window, in seconds since 1970.
    resets_at: i64,
}

impl Verdict {
    /// Fails if the call is not allowed.
    ///
    /// # Errors
    /// RATE_LIMITED.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_allowed {
            return Ok(());
        }
        let wait = Duration::from_secs(self.reset.max(1));
        Err(Error::from(Reason::RateLimited).with("limit", self.limit.to_string()).retry_after(wait))
    }

    /// Adds the rate limit headers to a response.
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap) {
        let Self { policy, limit, remaining, reset, resets_at, .. } = self;
        let values = [
            limit.to_string(),
            remaining.to_string(),
            resets_at.to_string(),
            format!("\"{policy}\";q={limit};w={}", HOUR.as_secs()),
            format!("\"{policy}\";r={remaining};t={reset}"),
        ];
        for (name, value) in HEADERS.into_iter().zip(values) {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// The access rules of all RPCs, by path.
pub(crate) fn rules() -> Result<HashMap<String, Rule>> {
    // Only Baton's services have them.
    let ours = pool().services().filter(|service| service.full_name().starts_with("baton."));
    let rules = ours.map(|service| rules::of_service(pool(), &service)).collect::<Result<Vec<_>>>()?;
    Ok(rules.into_iter().flatten().collect())
}

/// The weights of all RPCs that set one, by path.
fn weights() -> Result<HashMap<String, u32>> {
    let weight = pool().get_extension_by_name("baton.access.v1.weight").context("the contract has no weights")?;
    let mut weights = HashMap::new();
    for service in pool().services() {
        for method in service.methods().filter(|method| method.options().has_extension(&weight)) {
            let options = method.options();
            let cost = options.get_extension(&weight).as_i32().and_then(|cost| u32::try_from(cost).ok());
            let cost = cost.with_context(|| format!("the weight of {} must not be negative", method.full_name()))?;
            weights.insert(format!("/{}/{}", service.full_name(), method.name()), cost);
        }
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_from_the_contract() {
        let weights = weights().unwrap();
        assert_eq!(weights.get("/baton.auth.v1.AuthService/GetJwks"), Some(&0));
        assert_eq!(weights.get("/baton.tenancy.v1.BillingService/HandleStripeWebhook"), Some(&0));
        assert!(weights["/baton.tenancy.v1.ActivityService/ExportActivityLogs"] > 1);
        assert_eq!(weights.get("/baton.task.v1.TaskService/GetTask"), None);
    }

    #[test]
    fn both_header_families_have_the_same_values() {
        let verdict =
            Verdict { policy: "account", is_allowed: false, limit: 100, remaining: 7, reset: 60, resets_at: 1_060 };
        let mut headers = HeaderMap::new();
        verdict.write_headers(&mut headers);
        let values = HEADERS.map(|name| headers[name].to_str().unwrap().to_owned());
        assert_eq!(values, ["100", "7", "1060", r#""account";q=100;w=3600"#, r#""account";r=7;t=60"#]);
        assert_eq!(verdict.check().unwrap_err().reason(), Reason::RateLimited);
    }
}
