//! The registry: one row per service, from which everything else about it is derived.

use std::{net::SocketAddr, pin::Pin, sync::OnceLock};

use anyhow::{Context, bail};
use axum::Router;
use baton_gateway::UpstreamConfig;
#[doc(hidden)] // For `service!` in other crates.
pub use baton_runtime::Clock;
use baton_runtime::{ConfigError, Env, Shutdown, Variable, config::Reader};
use baton_service::Spec;
use tokio::net::TcpListener;

use crate::doctor::{self, ExtraCheck};

/// A process of the platform: a service, or the gateway before them.
pub struct Service {
    /// Its name, and its schema's.
    pub name: &'static str,
    /// Its description; the gateway has none.
    pub spec: Option<&'static Spec>,
    /// All variables that it reads.
    pub variables: fn() -> Vec<Variable>,
    /// Its address, if its configuration is complete.
    pub check: fn(&Env) -> Result<SocketAddr, ConfigError>,
    /// What `baton doctor` checks beside the configuration, the database, Redis and the peers.
    pub(crate) extra_check: Option<ExtraCheck>,
    /// Runs it.
    start: fn(&Env, TcpListener, Shutdown, Router) -> anyhow::Result<Running>,
}

/// A service that runs until it is stopped.
pub type Running = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

impl Service {
    /// A row of the registry; [`service!`](crate::service) makes it from the service's crate.
    pub const fn new(
        spec: &'static Spec,
        variables: fn() -> Vec<Variable>,
        check: fn(&Env) -> Result<SocketAddr, ConfigError>,
        start: fn(&Env, TcpListener, Shutdown, Router) -> anyhow::Result<Running>,
    ) -> Self {
        Self { name: spec.name, spec: Some(spec), variables, check, extra_check: None, start }
    }

    const fn with_check(mut self, check: ExtraCheck) -> Self {
        self.extra_check = Some(check);
        self
    }

    /// The variable with the address that it listens on.
    pub fn listen_variable(&self) -> String {
        format!("BATON_{}_LISTEN", self.name.to_uppercase())
    }
}

/// The registry row of a service, from the crate's `SPEC`, `Config` and `start`.
#[macro_export]
macro_rules! service {
    ($package:ident) => {
        $crate::platform::Service::new(
            &$package::SPEC,
            || $package::Config::variables(&$package::SPEC),
            |env| Ok($package::Config::from_env(&$package::SPEC, env)?.service.listen),
            |env, listener, shutdown, _| {
                let config = $package::Config::from_env(&$package::SPEC, env)?;
                Ok(Box::pin($package::start(config, $crate::platform::Clock::system(), listener, shutdown)))
            },
        )
    };
}

/// The services of the product. Each may call those before it.
const PRODUCT: [Service; 6] = [
    service!(baton_auth).with_check(doctor::signing_keys),
    service!(baton_tenancy),
    service!(baton_task).with_check(doctor::attachments),
    service!(baton_notification),
    service!(baton_automation),
    service!(baton_privacy),
];

const GATEWAY: Service = Service {
    name: "gateway",
    spec: None,
    variables: || [baton_gateway::Config::VARIABLES.to_vec(), upstream_variables()].concat(),
    check: |env| {
        let (config, _) = ConfigError::join(baton_gateway::Config::from_env(env), upstreams(env))?;
        Ok(config.listen)
    },
    extra_check: None,
    start: |env, listener, shutdown, extra| {
        let config = baton_gateway::Config::from_env(env)?;
        let upstreams = upstreams(env)?;
        Ok(Box::pin(async move { baton_gateway::start(config, &upstreams, listener, extra, shutdown).await }))
    },
};

static SERVICES: OnceLock<Vec<Service>> = OnceLock::new();

/// All services, then the gateway. Each may call those before it, so they stop from the last to the first.
pub fn services() -> &'static [Service] {
    SERVICES.get_or_init(|| registry([]))
}

/// Adds services that are no part of the product, before the first use of the registry.
///
/// # Panics
/// If the registry is in use.
pub fn add(more: impl IntoIterator<Item = Service>) {
    assert!(SERVICES.set(registry(more)).is_ok(), "the registry is in use");
}

fn registry(more: impl IntoIterator<Item = Service>) -> Vec<Service> {
    PRODUCT.into_iter().chain(more).chain([GATEWAY]).collect()
}

