//! A person's copy of their data: complete, and without what is others'.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Read as _},
};

use baton_tests::{Person, Platform, eventually};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};

/// Requests an export and waits until it is ready.
pub(crate) async fn export(person: &Person, request: &Value) -> Value {
    let requested = person.post("/v1/privacy/data-export", request).ok().await;
    assert_eq!(requested["status"], "processing", "{requested}");
    let path = format!("/v1/privacy/data-export/{}", requested["export_id"].as_str().unwrap());
    eventually("the export", || async {
        let export = person.get(&path).ok().await;
        (export["status"] != "processing").then_some(export)
    })
    .await
}

/// Downloads an export: its JSON files by name.
pub(crate) async fn download(platform: &Platform, person: &Person, export: &Value) -> BTreeMap<String, Value> {
    let path = format!("/v1/privacy/data-export/{}/download", export["export_id"].as_str().unwrap());
    let download = person.post(&path, &json!({})).ok().await;
    assert_eq!(download["sha256"], export["sha256"]);
    let url = download["url"].as_str().unwrap();
    assert!(url.starts_with(&platform.url()), "{url}");
    let (files, hash) = unpacked(url).await;
    assert_eq!(download["sha256"], hash);
    files
}

/// The JSON files of an archive by name, and its hash.
async fn unpacked(url: &str) -> (BTreeMap<String, Value>, String) {
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/zip".parse().unwrap())
    );
    assert!(response.headers()["content-disposition"].to_str().unwrap().contains(".zip"));
    let bytes = response.bytes().await.unwrap();
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        files.insert(
            file.name().unwrap().into_owned(),
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
        );
    }
    (files, hash)
}

/// The JSON files of an archive by name.
pub(crate) async fn archive_of(url: &str) -> BTreeMap<String, Value> {
    unpacked(url).await.0
}

/// The rows of a table in a file of an export.
pub(crate) fn rows<'f>(files: &'f BTreeMap<String, Value>, file: &str, table: &str) -> Vec<&'f Value> {
    let tables = files[file].as_array().unwrap().iter().filter(|found| found["table"] == table);
    tables.flat_map(|found| found["rows"].as_array().unwrap()).collect()
}

