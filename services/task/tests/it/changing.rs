//! People change tasks, sometimes at the same time.

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{CreateTaskRequest, StartTaskRequest, TaskChange, TaskFilter, TaskPriority, TaskVisibility},
    convert::{to_object, to_struct},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::desk::{Answer, Desk, new, refused, titled, update, with, wrong_field};

fn free(value: Value) -> TaskChange {
    let Value::Object(fields) = value else { panic!("an object") };
    TaskChange { custom_fields: Some(to_struct(fields)), ..Default::default() }
}

fn part_of(parent: &str) -> TaskChange {
    TaskChange { parent_task_id: Some(parent.to_owned()), ..Default::default() }
}

#[tokio::test]
async fn a_change_takes_what_its_mask_names() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = desk.create(me, new("  Sweep ")).await.unwrap().id;
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
    let changed = desk.update(me, &id, &mask, change.clone()).await.unwrap();
    assert_eq!((changed.title.as_str(), changed.description.as_str()), ("Sweep", "All of it"));
    assert_eq!((changed.tags.clone(), changed.version), (vec!["a".to_owned(), "b".to_owned()], 2));
    assert_eq!(desk.get(me, &id).await.unwrap(), changed, "the answer is what was stored");
    assert_eq!(desk.update(me, &id, &mask, change).await.unwrap(), changed, "the same again is no change");
    assert_eq!((desk.timeline(me, &id).await.unwrap().len(), desk.events(&id).await.len()), (2, 2));
    let (_, event) = desk.events(&id).await.pop().unwrap();
    let mut names = event.changed_fields;
    names.sort();
    assert_eq!(names, ["description", "estimated_seconds", "priority", "tags", "visibility"]);

    let cleared = desk.update(me, &id, &mask, TaskChange::default()).await.unwrap();
    assert_eq!((cleared.priority(), cleared.visibility()), (TaskPriority::Medium, TaskVisibility::Private));
    assert_eq!((cleared.tags.len(), cleared.estimated_seconds, cleared.description.as_str()), (0, None, ""));
}

#[tokio::test]
async fn free_fields_are_merged() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = desk.create(me, new("Sweep")).await.unwrap().id;
    let given = json!({"keep": [1, 2.5, null], "gone": {"a": "b"}, "dotted.name": true});
    desk.update(me, &id, &["custom_fields"], free(given)).await.unwrap();
    let mask = ["custom_fields.gone", "custom_fields.dotted.name", "custom_fields.new"];
    let merged = desk.update(me, &id, &mask, free(json!({"dotted.name": false, "new": 1e300}))).await.unwrap();
    let expected = json!({"keep": [1, 2.5, null], "dotted.name": false, "new": 1e300});
    assert_eq!(Value::Object(to_object(merged.custom_fields.unwrap())), expected);
    let read = desk.get(me, &id).await.unwrap();
    assert_eq!(Value::Object(to_object(read.custom_fields.unwrap())), expected);
    let again = desk.update(me, &id, &["custom_fields.new"], free(json!({"new": 1e300}))).await.unwrap();
    assert_eq!(again.version, 3, "the same value is no change");
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_stored() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let long = "x".repeat(17_000);
    let text = |text: &str| Some(text.to_owned());
    let tags = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
    let late = prost_types::Timestamp { seconds: 253_402_300_800, nanos: 0 };
    let blank = || new("Sweep");
    for (request, field) in [
        (new(" "), "title"),
        (new(""), "title"),
        (new("a\0"), "title"),
        (CreateTaskRequest { description: "\0".to_owned(), ..blank() }, "description"),
        (CreateTaskRequest { priority: 9, ..blank() }, "priority"),
        (CreateTaskRequest { due_at: Some(late), ..blank() }, "due_at"),
        (CreateTaskRequest { tags: tags(&["a", "\0"]), ..blank() }, "tags[1]"),
        (CreateTaskRequest { estimated_seconds: Some(-1), ..blank() }, "estimated_seconds"),
        (CreateTaskRequest { assigned_to: text("me"), ..blank() }, "assigned_to"),
        (CreateTaskRequest { parent_task_id: text("x"), ..blank() }, "parent_task_id"),
        (CreateTaskRequest { custom_fields: free(json!({"a": long})).custom_fields, ..blank() }, "custom_fields"),
        (CreateTaskRequest { custom_fields: free(json!({"a": ["\0"]})).custom_fields, ..blank() }, "custom_fields.a"),
    ] {
        assert_eq!(wrong_field(desk.create(me, request).await), field);
    }
    assert!(desk.list(me, TaskFilter::default()).await.unwrap().is_empty());

    let id = desk.create(me, new("Sweep")).await.unwrap().id;
    let mut fifty = serde_json::Map::new();
    fifty.extend((0..50).map(|n| (n.to_string(), json!(n))));
    desk.update(me, &id, &["custom_fields"], free(Value::Object(fifty))).await.unwrap();
    for (mask, change, field) in [
        (&[][..], titled("New"), "update_mask"),
        (&["status"], titled("New"), "update_mask"),
        (&["title", "assigned_to"], titled("New"), "update_mask"),
        (&["title"], titled("  "), "task.title"),
        (&["custom_fields.one-too-many"], free(json!({"one-too-many": 1})), "task.custom_fields"),
        (&["custom_fields.a\0"], free(json!({"a\0": 1})), "task.custom_fields"),
        (&["parent_task_id"], part_of(&id), "task.parent_task_id"),
    ] {
        assert_eq!(wrong_field(desk.update(me, &id, mask, change).await), field);
    }
    assert_eq!(wrong_field(desk.pause(me, &id, "").await), "reason");
    desk.start(me, &id).await.unwrap();
    assert_eq!(wrong_field(desk.pause(me, &id, "\0").await), "reason");
    let task = desk.get(me, &id).await.unwrap();
    assert_eq!((task.title.as_str(), task.version), ("Sweep", 3));
}

