//! The services that there are: the only place that names them all.

use std::{net::SocketAddr, pin::Pin};

use anyhow::{Context, bail};
use axum::Router;
use baton_runtime::{Clock, ConfigError, Env, Shutdown, Variable};
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;

/// A part of the platform that can run by itself.
#[derive(Clone, Copy)]
pub(crate) struct Service {
    /// Its name, and its schema's.
    pub(crate) name: &'static str,
    /// Its migrations; the gateway has none.
    pub(crate) migrations: Option<&'static Migrator>,
    /// The variable that names the address it listens on.
    pub(crate) listen: &'static str,
    /// The variable that tells others where it is.
    pub(crate) url: Option<&'static str>,
    /// All variables that it reads.
    pub(crate) variables: fn() -> Vec<&'static Variable>,
    /// Its address, if its configuration is complete.
    pub(crate) check: fn(&Env) -> Result<SocketAddr, ConfigError>,
    /// Runs it.
    pub(crate) start: fn(&Env, TcpListener, Shutdown, Router) -> anyhow::Result<Running>,
}

/// A service that runs until it is stopped.
pub(crate) type Running = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

macro_rules! service {
    ($package:ident, $name:literal, $field:ident, $listen:literal, $url:literal) => {
        Service {
            name: $name,
            migrations: Some(&$package::MIGRATIONS),
            listen: $listen,
            url: Some($url),
            variables: || $package::Config::variables().collect(),
            check: |env| Ok($package::Config::from_env(env)?.$field.listen),
            start: |env, listener, shutdown, _| {
                let config = $package::Config::from_env(env)?;
                Ok(Box::pin($package::start(config, Clock::system(), listener, shutdown)))
            },
        }
    };
}

/// All of them. Each may call those before it, so they stop from the last to the first.
pub(crate) static SERVICES: &[Service] = &[
    service!(baton_auth, "auth", auth, "BATON_AUTH_LISTEN", "BATON_AUTH_URL"),
    service!(baton_tenancy, "tenancy", tenancy, "BATON_TENANCY_LISTEN", "BATON_TENANCY_URL"),
    service!(baton_task, "task", task, "BATON_TASK_LISTEN", "BATON_TASK_URL"),
    service!(baton_notification, "notification", notification, "BATON_NOTIFICATION_LISTEN", "BATON_NOTIFICATION_URL"),
    Service {
        name: "gateway",
        migrations: None,
        listen: "BATON_GATEWAY_LISTEN",
        url: None,
        variables: || baton_gateway::Config::VARIABLES.iter().collect(),
        check: |env| Ok(baton_gateway::Config::from_env(env)?.listen),
        start: |env, listener, shutdown, extra| {
            let config = baton_gateway::Config::from_env(env)?;
            Ok(Box::pin(baton_gateway::start(config, listener, extra, shutdown)))
        },
    },
];

/// The services with these names, in the order of [`SERVICES`]; all when none is named.
pub(crate) fn named(names: &[String]) -> anyhow::Result<Vec<&'static Service>> {
    for name in names {
        if !SERVICES.iter().any(|service| service.name == name) {
            let known: Vec<_> = SERVICES.iter().map(|service| service.name).collect();
            bail!("there is no service {name}; there are {}", known.join(", "));
        }
    }
    Ok(SERVICES.iter().filter(|service| names.is_empty() || names.iter().any(|name| name == service.name)).collect())
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
