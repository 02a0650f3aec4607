//! Comments, mentions and reactions over REST, and their notifications.

use baton_tests::{Person, Platform, Team, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

fn texts<'v>(list: &'v Value, field: &str) -> Vec<&'v str> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap()).collect()
}

async fn handle(of: &Person, account_id: Uuid, handle: &str) {
    let path = format!("/v1/accounts/{account_id}/members/me");
    let member = of.patch(&path, &json!({"handle": handle})).ok().await;
    assert_eq!((&member["handle"], &member["user_id"]), (&json!(handle), &json!(of.id)));
}

/// Waits until a user's comment notifications are these, newest first.
async fn wait_for_notifications(person: &Person, expected: &[&str]) {
    eventually("notifications", async || {
        let list = person.get("/v1/notifications?per_page=100").ok().await;
        let kinds = texts(&list["notifications"], "type").into_iter();
        let kinds: Vec<_> = kinds.filter(|kind| ["mentioned", "commented"].contains(kind)).collect();
        (kinds == expected).then_some(())
    })
    .await;
}

async fn named_team(platform: &Platform) -> Team {
    let team = platform.team().await;
    for (role, person) in team.roles() {
        handle(person, team.account_id, role).await;
    }
    team
}

#[tokio::test]
async fn comments_notify_mentioned_users_and_watchers() {
    let platform = Platform::start().await;
    let team = named_team(&platform).await;
    let (manager, user, owner) = (&team.manager, &team.user, &team.owner);
    let task = json!({"title": "Sweep", "assigned_to": user.id});
    let task = manager.post("/v1/tasks", &task).ok().await;
    let comments = format!("/v1/tasks/{}/comments", task["id"].as_str().unwrap());

    let body = "Which broom, @user? `@owner` is code, @nobody is nobody, and @Super_Manager is told.";
    let first = manager.post(&comments, &json!({"body": body})).header("idempotency-key", "first").ok().await;
    assert_eq!(first["body"], body);
    assert_eq!(texts(&first["mentions"], "handle"), ["user", "super_manager"]);
    assert_eq!((&first["mentions"][0]["user_id"], &first["mentions"][0]["sees_task"]), (&json!(user.id), &json!(true)));
    let again = manager.post(&comments, &json!({"body": body})).header("idempotency-key", "first").ok().await;
    assert_eq!(again, first);
    wait_for_notifications(user, &["mentioned"]).await;
    wait_for_notifications(&team.super_manager, &["mentioned"]).await;

    let id = first["id"].as_str().unwrap();
    let response = user.post(&comments, &json!({"body": "The *red* one", "parent_id": id})).ok().await;
    assert_eq!((&response["parent_id"], &response["mentions"]), (&json!(id), &json!([])));
    wait_for_notifications(manager, &["commented"]).await;
    wait_for_notifications(&team.super_manager, &["commented", "mentioned"]).await;
    owner.post(&comments, &json!({"body": "  "})).refused(400, "VALIDATION_FAILED").await;

    // An emoji as is, percent-encoded, and by its name.
    let path = format!("/v1/comments/{id}/reactions");
    let thumb = user.call(Method::PUT, &format!("{path}/%F0%9F%91%8D")).ok().await;
    assert_eq!(thumb["reactions"], json!([{"emoji": "👍", "count": 1, "mine": true}]));
    owner.call(Method::PUT, &format!("{path}/+1")).ok().await;
    owner.call(Method::PUT, &format!("{path}/nonsense")).refused(400, "VALIDATION_FAILED").await;
    let read = manager.get(&format!("/v1/comments/{id}")).send().await;
    assert_eq!((read.etag_version(), &read.json()["reply_count"]), ("1", &json!(1)));
    assert_eq!(read.json()["reactions"], json!([{"emoji": "👍", "count": 2, "mine": false}]));
    user.delete(&format!("{path}/%F0%9F%91%8D")).ok().await;
    // A reaction does not change the version, but a conditional read returns 200.
    let comment = format!("/v1/comments/{id}");
    let again = manager.get(&comment).header("if-none-match", read.header("etag")).send().await;
    assert_eq!((again.status, again.etag_version()), (200, "1"));
    let known = manager.get(&comment).header("if-none-match", again.header("etag")).send().await;
    assert_eq!(known.status, 304);

    // An edit notifies added mentions and is protected by If-Match.
    let path = format!("/v1/comments/{id}");
    let edit = json!({"body": "Which broom, @user? Or @owner?"});
    user.patch(&path, &edit).refused(403, "COMMENT_CHANGE_NOT_ALLOWED").await;
    let edited = manager.patch(&path, &edit).header("if-match", "\"1\"").ok().await;
    assert_eq!((&edited["version"], edited["edited_at"].is_string()), (&json!(2), true));
    manager.patch(&path, &json!({"body": "Late"})).header("if-match", "\"1\"").refused(412, "VERSION_MISMATCH").await;
    wait_for_notifications(owner, &["mentioned"]).await;
    wait_for_notifications(user, &["mentioned"]).await;

    // A deleted comment with a reply stays as an empty one.
    manager.delete(&path).ok().await;
    let list = user.get(&comments).ok().await;
    assert_eq!(texts(&list["comments"], "body"), ["", "The *red* one"]);
    assert!(list["comments"][0]["deleted_at"].is_string() && list["meta"]["total_count"] == 2, "{list}");
    owner.delete(&format!("/v1/comments/{}", response["id"].as_str().unwrap())).ok().await;
    assert_eq!(user.get(&comments).ok().await["comments"], json!([]));

    // The activity log has every action, but no text.
    let seen = [
        "comment.created",
        "comment.mentioned",
        "comment.updated",
        "comment.deleted",
        "reaction.added",
        "reaction.removed",
        "watcher.added",
        "member.updated",
    ];
    for action in seen {
        eventually("a row of the activity log", async || {
            let log = owner.get(&format!("/v1/activity-logs?action={action}")).ok().await;
            assert!(!log.to_string().contains("broom"));
            (log["meta"]["total_count"] != json!(0)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn users_without_visibility_are_not_notified() {
    let platform = Platform::start().await;
    let (team, other) = (named_team(&platform).await, named_team(&platform).await);
    let (manager, user) = (&team.manager, &team.user);
    let task = manager.create_task("Private").await;
    let (comments, watchers) = (format!("/v1/tasks/{task}/comments"), format!("/v1/tasks/{task}/watchers"));
    let comment = manager.post(&comments, &json!({"body": "What does @user think?"})).ok().await;
    assert_eq!(comment["mentions"][0]["sees_task"], false);
    let path = format!("/v1/comments/{}", comment["id"].as_str().unwrap());
    for stranger in [user, &other.owner] {
        stranger.get(&comments).refused(404, "TASK_NOT_FOUND").await;
        stranger.post(&comments, &json!({"body": "Me too"})).refused(404, "TASK_NOT_FOUND").await;
        stranger.get(&path).refused(404, "COMMENT_NOT_FOUND").await;
        stranger.delete(&path).refused(404, "COMMENT_NOT_FOUND").await;
        stranger.call(Method::PUT, &format!("{path}/reactions/tada")).refused(404, "COMMENT_NOT_FOUND").await;
        stranger.call(Method::PUT, &format!("{watchers}/me")).refused(404, "TASK_NOT_FOUND").await;
        let add = manager.call(Method::PUT, &format!("{watchers}/{}", stranger.id));
        add.refused(422, "WATCHER_INVALID").await;
    }
    assert_eq!(texts(&manager.get(&watchers).ok().await["watchers"], "reason"), ["creator"]);

    // The user sees the task and watches it, then loses visibility.
    let path = format!("/v1/tasks/{task}");
    manager.patch(&path, &json!({"visibility": "account"})).ok().await;
    assert_eq!(user.call(Method::PUT, &format!("{watchers}/me")).ok().await["reason"], "chose");
    manager.post(&comments, &json!({"body": "For all"})).ok().await;
    wait_for_notifications(user, &["commented"]).await;
    manager.patch(&path, &json!({"visibility": "private"})).ok().await;
    manager.post(&comments, &json!({"body": "For few, not for @user"})).ok().await;
    manager.patch(&path, &json!({"visibility": "account"})).ok().await;
    manager.post(&comments, &json!({"body": "For all again"})).ok().await;
    wait_for_notifications(user, &["commented", "commented"]).await;
    // Unwatching is permanent.
    user.delete(&format!("{watchers}/me")).ok().await;
    manager.post(&comments, &json!({"body": "Still there?"})).ok().await;
    manager.post(&comments, &json!({"body": "@user?"})).ok().await;
    wait_for_notifications(user, &["mentioned", "commented", "commented"]).await;
    wait_for_notifications(&other.user, &[]).await;
}

#[tokio::test]
async fn handle_is_unique_per_account() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let members = format!("/v1/accounts/{}/members", team.account_id);
    let list = team.user.get(&members).ok().await;
    for member in list["members"].as_array().unwrap() {
        let (handle, email) = (member["handle"].as_str().unwrap(), member["email"].as_str().unwrap());
        assert!(email.starts_with(handle), "{handle} is derived from {email}");
    }
    let me = format!("{members}/me");
    handle(&team.user, team.account_id, "ada").await;
    team.manager.patch(&me, &json!({"handle": "ada"})).refused(409, "HANDLE_TAKEN").await;
    for handle in [json!("Ada"), json!("a"), json!("a b"), json!(null), json!("ada.")] {
        team.manager.patch(&me, &json!({"handle": handle})).refused(400, "VALIDATION_FAILED").await;
    }
    team.manager.patch(&me, &json!({"role": "owner"})).refused(400, "UNKNOWN_FIELD").await;
}
