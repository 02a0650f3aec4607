//! UpdateTask: field masks, validation, hierarchy moves, concurrency.

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{CreateTaskRequest, StartTaskRequest, TaskChange, TaskFilter, TaskPriority, TaskVisibility},
    convert::{to_object, to_struct},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{
    Fixture, RpcResult, error_reason, invalid_field, new_task, title_change, update_request, with_header,
};

fn custom_fields_change(value: Value) -> TaskChange {
    let Value::Object(fields) = value else { panic!("an object") };
    TaskChange { custom_fields: Some(to_struct(fields)), ..Default::default() }
}

fn part_of(parent: &str) -> TaskChange {
    TaskChange { parent_task_id: Some(parent.to_owned()), ..Default::default() }
}

#[tokio::test]
async fn update_changes_only_fields_in_its_mask() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("  Sweep ")).await.unwrap().id;
    let change = TaskChange {
        title: "not in the mask".to_owned(),
        description: "All of it".to_owned(),
        priority: TaskPriority::Urgent.into(),
        tags: vec!["b".to_owned(), " a".to_owned(), "b".to_owned()],
        visibility: TaskVisibility::Team.into(),
        estimated_seconds: Some(600),
        ..Default::default()
    };
    let mask = ["description", "priority", "tags", "visibility", "estimated_seconds"];
    let changed = fixture.update(me, &id, &mask, change.clone()).await.unwrap();
    assert_eq!((changed.title.as_str(), changed.description.as_str()), ("Sweep", "All of it"));
    assert_eq!((changed.tags.clone(), changed.version), (vec!["a".to_owned(), "b".to_owned()], 2));
    assert_eq!(fixture.get(me, &id).await.unwrap(), changed, "the response equals the stored task");
    assert_eq!(fixture.update(me, &id, &mask, change).await.unwrap(), changed, "a repetition changes nothing");
    assert_eq!((fixture.timeline(me, &id).await.unwrap().len(), fixture.events(&id).await.len()), (2, 2));
    let (_, event) = fixture.events(&id).await.pop().unwrap();
    let mut names = event.changed_fields;
    names.sort();
    assert_eq!(names, ["description", "estimated_seconds", "priority", "tags", "visibility"]);

    let cleared = fixture.update(me, &id, &mask, TaskChange::default()).await.unwrap();
    assert_eq!((cleared.priority(), cleared.visibility()), (TaskPriority::Medium, TaskVisibility::Private));
    assert_eq!((cleared.tags.len(), cleared.estimated_seconds, cleared.description.as_str()), (0, None, ""));
}

#[tokio::test]
async fn custom_field_values_are_merged() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    let given = json!({"keep": [1, 2.5, null], "gone": {"a": "b"}, "dotted.name": true});
    fixture.update(me, &id, &["custom_fields"], custom_fields_change(given)).await.unwrap();
    let mask = ["custom_fields.gone", "custom_fields.dotted.name", "custom_fields.new"];
    let merged = fixture
        .update(me, &id, &mask, custom_fields_change(json!({"dotted.name": false, "new": 1e300})))
        .await
        .unwrap();
    let expected = json!({"keep": [1, 2.5, null], "dotted.name": false, "new": 1e300});
    assert_eq!(Value::Object(to_object(merged.custom_fields.unwrap())), expected);
    let read = fixture.get(me, &id).await.unwrap();
    assert_eq!(Value::Object(to_object(read.custom_fields.unwrap())), expected);
    let again =
        fixture.update(me, &id, &["custom_fields.new"], custom_fields_change(json!({"new": 1e300}))).await.unwrap();
    assert_eq!(again.version, 3, "an equal value changes nothing");
}

