//! The services behind the gateway: a connection pool each, and the calls that the gateway makes itself.
//!
//! Callers share connections, so no caller may be able to hold one up ([`pool`]):
//! - The response of a unary RPC is read whole, at the gateway's own speed, before any of it goes to the caller.
//! - Streams have connections of their own. The flow-control windows of all streams that a connection carries fit into
//!   the window of the connection, so an unread stream blocks itself alone (RFC 9113, section 5.2).
//! - Request bodies are complete before a call begins.

mod call;
mod connection;
mod pool;

use std::collections::HashMap;

use anyhow::Result;

pub(crate) use self::{
    call::{streaming, unary},
    pool::Upstream,
};
use crate::config::Config;

/// The services, by proto package.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams(HashMap<&'static str, Upstream>);

impl Upstreams {
    /// Connects when a service is first called, and again whenever a connection broke.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let upstream = |(package, url): (&'static str, &str)| Ok((package, Upstream::new(package, url)?));
        config.upstreams().into_iter().map(upstream).collect::<Result<_>>().map(Self)
    }

    /// The service that answers this package.
    pub(crate) fn get(&self, package: &str) -> Option<Upstream> {
        self.0.get(package).cloned()
    }

    /// All packages and their services.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, Upstream)> {
        self.0.iter().map(|(package, upstream)| (*package, upstream.clone()))
    }
}
