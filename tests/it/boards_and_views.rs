//! Boards in every layout, saved views, and live board channels.

use baton_tests::{Person, Platform, grpc};
use prost_reflect::{DynamicMessage, Value as Field};
use reqwest::Method;
use serde_json::{Value, json};

use crate::live_updates::{cable, received};

fn titles(tasks: &Value) -> Vec<String> {
    let tasks = tasks.as_array().unwrap_or_else(|| panic!("no tasks: {tasks}"));
    tasks.iter().map(|task| task["title"].as_str().unwrap().to_owned()).collect()
}

async fn due(person: &Person, title: &str, at: &str) -> Value {
    person.post("/v1/tasks", &json!({"title": title, "due_at": at})).ok().await
}

#[tokio::test]
async fn board_has_kanban_calendar_and_timeline_layouts() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let me = &team.user;
    let evening = due(me, "In the evening", "2031-03-01T23:30:00Z").await;
    due(me, "A week later", "2031-03-08T12:00:00Z").await;
    let begun = me.create_task("Begun").await;
    me.post(&format!("/v1/tasks/{begun}/start"), &json!({})).ok().await;

    let board = me.get("/v1/boards/my-board?layout=kanban&sort=rank").ok().await;
    assert_eq!(titles(&board["tasks"]), ["In the evening", "A week later", "Begun"]);
    let pending = &board["columns"][0];
    assert_eq!((&pending["status"], &pending["count"]), (&json!("pending"), &json!(2)), "{board}");
    let calendar = "/v1/boards/my-board?layout=calendar&from=2031-03-01T00:00:00Z&to=2031-03-08T00:00:00Z";
    let board = me.get(&format!("{calendar}&timezone=Europe/Berlin")).ok().await;
    assert_eq!(board["days"], json!([{"date": "2031-03-02", "task_ids": [evening["id"]]}]), "{board}");
    let refusal = me.get(&format!("{calendar}&timezone=Nowhere")).refused(400, "VALIDATION_FAILED").await;
    assert!(refusal.to_string().contains("timezone"), "{refusal}");
    let timeline = me.get("/v1/boards/my-board?layout=timeline").ok().await;
    assert_eq!(timeline["bars"].as_array().unwrap().len(), 3, "{timeline}");
    me.get("/v1/boards/my-board?layout=timeline&from=2031-01-01T00:00:00Z&to=2031-05-01T00:00:00Z")
        .refused(400, "VALIDATION_FAILED")
        .await;
    team.user.get("/v1/boards/team").refused(403, "PERMISSION_MISSING").await;
    let teams = team.manager.get("/v1/boards/team?overdue=false&has_due=true").ok().await;
    assert_eq!(teams["meta"]["total_count"], 2, "{teams}");

    // As of a time before the first task the board is empty.
    let then = me.get("/v1/boards/my-board?as_of=2025-01-01T00:00:00Z").ok().await;
    assert_eq!((titles(&then["tasks"]).len(), &then["meta"]["total_count"]), (0, &json!(0)));
}

#[tokio::test]
async fn shared_view_resolves_me_per_reader() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let view = json!({
        "name": "Urgent", "source": "my", "layout": "kanban", "visibility": "shared",
        "filter": {"priority": ["urgent"], "sort": "due_at", "order": "asc", "tags": ["shop"]},
    });
    let made = team.manager.post("/v1/views", &view).ok().await;
    let path = format!("/v1/views/{}", made["id"].as_str().unwrap());
    let seen = team.user.get(&path).ok().await;
    assert_eq!(seen, made);
    assert_eq!((&seen["filter"]["priority"], &seen["filter"]["sort"]), (&json!(["urgent"]), &json!("due_at")));
    team.user.patch(&path, &json!({"name": "Mine"})).refused(403, "VIEW_CHANGE_NOT_ALLOWED").await;
    let change = json!({"filter": {"tags": null, "search": "broom"}, "name": "Urgent brooms"});
    let changed = team.manager.patch(&path, &change).ok().await;
    assert_eq!(changed["filter"]["priority"], json!(["urgent"]), "the rest of the filter stays: {changed}");
    assert_eq!((&changed["filter"]["tags"], &changed["filter"]["search"]), (&json!([]), &json!("broom")));
    let stale = team.manager.call(Method::PATCH, &path).json(&json!({"name": "x"})).header("if-match", "\"1\"");
    stale.refused(412, "VERSION_MISMATCH").await;
    team.manager
        .post("/v1/views", &json!({"name": "urgent BROOMS", "source": "list"}))
        .refused(409, "VIEW_NAME_TAKEN")
        .await;
    assert_eq!(team.user.get("/v1/views").ok().await["meta"]["total_count"], 1);
    team.manager.delete(&path).ok().await;
    team.user.get(&path).refused(404, "VIEW_NOT_FOUND").await;
}