/// The descriptions of all services.
pub fn specs() -> impl Iterator<Item = &'static Spec> {
    services().iter().filter_map(|service| service.spec)
}

/// The names of those who call `service_only` RPCs, with a secret of their own.
pub(crate) fn with_service_secret() -> Vec<&'static str> {
    specs().filter(|spec| spec.has_service_secret).map(|spec| spec.name).chain([GATEWAY.name]).collect()
}

/// The variable with the secret of one of [`with_service_secret`].
pub(crate) fn secret_variable(name: &str) -> String {
    format!("BATON_{}_SERVICE_SECRET", name.to_uppercase())
}

/// The variables in which the gateway finds the services.
fn upstream_variables() -> Vec<Variable> {
    let variable = |spec: &Spec| Variable {
        name: spec.url_variable().into(),
        default: None,
        doc: format!("URL of the {} service: `http://host:port`.", spec.name).into(),
    };
    specs().map(variable).collect()
}

/// The services behind the gateway.
fn upstreams(env: &Env) -> Result<Vec<UpstreamConfig>, ConfigError> {
    let variables = upstream_variables();
    let mut reader = Reader::new(env, &variables);
    // All are read, so that the error names all that are missing.
    let upstreams: Vec<Option<UpstreamConfig>> = specs()
        .map(|spec| Some(UpstreamConfig { name: spec.name, url: reader.next()?, optional: spec.optional }))
        .collect();
    upstreams.into_iter().collect::<Option<_>>().ok_or_else(|| reader.error())
}

/// The services with these names, in the order of [`services`]; all when none is named.
pub(crate) fn named(names: &[String]) -> anyhow::Result<Vec<&'static Service>> {
    for name in names {
        if !services().iter().any(|service| service.name == name) {
            let known: Vec<_> = services().iter().map(|service| service.name).collect();
            bail!("there is no service {name}; there are {}", known.join(", "));
        }
    }
    Ok(services().iter().filter(|service| names.is_empty() || names.iter().any(|name| name == service.name)).collect())
}

/// A service with the listener that it is to serve on.
pub(crate) struct Bound {
    pub(crate) service: &'static Service,
    pub(crate) listener: TcpListener,
}

/// Runs services until `shutdown` says stop; `extra` are routes of the gateway's beside the contract's.
///
/// They stop one after the other, callers before those they call, so that a request that the gateway has
/// accepted finds everything it needs.
pub(crate) async fn run(env: &Env, bound: Vec<Bound>, extra: Router, shutdown: &Shutdown) -> anyhow::Result<()> {
    let mut running = Vec::new();
    for Bound { service, listener } in bound {
        let own = Shutdown::new();
        let work = (service.start)(env, listener, own.clone(), extra.clone())
            .with_context(|| format!("cannot start {}", service.name))?;
        running.push((service.name, own, tokio::spawn(work)));
    }
    let failed = tokio::select! {
        () = shutdown.draining().cancelled() => None,
        failed = first_to_end(&mut running) => Some(failed),
    };
    if let Some((index, ended)) = failed {
        let (name, ..) = running.remove(index);
        shutdown.now();
        stop_all(running, shutdown).await?;
        return ended.with_context(|| format!("{name} failed")).and_then(|()| bail!("{name} ended by itself"));
    }
    stop_all(running, shutdown).await
}

type Task = (&'static str, Shutdown, tokio::task::JoinHandle<anyhow::Result<()>>);

async fn first_to_end(running: &mut [Task]) -> (usize, anyhow::Result<()>) {
    std::future::poll_fn(|cx| {
        for (index, (_, _, task)) in running.iter_mut().enumerate() {
            if let std::task::Poll::Ready(ended) = Pin::new(task).poll(cx) {
                return std::task::Poll::Ready((index, ended.map_err(anyhow::Error::from).and_then(|ended| ended)));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

async fn stop_all(running: Vec<Task>, shutdown: &Shutdown) -> anyhow::Result<()> {
    for (_, own, _) in &running {
        own.draining().cancel();
    }
    shutdown.stop().cancelled().await;
    for (name, own, task) in running.into_iter().rev() {
        own.now();
        task.await?.with_context(|| format!("{name} did not stop cleanly"))?;
    }
    Ok(())
}
