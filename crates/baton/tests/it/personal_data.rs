//! The catalogue of personal data is complete: every column of every schema is classified, and every classification has its
//! column. `docs/data-retention.md` is generated from it; `BATON_BLESS=1 cargo nextest run -p baton retention` regenerates it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use baton_platform::platform;
use baton_runtime::{Clock, Secret};
use baton_service::Spec;
use baton_store::{
    Db,
    personal_data::{CATEGORIES, Class, Column, Erase, OnAccountDeletion, PersonalData, Retention, SubjectId},
    retention::{self, Rule},
    subject_data::{Count, Erasure, Subject, Treatment},
};
use baton_testkit::database::{Database, Schema};
use sqlx::{Connection, PgConnection};

/// All services, the example too.
fn specs() -> impl Iterator<Item = &'static Spec> {
    platform::specs().chain([&baton_example::SPEC])
}

/// Schemas of all services.
pub(crate) fn schemas() -> Vec<Schema<'static>> {
    specs().map(Spec::schema).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The catalogue of the tables that every schema has.
fn of_every_schema() -> PersonalData {
    let text = fs::read_to_string(repository().join("migrations/platform/personal_data.toml")).unwrap();
    PersonalData::parse(&text).unwrap()
}

/// The catalogues by schema, the platform's first.
fn catalogues() -> Vec<(&'static str, PersonalData)> {
    let own = specs().map(|spec| (spec.name, PersonalData::parse(spec.personal_data).unwrap()));
    [("platform", of_every_schema())].into_iter().chain(own).collect()
}

/// [`catalogues`] without that of the example, whose migrations are beside it.
fn catalogues_of_product() -> impl Iterator<Item = (&'static str, PersonalData)> {
    catalogues().into_iter().filter(|&(name, _)| name != baton_example::SPEC.name)
}

/// The `table.column`s of a catalogue.
fn columns(data: &PersonalData) -> BTreeSet<String> {
    let tables = data.tables.iter();
    tables.flat_map(|(name, table)| table.columns.keys().map(move |column| format!("{name}.{column}"))).collect()
}

