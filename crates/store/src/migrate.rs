//! Roles, schemas and migrations.

use std::sync::LazyLock;

use anyhow::Context;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    migrate::{Migration, MigrationType, Migrator},
};

/// The migrations of `migrations/platform`, which every schema gets first.
static PLATFORM: LazyLock<Vec<Migration>> = LazyLock::new(|| {
    [
        (1, "platform", include_str!("../../../migrations/platform/0001_platform.sql")),
        (2, "statistics", include_str!("../../../migrations/platform/0002_statistics.sql")),
        (3, "least_privilege", include_str!("../../../migrations/platform/0003_least_privilege.sql")),
        (4, "consents", include_str!("../../../migrations/platform/0004_consents.sql")),
        (5, "erasures", include_str!("../../../migrations/platform/0005_erasures.sql")),
        (6, "retention", include_str!("../../../migrations/platform/0006_retention.sql")),
        (7, "audit_trees", include_str!("../../../migrations/platform/0007_audit_trees.sql")),
        (8, "job_lanes", include_str!("../../../migrations/platform/0008_job_lanes.sql")),
    ]
    .map(|(version, name, sql)| {
        let sql = sqlx::SqlSafeStr::into_sql_str(sql);
        Migration::new(version, name.into(), MigrationType::Simple, sql, false)
    })
    .into()
});

/// The role of a service's calls.
pub fn app_role(schema: &str) -> String {
    format!("baton_{schema}")
}

/// The role of a service's work across tenants.
pub fn system_role(schema: &str) -> String {
    format!("baton_{schema}_system")
}

/// Migrates `schema` to the current version. `url` logs in as its owner, which must not be a role that serves calls.
/// Missing roles are created if the owner may do so. Idempotent, and safe to run concurrently.
///
/// # Errors
/// If the database cannot be reached, a role is missing and cannot be created, or a migration fails or waits too long
/// for a lock. A failed migration is rolled back.
pub async fn migrate(url: &str, schema: &str, migrations: &Migrator) -> anyhow::Result<()> {
    let mut conn = PgConnection::connect(url).await.context("cannot reach the database")?;
    // Limits how long others wait for a table behind this migration; the Job retries.
    sqlx::raw_sql("set lock_timeout = '10s'; set client_min_messages = 'warning'").execute(&mut conn).await?;
    for role in [app_role(schema), system_role(schema)] {
        ensure_role(&mut conn, &role).await?;
    }
    run(&mut conn, schema, "_platform_migrations", &PLATFORM).await?;
    let own: Vec<Migration> = migrations.iter().cloned().collect();
    run(&mut conn, schema, "_migrations", &own).await?;
    keep_migrations_read_only(&mut conn, schema).await?;
    conn.close().await?;
    Ok(())
}

async fn run(conn: &mut PgConnection, schema: &str, table: &str, migrations: &[Migration]) -> anyhow::Result<()> {
    let mut migrator = Migrator::with_migrations(migrations.to_vec());
    migrator.create_schema(schema.to_owned());
    migrator.dangerous_set_table_name(format!("{schema}.{table}"));
    let search_path = format!("set search_path = {schema}");
    sqlx::raw_sql(AssertSqlSafe(search_path)).execute(&mut *conn).await?;
    migrator.run(&mut *conn).await.with_context(|| format!("cannot migrate schema {schema}"))?;
    Ok(())
}

/// Makes the tables of the migrations read-only for the service's roles. A role that could delete from them could have
/// a migration run twice. The migrator creates the tables, so the schema's default privileges apply to them.
async fn keep_migrations_read_only(conn: &mut PgConnection, schema: &str) -> anyhow::Result<()> {
    let (app, system) = (app_role(schema), system_role(schema));
    let revoke = format!(
        "revoke insert, update, delete, truncate, references, trigger
         on {schema}._migrations, {schema}._platform_migrations from {app}, {system}"
    );
    sqlx::raw_sql(AssertSqlSafe(revoke)).execute(conn).await.context("cannot limit who may change migrations")?;
    Ok(())
}

async fn ensure_role(conn: &mut PgConnection, role: &str) -> anyhow::Result<()> {
    let there: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
        .bind(role)
        .fetch_one(&mut *conn)
        .await?;
    if there {
        return Ok(());
    }
    let create = format!("create role {role} login nosuperuser nobypassrls nocreatedb nocreaterole");
    let created = sqlx::raw_sql(AssertSqlSafe(create.clone())).execute(conn).await;
    match created {
        Ok(_) => Ok(()),
        // A concurrent migration created it (unique_violation, duplicate_object).
        Err(e) if matches!(e.as_database_error().and_then(|e| e.code()).as_deref(), Some("23505" | "42710")) => Ok(()),
        Err(e) => Err(e).with_context(|| format!("role {role} is missing; as an administrator run: {create}")),
    }
}

/// Checks that all of these migrations and the platform's are applied to `schema`, as far as the connection's role can
/// see.
///
/// # Errors
/// If a migration is missing.
pub async fn is_current(conn: &mut PgConnection, schema: &str, migrations: Option<&Migrator>) -> anyhow::Result<()> {
    let own = migrations.map_or(0, |migrations| migrations.iter().count());
    for (table, expected) in [("_platform_migrations", PLATFORM.len()), ("_migrations", own)] {
        let count = format!("select count(*) from {schema}.{table} where success");
        let applied: i64 =
            sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut *conn).await.context("there are none")?;
        anyhow::ensure!(applied as usize >= expected, "{applied} of {expected} are applied");
    }
    Ok(())
}

/// `url` with every statement run as `role`, for embedded mode and tests, where one administrator owns the server.
/// Row-level security applies to the role as if it had logged in itself. Installations give each role its own login
/// instead.
pub fn url_as_role(url: &str, role: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options=-c%20role%3D{role}")
}

/// A checksum of the migrations of these schemas and of the platform.
pub fn fingerprint(schemas: &[(&str, &Migrator)]) -> u32 {
    let checksums = PLATFORM.iter().chain(schemas.iter().flat_map(|(_, migrations)| migrations.iter()));
    let names = schemas.iter().flat_map(|(name, _)| name.bytes());
    // FNV-1a.
    checksums
        .flat_map(|migration| migration.checksum.iter().copied())
        .chain(names)
        .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
