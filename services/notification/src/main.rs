//! The notification service as a process of its own.

use baton_notification::{Config, start};
use baton_runtime::{Clock, Env, process};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = Env::process();
    let config = Config::from_env(&env)?;
    let listener = process::bind(config.notification.listen, "BATON_NOTIFICATION_LISTEN").await?;
    process::run("notification", &env, |shutdown| start(config, Clock::system(), listener, shutdown)).await
}
