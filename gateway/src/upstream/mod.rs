//! The services behind the gateway: a connection pool each, and the calls for REST requests.
//!
//! Callers share connections, so no caller may block one ([`pool`]):
//! - The response of a unary RPC is read whole, at the gateway's own speed, before any of it is sent to the caller.
//! - Streams have connections of their own. The flow-control windows of all streams of a connection fit into the
//!   connection's window, so an unread stream blocks itself only (RFC 9113, section 5.2).
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
    /// Creates the pools. They connect when a service is first called, and again after a connection breaks.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let upstream = |(package, url): (&'static str, &str)| Ok((package, Upstream::new(package, url)?));
        config.upstreams().into_iter().map(upstream).collect::<Result<_>>().map(Self)
    }

    /// The service of this proto package.
    pub(crate) fn get(&self, package: &str) -> Option<Upstream> {
        self.0.get(package).cloned()
    }

    /// All proto packages and their services.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, Upstream)> {
        self.0.iter().map(|(package, upstream)| (*package, upstream.clone()))
    }
}
