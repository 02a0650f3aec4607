//! The owner of an account exports and erases what it has of a member; agreements and policies are accepted.

use baton_tests::{Platform, eventually};
use serde_json::{Value, json};

use crate::{
    data_export::{archive_of, rows},
    erasure::connect,
};

#[tokio::test]
async fn owners_export_and_erase_what_their_account_has_of_a_member() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (owner, member) = (&team.owner, &team.user);
    let account = team.account_id;
    // The member works here, and in an account of their own.
    let task = member.post("/v1/tasks", &json!({"title": "Here", "visibility": "account"})).ok().await;
    let task = task["id"].as_str().unwrap().to_owned();
    let elsewhere = member.create_account("Elsewhere").await;
    let there = member.at(elsewhere);
    there.post("/v1/tasks", &json!({"title": "ELSEWHERE-TITLE"})).ok().await;
    there.post("/v1/views", &json!({"name": "ELSEWHERE-VIEW", "source": "list"})).ok().await;
    member.post("/v1/views", &json!({"name": "HERE-VIEW", "source": "list"})).ok().await;
    let handle = member_handle(&team).await;
    let comment = json!({"body": format!("Thanks, @{handle}")});
    let comment = owner.post(&format!("/v1/tasks/{task}/comments"), &comment).ok().await;

    let requests = format!("/v1/accounts/{account}/members/{}/privacy-requests", member.id);
    let request = |action: &str| owner.post(&requests, &json!({"action": action}));
    // Nobody but owners, nobody's members, and no account but one's own.
    team.super_manager.post(&requests, &json!({"action": "export"})).refused(403, "PERMISSION_MISSING").await;
    member.post(&requests, &json!({"action": "export"})).refused(403, "PERMISSION_MISSING").await;
    let stranger = platform.person("eve").await;
    let of_stranger = format!("/v1/accounts/{account}/members/{}/privacy-requests", stranger.id);
    owner.post(&of_stranger, &json!({"action": "export"})).refused(404, "MEMBER_NOT_FOUND").await;
    let of_other = format!("/v1/accounts/{elsewhere}/members/{}/privacy-requests", member.id);
    owner.post(&of_other, &json!({"action": "export"})).refused(403, "NOT_A_MEMBER").await;

    // The export has what is of this account, and no scores.
    let requested = request("export").ok().await;
    assert_eq!(
        (&requested["user_id"], &requested["requested_by"], &requested["request"]["kind"]),
        (&json!(member.id), &json!(owner.id), &json!("member_export"))
    );
    let path = format!("/v1/accounts/{account}/privacy-requests/{}", requested["request"]["id"].as_str().unwrap());
    eventually("the export", || async { (owner.get(&path).ok().await["request"]["state"] == "ready").then_some(()) })
        .await;
    let download = owner.post(&format!("{path}/download"), &json!({})).ok().await;
    let files = archive_of(download["url"].as_str().unwrap()).await;
    assert_eq!(files["manifest.json"]["account_id"], json!(account));
    assert!(!files.contains_key("analytics.json"));
    assert_eq!(rows(&files, "settings.json", "saved_views").len(), 1);
    let text = serde_json::to_string(&files).unwrap();
    assert!(text.contains("HERE-VIEW") && !text.contains("ELSEWHERE") && !text.contains(&elsewhere.to_string()));
    // It is the owner's, and no request of the member.
    assert_eq!(member.get("/v1/privacy/requests").ok().await["meta"]["total_count"], 0);
    let id = requested["request"]["id"].as_str().unwrap();
    member.get(&format!("/v1/privacy/data-export/{id}")).refused(404, "EXPORT_NOT_FOUND").await;
    stranger.get(&path).refused(403, "NOT_A_MEMBER").await;

    // The erasure waits until they have left, and keeps what they have elsewhere.
    request("erasure").refused(409, "MEMBER_ACTIVE").await;
    owner.delete(&format!("/v1/accounts/{account}/members/{}", member.id)).ok().await;
    let key = uuid::Uuid::new_v4().to_string();
    let erasure = request("erasure").header("idempotency-key", &key).ok().await;
    assert_eq!(request("erasure").header("idempotency-key", &key).ok().await, erasure);
    request("erasure").refused(409, "ERASURE_SCHEDULED").await;
    let path = format!("/v1/accounts/{account}/privacy-requests/{}", erasure["request"]["id"].as_str().unwrap());
    let done = eventually("the erasure", || async {
        let id: uuid::Uuid = erasure["request"]["id"].as_str().unwrap().parse().unwrap();
        sqlx::query(
            "update privacy.erasures set found_none_at = found_none_at - interval '61 minutes', member_count_at = now()
             where request_id = $1 and found_none_at > now() - interval '1 hour'",
        )
        .bind(id)
        .execute(&mut connect(&platform).await)
        .await
        .unwrap();
        let request = owner.get(&path).ok().await;
        (request["request"]["state"] == "completed").then_some(request)
    })
    .await;
    let receipts = done["request"]["receipts"].as_array().unwrap();
    assert_eq!(receipts.len(), 5, "one for each other service: {receipts:?}");
    let listed = owner.get(&format!("/v1/accounts/{account}/privacy-requests")).ok().await;
    let kinds = listed["requests"].as_array().unwrap().iter().map(|one| one["request"]["kind"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), [json!("member_erasure"), json!("member_export")]);

    let views: Vec<String> = sqlx::query_scalar("select name from task.saved_views where owner_id = $1")
        .bind(member.id)
        .fetch_all(&mut connect(&platform).await)
        .await
        .unwrap();
    assert_eq!(views, ["ELSEWHERE-VIEW"]);
    let comments = owner.get(&format!("/v1/tasks/{task}/comments")).ok().await;
    assert_eq!(comments["comments"][0]["id"], comment["id"]);
    assert_eq!(comments["comments"][0]["body"], "Thanks, (erased)");
    owner.get(&format!("/v1/accounts/{account}/members/{}", member.id)).refused(404, "MEMBER_NOT_FOUND").await;
    assert_eq!(there.get("/v1/tasks").ok().await["meta"]["total_count"], 1, "they still sign in, and work elsewhere");
    let logged = owner.get("/v1/activity-logs?resource_type=member_request").ok().await;
    assert!(logged["meta"]["total_count"].as_u64().unwrap() >= 3, "{logged}");
}

