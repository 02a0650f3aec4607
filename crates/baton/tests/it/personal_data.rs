//! Every column of every schema is classified, and every classification has its column.

use std::{collections::BTreeSet, fs, path::Path};

use baton_testkit::database::Database;
use sqlx::{Connection, PgConnection, migrate::Migrator};
use toml::{Table, Value};

const CLASSES: [&str; 6] = ["none", "identifier", "contact", "content", "behaviour", "secret"];
const EXPORT: [&str; 2] = ["yes", "no"];
const ERASE: [&str; 4] = ["delete", "pseudonymise", "keep", "expires"];

pub(crate) fn schemas() -> [(&'static str, &'static Migrator); 4] {
    [
        (baton_auth::SCHEMA, &baton_auth::MIGRATIONS),
        (baton_tenancy::SCHEMA, &baton_tenancy::MIGRATIONS),
        (baton_task::SCHEMA, &baton_task::MIGRATIONS),
        (baton_notification::SCHEMA, &baton_notification::MIGRATIONS),
    ]
}

fn migrations() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations")
}

/// The `table.column`s that a folder's file classifies. What is wrong with a line is added to `wrong`.
fn classified(folder: &str, wrong: &mut Vec<String>) -> BTreeSet<String> {
    let path = migrations().join(folder).join("personal_data.toml");
    let file: Table = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).parse().unwrap();
    let mut found = BTreeSet::new();
    for (table, value) in &file {
        if value.get("retention").and_then(Value::as_str).is_none_or(str::is_empty) {
            wrong.push(format!("{folder}: {table} has no retention"));
        }
        for (column, line) in value.get("columns").and_then(Value::as_table).into_iter().flatten() {
            let name = format!("{table}.{column}");
            let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
            let class = text("class");
            let complete = match class {
                "none" => line.as_table().is_some_and(|line| line.len() == 1),
                _ => {
                    !text("subject").is_empty()
                        && !text("why").is_empty()
                        && EXPORT.contains(&text("export"))
                        && ERASE.contains(&text("erase"))
                }
            };
            if !CLASSES.contains(&class) || !complete {
                wrong.push(format!("{folder}: the line of {name} is not complete (see migrations/README.md)"));
            }
            found.insert(name);
        }
    }
    found
}

#[tokio::test]
async fn every_column_is_classified() {
    let database = Database::create(&schemas()).await;
    let mut conn = PgConnection::connect(&database.admin_url()).await.unwrap();
    let mut wrong = Vec::new();
    let platform = classified("platform", &mut wrong);
    for (schema, _) in schemas() {
        let columns: Vec<String> = sqlx::query_scalar(
            "select table_name || '.' || column_name from information_schema.columns
             where table_schema = $1 and table_name not like '\\_%' order by 1",
        )
        .bind(schema)
        .fetch_all(&mut conn)
        .await
        .unwrap();
        let columns: BTreeSet<String> = columns.into_iter().collect();
        let mut lines = classified(schema, &mut wrong);
        lines.extend(platform.iter().cloned());
        wrong.extend(
            columns.difference(&lines).map(|column| format!("{schema}.{column} has no line in personal_data.toml")),
        );
        wrong.extend(lines.difference(&columns).map(|line| format!("{schema}: there is no column {line}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_migrations_folder_belongs_to_a_schema() {
    let known: BTreeSet<_> =
        schemas().iter().map(|(name, _)| (*name).to_owned()).chain(["platform".to_owned()]).collect();
    let folders = fs::read_dir(migrations()).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
    let found: BTreeSet<_> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(found, known);
}

/// Tables with an account are behind forced row-level security, and no service's role can get around it.
#[tokio::test]
async fn every_tenant_table_has_row_level_security() {
    let database = Database::create(&schemas()).await;
    let mut conn = PgConnection::connect(&database.admin_url()).await.unwrap();
    let open: Vec<String> = sqlx::query_scalar(
        "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p') and n.nspname = any($1) and not (c.relrowsecurity and c.relforcerowsecurity)
           and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'account_id')
           and c.relname <> 'outbox'
           -- The functions that search read it as its owner, and keep to the account themselves (migrations/task/0012).
           and not (c.relrowsecurity and n.nspname || '.' || c.relname = 'task.task_search')",
    )
    .bind(schemas().map(|(name, _)| name).as_slice())
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(open.is_empty(), "tables without forced row-level security: {}", open.join(", "));
    let strong: Vec<String> = sqlx::query_scalar(
        "select rolname::text from pg_roles where rolname like 'baton\\_%' and (rolsuper or rolbypassrls or rolcreaterole)",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(strong.is_empty(), "roles that can get around it: {}", strong.join(", "));
    // The serving role only adds to the outbox; so it needs no policy there.
    let reads: bool = sqlx::query_scalar("select has_table_privilege('baton_task', 'task.outbox', 'select')")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(!reads, "the serving role reads the outbox");
}
