#![doc = include_str!("../README.md")]

mod admission;
mod cable;
mod client_ip;
mod compression;
mod conditional;
mod config;
mod cookies;
mod cors;
mod docs;
mod file_response;
mod grpc_proxy;
mod headers;
mod health;
mod host;
mod json;
mod live;
mod live_grpc;
mod live_http;
mod merge_patch;
mod message_stream;
mod middleware;
mod oauth;
mod openapi;
mod problem;
mod query;
mod rate_limit;
mod representation;
mod request_body;
mod request_guard;
mod response_body;
mod rest;
mod routes;
mod same_origin;
mod server;
mod upstream;
mod webhook;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Result;
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
use baton_events::Streams;
use cable::Cable;
use client_ip::TrustedProxies;
pub use config::{Config, UpstreamConfig};
use grpc_proxy::GrpcProxy;
use live::Live;
use rate_limit::Limiter;
use request_body::BodyBuffers;
use request_guard::RequestGuard;
use upstream::Upstreams;

/// Serves until `shutdown` stops, finishes the open requests, and returns.
///
/// `extra` adds routes beside those of the contract, under the same layers (request id, trace, security headers, CORS,
/// panics). While draining, `/readyz` is 503 and the gRPC health is NOT_SERVING, but requests are still served.
/// `listener` decides the address; `config.listen` is not used.
///
/// # Errors
/// If the contract has no REST form, or a URL or origin of the configuration is invalid.
pub async fn start(
    config: Config,
    services: &[UpstreamConfig],
    listener: TcpListener,
    extra: Router,
    shutdown: Shutdown,
) -> Result<()> {
    let draining = shutdown.draining().clone();
    let upstreams = Upstreams::new(services)?;
    let cors = cors::layer(&config.cors_origins)?;
    let allowed_hosts: Arc<[String]> = config.allowed_hosts.clone().into();
    let streams = Streams::open(&config.redis_url)?;
    let rules = rate_limit::rules()?;
    let guard = RequestGuard {
        admission: Admission::new(&rules, config.max_streams_per_person, config.max_streams_per_account),
        buffers: BodyBuffers::default(),
        limiter: Limiter::new(&config, rules.clone(), &upstreams, &streams)?,
        trusted_proxies: Arc::new(TrustedProxies::parse(&config.trusted_proxies)?),
    };
    let limits = server::ConnectionLimits::new(&config, Arc::clone(&guard.trusted_proxies));
    let webhook = webhook::router(&upstreams, &config, &guard)?;
    let openapi = openapi::router(config.public_url.as_deref(), listener.local_addr()?)?;
    let live = start_live(&config, &streams, &upstreams, &guard, &shutdown)?;
    let live_grpc = live_grpc::router(live.clone(), guard.clone(), shutdown.clone());
    let grpc = GrpcProxy::new(&upstreams, &guard, &rules, &config, live_grpc, draining.clone())?;
    let live_http = live_http::router(live.clone(), guard.clone(), shutdown.clone());
    let cable = Cable::new(live.clone(), &config, guard.clone(), shutdown.clone());
    let (rest, message_streams) = rest_routers(Arc::new(config), &upstreams, &guard, &live, &shutdown)?;
    let app = rest
        .merge(webhook)
        .merge(openapi)
        .merge(docs::router().layer(map_response(async |asset| compression::allow(asset, usize::MAX))))
        .layer(compression::layer())
        .layer(from_fn(conditional::evaluate))
        .merge(health::router(upstreams, draining))
        .merge(cable::router(cable.clone()))
        .merge(live_http)
        .merge(message_streams)
        .merge(extra)
        .fallback(middleware::not_found)
        .method_not_allowed_fallback(middleware::method_not_allowed)
        // The last layer is the outermost.
        .layer(from_fn_with_state(grpc, grpc_proxy::dispatch))
        .layer(CatchPanicLayer::custom(middleware::handle_panic))
        .layer(cors)
        .layer(from_fn_with_state(allowed_hosts, host::require_allowed))
        .layer(from_fn(middleware::security_headers))
        .layer(from_fn(middleware::trace))
        .layer(from_fn(middleware::request_id));
    server::serve(listener, app, limits, shutdown.stop().clone()).await;
    cable.wait_closed().await;
    Ok(())
}

/// Starts to deliver the live tail of the event streams to subscribers.
fn start_live(
    config: &Config,
    streams: &Streams,
    upstreams: &Upstreams,
    guard: &RequestGuard,
    shutdown: &Shutdown,
) -> Result<Live> {
    let services = live::Upstreams {
        auth: upstreams.get("auth")?,
        tenancy: upstreams.get("tenancy")?,
        task: upstreams.get("task")?,
    };
    Live::start(services, config, guard.limiter.clone(), streams, shutdown)
}

/// Returns the OpenAPI 3.1 document of the REST interface, with a server URL relative to the host that serves it.
///
/// # Errors
/// If the contract has no REST form.
pub fn openapi() -> Result<serde_json::Value> {
    openapi::document(None, openapi::ORIGIN)
}

/// Builds the REST routes of the contract: those with one response, and those that stream messages, which no layer may
/// collect.
fn rest_routers(
    config: Arc<Config>,
    upstreams: &Upstreams,
    guard: &RequestGuard,
    live: &Live,
    shutdown: &Shutdown,
) -> Result<(Router, Router)> {
    let (mut single, mut streams) = (BTreeMap::new(), BTreeMap::new());
    for route in routes::routes()? {
        let upstream = upstreams.of_package(route.method.parent_file().package_name())?;
        let (template, is_stream) = (route.template.clone(), route.is_message_stream);
        let mut filter = MethodFilter::try_from(route.verb.clone())?;
        let (config, guard, live, shutdown) = (config.clone(), guard.clone(), live.clone(), shutdown.clone());
        let endpoint = Arc::new(rest::Endpoint { route, upstream, config, guard, live, shutdown });
        let paths: &mut BTreeMap<String, MethodRouter> = if is_stream { &mut streams } else { &mut single };
        let methods = paths.remove(&template).unwrap_or_default();
        let methods = if is_stream {
            // A WebSocket over HTTP/2 is opened by CONNECT (RFC 8441).
            filter = filter.or(MethodFilter::CONNECT);
            methods.on(filter, move |request: Request| message_stream::handle(endpoint.clone(), request))
        } else {
            methods.on(filter, move |request: Request| rest::handle(endpoint.clone(), request))
        };
        paths.insert(template, methods);
    }
    let router = |paths: BTreeMap<String, MethodRouter>| {
        paths.into_iter().fold(Router::new(), |router, (template, methods)| router.route(&template, methods))
    };
    Ok((router(single), router(streams)))
}
