//! The task service as a process of its own.

use baton_runtime::{Clock, Env, process};
use baton_task::{Config, start};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = Env::process();
    let config = Config::from_env(&env)?;
    let listener = process::bind(config.task.listen, "BATON_TASK_LISTEN").await?;
    process::run("task", &env, |shutdown| start(config, Clock::system(), listener, shutdown)).await
}
