//! The tenancy service as a process of its own.

use baton_runtime::{Clock, Env, process};
use baton_tenancy::{Config, start};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = Env::process();
    let config = Config::from_env(&env)?;
    let listener = process::bind(config.tenancy.listen, "BATON_TENANCY_LISTEN").await?;
    process::run("tenancy", &env, |shutdown| start(config, Clock::system(), listener, shutdown)).await
}
