//! Erasures survive crashes, and backups do not bring anybody back.

use baton_tests::{Platform, Services, eventually};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::erasure::{canaries, complete, connect, end_grace_period, request_erasure};

/// The connection to the database in which others are made.
async fn maintenance(platform: &Platform) -> (PgConnection, String) {
    let mut url: url::Url = platform.database_url().parse().unwrap();
    let name = url.path().trim_start_matches('/').to_owned();
    url.set_path("postgres");
    (PgConnection::connect(url.as_str()).await.unwrap(), name)
}

/// Makes a database from another, which nobody uses.
async fn copy_database(conn: &mut PgConnection, from: &str, to: &str) {
    let copy = format!("drop database if exists \"{to}\" with (force); create database \"{to}\" template \"{from}\"");
    for statement in copy.split("; ") {
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut *conn).await.unwrap();
    }
}

async fn stop(platform: &mut Platform) {
    platform.sigterm();
    platform.wait_for_exit().await;
}

/// A backup still has whoever was erased after it was made.
#[tokio::test]
async fn a_restored_database_is_not_used_before_its_erasures_are_repeated() {
    let mut platform = Platform::start().await;
    let team = platform.team().await;
    let me = &team.user;
    me.patch("/v1/users/me", &json!({"company": "PRIVATE-COMPANY"})).ok().await;
    me.post("/v1/api-keys", &json!({"name": "PRIVATE-KEY"})).ok().await;
    stop(&mut platform).await;
    let (mut conn, name) = maintenance(&platform).await;
    let backup = format!("{name}_backup");
    copy_database(&mut conn, &name, &backup).await;
    platform.restart().await;
    let request = request_erasure(&platform, &platform.sign_in(&me.email).await).await;
    end_grace_period(&platform, &request).await;
    complete(&platform, &request).await;
    stop(&mut platform).await;
    copy_database(&mut conn, &backup, &name).await;
    sqlx::query(sqlx::AssertSqlSafe(format!("drop database \"{backup}\""))).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    assert!(canaries(&platform, &["PRIVATE-COMPANY", "PRIVATE-KEY"]).await.len() >= 2, "the backup has them");

    let services = Services::spawn(&platform, &[]);
    for service in ["auth", "tenancy", "task", "notification", "automation", "privacy"] {
        eventually(&format!("{service} says that it is not ready"), || async {
            services.printed(service).contains("older than the ledger of erasures").then_some(())
        })
        .await;
    }
    let ready =
        eventually("the gateway answers", || async { reqwest::get(format!("{}/readyz", platform.url())).await.ok() })
            .await;
    assert_eq!(ready.status(), 503);
    let replayed = services.command().args(["privacy", "replay"]).output().unwrap();
    let printed = String::from_utf8_lossy(&replayed.stdout);
    assert!(replayed.status.success(), "{printed}{}", String::from_utf8_lossy(&replayed.stderr));
    assert!(printed.contains("1/1") && printed.contains("repeated in every service"), "{printed}");
    platform.wait_until_ready().await;
    assert_eq!(canaries(&platform, &[&me.email, "PRIVATE-COMPANY", "PRIVATE-KEY"]).await, Vec::<String>::new());
    let login = json!({"email": me.email, "password": "correct horse battery staple"});
    assert_eq!(platform.rest().post("/v1/auth/login", &login).send().await.status, 401);
    // Nothing is left to do, and the services start at once.
    let again = services.command().args(["privacy", "replay"]).output().unwrap();
    assert!(again.status.success());
    drop(services);
    let _services = Services::start(&platform, &[]).await;
}

/// Tables in which an erasure changes something, in the order of the services; those that it looks at whether or not the person
/// has rows.
const PLACES: [&str; 25] = [
    "auth.api_keys",
    "auth.auth_events",
    "auth.identities",
    "auth.links",
    "auth.mfa_challenges",
    "auth.oauth_flows",
    "auth.recovery_codes",
    "auth.refresh_tokens",
    "auth.second_factors",
    "auth.sessions",
    "auth.users",
    "tenancy.memberships",
    "tenancy.usage",
    "tenancy.activity_logs",
    "task.comment_mentions",
    "task.comment_reactions",
    "task.reminders",
    "task.task_assignments",
    "task.task_events",
    "task.task_snapshots",
    "task.tasks",
    "task.time_entries",
    "notification.notifications",
    "privacy.consent_states",
    "privacy.consents",
];

