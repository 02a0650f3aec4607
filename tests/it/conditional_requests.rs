//! Conditional requests: `ETag`, `If-None-Match` and `If-Match`.

use baton_tests::Platform;
use futures_util::future::join_all;
use serde_json::json;

#[tokio::test]
async fn etag_skips_the_second_read_and_refuses_the_second_write() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let user = &team.user;
    let id = user.create_task("First").await;
    let path = format!("/v1/tasks/{id}");

    let read = user.get(&path).send().await;
    let tag = read.header("etag").to_owned();
    assert_eq!((read.etag_version(), &read.json()["version"]), ("1", &json!(1)));
    for known in [tag.clone(), format!("W/{tag}"), format!("\"7\", {tag}"), "*".to_owned()] {
        let again = user.get(&path).header("if-none-match", &known).send().await;
        assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", &*tag), "{known}");
    }
    // A user without visibility gets 404, even with a matching tag.
    let other = platform.team().await;
    other.user.get(&path).header("if-none-match", &tag).refused(404, "TASK_NOT_FOUND").await;

    let change = |title: &str| user.patch(&path, &json!({"title": title}));
    let changed = change("Second").header("if-match", &tag).send().await;
    assert_eq!((changed.status, changed.etag_version(), &changed.json()["title"]), (200, "2", &json!("Second")));
    let problem = change("Lost").header("if-match", "\"1\"").refused(412, "VERSION_MISMATCH").await;
    assert_eq!(problem["metadata"]["version"], "2", "{problem}");
    user.delete(&path).header("if-match", "\"1\"").refused(412, "VERSION_MISMATCH").await;
    user.post(&format!("{path}/start"), &json!({})).header("if-match", "\"1\"").refused(412, "VERSION_MISMATCH").await;

    let read = user.get(&path).header("if-none-match", &tag).send().await;
    assert_eq!((read.status, read.etag_version(), &read.json()["title"]), (200, "2", &json!("Second")));
    let started = user.post(&format!("{path}/start"), &json!({})).header("if-match", "\"1\", \"2\"").send().await;
    assert_eq!((started.status, started.etag_version()), (200, "3"), "{}", started.text);
    assert_eq!(change("Any").header("if-match", "*").ok().await["version"], 4);
    // An update without a change keeps the version.
    assert_eq!(change("Any").header("if-match", "\"4\"").ok().await["version"], 4);
    user.delete(&path).header("if-match", "\"4\"").ok().await;
    user.get(&path).header("if-none-match", "\"4\"").refused(404, "TASK_NOT_FOUND").await;
}

#[tokio::test]
async fn etags_differ_between_readers_of_the_same_version() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let id = team.user.create_task("First").await;
    let account = format!("/v1/accounts/{}", team.account_id);
    // Own profiles, both in version 1, and resources that both users see.
    for path in ["/v1/users/me", "/v1/tasks", &account, &format!("/v1/tasks/{id}")] {
        let first = team.user.get(path).send().await;
        let second = team.manager.get(path).send().await;
        assert_eq!((first.status, second.status), (200, 200), "{path}");
        assert_eq!(first.etag_version().parse::<i32>().ok(), second.etag_version().parse::<i32>().ok(), "{path}");
        for (person, own, other) in [(&team.user, &first, &second), (&team.manager, &second, &first)] {
            assert_eq!(person.get(path).header("if-none-match", own.header("etag")).send().await.status, 304, "{path}");
            let response = person.get(path).header("if-none-match", other.header("etag")).send().await;
            assert_eq!((response.status, &response.text), (200, &own.text), "{path}");
            assert!(response.header("cache-control").contains("private"), "{path}");
        }
    }
}

#[tokio::test]
async fn etag_from_before_a_task_was_blocked_still_allows_writes() {
    let platform = Platform::start().await;
    let user = platform.team().await.user;
    let (id, other) = (user.create_task("Paint").await, user.create_task("Scrape").await);
    let path = format!("/v1/tasks/{id}");
    let before = user.get(&path).send().await;
    user.post(&format!("{path}/dependencies"), &json!({"blocked_by": other})).ok().await;
    let blocked = user.get(&path).header("if-none-match", before.header("etag")).send().await;
    assert_eq!((blocked.status, &blocked.json()["blocked"]), (200, &json!(true)));
    assert_ne!(blocked.header("etag"), before.header("etag"));
    let tag = if blocked.etag_version() == before.etag_version() { &before } else { &blocked }.header("etag");
    user.patch(&path, &json!({"title": "Paint it"})).header("if-match", tag).ok().await;
}

#[tokio::test]
async fn one_of_twenty_writers_with_the_same_etag_succeeds() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let id = team.user.create_task("First").await;
    let path = format!("/v1/tasks/{id}");
    for version in 1..=3 {
        let write = async |n: usize| {
            let change = team.user.patch(&path, &json!({"title": format!("Writer {n} of round {version}")}));
            change.header("if-match", &format!("\"{version}\"")).send().await
        };
        let responses = join_all((0..20).map(write)).await;
        let (won, lost): (Vec<_>, Vec<_>) = responses.iter().partition(|response| response.status == 200);
        assert_eq!(won.len(), 1, "{won:?}");
        for response in lost {
            response.refused(412, "VERSION_MISMATCH");
        }
        let now = team.user.get(&path).ok().await;
        assert_eq!((&now["title"], &now["version"]), (&won[0].json()["title"], &json!(version + 1)));
    }
}

#[tokio::test]
async fn merge_patch_keeps_absent_fields_and_clears_null_fields() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let task = json!({
        "title": "All fields", "description": "Long", "priority": "urgent", "due_at": "2030-01-01T00:00:00Z",
        "tags": ["b", "a", "b"], "visibility": "team", "estimated_seconds": 3600,
        "custom_fields": {"keep": 1, "drop": true, "nested": {"a": 1, "b": 2}},
    });
    let task = team.user.post("/v1/tasks", &task).ok().await;
    assert_eq!(task["tags"], json!(["a", "b"]));
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    let patch = json!({
        "description": "Longer", "due_at": null, "estimated_seconds": null, "priority": null,
        "custom_fields": {"drop": null, "new": [1, null, "x"], "nested": {"a": 9}},
    });
    let call = team.user.call(reqwest::Method::PATCH, &path).body("application/merge-patch+json", patch.to_string());
    let after = call.ok().await;
    let mut expected = task.clone();
    for (field, value) in [
        ("description", json!("Longer")),
        ("due_at", json!(null)),
        ("estimated_seconds", json!(null)),
        ("priority", json!("medium")),
        ("custom_fields", json!({"keep": 1, "new": [1, null, "x"], "nested": {"a": 9}})),
        ("version", json!(2)),
        ("updated_at", after["updated_at"].clone()),
    ] {
        expected[field] = value;
    }
    assert_eq!(after, expected);
}
