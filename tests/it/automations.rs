//! Rules over REST, and what they do whatever process dies.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use baton_tests::{Person, Platform, Services, eventually};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

async fn history(person: &Person, rule: &Value) -> Vec<Value> {
    let (mut found, mut page) = (Vec::new(), 1);
    loop {
        let path = format!("/v1/automations/{}/executions?per_page=100&page={page}", rule["id"].as_str().unwrap());
        let list = person.get(&path).ok().await;
        let executions = list["executions"].as_array().unwrap();
        found.extend(executions.iter().cloned());
        if executions.len() < 100 {
            return found;
        }
        page += 1;
    }
}

#[tokio::test]
async fn rule_is_created_tested_run_and_stopped() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (ada, boss) = (&team.user, &team.manager);
    let catalogue = ada.get("/v1/automations/catalogue").ok().await;
    assert!(catalogue["triggers"].as_array().unwrap().iter().any(|it| it["type"] == "task_paused"), "{catalogue}");
    let mut new = json!({
        "name": "Tell my manager",
        "trigger_type": "task_paused",
        "trigger_conditions": {"priority": "high"},
        "actions": [{"type": "notify", "to": "manager", "message": "{{title}} is paused"}, {"short": "add_tag:waiting"}],
    });
    let rule = ada.post("/v1/automations", &new).ok().await;
    assert_eq!(
        rule["sentence"],
        "When a task is paused and the priority is high: notify the assignee's manager “{{title}} is paused”, then add \
         the tag “waiting”."
    );
    assert_eq!((&rule["version"], &rule["warnings"], &rule["enabled"]), (&json!(1), &json!([]), &json!(true)));
    assert_eq!(rule["actions"][1], json!({"type": "add_tag", "tag": "waiting"}));
    new["actions"][0]["to"] = json!("everybody");
    let refused = ada.post("/v1/automations", &new).refused(400, "VALIDATION_FAILED").await;
    assert_eq!(refused["errors"][0]["field"], "actions[0].to", "{refused}");

    let new = json!({"title": "Ship it", "priority": "high", "assigned_to": ada.id});
    let task = ada.post("/v1/tasks", &new).ok().await;
    let id = task["id"].as_str().unwrap();
    let test = json!({"automation_id": rule["id"], "task_id": id});
    let tested = ada.post("/v1/automations/test", &test).ok().await;
    assert_eq!((&tested["matches"], &tested["actions"][0]["outcome"]), (&json!(true), &json!("succeeded")), "{tested}");

    ada.post(&format!("/v1/tasks/{id}/start"), &json!({})).ok().await;
    ada.post(&format!("/v1/tasks/{id}/pause"), &json!({"reason": "Lunch"})).ok().await;
    let message = eventually("the manager is told", || async {
        let list = boss.get("/v1/notifications?per_page=100").ok().await;
        list["notifications"].as_array().unwrap().iter().find(|it| it["type"] == "message").cloned()
    })
    .await;
    assert_eq!((&message["text"], &message["task_id"]), (&json!("Ship it is paused"), &json!(id)));
    let execution = eventually("the execution ends", || async {
        history(ada, &rule).await.into_iter().find(|it| it["status"] != "running")
    })
    .await;
    assert_eq!(
        (&execution["status"], &execution["depth"], &execution["late"]),
        (&json!("succeeded"), &json!(1), &json!(false))
    );
    let of_task = ada.get(&format!("/v1/tasks/{id}/automations")).ok().await;
    assert_eq!(of_task["executions"][0]["id"], execution["id"]);
    let timeline = ada.get(&format!("/v1/tasks/{id}/timeline?per_page=100")).ok().await;
    let last = timeline["events"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["via"]["service"], &last["via"]["id"]), (&json!("automation"), &rule["id"]), "{timeline}");

    let path = format!("/v1/automations/{}", rule["id"].as_str().unwrap());
    let changed = ada.patch(&path, &json!({"trigger_conditions": {"value": "low"}})).ok().await;
    assert_eq!(changed["trigger_conditions"], json!({"field": "priority", "op": "eq", "value": "low"}));
    assert_eq!(ada.post(&format!("{path}/toggle"), &json!({})).ok().await["enabled"], false);
    ada.delete(&path).ok().await;
    ada.get(&path).refused(404, "AUTOMATION_NOT_FOUND").await;
    let log = eventually("the activity log has the rule", || async {
        let log = team.owner.get("/v1/activity-logs?per_page=100").ok().await;
        let actions: Vec<String> =
            log["activity_logs"].as_array()?.iter().filter_map(|it| Some(it["action"].as_str()?.to_owned())).collect();
        actions.contains(&"automation.deleted".to_owned()).then_some(actions)
    })
    .await;
    assert!(log.contains(&"automation.created".to_owned()), "{log:?}");
}

/// Tasks on which the rule runs, unless `BATON_TEST_EXECUTIONS` says another number: 1,000 take seven minutes.
const TASKS: usize = 150;
/// Processes that are killed on the way.
const KILLS: usize = 5;

