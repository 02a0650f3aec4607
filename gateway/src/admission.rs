//! Admission control: how many calls and streams a caller may have in progress.
//!
//! A call acquires its permit after its body has arrived, and releases it when its response is sent. A slow client
//! therefore holds no permit while it sends. There are three limits, so that no caller uses up what others need:
//!
//! - **Public RPCs** have a queue each, since anyone may call them and signing in costs a password hash. A few calls
//!   run concurrently, an address has a share of those, and the others wait in order.
//! - **Signed-in users** have permits of their own. A user who has no permit left waits for their own calls only.
//! - **Streams** (server-streaming RPCs and WebSockets) stay open, so they are limited per user and per account: an account
//!   may have as many as all members that its tier admits, up to a maximum of its own.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use baton_access::Rule;
use baton_errors::{Error, Reason, Result};
use baton_runtime::shares::{Share, Shares};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use uuid::Uuid;

/// Concurrent calls of one public RPC: enough to keep all hashing threads of auth busy.
const MAX_PUBLIC_CALLS: usize = 16;
/// Concurrent calls of one public RPC from one address.
const MAX_PUBLIC_CALLS_PER_ADDRESS: u32 = 8;
/// Waiting calls of one public RPC.
const MAX_PUBLIC_WAITING: usize = 2048;
/// Waiting calls of one public RPC from one address: some hundred people in an office sign in at nine.
const MAX_PUBLIC_WAITING_PER_ADDRESS: u32 = 256;
/// Concurrent calls of one user: more than a browser makes, and few enough to leave capacity for others.
const MAX_CALLS_PER_USER: u32 = 32;
/// Waiting and running calls of one user.
const MAX_PENDING_CALLS_PER_USER: u32 = 288;
/// Concurrent calls of all signed-in users at one gateway.
const MAX_CALLS: usize = 8192;
/// How long a call waits for a permit before it fails with BUSY. Most clients wait no longer themselves.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// The caller whose permits are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CallerKey {
    /// A signed-in user, by any of their tokens and API keys.
    User(Uuid),
    /// All callers from an address (IPv6: the /64) who are not signed in.
    Address(Option<IpAddr>),
}

/// The account whose streams are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamAccount {
    /// The account.
    pub(crate) id: Uuid,
    /// Members that its tier admits; `None` for any number.
    pub(crate) max_users: Option<u32>,
}

/// The limits. Clones share their state.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Inner>);

struct Inner {
    public: HashMap<String, PublicQueue>,
    call_permits: Arc<Semaphore>,
    running: Arc<Shares<CallerKey>>,
    pending: Arc<Shares<CallerKey>>,
    user_streams: Arc<Shares<CallerKey>>,
    account_streams: Arc<Shares<Uuid>>,
    streams_per_user: u32,
    streams_per_account: u32,
    timeout: Duration,
}

struct PublicQueue {
    queue_permits: Arc<Semaphore>,
    queue_shares: Arc<Shares<CallerKey>>,
    running_permits: Arc<Semaphore>,
    running_shares: Arc<Shares<CallerKey>>,
}

/// Permit of a running call; released on drop.
#[derive(Debug)]
#[expect(dead_code, reason = "released on drop")]
pub(crate) struct CallPermit {
    permits: Vec<OwnedSemaphorePermit>,
    shares: Vec<Share<CallerKey>>,
}

/// Permit of an open stream; released on drop.
#[derive(Debug)]
#[expect(dead_code, reason = "released on drop")]
pub(crate) struct StreamPermit {
    user: Share<CallerKey>,
    account: Option<Share<Uuid>>,
}

/// All permits of a call.
#[derive(Debug)]
pub(crate) struct Permits {
    call: CallPermit,
    stream: Option<StreamPermit>,
}

impl Permits {
    /// Returns the permit to keep after the response head: a stream keeps its stream permit and releases its call
    /// permit.
    pub(crate) fn after_response_head(self) -> std::result::Result<CallPermit, StreamPermit> {
        self.stream.map_or(Ok(self.call), Err)
    }
}

impl Admission {
    /// Creates limits for RPCs with these access rules, and for streams per user and per account.
    pub(crate) fn new(rules: &HashMap<String, Rule>, streams_per_user: u32, streams_per_account: u32) -> Self {
        Self::with_timeout(rules, streams_per_user, streams_per_account, QUEUE_TIMEOUT)
    }

