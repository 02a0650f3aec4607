//! Runs the gateway as its own process.

use axum::Router;
use baton_gateway::{Config, start};
use baton_runtime::{Env, process};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = Env::process();
    let config = Config::from_env(&env)?;
    let listener = process::bind(config.listen, "BATON_GATEWAY_LISTEN").await?;
    process::run("gateway", &env, |shutdown| start(config, listener, Router::new(), shutdown)).await
}
