//! Postgres and Redis for a platform.

use baton_embedded::{Options, Postgres, PostgresBinaries, Redis, RedisBinary};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

/// Creates an empty database and returns its URL as superuser.
pub(crate) async fn database() -> Url {
    let server = postgres().await;
    let name = format!("black_box_{}", Uuid::new_v4().simple());
    let mut conn = PgConnection::connect(server.as_str()).await.expect("the test server answers");
    let create = format!("create database {name}");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut conn).await.expect("a superuser may");
    let mut url = server;
    url.set_path(&name);
    url
}

/// The server that `./test` started, or a private one of this process.
async fn postgres() -> Url {
    static PRIVATE: OnceCell<(Postgres, TempDir)> = OnceCell::const_new();
    if let Ok(url) = std::env::var("BATON_TEST_DATABASE_URL") {
        return url.parse().expect("BATON_TEST_DATABASE_URL is a URL");
    }
    let (postgres, _) = PRIVATE
        .get_or_init(|| async {
            let folder = tempfile::tempdir().expect("a folder for Postgres");
            let binaries = PostgresBinaries::find().expect("Postgres is installed");
            let data = folder.path().join("postgres");
            (Postgres::start(&binaries, &data, Options::throw_away()).await.expect("Postgres starts"), folder)
        })
        .await;
    postgres.url("postgres", Postgres::SUPERUSER).parse().expect("a URL")
}

/// Starts a Redis without persistence and returns it with its folder.
pub(crate) async fn redis() -> (Redis, TempDir) {
    let folder = tempfile::tempdir().expect("a folder for Redis");
    let binary = RedisBinary::find().expect("Redis is installed");
    let redis = Redis::start(&binary, &folder.path().join("redis"), Options::throw_away()).await;
    (redis.expect("Redis starts"), folder)
}
