//! The auth service as a process of its own.

use baton_auth::{Config, start};
use baton_runtime::{Clock, Env, process};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = Env::process();
    let config = Config::from_env(&env)?;
    let listener = process::bind(config.auth.listen, "BATON_AUTH_LISTEN").await?;
    process::run("auth", &env, |shutdown| start(config, Clock::system(), listener, shutdown)).await
}
