//! Tasks as they were.

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{CreateTaskRequest, Task, TaskPriority, TaskStatus, TaskVisibility},
    convert::{timestamp, to_struct},
};
use chrono::TimeDelta;

use crate::desk::{Desk, new, refused, titled, wrong_field};

#[tokio::test]
async fn a_task_is_shown_as_it_was_at_any_time() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let early = desk.clock.now() - TimeDelta::microseconds(1);
    // With a value of every kind, as a snapshot has to keep them all.
    let custom = serde_json::Map::from_iter([("floor".to_owned(), serde_json::json!(3))]);
    let full = CreateTaskRequest {
        description: "All of it".to_owned(),
        priority: TaskPriority::High.into(),
        due_at: Some(timestamp(desk.clock.now() + TimeDelta::days(2))),
        tags: vec!["cellar".to_owned(), "attic".to_owned()],
        visibility: TaskVisibility::Team.into(),
        estimated_seconds: Some(3_600),
        custom_fields: Some(to_struct(custom)),
        recurrence_rule: Some("FREQ=DAILY".to_owned()),
        ..new("Title 0")
    };
    let id = desk.create(me, full).await.unwrap().id;
    // More than two snapshots, with a stretch of work around each.
    let mut seen: Vec<(chrono::DateTime<chrono::Utc>, Task)> = Vec::new();
    for n in 1..=110 {
        desk.clock.advance(TimeDelta::seconds(1));
        let task = match n % 11 {
            1 => match desk.get(me, &id).await.unwrap().status() {
                TaskStatus::Pending => desk.start(me, &id).await,
                TaskStatus::Paused => desk.resume(me, &id).await,
                _ => desk.pause(me, &id, &format!("lunch {n}")).await,
            },
            _ => desk.update(me, &id, &["title"], titled(&format!("Title {n}"))).await,
        };
        seen.push((desk.clock.now(), task.unwrap()));
    }
    let snapshots: Vec<i32> = sqlx::query_scalar("select version from task.task_snapshots order by version")
        .fetch_all(&desk.world.admin())
        .await
        .unwrap();
    assert_eq!(snapshots, [50, 100]);
    for (time, task) in &seen {
        assert_eq!(&desk.as_of(me, &id, *time).await.unwrap(), task);
        let later = desk.as_of(me, &id, *time + TimeDelta::milliseconds(900)).await.unwrap();
        assert_eq!((&later.title, later.version), (&task.title, task.version));
    }
    assert_eq!(desk.as_of(me, &id, desk.clock.now() + TimeDelta::days(1)).await.unwrap().version, 111);
    assert_eq!(refused(desk.as_of(me, &id, early).await), Reason::TaskNotFound, "it was not there yet");

    // Reading begins at the nearest snapshot: a wrong one shows.
    let lie = r#"update task.task_snapshots set state = state || '{"description": "a lie"}' where version = 50"#;
    sqlx::query(lie).execute(&desk.world.admin()).await.unwrap();
    for (index, expected) in [(40, "All of it"), (60, "a lie"), (105, "All of it")] {
        assert_eq!(desk.as_of(me, &id, seen[index].0).await.unwrap().description, expected);
    }
}

#[tokio::test]
async fn the_past_is_for_those_who_see_the_present() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let me = &team.user_a1;
    let id = desk.create(me, new("Sweep")).await.unwrap().id;
    let created = desk.clock.now();
    assert_eq!(refused(desk.as_of(&team.user_b1, &id, created).await), Reason::TaskNotFound);
    desk.clock.advance(TimeDelta::seconds(1));
    desk.delete(me, &id).await.unwrap();
    assert_eq!(refused(desk.as_of(me, &id, created).await), Reason::TaskNotFound, "it is in the trash");
    let deleted = desk.clock.now();
    desk.clock.advance(TimeDelta::seconds(1));
    desk.restore(me, &id).await.unwrap();
    desk.as_of(me, &id, created).await.unwrap();
    assert_eq!(refused(desk.as_of(me, &id, deleted).await), Reason::TaskNotFound, "it was in the trash then");

    let request = baton_proto::baton::task::v1::GetTaskRequest {
        id: id.clone(),
        as_of: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
    };
    assert_eq!(wrong_field(desk.tasks().get_task(desk.call(me, request)).await), "as_of");
}
