//! Privileges of the service roles on each table. All are listed here, so that a new table gets a review.

use std::collections::BTreeMap;

use baton_store::migrate::{app_role, system_role};
use baton_testkit::database::Database;
use sqlx::{Connection, PgConnection};

use crate::personal_data::schemas;

const ALL: &str = "select, insert, update, delete";
const READ: &str = "select";
const NONE: &str = "";

/// Platform tables, which every schema has: privileges of the serving role and of the system role. Except for
/// `idempotency_keys`, none has row-level security: the serving role could read the rows of all tenants.
const PLATFORM: &[(&str, &str, &str)] = &[
    ("_migrations", READ, READ),
    ("_platform_migrations", READ, READ),
    ("audit_tiles", NONE, "select, insert, update"),
    ("audit_trees", NONE, "select, insert, update"),
    ("consent_contact", READ, ALL),
    ("consent_gates", "select, update(epoch)", ALL),
    ("dead_letters", NONE, ALL),
    ("idempotency_keys", "select, insert, update", ALL),
    ("inbox", "select(event_id), insert(event_id)", ALL),
    ("jobs", "insert", ALL),
    ("ledger_entries", NONE, ALL),
    ("outbox", "insert", ALL),
    ("processing_restrictions", NONE, ALL),
    ("relay", NONE, ALL),
];

/// Privileges of the serving role on the services' own tables. A table without forced row-level security exposes the
/// rows of all tenants: think twice.
const OWN: &[(&str, &str)] = &[
    ("auth.api_keys", ALL),
    ("auth.auth_events", ALL),
    ("auth.delegations", ALL),
    ("auth.identities", ALL),
    ("auth.links", ALL),
    ("auth.mfa_challenges", ALL),
    ("auth.oauth_flows", ALL),
    ("auth.recovery_codes", ALL),
    ("auth.refresh_tokens", ALL),
    ("auth.registrations", ALL),
    ("auth.second_factors", ALL),
    ("auth.sessions", ALL),
    ("auth.signing_keys", ALL),
    ("auth.users", ALL),
    ("automation.accounts", "select, insert, update"),
    ("automation.executions", "select, insert, update"),
    ("automation.rules", "select, insert, update"),
    ("automation.timers", ALL),
    ("automation.webhook_deliveries", "select, insert, update"),
    ("example.greetings", ALL),
    ("example.visits", ALL),
    ("notification.notifications", ALL),
    ("privacy.breach_people", "select, insert"),
    ("privacy.breaches", "select, insert, update"),
    ("privacy.budget_releases", "select, insert, update"),
    ("privacy.consent_states", "select, insert, update"),
    ("privacy.consents", "select, insert"),
    ("privacy.erasure_codes", ALL),
    ("privacy.erasure_counts", READ),
    ("privacy.erasure_receipts", READ),
    ("privacy.erasures", "select, insert, update"),
    ("privacy.exports", "select, insert, update"),
    ("privacy.legal_holds", ALL),
    ("privacy.policy_acceptances", "select, insert"),
    ("privacy.privacy_budgets", "select, insert, update"),
    ("privacy.pseudonym_reveals", "select, insert, update"),
    ("privacy.requests", "select, insert, update"),
    ("task.attachments", "select, insert, update"),
    ("task.comment_mentions", ALL),
    ("task.comment_reactions", ALL),
    ("task.comments", ALL),
    ("task.custom_fields", ALL),
    ("task.departures", ALL),
    ("task.occurrences", ALL),
    ("task.reminders", ALL),
    ("task.saved_views", ALL),
    ("task.search_settings", ALL),
    ("task.storage_usage", ALL),
    ("task.task_assignments", "select, insert, update"),
    ("task.task_dependencies", ALL),
    ("task.task_events", "select, insert"),
    ("task.task_search", ALL),
    ("task.task_snapshots", ALL),
    ("task.task_tags", ALL),
    ("task.task_watchers", ALL),
    ("task.tasks", "select, insert, update"),
    ("task.time_corrections", "select, insert"),
    ("task.time_entries", ALL),
    ("task.timers", ALL),
    ("task.usage", ALL),
    ("task.usage_changes", ALL),
    ("tenancy.accounts", ALL),
    ("tenancy.activity_heads", "select, insert, update"),
    ("tenancy.activity_logs", "select, insert"),
    ("tenancy.dpa_acceptances", "select, insert"),
    ("tenancy.memberships", ALL),
    ("tenancy.stripe_events", "select, insert"),
    ("tenancy.subscriptions", ALL),
    ("tenancy.usage", ALL),
    ("tenancy.usage_warnings", ALL),
];