/// Kills the privacy service and the one that it erases in, at every place where the erasure can be.
#[tokio::test]
async fn an_erasure_survives_crashes_at_any_place() {
    let mut platform = Platform::start().await;
    let team = platform.team().await;
    let me = &team.user;
    for n in 0..5 {
        let task = me.post("/v1/tasks", &json!({"title": format!("Task {n}"), "visibility": "account"})).ok().await;
        let task = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
        me.post(&format!("{task}/start"), &json!({})).ok().await;
        me.post(&format!("{task}/pause"), &json!({"reason": "PRIVATE-REASON"})).ok().await;
    }
    let request = request_erasure(&platform, me).await;
    stop(&mut platform).await;
    let mut services = Services::start(&platform, &[]).await;
    let mut conn = connect(&platform).await;
    let (mut services_are_down, mut killed) = (false, "privacy");
    for place in PLACES {
        let service = place.split('.').next().unwrap();
        let mut held = connect(&platform).await;
        let mut lock = held.begin().await.unwrap();
        // Counts pass; what changes a row waits.
        let statement = format!("lock table {place} in share mode");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *lock).await.unwrap();
        if services_are_down {
            // Whoever was killed has left its job claimed.
            sqlx::query("update privacy.jobs set run_at = now(), attempts = 0 where kind = 'privacy.erase'")
                .execute(&mut conn)
                .await
                .unwrap();
            services.start_one(killed);
            if killed != "privacy" {
                services.start_one("privacy");
            }
        }
        if !services_are_down {
            end_grace_period(&platform, &request).await;
        }
        eventually(&format!("the erasure is at {place}"), || async {
            let mut conn = connect(&platform).await;
            // Sweeps and events wait as well.
            let waits = sqlx::query_scalar::<_, i64>(
                "select count(*) from pg_locks join pg_stat_activity using (pid)
                 where not granted and relation = $1::text::regclass
                   and (query like 'with found as%' or query like 'with rewritten%' or query like 'update%')",
            );
            (waits.bind(place).fetch_one(&mut conn).await.unwrap() > 0).then_some(())
        })
        .await;
        services.kill_9("privacy");
        if service != "privacy" {
            services.kill_9(service);
        }
        lock.rollback().await.unwrap();
        (services_are_down, killed) = (true, service);
    }
    services.start_one(killed);
    if killed != "privacy" {
        services.start_one("privacy");
    }
    sqlx::query("update privacy.jobs set run_at = now(), attempts = 0").execute(&mut conn).await.unwrap();
    platform.wait_until_ready().await;
    let completed = complete(&platform, &request).await;
    assert_eq!(completed["receipts"].as_array().unwrap().len(), 6);
    assert_eq!(canaries(&platform, &[&me.email, "PRIVATE-REASON"]).await, Vec::<String>::new());
}

/// The privacy service's own database may be restored while an erasure is under way: the ledger says that it has begun.
#[tokio::test]
async fn an_erasure_that_has_begun_goes_on_after_a_restore() {
    let mut platform = Platform::start().await;
    let ann = platform.person("ann").await;
    ann.patch("/v1/users/me", &json!({"company": "PRIVATE-COMPANY"})).ok().await;
    stop(&mut platform).await;
    let begun = platform.data().join("ledger/begun");
    std::fs::create_dir_all(&begun).unwrap();
    let entry = json!({"user_id": ann.id, "recorded_at": "2026-11-29T12:00:00Z"});
    std::fs::write(begun.join("0198c0de-7a1b-7c3d-8e4f-5a6b7c8d9e0f.json"), entry.to_string()).unwrap();
    platform.restart().await;
    eventually("the person is erased", || async {
        canaries(&platform, &[&ann.email, "PRIVATE-COMPANY"]).await.is_empty().then_some(())
    })
    .await;
    ann.get("/v1/users/me").refused(401, "SESSION_CLOSED").await;
}
