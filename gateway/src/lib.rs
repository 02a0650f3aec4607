#![doc = include_str!("../README.md")]

mod admission;
mod cable;
mod compression;
mod conditional;
mod config;
mod cookies;
mod cors;
mod docs;
mod edge;
mod file;
mod grpc_proxy;
mod headers;
mod health;
mod host;
mod json;
mod merge_patch;
mod oauth;
mod openapi;
mod own_origin;
mod problem;
mod proxies;
mod query;
mod rate_limit;
mod representation;
mod request_body;
mod response_body;
mod rest;
mod routes;
mod server;
mod upstream;
mod webhook;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::Request,
    middleware::{from_fn, from_fn_with_state, map_response},
    routing::{MethodFilter, MethodRouter},
};
use baton_runtime::Shutdown;
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

use admission::Admission;
use baton_events::{Streams, tail};
use cable::Cable;
pub use config::Config;
use grpc_proxy::GrpcProxy;
use proxies::Proxies;
use rate_limit::{Edge, Limiter};
use request_body::Buffers;
use upstream::Upstreams;

/// Serves until `shutdown` says stop, then lets open requests finish; returns when the last has.
///
/// `extra` are routes beside those of the contract; they get the same layers (request id, trace,
/// security headers, CORS, panics). While draining, `/readyz` is 503 and the gRPC health NOT_SERVING, while
/// requests are still answered. The listener's own address wins over `config.listen`.
///
/// # Errors
/// When the contract has no REST form, a URL is none, or an origin is none.
pub async fn start(config: Config, listener: TcpListener, extra: Router, shutdown: Shutdown) -> Result<()> {
    let draining = shutdown.draining().clone();
    let upstreams = Upstreams::new(&config)?;
    let cors = cors::layer(&config.cors_origins)?;
    let allowed_hosts: Arc<[String]> = config.allowed_hosts.clone().into();
    let streams = Streams::open(&config.redis_url)?;
    let rules = rate_limit::rules()?;
    let edge = Edge {
        admission: Admission::new(&rules, config.max_streams_per_person, config.max_streams_per_account),
        buffers: Buffers::default(),
        limiter: Limiter::new(&config, rules.clone(), &upstreams, &streams)?,
        proxies: Arc::new(Proxies::parse(&config.trusted_proxies)?),
    };
    let limits = server::Limits::new(&config, Arc::clone(&edge.proxies));
    let grpc = GrpcProxy::new(&upstreams, &edge, &rules, &config, draining.clone())?;
    let webhook = webhook::router(&upstreams, &config, &edge)?;
    let openapi = openapi::router(config.public_url.as_deref(), listener.local_addr()?)?;
    let cable = live(&config, &streams, &upstreams, &edge, &shutdown)?;
    let app = rest(Arc::new(config), &upstreams, &edge)?
        .merge(webhook)
        .merge(openapi)
        .merge(docs::router().layer(map_response(async |asset| compression::allow(asset, usize::MAX))))
        .layer(compression::layer())
        .layer(from_fn(conditional::evaluate))
        .merge(health::router(upstreams, draining))
        .merge(cable::router(cable.clone()))
        .merge(extra)
        .fallback(edge::no_route)
        .method_not_allowed_fallback(edge::no_method)
        // The last is the outermost.
        .layer(from_fn_with_state(grpc, grpc_proxy::dispatch))
        .layer(CatchPanicLayer::custom(edge::panicked))
        .layer(cors)
        .layer(from_fn_with_state(allowed_hosts, host::require_allowed))
        .layer(from_fn(edge::secured))
        .layer(from_fn(edge::traced))
        .layer(from_fn(edge::identified));
    server::serve(listener, app, limits, shutdown.stop().clone()).await;
    cable.closed().await;
    Ok(())
}

/// The WebSocket's side: the live tail of the streams, and the services that say who sees what.
fn live(config: &Config, streams: &Streams, upstreams: &Upstreams, edge: &Edge, shutdown: &Shutdown) -> Result<Cable> {
    let of = |package| upstreams.of(package).with_context(|| format!("no upstream answers {package}"));
    let services =
        cable::Upstreams { auth: of("baton.auth.v1")?, tenancy: of("baton.tenancy.v1")?, task: of("baton.task.v1")? };
    let events = tail::start(streams, shutdown);
    Cable::start(services, config, edge.clone(), &events, shutdown.clone())
}

/// The OpenAPI 3.1 document of the REST interface, for whatever host it is served from.
///
/// # Errors
/// When the contract has no REST form.
pub fn openapi() -> Result<serde_json::Value> {
    openapi::document(None, openapi::ORIGIN)
}

/// The routes of the contract.
fn rest(config: Arc<Config>, upstreams: &Upstreams, edge: &Edge) -> Result<Router> {
    let mut paths: BTreeMap<String, MethodRouter> = BTreeMap::new();
    for route in routes::routes()? {
        let package = route.method.parent_file().package_name().to_owned();
        let upstream = upstreams.of(&package).with_context(|| format!("no upstream answers {package}"))?;
        let filter = MethodFilter::try_from(route.verb.clone())?;
        let template = route.template.clone();
        let endpoint = Arc::new(rest::Endpoint { route, upstream, config: config.clone(), edge: edge.clone() });
        let handler = move |request: Request| rest::handle(endpoint.clone(), request);
        let methods = paths.remove(&template).unwrap_or_default();
        paths.insert(template, methods.on(filter, handler));
    }
    Ok(paths.into_iter().fold(Router::new(), |router, (template, methods)| router.route(&template, methods)))
}