#[tokio::test]
async fn board_channel_streams_to_authorized_readers_only() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let channel = |board: &str| json!({"channel": "BoardChannel", "board_id": board});
    let of_user = channel(&format!("user-{}", team.user.id));
    let (mine, teams) = (channel("my"), channel("team"));
    let mut to_user = cable(&platform, &team.user, team.account_id, std::slice::from_ref(&mine)).await;
    let mut to_manager = cable(&platform, &team.manager, team.account_id, &[of_user.clone(), teams.clone()]).await;
    for hidden in [channel("team"), channel("account"), channel(&format!("user-{}", team.owner.id))] {
        to_user.write_line(&json!({"subscribe": hidden})).await;
        let response = to_user.wait_for("an answer", |line| line["identifier"] == hidden).await;
        assert_eq!(response["event"], "rejected", "{response}");
    }

    team.owner.create_task("Nobody else's").await;
    let given = json!({"title": "Sweep", "assigned_to": team.user.id});
    let id = team.manager.post("/v1/tasks", &given).ok().await["id"].clone();
    let path = format!("/v1/tasks/{}", id.as_str().unwrap());
    let other = team.user.create_task("Mop").await;
    team.user.post(&format!("{path}/start"), &json!({})).ok().await;
    team.user.post(&format!("{path}/move"), &json!({"after_id": other})).ok().await;
    team.manager.patch(&path, &json!({"title": "Sweep well"})).ok().await;
    team.manager.delete(&path).ok().await;
    for (node, identifier) in [(&mut to_user, &mine), (&mut to_manager, &of_user)] {
        let mut seen = Vec::new();
        while seen.len() < 5 {
            let message = received(node, identifier, |_| true).await;
            if message["task_id"] == id {
                seen.push((
                    message["event"].as_str().unwrap().to_owned(),
                    message["cause"].as_str().unwrap().to_owned(),
                ));
            }
        }
        let expected = [
            ("task_added", "created"),
            ("task_moved", "started"),
            ("task_moved", "moved"),
            ("task_updated", "updated"),
            ("task_removed", "deleted"),
        ];
        assert_eq!(seen, expected.map(|(event, cause)| (event.to_owned(), cause.to_owned())));
    }
    let first = received(&mut to_manager, &teams, |_| true).await;
    assert_eq!(first["task_id"], id, "the owner's task is not on the team board: {first}");
}

#[tokio::test]
async fn grpc_board_stream_through_the_gateway_ends_with_its_session() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let method = baton_proto::pool()
        .get_service_by_name("baton.live.v1.LiveService")
        .and_then(|service| service.methods().find(|method| method.name() == "Watch"))
        .unwrap();
    let mut request = DynamicMessage::new(method.input());
    request.set_field_by_name("channel", Field::EnumNumber(2));
    request.set_field_by_name("board", Field::EnumNumber(1));
    let mut watch =
        grpc::watch(&platform.grpc(), &method, team.user.grpc(Some(team.account_id), request)).await.unwrap();
    let event = |response: &DynamicMessage| {
        let message = response.get_field_by_name("message").unwrap();
        message.as_message().unwrap().get_field_by_name("event").unwrap().as_str().unwrap().to_owned()
    };
    assert_eq!(event(&watch.message().await.unwrap().unwrap()), "", "it begins");
    team.user.create_task("Sweep").await;
    assert_eq!(event(&watch.message().await.unwrap().unwrap()), "task_added");
    team.user.post("/v1/auth/logout", &json!({"refresh_token": team.user.refresh_token})).ok().await;
    let end = loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("an end without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(grpc::info(&end).reason, "SESSION_CLOSED", "{end:?}");
}
