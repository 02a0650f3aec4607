//! `baton doctor`: is everything there, and if not, how to mend it.

use std::{collections::BTreeSet, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow, bail, ensure};
use baton_embedded::{PostgresBinaries, RedisBinary};
use baton_files::{Files, FilesConfig};
use baton_ledger::{Ledger, LedgerConfig};
use baton_runtime::{Clock, Env};
use baton_service::Spec;
use baton_store::migrate;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use redis::{AsyncConnectionConfig, Client};
use sqlx::{Connection, PgConnection};
use tokio::net::TcpListener;

use crate::platform::{self, Service};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Clocks further apart than this make tokens expire early or late.
const CLOCK_MAY_DIFFER_SECONDS: i64 = 5;
/// They come with Postgres, but not always in the same package, and who hosts it may have to let them be created.
const EXTENSIONS_MISSING: &str = "install the package postgresql-contrib of its version (Debian and Ubuntu have them in \
                                  postgresql itself), or have its host allow them";

pub(crate) async fn run(env: &Env, names: &[String]) -> anyhow::Result<ExitCode> {
    let mut report = Report { healthy: true };
    if names.is_empty() {
        embedded(&mut report, env).await;
    } else {
        for service in platform::named(names)? {
            println!("{}", service.name);
            configured(&mut report, env, service).await;
        }
    }
    Ok(if report.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Report {
    healthy: bool,
}

impl Report {
    /// Prints a finding; `mend` is what to do when it is bad.
    fn line<T>(&mut self, what: &str, found: anyhow::Result<T>, mend: &str) -> Option<T> {
        match found {
            Ok(found) => {
                println!("  ok    {what}");
                Some(found)
            }
            Err(error) => {
                self.healthy = false;
                println!("  FAIL  {what}: {error:#}\n        {mend}");
                None
            }
        }
    }
}

/// What `baton up` needs.
async fn embedded(report: &mut Report, env: &Env) {
    println!("baton up");
    match env.get("BATON_DATABASE_URL") {
        Some(url) => {
            let connected = connect(url).await;
            let connected = report.line(
                "Postgres of BATON_DATABASE_URL",
                connected,
                "start it, correct BATON_DATABASE_URL, or unset it to have a private one",
            );
            if let Some(mut conn) = connected {
                let checked = has_extensions(&mut conn, &extensions(platform::specs())).await;
                report.line("it has the extensions that are needed", checked, EXTENSIONS_MISSING);
            }
        }
        None => {
            let found = PostgresBinaries::find().map_err(anyhow::Error::from);
            let found = report.line(
                "Postgres is installed",
                found,
                "run ./run, which installs it, or install the package postgresql",
            );
            if let Some(found) = found {
                let checked = none_missing(&found.lacks(extensions(platform::specs())));
                report.line("it has the extensions that are needed", checked, EXTENSIONS_MISSING);
            }
        }
    }
    match env.get("BATON_REDIS_URL") {
        Some(url) => {
            let found = redis(url).await;
            report.line(
                "Redis of BATON_REDIS_URL",
                found,
                "start it, correct BATON_REDIS_URL, or unset it to have a private one",
            );
        }
        None => {
            let found = RedisBinary::find().map_err(anyhow::Error::from);
            report.line(
                "Redis is installed",
                found,
                "run ./run, which installs it, or install the package redis-server",
            );
        }
    }
    let address = env.get("BATON_GATEWAY_LISTEN").unwrap_or("127.0.0.1:8080");
    let free = match address.parse::<SocketAddr>() {
        Ok(address) => port(address).await,
        Err(error) => Err(error.into()),
    };
    report.line(
        &format!("{address} is free"),
        free,
        "stop what uses it, or set BATON_GATEWAY_LISTEN to another address",
    );
    let writable = tempfile::tempfile_in(".").context("this folder cannot be written to");
    report.line("the folder takes data", writable, "run from a folder that you may write to, or name one with --data");
}

/// A service as its environment configures it.
async fn configured(report: &mut Report, env: &Env, service: &Service) {
    let checked = (service.check)(env).map_err(anyhow::Error::from);
    let mend = "set the variables named above; the service's README says what they are for";
    if let Some(address) = report.line("configuration", checked, mend) {
        let free = port(address).await;
        report.line(
            &format!("{address} is free"),
            free,
            &format!("stop what uses it, or set {}", service.listen_variable()),
        );
    }
    if let Some(spec) = service.spec {
        database(report, env, spec).await;
        if let Ok(config) = LedgerConfig::from_env(env) {
            let ledger = async { anyhow::Ok(Ledger::open(&config)?.erasures().await?) };
            let found =
                tokio::time::timeout(TIMEOUT, ledger).await.unwrap_or_else(|_| Err(anyhow!("no answer in time")));
            report.line(
                "BATON_LEDGER_URL answers",
                found,
                "start that store, make the bucket, or correct BATON_LEDGER_*; no service is ready without it",
            );
        }
    }
    if let Some(url) = env.get("BATON_REDIS_URL") {
        let found = redis(url).await;
        report.line("Redis", found, "start Redis 7 or newer, or correct BATON_REDIS_URL");
    }
    let read = (service.variables)();
    for variable in platform::specs().map(Spec::url_variable) {
        if read.iter().any(|read| read.name == variable)
            && let Some(url) = env.get(&variable)
        {
            let found = peer(url).await;
            report.line(&format!("{variable} answers"), found, "start that service, or correct the variable");
        }
    }
    if let Some(check) = service.extra_check
        && let Some(Check { name, outcome, remedy }) =
            tokio::time::timeout(TIMEOUT, check(env)).await.unwrap_or_else(|_| {
                Some(Check { name: "the service's own check", outcome: Err(anyhow!("no answer in time")), remedy: "" })
            })
    {
        report.line(name, outcome, remedy);
    }
}

/// A check of one service beside those of all services; `None` when its configuration is incomplete, which another check
/// reports.
pub(crate) type ExtraCheck = fn(&Env) -> BoxFuture<'_, Option<Check>>;

/// The outcome of a check.
pub(crate) struct Check {
    name: &'static str,
    outcome: anyhow::Result<()>,
    /// What to do when it fails.
    remedy: &'static str,
}

/// Whether the object store of attachments responds.
pub(crate) fn attachments(env: &Env) -> BoxFuture<'_, Option<Check>> {
    Box::pin(async {
        let config = FilesConfig::from_env(env).ok()?;
        let outcome = async { Files::open(&config, Clock::system())?.check().await }.await;
        Some(Check {
            name: "BATON_TASK_ATTACHMENTS_URL answers",
            outcome,
            remedy: "start that store, make the bucket, or correct BATON_TASK_ATTACHMENTS_*",
        })
    })
}

/// Whether the signing keys can be opened.
pub(crate) fn signing_keys(env: &Env) -> BoxFuture<'_, Option<Check>> {
    Box::pin(async {
        let config = baton_auth::KeysConfig::from_env(env).ok()?;
        Some(Check {
            name: "signing keys",
            outcome: baton_auth::signing_keys(&config, false).await.map(drop),
            remedy: "migrate first; BATON_AUTH_SEALING_KEYS must hold the key that sealed them, as id:base64",
        })
    })
}

