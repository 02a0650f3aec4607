//! `baton servers -- command`: a private Postgres around a command.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use baton_embedded::{Options, Postgres, PostgresBinaries};
use baton_runtime::Shutdown;
use baton_store::migrate::migrate;
use sqlx::migrate::Migrator;

use crate::embedded::ensure_database;

/// How long the command has to end by itself after a signal.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn run(migrated: bool, command: &[String]) -> anyhow::Result<ExitCode> {
    let [program, arguments @ ..] = command else { bail!("no command") };
    let folder = tempfile::tempdir()?;
    let binaries = PostgresBinaries::find()?;
    let postgres = Postgres::start(&binaries, &folder.path().join("postgres"), Options::throw_away()).await?;
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).env("BATON_TEST_DATABASE_URL", postgres.url("postgres", Postgres::SUPERUSER));
    if migrated {
        let url = ensure_database(&postgres).await?;
        for (schema, folder) in migration_folders()? {
            let migrator = Migrator::new(folder.as_path()).await;
            migrate(&url, &schema, &migrator.with_context(|| format!("cannot read {}", folder.display()))?).await?;
        }
        child.env("DATABASE_URL", url);
    }
    let mut child = child.spawn().with_context(|| format!("cannot run {program}"))?;
    let status = tokio::select! {
        status = child.wait() => status?,
        signal = Shutdown::signal() => {
            signal?;
            // A terminal has told the command too; a supervisor has not.
            match tokio::time::timeout(PATIENCE, child.wait()).await {
                Ok(status) => status?,
                Err(_) => {
                    child.kill().await?;
                    child.wait().await?
                }
            }
        }
    };
    postgres.stop().await;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// The schemas and migrations of the clone in this folder. Files are read, because the queries of a service compile only
/// after its new migrations are applied.
fn migration_folders() -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut folders = vec![("example".to_owned(), PathBuf::from("tests/example/migrations"))];
    for entry in fs::read_dir("migrations").context("there are no migrations here; run it in a clone of Baton")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && name != "platform" {
            folders.push((name, entry.path()));
        }
    }
    Ok(folders)
}