    fn with_timeout(
        rules: &HashMap<String, Rule>,
        streams_per_user: u32,
        streams_per_account: u32,
        timeout: Duration,
    ) -> Self {
        let queue = || PublicQueue {
            queue_permits: Arc::new(Semaphore::new(MAX_PUBLIC_CALLS + MAX_PUBLIC_WAITING)),
            queue_shares: Shares::new(MAX_PUBLIC_CALLS_PER_ADDRESS + MAX_PUBLIC_WAITING_PER_ADDRESS),
            running_permits: Arc::new(Semaphore::new(MAX_PUBLIC_CALLS)),
            running_shares: Shares::new(MAX_PUBLIC_CALLS_PER_ADDRESS),
        };
        let public = rules.iter().filter(|&(_, &rule)| rule == Rule::Public);
        Self(Arc::new(Inner {
            public: public.map(|(rpc, _)| (rpc.clone(), queue())).collect(),
            call_permits: Arc::new(Semaphore::new(MAX_CALLS)),
            running: Shares::new(MAX_CALLS_PER_USER),
            pending: Shares::new(MAX_PENDING_CALLS_PER_USER),
            user_streams: Shares::new(streams_per_user),
            account_streams: Shares::new(streams_per_account),
            streams_per_user,
            streams_per_account,
            timeout,
        }))
    }

    /// Waits for a permit to call this RPC. The request body must have arrived.
    ///
    /// # Errors
    /// BUSY if the caller has too many waiting calls, or no permit is released in time.
    pub(crate) async fn acquire_call(&self, rpc: &str, caller: CallerKey) -> Result<CallPermit> {
        let inner = &self.0;
        let busy = || Error::from(Reason::Busy).retry_after(inner.timeout);
        let Some(queue) = inner.public.get(rpc) else {
            let pending = inner.pending.try_take(&caller, 1).ok_or_else(busy)?;
            let running = inner.running.take(&caller, inner.timeout).await.ok_or_else(busy)?;
            let permit = Arc::clone(&inner.call_permits).try_acquire_owned().map_err(|_| busy())?;
            return Ok(CallPermit { permits: vec![permit], shares: vec![pending, running] });
        };
        let queue_share = queue.queue_shares.try_take(&caller, 1).ok_or_else(busy)?;
        let queue_permit = Arc::clone(&queue.queue_permits).try_acquire_owned().map_err(|_| busy())?;
        // First the share, then the permit: an address that has used up its share waits without a permit.
        let running = async {
            let share = queue.running_shares.take(&caller, inner.timeout).await?;
            Some((share, Arc::clone(&queue.running_permits).acquire_owned().await.ok()?))
        };
        let (running_share, running_permit) = timeout(inner.timeout, running).await.ok().flatten().ok_or_else(busy)?;
        Ok(CallPermit { permits: vec![queue_permit, running_permit], shares: vec![queue_share, running_share] })
    }

    /// Acquires a call permit, and a stream permit if the response is a stream.
    ///
    /// # Errors
    /// BUSY and TOO_MANY_STREAMS.
    pub(crate) async fn acquire(
        &self,
        rpc: &str,
        caller: CallerKey,
        account: Option<StreamAccount>,
        is_stream: bool,
    ) -> Result<Permits> {
        let stream = if is_stream { Some(self.acquire_stream(caller, account)?) } else { None };
        Ok(Permits { call: self.acquire_call(rpc, caller).await?, stream })
    }