/// Whoever rejoins before the erasure is complete keeps what is there then.
#[tokio::test]
async fn erasure_of_a_member_who_rejoins_is_canceled() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (owner, member, account) = (&team.owner, &team.user, team.account_id);
    owner.delete(&format!("/v1/accounts/{account}/members/{}", member.id)).ok().await;
    let path = format!("/v1/accounts/{account}/members/{}/privacy-requests", member.id);
    let request = owner.post(&path, &json!({"action": "erasure"})).ok().await;
    let id: uuid::Uuid = request["request"]["id"].as_str().unwrap().parse().unwrap();
    let path = format!("/v1/accounts/{account}/privacy-requests/{id}");
    let is_in = async |state: &str| (owner.get(&path).ok().await["request"]["state"] == state).then_some(());
    eventually("the erasure is counted", || is_in("verifying")).await;
    let invitation = json!({"email": member.email, "role": "user", "manager_id": team.manager.id});
    owner.post(&format!("/v1/accounts/{account}/members"), &invitation).ok().await;
    // The mail of the first invitation is there, too.
    eventually("they rejoin", || async {
        let token = platform.mailed_token(&member.email, "/accept-invitation").await;
        let accepted = member.post("/v1/invitations/accept", &json!({"token": token})).send().await;
        (accepted.status == 200).then_some(())
    })
    .await;
    member.post("/v1/tasks", &json!({"title": "Back again"})).ok().await;
    let count = "update privacy.erasures set member_count_at = now() where request_id = $1";
    sqlx::query(count).bind(id).execute(&mut connect(&platform).await).await.unwrap();
    eventually("it is canceled", || is_in("canceled")).await;
    assert_eq!(member.get("/v1/tasks").ok().await["tasks"][0]["title"], "Back again");
    owner.get(&format!("/v1/accounts/{account}/members/{}", member.id)).ok().await;
}