#[tokio::test]
async fn export_has_what_is_theirs_and_nothing_of_others() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let me = &team.user;
    // A task of mine with what others wrote, and one of others with what I wrote.
    let mine = me.post("/v1/tasks", &json!({"title": "My plan", "visibility": "account", "tags": ["mine"]})).ok().await;
    let mine = mine["id"].as_str().unwrap().to_owned();
    team.owner.post(&format!("/v1/tasks/{mine}/comments"), &json!({"body": "OTHERS-COMMENT"})).ok().await;
    let others = json!({"title": "OTHERS-TITLE", "visibility": "account"});
    let others = team.manager.post("/v1/tasks", &others).ok().await["id"].as_str().unwrap().to_owned();
    me.post(&format!("/v1/tasks/{others}/comments"), &json!({"body": "My comment"})).ok().await;
    team.manager.post(&format!("/v1/tasks/{others}/assign"), &json!({"assigned_to": me.id})).ok().await;
    me.post(&format!("/v1/tasks/{others}/reject"), &json!({"reason": "My reason"})).ok().await;
    team.manager.post(&format!("/v1/tasks/{others}/assign"), &json!({"assigned_to": me.id})).ok().await;
    me.post("/v1/views", &json!({"name": "My view", "source": "list"})).ok().await;
    me.post("/v1/api-keys", &json!({"name": "My key"})).ok().await;
    // More rows than one statement reads.
    let tasks: Vec<Value> = (0..600).map(|n| json!({"title": format!("Many {n}")})).collect();
    stream::iter(&tasks).for_each_concurrent(16, |task| async { drop(me.post("/v1/tasks", task).ok().await) }).await;

    let ready = export(me, &json!({})).await;
    assert_eq!(ready["status"], "ready", "{ready}");
    let files = download(&platform, me, &ready).await;
    let names: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    let categories = ["profile", "tasks", "chats", "analytics", "consents", "activity", "settings"];
    let expected: BTreeSet<String> =
        categories.iter().map(|name| format!("{name}.json")).chain(["manifest.json".to_owned()]).collect();
    assert_eq!(names, expected.iter().map(String::as_str).collect());

    let [user] = rows(&files, "profile.json", "users")[..] else { panic!("one user") };
    assert_eq!((&user["email"], &user["id"]), (&json!(me.email), &json!(me.id)));
    let tasks = rows(&files, "tasks.json", "tasks");
    assert_eq!(tasks.len(), 2 + 600, "each once");
    let ids: BTreeSet<&str> = tasks.iter().map(|task| task["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), tasks.len());
    let task = |id: &str| *tasks.iter().find(|task| task["id"] == id).unwrap();
    assert_eq!((&task(&mine)["title"], &task(&mine)["tags"]), (&json!("My plan"), &json!(["mine"])));
    // A task that was mine to do: its text is its creator's.
    assert_eq!((&task(&others)["title"], &task(&others)["created_by"]), (&Value::Null, &json!(team.manager.id)));
    let comments = rows(&files, "tasks.json", "comments");
    assert_eq!(comments.iter().map(|comment| &comment["body"]).collect::<Vec<_>>(), [&json!("My comment")]);
    assert!(rows(&files, "tasks.json", "task_events").iter().any(|event| event["reason"] == "My reason"));
    assert!(!rows(&files, "activity.json", "sessions").is_empty());
    assert!(!rows(&files, "activity.json", "notifications").is_empty());
    assert!(!rows(&files, "activity.json", "activity_logs").is_empty());
    assert_eq!(rows(&files, "settings.json", "api_keys")[0]["name"], "My key");
    assert_eq!(rows(&files, "consents.json", "requests").len(), 1);
    let manifest = &files["manifest.json"];
    let described = &manifest["categories"]["profile"]["tables"][0];
    assert_eq!((&described["service"], &described["table"]), (&json!("auth"), &json!("users")));
    assert!(described["columns"]["email"]["purpose"].is_string() && described["kept"].is_string(), "{described}");

    // Whoever manages and has invited others exports as well.
    for person in [&team.owner, &team.manager] {
        let ready = export(person, &json!({"include_categories": ["profile", "tasks"]})).await;
        assert_eq!(ready["status"], "ready", "{ready}");
        let files = download(&platform, person, &ready).await;
        assert_eq!(rows(&files, "profile.json", "users")[0]["id"], json!(person.id));
    }

    let all = serde_json::to_string(&files).unwrap();
    for foreign in ["OTHERS-COMMENT", "OTHERS-TITLE", &team.owner.email, &team.manager.email, "$argon2id$"] {
        assert!(!all.contains(foreign), "{foreign} is in the export");
    }
}

/// What others may have written since is not for those who have left.
#[tokio::test]
async fn former_members_do_not_export_what_others_may_have_changed() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let task = team.user.post("/v1/tasks", &json!({"title": "Mine", "visibility": "account"})).ok().await;
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    team.user.post(&format!("{path}/comments"), &json!({"body": "My words"})).ok().await;
    let member = format!("/v1/accounts/{}/members/{}", team.account_id, team.user.id);
    team.owner.delete(&member).ok().await;
    team.owner.patch(&path, &json!({"title": "THE SECRET PLAN", "description": "OF THE OTHERS"})).ok().await;
    let ready = export(&team.user, &json!({"include_categories": ["tasks"]})).await;
    let files = download(&platform, &team.user, &ready).await;
    let [exported] = rows(&files, "tasks.json", "tasks")[..] else { panic!("one task") };
    assert_eq!(
        (&exported["id"], &exported["title"], &exported["description"]),
        (&task["id"], &Value::Null, &Value::Null)
    );
    assert_eq!(rows(&files, "tasks.json", "comments")[0]["body"], "My words", "what nobody else can change");
    let all = serde_json::to_string(&files).unwrap();
    assert!(!all.contains("THE SECRET PLAN") && !all.contains("OF THE OTHERS"), "{all}");
}

