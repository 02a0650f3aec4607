//! The checks before every call: client address, body, concurrency and rate limits.

use std::sync::Arc;

use crate::{admission::Admission, client_ip::TrustedProxies, rate_limit::Limiter, request_body::BodyBuffers};

/// The limits that REST, gRPC and WebSockets share. Clones share their state.
#[derive(Clone)]
pub(crate) struct RequestGuard {
    pub(crate) admission: Admission,
    pub(crate) buffers: BodyBuffers,
    pub(crate) limiter: Limiter,
    pub(crate) trusted_proxies: Arc<TrustedProxies>,
}
