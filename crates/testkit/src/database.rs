//! One database per test, copied from a template that is migrated once.

use baton_embedded::{Options, Postgres, PostgresBinaries};
use baton_runtime::Secret;
use baton_store::migrate;
use sqlx::{AssertSqlSafe, Connection, PgConnection, migrate::Migrator};
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

/// A schema and its migrations.
pub type Schema<'a> = (&'a str, &'a Migrator);

/// The database of one test.
#[derive(Debug, Clone)]
pub struct Database {
    admin: Url,
}

impl Database {
    /// Creates a database with these schemas.
    pub async fn create(schemas: &[Schema<'_>]) -> Self {
        let server = server().await;
        let mut conn = PgConnection::connect(server.as_str()).await.expect("the test server answers");
        let template = template(&mut conn, &server, schemas).await;
        let name = format!("test_{}", Uuid::new_v4().simple());
        execute(&mut conn, format!("create database {name} template {template} strategy file_copy")).await;
        Self { admin: in_database(&server, &name) }
    }

    /// URL as superuser, who bypasses row-level security.
    pub fn admin_url(&self) -> String {
        self.admin.to_string()
    }

    /// URL as the role that serves a service's calls.
    pub fn app_url(&self, schema: &str) -> String {
        as_role(&self.admin, &migrate::app_role(schema))
    }

    /// URL as the role for a service's cross-tenant work.
    pub fn system_url(&self, schema: &str) -> String {
        as_role(&self.admin, &migrate::system_role(schema))
    }

    /// Opens a service's database as the service does.
    pub fn open(&self, schema: &'static str) -> baton_store::Db {
        self.open_at(schema, baton_runtime::Clock::system())
    }

    /// [`Database::open`] with another clock.
    pub fn open_at(&self, schema: &'static str, clock: baton_runtime::Clock) -> baton_store::Db {
        let (app, system) = (Secret::new(self.app_url(schema)), Secret::new(self.system_url(schema)));
        baton_store::Db::open(schema, &app, &system, 5, clock).expect("URLs of our own")
    }
}

/// The server that `./test` started, or a private one of this process.
async fn server() -> Url {
    static PRIVATE: OnceCell<(Postgres, tempfile::TempDir)> = OnceCell::const_new();
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
    postgres.url("postgres", "postgres").parse().expect("a URL")
}

/// Returns the name of a migrated template database with these schemas. The first test creates it.
async fn template(conn: &mut PgConnection, server: &Url, schemas: &[Schema<'_>]) -> String {
    let name = format!("template_{:08x}", migrate::fingerprint(schemas));
    // Of concurrent first tests one migrates, the others wait.
    sqlx::query("select pg_advisory_lock(hashtext($1))").bind(&name).execute(&mut *conn).await.expect("a lock");
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut *conn)
        .await
        .expect("the catalogue");
    if !exists {
        let unfinished = format!("{name}_{}", Uuid::new_v4().simple());
        execute(conn, format!("create database {unfinished}")).await;
        for (schema, migrations) in schemas {
            migrate::migrate(in_database(server, &unfinished).as_str(), schema, migrations)
                .await
                .expect("migrations apply");
        }
        execute(conn, format!("alter database {unfinished} rename to {name}")).await;
    }
    sqlx::query("select pg_advisory_unlock(hashtext($1))").bind(&name).execute(conn).await.expect("a lock");
    name
}

async fn execute(conn: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.expect("an administrator may");
}

fn in_database(server: &Url, name: &str) -> Url {
    let mut url = server.clone();
    url.set_path(name);
    url
}

/// The URL with every statement run as `role`. Row-level security applies as if the role had logged in.
fn as_role(url: &Url, role: &str) -> String {
    migrate::url_as_role(url.as_str(), role)
}
