//! The servers around a platform.

use baton_embedded::{Options, Postgres, PostgresBinaries, Redis, RedisBinary};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

/// A new, empty database, as the server's superuser reaches it.
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

/// The server that `./test` started, or one of this process's own.
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

/// A Redis of the platform's own, with all its data to lose, and the folder it lives in.
pub(crate) async fn redis() -> (Redis, TempDir) {
    let folder = tempfile::tempdir().expect("a folder for Redis");
    let binary = RedisBinary::find().expect("Redis is installed");
    let redis = Redis::start(&binary, &folder.path().join("redis"), Options::throw_away()).await;
    (redis.expect("Redis starts"), folder)
}