    /// Acquires a permit for a stream.
    ///
    /// # Errors
    /// TOO_MANY_STREAMS.
    pub(crate) fn acquire_stream(&self, caller: CallerKey, account: Option<StreamAccount>) -> Result<StreamPermit> {
        let refused = || Error::from(Reason::TooManyStreams);
        let user = self.0.user_streams.try_take(&caller, 1).ok_or_else(refused)?;
        let account = account.map(|StreamAccount { id, max_users }| {
            let limit = max_users.map_or(u32::MAX, |users| users.saturating_mul(self.0.streams_per_user));
            // A stream of an account with a lower limit takes several units.
            let units = self.0.streams_per_account.div_ceil(limit.max(1)).max(1);
            self.0.account_streams.try_take(&id, units).ok_or_else(refused)
        });
        Ok(StreamPermit { user, account: account.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::join_all};

    use super::*;

    fn admission(timeout: Duration) -> Admission {
        let rules = [("/public", Rule::Public), ("/other", Rule::Public), ("/signed-in", Rule::Authenticated)];
        Admission::with_timeout(&rules.map(|(rpc, rule)| (rpc.to_owned(), rule)).into(), 2, 3, timeout)
    }

    fn address(last: u8) -> CallerKey {
        CallerKey::Address(Some([192, 0, 2, last].into()))
    }

    fn user(number: u128) -> CallerKey {
        CallerKey::User(Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn an_address_gets_half_the_permits_of_a_public_rpc() {
        let admission = admission(Duration::from_millis(20));
        let mut permits = join_all((0..8).map(|_| admission.acquire_call("/public", address(1)))).await;
        assert!(permits.iter().all(Result::is_ok));
        assert_eq!(admission.acquire_call("/public", address(1)).await.unwrap_err().reason(), Reason::Busy);
        permits.extend(join_all((0..8).map(|_| admission.acquire_call("/public", address(2)))).await);
        assert!(permits.iter().all(Result::is_ok));
        assert!(admission.acquire_call("/public", address(3)).await.is_err(), "all permits are taken");
        assert!(admission.acquire_call("/other", address(3)).await.is_ok());
        assert!(admission.acquire_call("/signed-in", user(1)).await.is_ok());
        permits.pop();
        assert!(admission.acquire_call("/public", address(3)).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_is_busy_at_once_and_a_cancelled_call_leaves_it() {
        let admission = admission(QUEUE_TIMEOUT);
        let waiting: Vec<_> = (0..MAX_PUBLIC_CALLS_PER_ADDRESS + MAX_PUBLIC_WAITING_PER_ADDRESS)
            .map(|_| {
                let admission = admission.clone();
                tokio::spawn(async move {
                    (admission.acquire_call("/public", address(1)).await, std::future::pending::<()>().await)
                })
            })
            .collect();
        let queue = &admission.0.public["/public"];
        while queue.queue_shares.try_take(&address(1), 1).is_some() {
            tokio::task::yield_now().await;
        }
        let refused = admission.acquire_call("/public", address(1)).now_or_never().expect("at once");
        assert_eq!(refused.unwrap_err().reason(), Reason::Busy);
        for call in waiting {
            call.abort();
            let _ = call.await;
        }
        assert!(admission.acquire_call("/public", address(1)).await.is_ok());
        assert_eq!(queue.queue_permits.available_permits(), MAX_PUBLIC_CALLS + MAX_PUBLIC_WAITING);
    }

    #[tokio::test]
    async fn a_user_waits_for_their_own_calls_only() {
        let admission = admission(Duration::from_millis(20));
        let permits = join_all((0..MAX_CALLS_PER_USER).map(|_| admission.acquire_call("/signed-in", user(1)))).await;
        assert!(admission.acquire_call("/signed-in", user(1)).await.is_err());
        assert!(admission.acquire_call("/signed-in", user(2)).await.is_ok());
        drop(permits);
        assert!(admission.acquire_call("/signed-in", user(1)).await.is_ok());
        assert_eq!(admission.0.call_permits.available_permits(), MAX_CALLS);
    }

    #[test]
    fn streams_are_limited_per_user_and_per_account() {
        let admission = admission(QUEUE_TIMEOUT);
        let of = |id, max_users| Some(StreamAccount { id: Uuid::from_u128(id), max_users });
        let account = of(9, None);
        let mut open: Vec<_> = (0..2).map(|_| admission.acquire_stream(user(1), account).unwrap()).collect();
        assert_eq!(admission.acquire_stream(user(1), None).unwrap_err().reason(), Reason::TooManyStreams);
        open.push(admission.acquire_stream(user(2), account).unwrap());
        assert!(admission.acquire_stream(user(2), account).is_err(), "the account has no permits left");
        open.push(admission.acquire_stream(user(2), of(8, None)).unwrap());
        open.clear();
        assert!(admission.acquire_stream(user(1), account).is_ok());
        // A tier with one member has the streams of one.
        let small = of(7, Some(1));
        let _open = admission.acquire_stream(user(3), small).unwrap();
        assert!(admission.acquire_stream(user(5), small).is_err());
        assert!(admission.acquire_stream(user(5), account).is_ok());
    }
}
