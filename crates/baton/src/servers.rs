//! `baton servers -- command`: a private Postgres and Redis around a command.

use std::process::ExitCode;

use anyhow::{Context, bail};
use baton_embedded::Options;
use baton_runtime::{Env, Shutdown};

use crate::{embedded::Servers, migrate};

pub(crate) async fn run(migrated: bool, command: &[String]) -> anyhow::Result<ExitCode> {
    let [program, arguments @ ..] = command else { bail!("no command") };
    let folder = tempfile::tempdir()?;
    let servers = Servers::start(&Env::default(), folder.path(), Options::throw_away()).await?;
    let mut child = tokio::process::Command::new(program);
    child
        .args(arguments)
        .env("BATON_TEST_DATABASE_URL", &servers.database_url)
        .env("BATON_TEST_REDIS_URL", &servers.redis_url);
    if migrated {
        migrate::all(&servers.database_url).await?;
        child.env("DATABASE_URL", &servers.database_url);
    }
    let mut child = child.spawn().with_context(|| format!("cannot run {program}"))?;
    let status = tokio::select! {
        status = child.wait() => status?,
        signal = Shutdown::signal() => {
            signal?;
            // A terminal has told the child too; a supervisor has not.
            child.kill().await?;
            child.wait().await?
        }
    };
    servers.stop().await;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
