//! The rights to correct data, to restrict its processing and to object to it; and what operators do.

use baton_tests::{PASSWORD, Platform, Services, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::{erasure::request_erasure, mfa};

#[tokio::test]
async fn people_correct_restrict_and_object() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let me = &team.user;

    // A correction is seen by everybody at once.
    let correct = |corrections: Value| me.post("/v1/privacy/rectifications", &json!({"corrections": corrections}));
    let done =
        correct(json!([{"field": "first_name", "value": "Adelheid"}, {"field": "timezone", "value": "Europe/Vienna"}]));
    let done = done.ok().await;
    assert_eq!((&done["kind"], &done["state"]), (&json!("rectification"), &json!("completed")));
    let user = me.get("/v1/users/me").ok().await;
    assert_eq!((&user["first_name"], &user["timezone"]), (&json!("Adelheid"), &json!("Europe/Vienna")));
    correct(json!([{"field": "timezone", "value": "Mars/Olympus"}])).refused(400, "VALIDATION_FAILED").await;
    correct(json!([{"field": "email", "value": "other@example.com"}])).refused(400, "VALIDATION_FAILED").await;
    let twice = json!([{"field": "company", "value": "A"}, {"field": "company", "value": "B"}]);
    correct(twice).refused(400, "VALIDATION_FAILED").await;
    assert_eq!(me.get("/v1/users/me").ok().await["timezone"], "Europe/Vienna", "nothing of it was stored");

    // A restriction holds within a second, and until it is lifted.
    let restriction = me.post("/v1/privacy/restrictions", &json!({})).ok().await;
    assert_eq!((&restriction["kind"], &restriction["state"]), (&json!("restriction"), &json!("in_force")));
    assert_eq!(me.post("/v1/privacy/restrictions", &json!({})).ok().await["id"], restriction["id"], "one at a time");
    let create = || me.post("/v1/tasks", &json!({"title": "More"}));
    eventually("the restriction", || async {
        let refused = create().send().await;
        (refused.status == 409).then(|| refused.refused(409, "PROCESSING_RESTRICTED"))
    })
    .await;
    me.get("/v1/tasks").ok().await;
    correct(json!([{"field": "company", "value": "Acme"}])).ok().await;
    let task = team.manager.post("/v1/tasks", &json!({"title": "Theirs"})).ok().await;
    let assign = format!("/v1/tasks/{}/assign", task["id"].as_str().unwrap());
    team.manager.post(&assign, &json!({"assigned_to": me.id})).refused(409, "PROCESSING_RESTRICTED").await;
    me.delete("/v1/privacy/restrictions").ok().await;
    me.delete("/v1/privacy/restrictions").ok().await;
    eventually("it is lifted", || async { (create().send().await.status == 200).then_some(()) }).await;
    team.manager.post(&assign, &json!({"assigned_to": me.id})).ok().await;

    // An objection ends a consent, or refuses it for good.
    let give = json!({"consents": [{"type": "marketing", "given": true, "method": "settings", "version": 1}]});
    me.post("/v1/privacy/consents", &give).ok().await;
    assert_eq!(me.get("/v1/privacy/email-preferences").ok().await, json!({"marketing": true}));
    let object = |purpose: &str| me.post("/v1/privacy/objections", &json!({"purpose": purpose}));
    assert_eq!(object("marketing").ok().await, json!({"effective": "now"}));
    assert_eq!(object("research").ok().await, json!({"effective": "now"}));
    assert_eq!(me.get("/v1/privacy/email-preferences").ok().await, json!({"marketing": false}));
    let states = me.get("/v1/privacy/consents").ok().await;
    let state = |kind: &str| {
        let found = states["consents"].as_array().unwrap().iter().find(|consent| consent["type"] == kind);
        found.unwrap()["state"].clone()
    };
    assert_eq!((state("marketing"), state("research")), (json!("withdrawn"), json!("refused")));
    object("service").refused(409, "LEGAL_BASIS_FIXED").await;
    object("security").refused(409, "LEGAL_BASIS_FIXED").await;
    object("everything").refused(404, "PURPOSE_UNKNOWN").await;

    // Preferences of mail are that consent.
    let preferences = "/v1/privacy/email-preferences";
    assert_eq!(me.patch(preferences, &json!({"marketing": true})).ok().await, json!({"marketing": true}));
    assert_eq!(me.patch(preferences, &json!({})).ok().await, json!({"marketing": true}));
    assert_eq!(me.patch(preferences, &json!({"marketing": false})).ok().await, json!({"marketing": false}));
    let requests = me.get("/v1/privacy/requests").ok().await;
    let kinds: Vec<&str> =
        requests["requests"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["objection", "objection", "rectification", "restriction", "rectification"]);
}