#[tokio::test]
async fn a_task_is_no_part_of_itself() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let me = &team.user_a1;
    let mut ids = Vec::new();
    for title in ["whole", "part", "part of part"] {
        let parent_task_id = ids.last().cloned();
        ids.push(desk.create(me, CreateTaskRequest { parent_task_id, ..new(title) }).await.unwrap().id);
    }
    for part in &ids {
        let refusal = desk.update(me, &ids[0], &["parent_task_id"], part_of(part)).await;
        assert_eq!(wrong_field(refusal), "task.parent_task_id");
    }
    let unseen = desk.create(&team.user_b1, new("unseen")).await.unwrap().id;
    for absent in [unseen, Uuid::now_v7().to_string()] {
        let refusal = desk.update(me, &ids[0], &["parent_task_id"], part_of(&absent)).await;
        assert_eq!(refused(refusal), Reason::TaskNotFound);
        let refusal = desk.create(me, CreateTaskRequest { parent_task_id: Some(absent), ..new("part") }).await;
        assert_eq!(refused(refusal), Reason::TaskNotFound);
    }
    let freed = desk.update(me, &ids[1], &["parent_task_id"], TaskChange::default()).await.unwrap();
    assert_eq!(freed.parent_task_id, None);
    desk.update(me, &ids[0], &["parent_task_id"], part_of(&ids[2])).await.unwrap();
}

/// Each move alone is fine; together they would make a ring.
#[tokio::test]
async fn moves_at_the_same_time_make_no_ring() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(desk.create(me, new(&format!("Task {n}"))).await.unwrap().id);
    }
    let moves = (0..6).map(|n| {
        let (desk, me, id, parent) = (desk.clone(), me.clone(), ids[n].clone(), ids[(n + 1) % 6].clone());
        tokio::spawn(async move { desk.update(&me, &id, &["parent_task_id"], part_of(&parent)).await })
    });
    let mut done = 0;
    for answer in moves.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            Ok(_) => done += 1,
            refusal => assert_eq!(wrong_field(refusal), "task.parent_task_id"),
        }
    }
    assert_eq!(done, 5, "all but the one that would close the ring");
}

#[tokio::test]
async fn of_fifty_writers_of_one_version_one_wins() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = desk.create(me, new("Sweep")).await.unwrap().id;
    for version in 1..=3 {
        let writers = (0..50).map(|n| {
            let (desk, me, id) = (desk.clone(), me.clone(), id.clone());
            tokio::spawn(async move {
                let title = format!("Writer {n} of version {version}");
                let request = desk.call(&me, update(&id, &["title"], titled(&title)));
                let request = with(request, "if-match", &format!("\"{version}\""));
                desk.tasks().update_task(request).await.map(|_| title)
            })
        });
        let mut winners = Vec::new();
        for answer in writers.collect::<Vec<_>>() {
            match answer.await.unwrap() {
                Ok(winner) => winners.push(winner),
                refusal => assert_eq!(refused(refusal), Reason::VersionMismatch),
            }
        }
        let task = desk.get(me, &id).await.unwrap();
        assert_eq!((task.version, vec![task.title]), (version + 1, winners));
    }
    assert_eq!(desk.timeline(me, &id).await.unwrap().len(), 4);
}

#[tokio::test]
async fn writers_without_a_version_go_one_after_the_other() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = desk.create(me, new("Sweep")).await.unwrap().id;
    let writers = (0..20).map(|n| {
        let (desk, me, id) = (desk.clone(), me.clone(), id.clone());
        tokio::spawn(async move {
            let name = format!("writer-{n}");
            desk.update(&me, &id, &[&format!("custom_fields.{name}")], free(json!({ name: n }))).await.unwrap()
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let task = desk.get(me, &id).await.unwrap();
    assert_eq!((task.version, task.custom_fields.unwrap().fields.len()), (21, 20), "no writer's field is lost");
    assert!(desk.timeline(me, &id).await.unwrap().iter().map(|entry| entry.version).eq(1..=21));
}

#[tokio::test]
async fn a_precondition_holds_for_every_kind_of_change() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = desk.create(me, new("Sweep")).await.unwrap().id;
    let start = |etag: &'static str| {
        let request = with(desk.call(me, StartTaskRequest { id: id.clone() }), "if-match", etag);
        let mut tasks = desk.tasks();
        async move { tasks.start_task(request).await.map(|answer| answer.into_inner().task.unwrap()) as Answer }
    };
    assert_eq!(refused(start("\"2\"").await), Reason::VersionMismatch);
    assert_eq!(refused(start("2").await), Reason::PreconditionInvalid);
    assert_eq!(refused(start("W/\"1\"").await), Reason::VersionMismatch);
    let unseen = |condition| with(desk.call(me, StartTaskRequest { id: id.clone() }), "if-none-match", condition);
    for there in ["*", "\"1\"", "W/\"1-abc\""] {
        assert_eq!(refused(desk.tasks().start_task(unseen(there)).await), Reason::PreconditionFailed, "{there}");
    }
    assert_eq!(start("\"7\", \"1-abc\"").await.unwrap().version, 2);
    let delete = baton_proto::baton::task::v1::DeleteTaskRequest { id: id.clone() };
    let stale = with(desk.call(me, delete.clone()), "if-match", "\"1\"");
    assert_eq!(refused(desk.tasks().delete_task(stale).await), Reason::VersionMismatch);
    desk.tasks().delete_task(with(desk.call(me, delete), "if-match", "*")).await.unwrap();
}