#[tokio::test]
async fn every_effect_happens_once_whichever_process_dies() {
    let tasks = std::env::var("BATON_TEST_EXECUTIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(TASKS);
    let mut platform = Platform::start().await;
    let team = platform.team().await;
    let ada = &team.user;
    let actions = json!([
        {"type": "add_comment", "message": "Seen"},
        {"type": "notify", "to": "me", "message": "{{title}}"},
        {"type": "create_task", "title": "After {{title}}", "subtask": true},
        {"type": "set_status", "status": "paused"},
    ]);
    let rule = json!({"name": "All", "trigger_type": "task_created", "actions": actions,
                      "trigger_conditions": {"field": "title", "op": "contains", "value": "Work"}});
    let rule = ada.post("/v1/automations", &rule).ok().await;
    platform.sigterm();
    platform.wait_for_exit().await;
    let mut services = Services::start(&platform, &[]).await;
    services.start_another("automation", "automation-2");

    // The enterprise plan's example: it waits while processes die.
    let boss = &team.manager;
    let notify = json!({"type": "notify", "to": "manager", "message": "{{title}} is paused for long"});
    let waits = json!({"name": "Paused for long", "trigger_type": "task_paused", "actions": [notify],
                       "trigger_conditions": {"for_seconds": 60, "priority": "urgent"}});
    ada.post("/v1/automations", &waits).ok().await;
    let new = json!({"title": "Ship it", "priority": "urgent", "assigned_to": ada.id});
    let paused = ada.post("/v1/tasks", &new).ok().await;
    let path = format!("/v1/tasks/{}", paused["id"].as_str().unwrap());
    ada.post(&format!("{path}/start"), &json!({})).ok().await;
    ada.post(&format!("{path}/pause"), &json!({"reason": "Lunch"})).ok().await;

    let mut random = StdRng::seed_from_u64(7);
    for nth in 0..tasks {
        ada.post("/v1/tasks", &json!({"title": format!("Work {nth}")})).ok().await;
        let between = tasks / KILLS;
        if nth % between == between / 2 {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
            let kills = nth / between;
            let (killed, listens) =
                if kills.is_multiple_of(2) { ("automation", true) } else { ("automation-2", false) };
            services.kill_9(killed);
            if kills == 2 {
                platform.flush_redis().await;
            }
            if listens {
                services.start_one("automation");
            } else {
                services.start_another("automation", "automation-2");
            }
        }
    }
    // A job whose worker died is taken over after a minute, and those after it in its lane wait for it.
    let deadline = Instant::now() + Duration::from_secs(240);
    let executions = loop {
        let executions = history(ada, &rule).await;
        if executions.len() == tasks && executions.iter().all(|it| it["status"] != "running") {
            break executions;
        }
        assert!(Instant::now() < deadline, "{} executions: {executions:#?}", executions.len());
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    for execution in &executions {
        assert_eq!(execution["status"], "succeeded", "{execution}");
    }
    let mut titles: BTreeMap<String, usize> = BTreeMap::new();
    for page in 1..=(2 * tasks + 1).div_ceil(100) {
        let list = ada.get(&format!("/v1/tasks?per_page=100&page={page}&sort=created_at&order=asc")).ok().await;
        for task in list["tasks"].as_array().unwrap() {
            let title = task["title"].as_str().unwrap();
            *titles.entry(title.to_owned()).or_default() += 1;
            if title.contains("Work") && !title.starts_with("After") {
                assert_eq!(task["status"], "paused", "{task}");
            }
        }
    }
    assert_eq!(titles.remove("Ship it"), Some(1));
    assert_eq!(titles.len(), 2 * tasks, "each task has one subtask");
    assert!(titles.values().all(|count| *count == 1), "{titles:?}");
    let mut told = 0;
    for page in 1.. {
        let list = ada.get(&format!("/v1/notifications?per_page=100&page={page}")).ok().await;
        let listed = list["notifications"].as_array().unwrap();
        told += listed.iter().filter(|it| it["type"] == "message").count();
        if listed.is_empty() {
            break;
        }
    }
    assert_eq!(told, tasks);
    let told = eventually("the manager is told", || async {
        let list = boss.get("/v1/notifications?per_page=100").ok().await;
        let texts = list["notifications"].as_array().unwrap().iter().filter(|it| it["type"] == "message");
        let texts: Vec<Value> = texts.map(|it| it["text"].clone()).collect();
        (!texts.is_empty()).then_some(texts)
    })
    .await;
    assert_eq!(told, ["Ship it is paused for long"]);
    let mut commented = 0;
    for execution in &executions {
        let path = format!("/v1/tasks/{}/comments", execution["task_id"].as_str().unwrap());
        commented += ada.get(&path).ok().await["comments"].as_array().unwrap().len();
    }
    assert_eq!(commented, tasks);
}