#[tokio::test]
async fn exports_are_limited_private_and_expire() {
    let mut platform = Platform::start().await;
    let (ann, ben) = (platform.person("ann").await, platform.person("ben").await);
    let ask = || ann.post("/v1/privacy/data-export", &json!({"include_categories": ["profile"]}));
    ann.post("/v1/privacy/data-export", &json!({"include_categories": ["secrets"]}))
        .refused(400, "VALIDATION_FAILED")
        .await;
    let first = export(&ann, &json!({"include_categories": ["profile", "settings"]})).await;
    assert_eq!(first["categories"], json!(["profile", "settings"]));
    let files = download(&platform, &ann, &first).await;
    assert_eq!(files.keys().collect::<Vec<_>>(), ["manifest.json", "profile.json", "settings.json"]);
    for _ in 0..2 {
        export(&ann, &json!({"include_categories": ["profile"]})).await;
    }
    ask().refused(429, "EXPORT_LIMIT").await;
    // One at a time, whoever comes first.
    let (one, other) = tokio::join!(
        ben.post("/v1/privacy/data-export", &json!({})).send(),
        ben.post("/v1/privacy/data-export", &json!({})).send()
    );
    let statuses = BTreeSet::from([one.status, other.status]);
    assert!(statuses == BTreeSet::from([200, 429]) || statuses == BTreeSet::from([200]), "{statuses:?}");
    // A repeated request has the same answer, and is counted once.
    let eve = platform.person("eve").await;
    let repeat = || eve.post("/v1/privacy/data-export", &json!({})).header("idempotency-key", "a");
    assert_eq!(repeat().ok().await, repeat().ok().await);
    assert_eq!(eve.get("/v1/privacy/requests").ok().await["meta"]["total_count"], 1);

    // Nobody else's.
    let id = first["export_id"].as_str().unwrap();
    let path = format!("/v1/privacy/data-export/{id}");
    ben.get(&path).refused(404, "EXPORT_NOT_FOUND").await;
    ben.post(&format!("{path}/download"), &json!({})).refused(404, "EXPORT_NOT_FOUND").await;
    ben.get(&format!("/v1/privacy/requests/{id}")).refused(404, "PRIVACY_REQUEST_NOT_FOUND").await;
    let url = ann.post(&format!("{path}/download"), &json!({})).ok().await["url"].as_str().unwrap().to_owned();
    let forged = url.replace(id, "0198c0de-7a1b-7c3d-8e4f-5a6b7c8d9e0f");
    assert_eq!(reqwest::get(&forged).await.unwrap().status(), 404);
    assert_eq!(reqwest::get(format!("{url}x")).await.unwrap().status(), 404);
    let key = ann.post("/v1/api-keys", &json!({"name": "key"})).ok().await;
    let with_key = platform.rest().with_token(key["key"].as_str().unwrap());
    with_key.get(&path).refused(403, "SESSION_REQUIRED").await;

    // A sign-in of an hour ago is not fresh.
    let mut conn = PgConnection::connect(platform.database_url()).await.unwrap();
    sqlx::query(
        "update auth.sessions set proved_at = now() - interval '1 hour', created_at = now() - interval '1 hour'",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    eventually("a fresh proof is needed", || async {
        let refused = ann.post(&format!("{path}/download"), &json!({})).send().await;
        (refused.status == 403).then(|| refused.refused(403, "REAUTHENTICATION_REQUIRED"))
    })
    .await;

    let requests = ann.get("/v1/privacy/requests?per_page=2").ok().await;
    assert_eq!((&requests["meta"]["total_count"], requests["requests"].as_array().unwrap().len()), (&json!(3), 2));
    let request = ann.get(&format!("/v1/privacy/requests/{id}")).ok().await;
    assert_eq!((&request["kind"], &request["state"]), (&json!("export"), &json!("ready")));
    assert!(request["due_at"].as_str() > request["requested_at"].as_str(), "{request}");

    // A week later.
    let stored: uuid::Uuid = sqlx::query_scalar("select file from privacy.exports where request_id = $1")
        .bind(id.parse::<uuid::Uuid>().unwrap())
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let file = platform.data().join(format!("exports/exports/{stored}.zip"));
    assert!(file.exists(), "{}", file.display());
    sqlx::query("update privacy.exports set available_until = now() - interval '1 second'")
        .execute(&mut conn)
        .await
        .unwrap();
    drop(conn);
    platform.sigterm();
    platform.wait_for_exit().await;
    platform.restart().await;
    let ann = platform.sign_in(&ann.email).await;
    let expired = eventually("the export has expired", || async {
        let export = ann.get(&path).ok().await;
        (export["status"] == "expired").then_some(export)
    })
    .await;
    assert_eq!(expired["categories"], json!(["profile", "settings"]));
    ann.post(&format!("{path}/download"), &json!({})).refused(409, "EXPORT_NOT_READY").await;
    assert!(!file.exists(), "the file was deleted");
}