async fn database(report: &mut Report, env: &Env, spec: &'static Spec) {
    for (variable, role) in [
        (spec.variable("DATABASE_URL"), migrate::app_role(spec.name)),
        (spec.variable("SYSTEM_DATABASE_URL"), migrate::system_role(spec.name)),
    ] {
        let Some(url) = env.get(&variable) else { continue };
        let mend = format!("start Postgres 15 or newer, or correct {variable}");
        let Some(mut conn) = report.line(&format!("{variable} answers"), connect(url).await, &mend) else { continue };
        let checked = check_role(&mut conn, &role).await;
        report.line(
            &format!("{variable} is bound by row-level security"),
            checked,
            &format!("log in as {role}, which `baton migrate` makes"),
        );
        let quoted = quotes_no_values(&mut conn).await;
        report.line(
            "the server's log quotes no values",
            quoted,
            "as a superuser: alter role <the role> set log_error_verbosity = terse, or set it in postgresql.conf",
        );
        let skew = clock(&mut conn).await;
        report.line(
            "the clock agrees with the database's",
            skew,
            "synchronise the clocks (NTP) of this machine and the database's",
        );
        let needed = extensions([spec]);
        if !needed.is_empty() {
            let checked = has_extensions(&mut conn, &needed).await;
            report.line("the server has the extensions that are needed", checked, EXTENSIONS_MISSING);
        }
        let migrated = migrate::is_current(&mut conn, spec.name, Some(spec.migrations)).await;
        report.line("migrations", migrated, "run: baton migrate");
    }
}

