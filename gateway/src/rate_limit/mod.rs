//! How many requests a client may make in an hour.
//!
//! The rule of the RPC says for whom a request counts, since it says what the services go by. What needs a permission
//! counts for the account, by its tier: all its members, API keys and gateways share one number, kept in Redis. What
//! needs a signed-in user only counts for that user, as does what they try in accounts that are not theirs. What anyone
//! may call counts for the address (IPv6: the /64), whatever token is sent along. The hour begins with the first request and is fixed: exactly as many as the limit pass in
//! it. LookupError requests do not count, and an RPC counts as many times as its option `baton.access.v1.weight` says.
//!
//! One script, one round trip. Without Redis every gateway goes on for itself from what it last heard, until it is back. The token is looked at
//! to know whom to count, for nothing else: what it may do is the services' business.

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
use crate::{admission::CallerKey, config::Config, upstream::Upstreams};

/// How long a window is.
const HOUR: Duration = Duration::from_secs(3600);

/// The headers that tell of it: those that most APIs send, and the IETF's
/// (draft-ietf-httpapi-ratelimit-headers-10).
pub(crate) const HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("ratelimit"),
];

/// Counts requests. Clones share it.
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
    /// Counts in the Redis of `streams`; asks auth and tenancy who calls.
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

    /// Who makes a call of this RPC (`/baton.task.v1.TaskService/GetTask`), from this address, in the account that the
    /// path names or, without, the headers.
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

    /// Counts a call of this RPC for its caller. `None` when it is not limited.
    pub(crate) async fn count(&self, rpc: &str, caller: &Caller) -> Option<Verdict> {
        let cost = self.0.weights.get(rpc).copied().unwrap_or(1);
        if cost == 0 { None } else { self.take(caller.0.clone(), cost).await }
    }

    /// Whether this address has requests left. Takes none.
    pub(crate) async fn peek(&self, client: Option<IpAddr>) -> Option<Verdict> {
        self.take(self.0.keys.address(client.map(origin::network)), 0).await
    }

    /// Takes one request of this address.
    pub(crate) async fn charge(&self, client: Option<IpAddr>) -> Option<Verdict> {
        self.take(self.0.keys.address(client.map(origin::network)), 1).await
    }

    async fn take(&self, RateLimitKey { policy, redis_key, limit, .. }: RateLimitKey, cost: u32) -> Option<Verdict> {
        let limit = limit?;
        let count = self.0.windows.take(&redis_key, cost, limit).await;
        // Rounded up: whoever comes back when told finds a new hour.
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

/// Who calls: whose slots the call takes, and whose requests.
#[derive(Debug, Clone)]
pub(crate) struct Caller(RateLimitKey);

impl Caller {
    /// Whose slots a call takes.
    pub(crate) fn key(&self) -> CallerKey {
        self.0.caller
    }

    /// The account that the call is made in, if its RPC goes by one.
    pub(crate) fn account(&self) -> Option<uuid::Uuid> {
        self.0.account
    }
}

/// Whether a call passes, and what is left.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    policy: &'static str,
    is_allowed: bool,
    limit: u32,
    remaining: u32,
    /// Seconds until there are `limit` again.
    reset: u64,
    /// The same in seconds since 1970.
    resets_at: i64,
}

impl Verdict {
    /// The call goes on, or is refused.
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

    /// Tells the client, with whatever answer it gets.
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
    // Only what is Baton's has them.
    let ours = pool().services().filter(|service| service.full_name().starts_with("baton."));
    let rules = ours.map(|service| rules::of_service(pool(), &service)).collect::<Result<Vec<_>>>()?;
    Ok(rules.into_iter().flatten().collect())
}

/// As how many requests each RPC counts that says so.
fn weights() -> Result<HashMap<String, u32>> {
    let weight = pool().get_extension_by_name("baton.access.v1.weight").context("the contract has no weights")?;
    let mut weights = HashMap::new();
    for service in pool().services() {
        for method in service.methods().filter(|method| method.options().has_extension(&weight)) {
            let options = method.options();
            let cost = options.get_extension(&weight).as_i32().and_then(|cost| u32::try_from(cost).ok());
            let cost = cost.with_context(|| format!("the weight of {} is no count", method.full_name()))?;
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
    fn both_families_of_headers_say_the_same() {
        let verdict =
            Verdict { policy: "account", is_allowed: false, limit: 100, remaining: 7, reset: 60, resets_at: 1_060 };
        let mut headers = HeaderMap::new();
        verdict.write_headers(&mut headers);
        let values = HEADERS.map(|name| headers[name].to_str().unwrap().to_owned());
        assert_eq!(values, ["100", "7", "1060", r#""account";q=100;w=3600"#, r#""account";r=7;t=60"#]);
        assert_eq!(verdict.check().unwrap_err().reason(), Reason::RateLimited);
    }
}