/// The handle of the team's user.
async fn member_handle(team: &baton_tests::Team) -> String {
    let path = format!("/v1/accounts/{}/members/{}", team.account_id, team.user.id);
    let member: Value = team.owner.get(&path).ok().await;
    member["handle"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn enterprise_accounts_need_an_agreement() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let dpa_path = format!("/v1/accounts/{}/dpa", team.account_id);
    let settings = format!("/v1/accounts/{}/settings", team.account_id);
    let analytics = format!("/v1/accounts/{}/analytics", team.account_id);
    let dpa = team.owner.get(&dpa_path).ok().await;
    assert_eq!((&dpa["is_required"], dpa.get("accepted_version")), (&json!(false), Some(&Value::Null)), "{dpa}");
    // Nobody needs one before.
    team.owner.patch(&settings, &json!({"analytics_enabled": true})).ok().await;
    team.owner.patch(&settings, &json!({"analytics_enabled": false})).ok().await;
    sqlx::query("update tenancy.accounts set subscription_tier = 'enterprise' where id = $1")
        .bind(team.account_id)
        .execute(&mut connect(&platform).await)
        .await
        .unwrap();
    assert_eq!(team.owner.get(&dpa_path).ok().await["is_required"], true);
    assert_eq!(team.owner.get(&settings).ok().await["ai_enabled"], false, "what was on before is off without one");
    team.owner.patch(&settings, &json!({"analytics_enabled": true})).refused(409, "DPA_REQUIRED").await;
    team.owner.patch(&settings, &json!({"ai_enabled": true})).refused(409, "DPA_REQUIRED").await;
    team.owner.get(&analytics).refused(409, "DPA_REQUIRED").await;
    // Owners accept what they have read.
    let accept = |sha256: &Value| json!({"version": dpa["version"], "sha256": sha256});
    let read = accept(&dpa["sha256"]);
    team.super_manager.post(&dpa_path, &read).refused(403, "PERMISSION_MISSING").await;
    team.owner.post(&dpa_path, &accept(&json!("0".repeat(64)))).refused(409, "NOTICE_OUTDATED").await;
    let accepted = team.owner.post(&dpa_path, &read).ok().await;
    assert_eq!(team.owner.get(&settings).ok().await["ai_enabled"], true);
    assert_eq!((&accepted["accepted_version"], &accepted["accepted_by"]), (&dpa["version"], &json!(team.owner.id)));
    assert_eq!(team.owner.post(&dpa_path, &read).ok().await, accepted, "once");
    team.owner.patch(&settings, &json!({"analytics_enabled": true, "ai_enabled": true})).ok().await;
    team.owner.get(&analytics).ok().await;
}

#[tokio::test]
async fn people_accept_policies() {
    let platform = Platform::start().await;
    let ann = platform.person("ann").await;
    let policies = ann.get("/v1/privacy/policies").ok().await;
    let ids: Vec<&str> = policies["policies"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["privacy", "terms"]);
    assert!(policies["policies"].as_array().unwrap().iter().all(|policy| policy["is_accepted"] == false), "{policies}");
    let accept =
        |id: &str, version: u32| ann.post(&format!("/v1/privacy/policies/{id}/accept"), &json!({"version": version}));
    accept("terms", 2).refused(409, "NOTICE_OUTDATED").await;
    accept("cookies", 1).refused(404, "POLICY_UNKNOWN").await;
    let accepted = accept("terms", 1).ok().await;
    assert_eq!((&accepted["is_accepted"], &accepted["accepted_version"]), (&json!(true), &json!(1)));
    assert_eq!(accept("terms", 1).ok().await, accepted, "once");
    assert_eq!(ann.get("/v1/privacy/policies").ok().await["policies"][0]["is_accepted"], false);
    let subprocessors = platform.rest().get("/v1/privacy/subprocessors").ok().await;
    assert_eq!(subprocessors, json!({"subprocessors": []}), "none is configured");
}
