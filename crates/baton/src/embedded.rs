//! The servers of embedded mode: private ones, or those that the environment names.

use std::{
    fmt::Display,
    io::{Write, stdout},
    path::Path,
    time::Instant,
};

use anyhow::Context;
use baton_embedded::{Options, Postgres, PostgresBinaries, Redis, RedisBinary};
use baton_runtime::Env;
use baton_store::migrate::{app_role, system_role, url_as_role};
use sqlx::{Connection, PgConnection};

use crate::{doctor, platform};

/// The database of all services.
const DATABASE: &str = "baton";

/// The servers that this process started, and how to reach those that serve.
pub(crate) struct Servers {
    pub(crate) database_url: String,
    pub(crate) redis_url: String,
    postgres: Option<Postgres>,
    redis: Option<Redis>,
}

impl Servers {
    /// Starts what the environment (`BATON_DATABASE_URL`, `BATON_REDIS_URL`) does not name.
    pub(crate) async fn start(env: &Env, data: &Path, options: Options) -> anyhow::Result<Self> {
        let (mut postgres, mut redis) = (None, None);
        let database_url = match env.get("BATON_DATABASE_URL") {
            Some(url) => {
                let mend = "cannot use BATON_DATABASE_URL; start that Postgres, correct the variable, or unset it to have a private one";
                doctor::connect(url).await.context(mend)?.close().await?;
                url.to_owned()
            }
            None => {
                let binaries = PostgresBinaries::find()?;
                let server =
                    step("Postgres", Postgres::start(&binaries, &data.join("postgres"), options.clone())).await?;
                let url = ensure_database(&server).await?;
                postgres = Some(server);
                url
            }
        };
        let redis_url = match env.get("BATON_REDIS_URL") {
            Some(url) => {
                let mend = "cannot use BATON_REDIS_URL; start that Redis, correct the variable, or unset it to have a private one";
                doctor::redis(url).await.context(mend)?;
                url.to_owned()
            }
            None => {
                let binary = RedisBinary::find()?;
                let server = step("Redis", Redis::start(&binary, &data.join("redis"), options)).await?;
                let url = server.url();
                redis = Some(server);
                url
            }
        };
        Ok(Self { database_url, redis_url, postgres, redis })
    }

    /// Tells services where the servers are. Each service gets its roles by the administrator's login.
    pub(crate) fn provide(&self, env: &mut Env) {
        env.set_default("BATON_REDIS_URL", self.redis_url.as_str());
        for spec in platform::specs() {
            let url = |role: &str| url_as_role(&self.database_url, role);
            env.set_default(&spec.variable("DATABASE_URL"), url(&app_role(spec.name)));
            env.set_default(&spec.variable("SYSTEM_DATABASE_URL"), url(&system_role(spec.name)));
        }
    }

    /// Stops what this process started.
    pub(crate) async fn stop(self) {
        if let Some(redis) = self.redis {
            redis.stop().await;
        }
        if let Some(postgres) = self.postgres {
            postgres.stop().await;
        }
    }
}

/// Makes the database of all services if it is not there, and answers its URL.
pub(crate) async fn ensure_database(server: &Postgres) -> anyhow::Result<String> {
    let mut conn = PgConnection::connect(&server.url("postgres", Postgres::SUPERUSER))
        .await
        .context("the Postgres that was just started does not answer")?;
    let there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut conn)
        .await?;
    if !there {
        sqlx::raw_sql("create database baton").execute(&mut conn).await?;
    }
    conn.close().await?;
    Ok(server.url(DATABASE, Postgres::SUPERUSER))
}

/// Does one step of the start, telling people which and how long it took.
pub(crate) async fn step<T, E: Display>(name: &str, work: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    anyhow::Error: From<E>,
{
    print!("  {name:<12} ");
    let _ = stdout().flush();
    let begun = Instant::now();
    match work.await {
        Ok(done) => {
            println!("ready in {:.1} s", begun.elapsed().as_secs_f64());
            Ok(done)
        }
        Err(error) => {
            println!("failed");
            Err(error.into())
        }
    }
}