#[tokio::test]
async fn operators_hold_an_erasure() {
    let mut platform = Platform::start().await;
    let (operator, ann) = (platform.person("operator").await, platform.person("ann").await);
    let (ben, eve) = (platform.person("ben").await, platform.person("eve").await);
    let account = operator.create_account("Operations").await;
    let request = request_erasure(&platform, &ann).await;
    let other = request_erasure(&platform, &ben).await;
    platform.sigterm();
    platform.wait_for_exit().await;
    let _services = Services::start(&platform, &[("BATON_OPERATOR_ACCOUNT", &account.to_string())]).await;
    let holds = "/v1/privacy/legal-holds";
    let place = json!({"user_id": ann.id, "ground": "File 12/2026"});
    // Nobody else, and no operator without a second factor.
    eve.post(holds, &place).refused(403, "OPERATOR_ONLY").await;
    operator.post(holds, &place).refused(403, "SECOND_FACTOR_REQUIRED").await;
    let operator = mfa::with_second_factor(&platform, &operator).await;
    let key = operator.post("/v1/api-keys", &json!({"name": "key", "password": PASSWORD})).ok().await;
    let key = platform.rest().with_token(key["key"].as_str().unwrap());
    key.post(holds, &place).refused(403, "SESSION_REQUIRED").await;
    let hold = operator.post(holds, &place).ok().await;
    assert_eq!((&hold["ground"], &hold["user_id"]), (&json!("File 12/2026"), &json!(ann.id)));
    assert_eq!(operator.post(holds, &json!({"user_id": ann.id, "ground": "Other"})).ok().await, hold);
    assert_eq!(operator.get(holds).ok().await["legal_holds"], json!([hold]));

    // Nothing is kept for longer than the catalogue says.
    eve.get("/v1/privacy/retention").refused(403, "OPERATOR_ONLY").await;
    let report = operator.get("/v1/privacy/retention").ok().await;
    assert_eq!(report["overdue"], 0, "{report}");
    let rules = report["rules"].as_array().unwrap();
    for (service, table, days) in [("auth", "auth_events", 90), ("task", "outbox", 3), ("privacy", "requests", 1095)] {
        let rule = rules.iter().find(|rule| rule["service"] == service && rule["table"] == table).unwrap();
        assert_eq!(rule["days"], days, "{rule}");
        assert!(table != "auth_events" || rule["oldest"].is_string(), "{rule}");
    }

    // The grace period ends, and nothing is erased.
    let status_of = async |request: &Value| {
        let token = json!({"cancellation_token": request["cancellation_token"]});
        platform.rest().post("/v1/privacy/delete-account/status", &token).ok().await["state"].clone()
    };
    let status = || status_of(&request);
    assert_eq!(status().await, "held");
    let mut conn = PgConnection::connect(platform.database_url()).await.unwrap();
    sqlx::query("update privacy.erasures set erase_at = now() - interval '1 day'").execute(&mut conn).await.unwrap();
    let is_erased = || async { (status_of(&other).await == "verifying").then_some(()) };
    eventually("the erasure of somebody else", is_erased).await;
    assert_eq!(status().await, "held");
    let hold_path = format!("{holds}/{}", ann.id);
    operator.delete(&hold_path).ok().await;
    operator.delete(&hold_path).refused(404, "LEGAL_HOLD_NOT_FOUND").await;
    eventually("the erasure goes on", || async { (status().await == "verifying").then_some(()) }).await;
}

/// Whatever has a rule of retention is deleted in time: rows of every rule, as they are after 31 and after 91 days.
#[tokio::test]
async fn nothing_is_overdue_after_months() {
    let mut platform = Platform::start().await;
    let operator = platform.person("operator").await;
    let account = operator.create_account("Operations").await;
    let team = platform.team().await;
    let task = team.user.create_task("Old").await;
    team.owner.post(&format!("/v1/tasks/{task}/comments"), &json!({"body": "Old"})).ok().await;
    team.user.post("/v1/privacy/objections", &json!({"purpose": "marketing"})).ok().await;
    request_erasure(&platform, &team.manager).await;
    platform.sigterm();
    platform.wait_for_exit().await;
    let variables = [("BATON_OPERATOR_ACCOUNT", &*account.to_string())];
    let services = Services::start(&platform, &variables).await;
    let operator = mfa::with_second_factor(&platform, &operator).await;
    let report = operator.get("/v1/privacy/retention").ok().await;
    drop(services);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rules = report["rules"].as_array().unwrap().iter();
    let rules = rules.map(|rule| (text(&rule["service"]), text(&rule["table"]), text(&rule["column"])));
    // All but the session of whoever reads the report.
    let rules: Vec<_> = rules.filter(|(_, table, _)| !table.contains("session")).collect();
    for days in [31, 60] {
        let mut conn = PgConnection::connect(platform.database_url()).await.unwrap();
        let mut dated = Vec::new();
        for (service, table, column) in &rules {
            let shift = format!("update {service}.{table} set {column} = {column} - make_interval(days => {days})");
            let rows = sqlx::query(sqlx::AssertSqlSafe(shift)).execute(&mut conn).await.unwrap().rows_affected();
            if rows > 0 {
                dated.push(format!("{service}.{table}"));
            }
        }
        // The report is of rows, not of nothing. The second time, only what is kept for 90 days is left.
        assert!(dated.len() > if days == 31 { 5 } else { 1 }, "{dated:?}");
        let services = Services::start(&platform, &variables).await;
        eventually("nothing is overdue", || async {
            let report = operator.get("/v1/privacy/retention").send().await;
            (report.status == 200 && report.json()["overdue"] == 0).then_some(())
        })
        .await;
        drop(services);
    }
}