#[test]
fn every_line_is_complete_and_every_subject_has_an_id() {
    let mut wrong = Vec::new();
    for (schema, data) in catalogues() {
        for (name, table) in &data.tables {
            let has = |table: &str, column: &str| {
                data.tables.get(table).is_some_and(|table| table.columns.contains_key(column))
            };
            for (subject, id) in &table.subjects {
                let found = match id {
                    SubjectId::Column(column) => has(name, column),
                    SubjectId::Through { through, table, key, column, .. } => {
                        has(name, through) && has(table, key) && has(table, column)
                    }
                    SubjectId::Within { within } => has(name, within),
                };
                if !found {
                    wrong.push(format!("{schema}.{name}: the id of the {subject} is in no column"));
                }
                if !table.columns.values().any(|column| column.subject.as_ref() == Some(subject)) {
                    wrong.push(format!("{schema}.{name}: no column is about the {subject}"));
                }
            }
            for (column, line) in &table.columns {
                let of_person = [line.why.is_some(), line.export.is_some(), line.erase.is_some()];
                let known = line.subject.as_ref().is_some_and(|subject| table.subjects.contains_key(subject));
                let complete = match line.class {
                    Class::None => !of_person.contains(&true) && line.subject.is_none(),
                    _ => !of_person.contains(&false) && known,
                };
                if !complete {
                    wrong.push(format!(
                        "{schema}: the line of {name}.{column} is incomplete (see migrations/README.md)"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_column_has_a_line() {
    let database = Database::create(&schemas()).await;
    let mut conn = PgConnection::connect(&database.admin_url()).await.unwrap();
    let mut wrong = Vec::new();
    let shared = columns(&of_every_schema());
    for spec in specs() {
        let schema = spec.name;
        let found: Vec<String> = sqlx::query_scalar(
            "select table_name || '.' || column_name from information_schema.columns
             where table_schema = $1 and table_name not like '\\_%' order by 1",
        )
        .bind(schema)
        .fetch_all(&mut conn)
        .await
        .unwrap();
        let found: BTreeSet<String> = found.into_iter().collect();
        let mut lines = columns(&PersonalData::parse(spec.personal_data).unwrap());
        lines.extend(shared.iter().cloned());
        wrong.extend(
            found.difference(&lines).map(|column| format!("{schema}.{column} has no line in personal_data.toml")),
        );
        wrong.extend(lines.difference(&found).map(|line| format!("{schema}: there is no column {line}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_migrations_folder_belongs_to_a_schema() {
    let known: BTreeSet<_> = catalogues_of_product().map(|(name, _)| name.to_owned()).collect();
    let folders = fs::read_dir(repository().join("migrations")).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
    let found: BTreeSet<_> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(found, known);
}

const RETENTION_PAGE: &str = "docs/data-retention.md";

const RETENTION_INTRODUCTION: &str = "# Data retention

Generated from `migrations/*/personal_data.toml` by `crates/baton/tests/it/personal_data.rs`, which fails if this page is
outdated; `BATON_BLESS=1 cargo nextest run -p baton retention` regenerates it.

*Kept until* is the event that ends the retention of a row. With a number, that many days follow. *Deleted by* names the
periodic work (the label `work` of the metric `baton.periodic.duration`), or: `request`, the RPC of that name;
`cascade`, a foreign key; `events`, the service's handler of events; `account deletion`, the job that follows the account
(`crates/store/src/personal_data.rs`). *Classes* are those of the table's columns (`migrations/README.md`). When an account is
deleted, its rows are deleted in every table of the services that has an `account_id`, except where *kept* says otherwise.
";

fn retention_page() -> String {
    let mut page = RETENTION_INTRODUCTION.to_owned();
    for (schema, data) in catalogues_of_product() {
        write!(page, "\n## {schema}\n\n").unwrap();
        page.push_str("| table | classes | kept until | deleted by | note |\n|---|---|---|---|---|\n");
        for (name, table) in &data.tables {
            let classes: BTreeMap<String, ()> = table
                .columns
                .values()
                .filter(|column| column.class != Class::None)
                .map(|column| (format!("{:?}", column.class).to_lowercase(), ()))
                .collect();
            let classes: Vec<String> = classes.into_keys().collect();
            let retention = &table.retention;
            let days = match retention.days {
                Some(1) => " + 1 day".to_owned(),
                Some(days) => format!(" + {days} days"),
                None => String::new(),
            };
            let kept = (table.account_deletion == OnAccountDeletion::Keep)
                .then_some("Kept when the account is deleted.".to_owned());
            let notes: Vec<String> = retention.note.iter().cloned().chain(kept).collect();
            let classes = if classes.is_empty() { "none".to_owned() } else { classes.join(", ") };
            writeln!(
                page,
                "| `{name}` | {classes} | {}{days} | {} | {} |",
                retention.until,
                retention.by,
                notes.join(" ")
            )
            .unwrap();
        }
    }
    page
}

#[test]
fn the_retention_page_is_up_to_date() {
    let path = repository().join(RETENTION_PAGE);
    if std::env::var_os("BATON_BLESS").is_some() {
        fs::write(&path, retention_page()).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, retention_page(), "{RETENTION_PAGE} is outdated; BATON_BLESS=1 regenerates it");
}

#[test]
fn every_exported_table_has_a_category_and_no_other() {
    let mut wrong = Vec::new();
    for (schema, data) in catalogues() {
        for (name, table) in &data.tables {
            let known = table.category.as_deref().is_some_and(|category| CATEGORIES.contains(&category));
            if known != table.is_exported() || table.category.is_some() != table.is_exported() {
                wrong.push(format!("{schema}.{name}: {:?}, exported: {}", table.category, table.is_exported()));
            }
            let unreadable = table.subjects.iter().filter(|(subject, id)| {
                let about = |line: &&Column| line.subject.as_ref() == Some(subject) && line.is_exported();
                matches!(id, SubjectId::Within { .. }) && table.columns.values().any(|line| about(&line))
            });
            wrong.extend(unreadable.map(|(subject, _)| format!("{schema}.{name}: no statement finds the {subject}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An index finds a person's rows, after the account in tables of accounts: otherwise an export or an erasure would read all
/// rows of everybody.
#[tokio::test]
async fn every_subject_has_an_index() {
    let database = Database::create(&schemas()).await;
    let mut conn = PgConnection::connect(&database.admin_url()).await.unwrap();
    let mut wrong = Vec::new();
    for spec in specs() {
        let data = PersonalData::parse(spec.personal_data).unwrap();
        let indexes: Vec<(String, Vec<String>)> = sqlx::query_as(
            "select relname::text, array(select attname::text from unnest(indkey) with ordinality as key (number, nth)
                    join pg_attribute on attrelid = indrelid and attnum = number order by nth)
             from pg_index join pg_class on pg_class.oid = indrelid
             where relnamespace = $1::text::regnamespace
               and (indpred is null or pg_get_expr(indpred, indrelid) = (
                   select format('(%I IS NOT NULL)', attname) from pg_attribute
                   where attrelid = indrelid and attnum = indkey[0]))",
        )
        .bind(spec.name)
        .fetch_all(&mut conn)
        .await
        .unwrap();
        for (name, table) in &data.with_platform().unwrap().tables {
            for (subject, id) in &table.subjects {
                let about = |line: &Column| {
                    let is_read = line.is_exported() || matches!(line.erase, Some(Erase::Delete | Erase::Clear));
                    is_read && line.subject.as_ref() == Some(subject)
                };
                let (table_of_id, column) = match id {
                    SubjectId::Column(column) if table.columns.values().any(about) => (name, column),
                    SubjectId::Through { table: of, column, .. } if table.columns.values().any(about) => (of, column),
                    _ => continue,
                };
                let found = indexes.iter().filter(|(table, _)| table == table_of_id).any(|(_, columns)| {
                    columns.first() == Some(column)
                        || columns.first().is_some_and(|first| first == "account_id") && columns.get(1) == Some(column)
                });
                if !found {
                    wrong.push(format!("{}.{table_of_id}: no index on {column}, of the {subject}", spec.name));
                }
                // Rows that belong to those of another table are found by what references it.
                if let SubjectId::Through { through, .. } = id {
                    let begins = |columns: &Vec<String>| {
                        let of_account = columns.first().is_some_and(|first| first == "account_id");
                        columns.get(usize::from(of_account)) == Some(through)
                    };
                    if !indexes.iter().any(|(table, columns)| table == name && begins(columns)) {
                        wrong.push(format!("{}.{name}: no index on {through}, of the {subject}", spec.name));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rows whose time is over are deleted: by the engine of all rules, by an index, or by the work that the catalogue names.
#[tokio::test]
async fn every_rule_of_retention_has_its_work_and_its_index() {
    let database = Database::create(&schemas()).await;
    let mut conn = PgConnection::connect(&database.admin_url()).await.unwrap();
    let mut wrong = Vec::new();
    for spec in specs() {
        let data = PersonalData::parse(spec.personal_data).unwrap().with_platform().unwrap();
        for (name, table) in &data.tables {
            let Retention { until, days, column, by, .. } = &table.retention;
            let is_rule = Rule::of(name, &table.retention).is_some();
            if (by == retention::WORK) != is_rule || column.is_some() && days.is_none() {
                wrong.push(format!("{}.{name}: a rule of {by} has a column and days, and no other", spec.name));
            }
            // Whatever expires has a work: the engine, one of the service's own, or the row that it belongs to.
            if until == "expired" && !is_rule && by != "cascade" && !by.contains('.') {
                wrong.push(format!("{}.{name}: nothing deletes what has expired", spec.name));
            }
            let Some(column) = column else { continue };
            let indexed: bool = sqlx::query_scalar(
                "select exists (select from pg_index join pg_attribute on attrelid = indrelid and attnum = indkey[0]
                                where indrelid = format('%I.%I', $1, $2)::regclass and attname = $3)",
            )
            .bind(spec.name)
            .bind(name)
            .bind(column)
            .fetch_one(&mut conn)
            .await
            .unwrap();
            if !indexed {
                wrong.push(format!("{}.{name}: no index begins with {column}", spec.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every catalogue says something that statements can do.
#[tokio::test]
async fn every_person_can_be_erased_from_every_schema() {
    let database = Database::create(&schemas()).await;
    for spec in specs() {
        let urls = (Secret::new(database.app_url(spec.name)), Secret::new(database.system_url(spec.name)));
        let db = Db::open(spec.name, &urls.0, &urls.1, 2, Clock::system()).unwrap();
        let data = PersonalData::parse(spec.personal_data).unwrap();
        let erasure = Erasure::open(&db, &data).await.unwrap_or_else(|error| panic!("{}: {error:?}", spec.name));
        let nobody = db.clock().new_id();
        assert_eq!(erasure.erase(&db, Subject::everywhere(nobody), "").await.unwrap().cursor, None, "{}", spec.name);
        let counts = erasure.count_all(&db, Subject::everywhere(nobody)).await.unwrap();
        assert!(counts.iter().all(|count| count.rows == 0), "{counts:?}");
        // What is kept or expires says why.
        let stays = |count: &&Count| matches!(count.treatment, Treatment::Keep | Treatment::Expires);
        assert!(counts.iter().filter(stays).all(|count| !count.reason.is_empty()), "{counts:?}");
    }
}

/// The privacy service asks every service that has data of people.
#[test]
fn privacy_asks_every_service() {
    let with_people = platform::specs().filter(|spec| {
        let data = PersonalData::parse(spec.personal_data).unwrap();
        data.tables.values().any(|table| table.is_exported())
    });
    let names: Vec<&str> = with_people.map(|spec| spec.name).filter(|&name| name != "privacy").collect();
    assert_eq!(names, baton_privacy::SPEC.peers);
}

/// Tables with an account id have forced row-level security, and no service role can bypass it.
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
    .bind(specs().map(|spec| spec.name).collect::<Vec<_>>())
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
    assert!(strong.is_empty(), "roles that can bypass it: {}", strong.join(", "));
    // The serving role only inserts into the outbox, so the outbox needs no policy.
    let reads: bool = sqlx::query_scalar("select has_table_privilege('baton_task', 'task.outbox', 'select')")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(!reads, "the serving role reads the outbox");
}
