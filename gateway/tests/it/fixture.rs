//! The gateway under test, and a client for it.

use std::time::Duration;

use axum::{Router, routing::get};
use baton_gateway::{Config, UpstreamConfig};
use baton_runtime::{Secret, Shutdown};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::fake_service::FakeService;

pub(crate) const TASK: &str = "0198c0de-0000-7000-8000-000000000001";
pub(crate) const ACCOUNT: &str = "0198c0de-0000-7000-8000-00000000000a";
pub(crate) const USER: &str = "0198c0de-0000-7000-8000-00000000000b";

/// A gateway in front of one fake service that serves all packages.
pub(crate) struct Fixture {
    pub(crate) url: String,
    pub(crate) service: FakeService,
    pub(crate) shutdown: Shutdown,
    pub(crate) running: JoinHandle<()>,
    client: Client,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts the gateway with a changed configuration.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_changed(change, &[]).await
    }

    /// Starts the gateway with other URLs of these services.
    pub(crate) async fn start_with_urls(urls: &[(&str, &str)]) -> Self {
        Self::start_changed(|_| {}, urls).await
    }

    async fn start_changed(change: impl FnOnce(&mut Config), urls: &[(&str, &str)]) -> Self {
        install_tracing();
        let (service, upstream) = FakeService::start().await;
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            redis_url: Secret::new("redis://127.0.0.1:1"),
            public_url: None,
            cors_origins: vec!["https://app.example.com".to_owned()],
            allowed_hosts: Vec::new(),
            max_body_bytes: 1024 * 1024,
            issuer: "https://baton.localhost".to_owned(),
            requests_per_hour_anonymous: 1_000_000,
            requests_per_hour_user: 1_000_000,
            trusted_proxies: Vec::new(),
            max_connections: 10_000,
            max_connections_per_address: 10_000,
            max_streams_per_person: 64,
            max_streams_per_account: 1024,
            service_secret: Secret::new("secret"),
            socket_drain_time: Duration::ZERO,
            reflection: true,
            internal_rpcs: false,
            timeout: Duration::from_secs(5),
        };
        change(&mut config);
        let listener = TcpListener::bind(config.listen).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shutdown = Shutdown::new();
        let extra = Router::new().route("/panics", get(panic_handler));
        let services = ["auth", "tenancy", "task", "notification", "automation", "privacy"].map(|name| {
            let changed = urls.iter().find(|(of, _)| *of == name);
            let url = changed.map_or_else(|| format!("http://{upstream}"), |(_, url)| (*url).to_owned());
            UpstreamConfig { name, url, optional: ["notification", "automation", "privacy"].contains(&name) }
        });
        let stop = shutdown.clone();
        let serving = async move { baton_gateway::start(config, &services, listener, extra, stop).await };
        let running = tokio::spawn(async move { serving.await.expect("served") });
        Self { url, service, shutdown, running, client: Client::new() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// A request with a JSON Merge Patch.
    pub(crate) fn patch(&self, path: &str, body: &str) -> RequestBuilder {
        self.request(Method::PATCH, path).header("content-type", "application/merge-patch+json").body(body.to_owned())
    }

    /// A POST with this JSON body.
    pub(crate) fn post_json(&self, path: &str, body: &str) -> RequestBuilder {
        self.post(path).header("content-type", "application/json").body(body.to_owned())
    }
}

/// Installs a tracing layer, which exports nothing: without one, spans have no ids to propagate.
fn install_tracing() {
    let tracer = SdkTracerProvider::default().tracer("test");
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    // Fails for the second gateway of a process; the layer is installed then.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

async fn panic_handler() -> &'static str {
    panic!("the secret of the panic")
}

/// Sends the request and reads the JSON response.
pub(crate) async fn json(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.expect("a response");
    let status = response.status();
    (status, response.json().await.expect("JSON"))
}

/// Sends the request, expects a problem with this status and reason, and returns its field paths.
pub(crate) async fn expect_problem(request: RequestBuilder, status: u16, reason: &str) -> Vec<String> {
    let response = request.send().await.expect("a response");
    read_problem(response, status, reason).await.1
}

/// Expects a problem with this status and reason, and returns it with its field paths.
pub(crate) async fn read_problem(response: Response, status: u16, reason: &str) -> (Value, Vec<String>) {
    let got = response.status();
    assert_eq!(header(&response, "content-type"), Some("application/problem+json"));
    let problem: Value = response.json().await.expect("JSON");
    assert_eq!((got.as_u16(), problem["reason"].as_str()), (status, Some(reason)), "{problem}");
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["type"], format!("/docs#reason-{}", reason.to_ascii_lowercase()));
    let errors = problem["errors"].as_array().expect("errors").iter();
    let fields = errors.map(|error| error["field"].as_str().expect("a path").to_owned()).collect();
    (problem, fields)
}

/// Returns a header of the response.
pub(crate) fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().expect("ASCII"))
}