/// Expected privileges of a role, by table.
fn expected(schema: &str, system: bool) -> BTreeMap<String, String> {
    let platform =
        PLATFORM.iter().map(|(table, app, sys)| (format!("{schema}.{table}"), if system { sys } else { app }));
    let own = OWN.iter().filter(|(table, _)| !system && table.starts_with(&format!("{schema}.")));
    let own = own.map(|(table, may)| ((*table).to_owned(), may));
    platform.chain(own).map(|(table, may)| (table, (*may).to_owned())).collect()
}

/// Actual privileges of a role on every table and view of a schema, by column if not on the whole table. Partitions
/// without privileges are omitted.
async fn allowed(conn: &mut PgConnection, schema: &str, role: &str) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select n.nspname || '.' || c.relname,
                coalesce((select string_agg(
                     case when has_table_privilege($2, c.oid, p.name) then p.name
                          else p.name || '(' || (select string_agg(a.attname, ' ' order by a.attnum) from pg_attribute a
                                                 where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                                                   and has_column_privilege($2, c.oid, a.attnum, p.name)) || ')' end,
                     ', ' order by p.place)
                 from unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger'])
                      with ordinality p (name, place)
                 where has_table_privilege($2, c.oid, p.name)
                    or p.name in ('select', 'insert', 'update', 'references')
                       and has_any_column_privilege($2, c.oid, p.name)), '')
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f')",
    )
    .bind(schema)
    .bind(role)
    .fetch_all(conn)
    .await
    .unwrap();
    let is_partition = |table: &str| table.contains("._activity_logs_");
    rows.into_iter().filter(|(table, may)| !(is_partition(table) && may.is_empty())).collect()
}

#[tokio::test]
async fn roles_have_exactly_the_listed_privileges() {
    let database = Database::create(&schemas()).await;
    let mut conn = PgConnection::connect(&database.admin_url()).await.unwrap();
    let mut wrong = Vec::new();
    for (schema, _) in schemas() {
        for system in [false, true] {
            let role = if system { system_role(schema) } else { app_role(schema) };
            let expected = expected(schema, system);
            let found = allowed(&mut conn, schema, &role).await;
            for (table, may) in &found {
                match expected.get(table) {
                    Some(listed) if listed == may => {}
                    // Privileges of the system role on a service's own tables follow from the schema's defaults.
                    None if system => {}
                    listed => wrong.push(format!("{role} may [{may}] on {table}, and is to [{listed:?}]")),
                }
            }
            wrong.extend(
                expected.keys().filter(|table| !found.contains_key(*table)).map(|t| format!("there is no {t}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A service role has no access to schemas of other services.
#[tokio::test]
async fn service_roles_have_no_privileges_in_other_schemas() {
    let database = Database::create(&schemas()).await;
    let mut conn = PgConnection::connect(&database.admin_url()).await.unwrap();
    for (of_role, _) in schemas() {
        for (schema, _) in schemas().into_iter().filter(|(schema, _)| *schema != of_role) {
            for role in [app_role(of_role), system_role(of_role)] {
                let enters: bool = sqlx::query_scalar("select has_schema_privilege($1, $2, 'usage')")
                    .bind(&role)
                    .bind(schema)
                    .fetch_one(&mut conn)
                    .await
                    .unwrap();
                assert!(!enters, "{role} may use {schema}");
            }
        }
    }
}
