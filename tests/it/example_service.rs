//! The example service has everything that a service has, from its own few lines and its row in the registry.

use std::{fs, path::Path, process::Command};

use baton_tests::{Platform, eventually, example_binary, free_address};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::permissions;

/// The repository.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[tokio::test]
async fn members_are_greeted_until_greetings_expire_or_the_account_is_deleted() {
    let metrics = free_address();
    let mut platform = Platform::start_example(&[("BATON_METRICS_LISTEN", &metrics.to_string())]).await;
    let (team, other) = (platform.team().await, platform.team().await);

    // Event in, table, RPC, REST: one greeting for each of the four members.
    let greetings = eventually("four greetings", || async {
        let page = team.user.get("/v1/greetings?per_page=2").ok().await;
        (page["meta"]["total_count"] == 4).then_some(page)
    })
    .await;
    assert_eq!(greetings["greetings"].as_array().unwrap().len(), 2, "{greetings}");
    other.owner.get("/v1/greetings?page=9").ok().await;
    // Event out: another service received it.
    eventually("the event in the activity log", || async {
        let log = team.owner.get("/v1/activity-logs?action=greeting.created").ok().await;
        (log["meta"]["total_count"] == 4).then_some(())
    })
    .await;

    // Health, contract and metrics.
    let ready: Value = platform.rest().get("/readyz").ok().await;
    assert_eq!(ready["services"]["example"], "serving", "{ready}");
    let contract = platform.rest().get("/openapi.json").ok().await;
    assert_eq!(contract["paths"]["/v1/greetings"]["get"]["operationId"], "ExampleService_ListGreetings");
    let text = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap().text().await.unwrap();
    assert!(text.lines().any(|line| line.contains("baton_periodic_duration") && line.contains("example.expiry")));

    // Periodic work, and the deletion of an account: both run when the platform starts.
    let mut conn = PgConnection::connect(platform.database_url()).await.unwrap();
    let (account, kept) = (team.account_id, other.account_id);
    sqlx::query(
        "update example.greetings set created_at = now() - interval '31 days' where account_id = $1 and user_id = $2",
    )
    .bind(kept)
    .bind(other.user.id)
    .execute(&mut conn)
    .await
    .unwrap();
    team.owner.delete(&format!("/v1/accounts/{account}")).ok().await;
    sqlx::query("update tenancy.accounts set deletes_at = now() - interval '1 day' where id = $1")
        .bind(account)
        .execute(&mut conn)
        .await
        .unwrap();
    platform.sigterm();
    platform.wait_for_exit().await;
    platform.restart().await;
    eventually("three greetings of the other account, and no others", || async {
        let left: Vec<(uuid::Uuid, i64)> =
            sqlx::query_as("select account_id, count(*) from example.greetings group by 1")
                .fetch_all(&mut PgConnection::connect(platform.database_url()).await.unwrap())
                .await
                .unwrap();
        (left == [(kept, 3)]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn permission_walk_covers_the_example() {
    baton_proto::include_example();
    let calls = permissions::walk(Platform::start_example(&[]).await, |package| package == "baton.example.v1").await;
    // Two RPCs without ids, four roles: with own ids, and twice in another account.
    assert_eq!(calls, 2 * 4 * 3);
}

#[tokio::test]
async fn doctor_checks_the_example() {
    let [auth, tenancy] = [free_address().to_string(), free_address().to_string()];
    let variables = [("BATON_AUTH_LISTEN", auth.as_str()), ("BATON_TENANCY_LISTEN", tenancy.as_str())];
    let platform = Platform::start_example(&variables).await;
    let role = |role: &str| format!("{}?options=-c%20role%3D{role}", platform.database_url());
    let mut doctor = example_binary();
    doctor
        .args(["doctor", "example"])
        .env("BATON_EXAMPLE_LISTEN", free_address().to_string())
        .env("BATON_EXAMPLE_DATABASE_URL", role("baton_example"))
        .env("BATON_EXAMPLE_SYSTEM_DATABASE_URL", role("baton_example_system"))
        .env("BATON_REDIS_URL", platform.redis_url())
        .env("BATON_AUTH_URL", format!("http://{auth}"))
        .env("BATON_TENANCY_URL", format!("http://{tenancy}"))
        .env("BATON_LEDGER_URL", format!("file://{}", platform.data().join("ledger").display()));
    let checked = doctor.output().unwrap();
    let report = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{report}{}", String::from_utf8_lossy(&checked.stderr));
    for line in [
        "configuration",
        "migrations",
        "is bound by row-level security",
        "quotes no values",
        "BATON_TENANCY_URL answers",
        "BATON_LEDGER_URL answers",
    ] {
        assert!(report.lines().any(|found| found.starts_with("  ok") && found.contains(line)), "{line}: {report}");
    }
}

#[test]
fn manifests_of_the_example_follow_from_its_row() {
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(repository().join("k8s")).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let base = copy.path().join("k8s/base");
    let written = example_binary().arg("manifests").arg(&base).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let rendered = Command::new("kubectl").arg("kustomize").arg(&base).output().unwrap();
    let errors = String::from_utf8_lossy(&rendered.stderr);
    assert!(rendered.status.success() && errors.is_empty(), "{errors}");

    let objects: Vec<Value> = serde_yaml_ng::Deserializer::from_slice(&rendered.stdout)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .collect();
    let find = |kind: &str, name: &str| {
        let found = objects.iter().find(|it| it["kind"] == kind && it["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    };
    let kinds = ["ServiceAccount", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"];
    for kind in kinds {
        find(kind, "example");
    }
    let pod = &find("Deployment", "example")["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["serve", "example"]));
    assert!(container["ports"].as_array().unwrap().iter().any(|port| port["containerPort"] == 50099), "{container}");
    for peer in ["auth", "tenancy"] {
        assert_eq!(pod["metadata"]["labels"][format!("calls.baton/{peer}")], "true", "{pod}");
    }
    let gateway = &find("Deployment", "gateway")["spec"]["template"];
    assert_eq!(gateway["metadata"]["labels"]["calls.baton/example"], "true");
    let variables = gateway["spec"]["containers"][0]["env"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["name"] == "BATON_EXAMPLE_URL"));
    let config = objects.iter().find(|it| it["kind"] == "ConfigMap").unwrap();
    assert_eq!(config["data"]["BATON_EXAMPLE_URL"], "http://example:50099");
}

/// A service is its contract, its SQL and its rules. What else it needs is this short; 60 lines without the RPC that
/// streams.
#[test]
fn example_has_at_most_75_lines_of_its_own() {
    let lines = ["lib.rs", "main.rs", "events.rs", "rpc.rs"].map(|name| {
        let text = fs::read_to_string(repository().join("tests/example/src").join(name)).unwrap();
        let statement = |line: &&str| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with("//") && !line.starts_with("#!") && !line.starts_with("mod ")
        };
        // Imports are up to the first item.
        let body = text.split("\n\n").filter(|paragraph| !paragraph.trim_start().starts_with("use "));
        body.flat_map(str::lines).filter(statement).count()
    });
    assert!(lines.iter().sum::<usize>() <= 75, "{lines:?}");
}
