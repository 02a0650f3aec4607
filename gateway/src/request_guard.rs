//! The checks before every call: client address, body, concurrency and rate limits.

use std::{net::IpAddr, sync::Arc};

use baton_errors::Error;
use http::HeaderMap;

use crate::{
    admission::{Admission, StreamPermit},
    client_ip::TrustedProxies,
    rate_limit::{Limiter, Verdict},
    request_body::BodyBuffers,
};

/// The limits that REST, gRPC and WebSockets share. Clones share their state.
#[derive(Clone)]
pub(crate) struct RequestGuard {
    pub(crate) admission: Admission,
    pub(crate) buffers: BodyBuffers,
    pub(crate) limiter: Limiter,
    pub(crate) trusted_proxies: Arc<TrustedProxies>,
}

impl RequestGuard {
    /// Counts the beginning of a stream as a request of its caller, and admits the stream. The verdict is that of the
    /// caller's quota.
    ///
    /// # Errors
    /// RATE_LIMITED and TOO_MANY_STREAMS, with the verdict.
    pub(crate) async fn admit_stream(
        &self,
        rpc: &str,
        headers: &HeaderMap,
        account: Option<&str>,
        client: Option<IpAddr>,
    ) -> Result<(StreamPermit, Option<Verdict>), (Error, Option<Verdict>)> {
        let caller = self.limiter.caller(rpc, headers, account, client).await;
        let verdict = self.limiter.count(rpc, &caller).await;
        let checked = verdict.as_ref().map_or(Ok(()), Verdict::check);
        match checked.and_then(|()| self.admission.acquire_stream(caller.key(), caller.stream_account())) {
            Ok(permit) => Ok((permit, verdict)),
            Err(error) => Err((error, verdict)),
        }
    }
}
