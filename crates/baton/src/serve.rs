//! `baton serve`: services as the environment configures them.

use std::process::ExitCode;

use axum::Router;
use baton_runtime::{ConfigError, Env, process};

use crate::platform::{self, Bound};

pub(crate) async fn run(env: &Env, names: &[String]) -> anyhow::Result<ExitCode> {
    let services = platform::named(names)?;
    // Everything is checked before anything is bound.
    let mut wrong = Vec::new();
    let mut addresses = Vec::new();
    for service in services {
        match (service.check)(env) {
            Ok(address) => addresses.push((service, address)),
            Err(ConfigError(lines)) => wrong.extend(lines),
        }
    }
    wrong.sort();
    wrong.dedup();
    if !wrong.is_empty() {
        return Err(ConfigError(wrong).into());
    }
    let mut bound = Vec::new();
    for (service, address) in addresses {
        bound.push(Bound { service, listener: process::bind(address, &service.listen_variable()).await? });
    }
    // The telemetry of a process that runs one service carries its name.
    let name = match bound.as_slice() {
        [only] => only.service.name,
        _ => "baton",
    };
    process::run(name, env, |shutdown| async move { platform::run(env, bound, Router::new(), &shutdown).await })
        .await?;
    Ok(ExitCode::SUCCESS)
}
