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

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

pub(crate) use self::{
    call::{streaming, unary},
    pool::Upstream,
};
use crate::config::UpstreamConfig;

/// The services, by name.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams(BTreeMap<&'static str, Service>);

#[derive(Debug, Clone)]
struct Service {
    upstream: Upstream,
    optional: bool,
}

impl Upstreams {
    /// Creates the pools. They connect when a service is first called, and again after a connection breaks.
    pub(crate) fn new(services: &[UpstreamConfig]) -> Result<Self> {
        let service = |UpstreamConfig { name, url, optional }: &UpstreamConfig| {
            let upstream = Upstream::new(name, url)?;
            Ok((*name, Service { upstream, optional: *optional }))
        };
        services.iter().map(service).collect::<Result<_>>().map(Self)
    }

    /// The service with this name.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Upstream> {
        let service = self.0.get(name).with_context(|| format!("no upstream serves {name}"))?;
        Ok(service.upstream.clone())
    }

    /// The service that serves this proto package (`baton.task.v1`).
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn of_package(&self, package: &str) -> Result<Upstream> {
        let name = package.strip_prefix("baton.").and_then(|rest| rest.split('.').next());
        self.get(name.with_context(|| format!("{package} must be the package of a service"))?)
    }

    /// All services: name, connections, and whether the gateway is ready without it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, Upstream, bool)> {
        self.0.iter().map(|(name, service)| (*name, service.upstream.clone(), service.optional))
    }
}