#[tokio::test]
async fn invalid_field_is_named_and_nothing_is_stored() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let long = "x".repeat(17_000);
    let text = |text: &str| Some(text.to_owned());
    let tags = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
    let late = prost_types::Timestamp { seconds: 253_402_300_800, nanos: 0 };
    let blank = || new_task("Sweep");
    for (request, field) in [
        (new_task(" "), "title"),
        (new_task(""), "title"),
        (new_task("a\0"), "title"),
        (CreateTaskRequest { description: "\0".to_owned(), ..blank() }, "description"),
        (CreateTaskRequest { priority: 9, ..blank() }, "priority"),
        (CreateTaskRequest { due_at: Some(late), ..blank() }, "due_at"),
        (CreateTaskRequest { tags: tags(&["a", "\0"]), ..blank() }, "tags[1]"),
        (CreateTaskRequest { estimated_seconds: Some(-1), ..blank() }, "estimated_seconds"),
        (CreateTaskRequest { assigned_to: text("me"), ..blank() }, "assigned_to"),
        (CreateTaskRequest { parent_task_id: text("x"), ..blank() }, "parent_task_id"),
        (
            CreateTaskRequest { custom_fields: custom_fields_change(json!({"a": long})).custom_fields, ..blank() },
            "custom_fields",
        ),
        (
            CreateTaskRequest { custom_fields: custom_fields_change(json!({"a": ["\0"]})).custom_fields, ..blank() },
            "custom_fields.a",
        ),
    ] {
        assert_eq!(invalid_field(fixture.create(me, request).await), field);
    }
    assert!(fixture.list(me, TaskFilter::default()).await.unwrap().is_empty());

    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    let mut fifty = serde_json::Map::new();
    fifty.extend((0..50).map(|n| (n.to_string(), json!(n))));
    fixture.update(me, &id, &["custom_fields"], custom_fields_change(Value::Object(fifty))).await.unwrap();
    for (mask, change, field) in [
        (&[][..], title_change("New"), "update_mask"),
        (&["status"], title_change("New"), "update_mask"),
        (&["title", "assigned_to"], title_change("New"), "update_mask"),
        (&["title"], title_change("  "), "task.title"),
        (&["custom_fields.one-too-many"], custom_fields_change(json!({"one-too-many": 1})), "task.custom_fields"),
        (&["custom_fields.a\0"], custom_fields_change(json!({"a\0": 1})), "task.custom_fields"),
        (&["parent_task_id"], part_of(&id), "task.parent_task_id"),
    ] {
        assert_eq!(invalid_field(fixture.update(me, &id, mask, change).await), field);
    }
    assert_eq!(invalid_field(fixture.pause(me, &id, "").await), "reason");
    fixture.start(me, &id).await.unwrap();
    assert_eq!(invalid_field(fixture.pause(me, &id, "\0").await), "reason");
    let task = fixture.get(me, &id).await.unwrap();
    assert_eq!((task.title.as_str(), task.version), ("Sweep", 3));
}

#[tokio::test]
async fn task_cannot_be_its_own_ancestor() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let me = &team.user_a1;
    let mut ids = Vec::new();
    for title in ["whole", "part", "part of part"] {
        let parent_task_id = ids.last().cloned();
        ids.push(fixture.create(me, CreateTaskRequest { parent_task_id, ..new_task(title) }).await.unwrap().id);
    }
    for part in &ids {
        let refusal = fixture.update(me, &ids[0], &["parent_task_id"], part_of(part)).await;
        assert_eq!(invalid_field(refusal), "task.parent_task_id");
    }
    let unseen = fixture.create(&team.user_b1, new_task("unseen")).await.unwrap().id;
    for absent in [unseen, Uuid::now_v7().to_string()] {
        let refusal = fixture.update(me, &ids[0], &["parent_task_id"], part_of(&absent)).await;
        assert_eq!(error_reason(refusal), Reason::TaskNotFound);
        let refusal = fixture.create(me, CreateTaskRequest { parent_task_id: Some(absent), ..new_task("part") }).await;
        assert_eq!(error_reason(refusal), Reason::TaskNotFound);
    }
    let freed = fixture.update(me, &ids[1], &["parent_task_id"], TaskChange::default()).await.unwrap();
    assert_eq!(freed.parent_task_id, None);
    fixture.update(me, &ids[0], &["parent_task_id"], part_of(&ids[2])).await.unwrap();
}