/// Checks that errors in the server's log have no details, which quote values of rows: `Key (email_key)=(...)`.
async fn quotes_no_values(conn: &mut PgConnection) -> anyhow::Result<()> {
    let verbosity: String = sqlx::query_scalar("show log_error_verbosity").fetch_one(conn).await?;
    ensure!(verbosity == "terse", "log_error_verbosity is {verbosity}");
    Ok(())
}

/// Connects to a Postgres that is new enough.
pub(crate) async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    let mut conn = tokio::time::timeout(TIMEOUT, PgConnection::connect(url)).await.context("no answer in time")??;
    let version: i32 =
        sqlx::query_scalar("select current_setting('server_version_num')::int").fetch_one(&mut conn).await?;
    ensure!(version >= 150_000, "the server is version {}; it takes 15 or newer", version / 10_000);
    Ok(conn)
}

/// The extensions that migrations of these services create, in order.
fn extensions(specs: impl IntoIterator<Item = &'static Spec>) -> Vec<&'static str> {
    let migrations = specs.into_iter().flat_map(|spec| spec.migrations.iter());
    let lines = migrations.flat_map(|migration| migration.sql.as_str().lines());
    let created = lines.filter_map(|line| line.strip_prefix("create extension if not exists ")?.strip_suffix(';'));
    created.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Asks a Postgres whether it could create these extensions.
async fn has_extensions(conn: &mut PgConnection, needed: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<String> = sqlx::query_scalar(
        "select needed from unnest($1::text[]) needed
         where not exists (select from pg_available_extensions where name = needed) order by needed",
    )
    .bind(needed)
    .fetch_all(conn)
    .await?;
    none_missing(&missing.iter().map(String::as_str).collect::<Vec<_>>())
}

fn none_missing(extensions: &[&str]) -> anyhow::Result<()> {
    ensure!(extensions.is_empty(), "{} missing", extensions.join(", "));
    Ok(())
}

async fn check_role(conn: &mut PgConnection, expected: &str) -> anyhow::Result<()> {
    let (role, bypasses): (String, bool) =
        sqlx::query_as("select rolname::text, rolsuper or rolbypassrls from pg_roles where rolname = current_user")
            .fetch_one(conn)
            .await?;
    ensure!(!bypasses, "role {role} bypasses it");
    ensure!(role == expected, "the role is {role}, and policies are written for {expected}");
    Ok(())
}

async fn clock(conn: &mut PgConnection) -> anyhow::Result<()> {
    let theirs: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()").fetch_one(conn).await?;
    let apart = (Clock::system().now() - theirs).num_seconds().abs();
    ensure!(apart <= CLOCK_MAY_DIFFER_SECONDS, "they are {apart} seconds apart");
    Ok(())
}

/// Asks a Redis whether it is there, and new enough.
pub(crate) async fn redis(url: &str) -> anyhow::Result<()> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(TIMEOUT)).set_response_timeout(Some(TIMEOUT));
    let mut connection = Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).context("no version")?;
    let major: u32 = version.split('.').next().unwrap_or_default().parse()?;
    ensure!(major >= 7, "the server is version {version}; it takes 7 or newer");
    Ok(())
}

async fn port(address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address).await?;
    Ok(())
}

async fn peer(url: &str) -> anyhow::Result<()> {
    let endpoint = tonic::transport::Endpoint::from_shared(url.to_owned())?.connect_timeout(TIMEOUT);
    match endpoint.connect().await {
        Ok(_) => Ok(()),
        Err(error) => bail!("no answer ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use baton_testkit::TestContext;

    use super::*;

    #[test]
    fn the_extensions_are_those_of_the_migrations() {
        assert_eq!(extensions(platform::specs()), ["btree_gin", "btree_gist", "pg_trgm"]);
    }

    #[tokio::test]
    async fn a_server_is_asked_for_what_it_has() {
        let world = TestContext::start(&[]).await;
        let mut conn = world.admin().acquire().await.expect("a connection");
        has_extensions(&mut conn, &extensions(platform::specs())).await.expect("all of them");
        let error =
            has_extensions(&mut conn, &["btree_gin", "no_such", "neither_this"]).await.expect_err("two missing");
        assert_eq!(error.to_string(), "neither_this, no_such missing");
    }
}