/// Each move alone is valid; together they would form a cycle.
#[tokio::test]
async fn concurrent_moves_create_no_cycle() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(fixture.create(me, new_task(&format!("Task {n}"))).await.unwrap().id);
    }
    let moves = (0..6).map(|n| {
        let (fixture, me, id, parent) = (fixture.clone(), me.clone(), ids[n].clone(), ids[(n + 1) % 6].clone());
        tokio::spawn(async move { fixture.update(&me, &id, &["parent_task_id"], part_of(&parent)).await })
    });
    let mut done = 0;
    for response in moves.collect::<Vec<_>>() {
        match response.await.unwrap() {
            Ok(_) => done += 1,
            refusal => assert_eq!(invalid_field(refusal), "task.parent_task_id"),
        }
    }
    assert_eq!(done, 5, "all but the one that would close the cycle");
}

#[tokio::test]
async fn one_of_fifty_updates_with_the_same_etag_succeeds() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    for version in 1..=3 {
        let writers = (0..50).map(|n| {
            let (fixture, me, id) = (fixture.clone(), me.clone(), id.clone());
            tokio::spawn(async move {
                let title = format!("Writer {n} of version {version}");
                let request = fixture.call(&me, update_request(&id, &["title"], title_change(&title)));
                let request = with_header(request, "if-match", &format!("\"{version}\""));
                fixture.tasks().update_task(request).await.map(|_| title)
            })
        });
        let mut winners = Vec::new();
        for response in writers.collect::<Vec<_>>() {
            match response.await.unwrap() {
                Ok(winner) => winners.push(winner),
                refusal => assert_eq!(error_reason(refusal), Reason::VersionMismatch),
            }
        }
        let task = fixture.get(me, &id).await.unwrap();
        assert_eq!((task.version, vec![task.title]), (version + 1, winners));
    }
    assert_eq!(fixture.timeline(me, &id).await.unwrap().len(), 4);
}

#[tokio::test]
async fn updates_without_an_etag_are_serialized() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    let writers = (0..20).map(|n| {
        let (fixture, me, id) = (fixture.clone(), me.clone(), id.clone());
        tokio::spawn(async move {
            let name = format!("writer-{n}");
            fixture
                .update(&me, &id, &[&format!("custom_fields.{name}")], custom_fields_change(json!({ name: n })))
                .await
                .unwrap()
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let task = fixture.get(me, &id).await.unwrap();
    assert_eq!((task.version, task.custom_fields.unwrap().fields.len()), (21, 20), "no writer's field is lost");
    assert!(fixture.timeline(me, &id).await.unwrap().iter().map(|entry| entry.version).eq(1..=21));
}

#[tokio::test]
async fn if_match_applies_to_every_mutation() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    let start = |etag: &'static str| {
        let request = with_header(fixture.call(me, StartTaskRequest { id: id.clone() }), "if-match", etag);
        let mut tasks = fixture.tasks();
        async move { tasks.start_task(request).await.map(|response| response.into_inner().task.unwrap()) as RpcResult }
    };
    assert_eq!(error_reason(start("\"2\"").await), Reason::VersionMismatch);
    assert_eq!(error_reason(start("2").await), Reason::PreconditionInvalid);
    assert_eq!(error_reason(start("W/\"1\"").await), Reason::VersionMismatch);
    let unseen =
        |condition| with_header(fixture.call(me, StartTaskRequest { id: id.clone() }), "if-none-match", condition);
    for there in ["*", "\"1\"", "W/\"1-abc\""] {
        assert_eq!(
            error_reason(fixture.tasks().start_task(unseen(there)).await),
            Reason::PreconditionFailed,
            "{there}"
        );
    }
    assert_eq!(start("\"7\", \"1-abc\"").await.unwrap().version, 2);
    let delete = baton_proto::baton::task::v1::DeleteTaskRequest { id: id.clone() };
    let stale = with_header(fixture.call(me, delete.clone()), "if-match", "\"1\"");
    assert_eq!(error_reason(fixture.tasks().delete_task(stale).await), Reason::VersionMismatch);
    fixture.tasks().delete_task(with_header(fixture.call(me, delete), "if-match", "*")).await.unwrap();
}
