//! Tasks as of a past time.

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{CreateTaskRequest, Task, TaskPriority, TaskStatus, TaskVisibility},
    convert::{timestamp, to_struct},
};
use chrono::TimeDelta;

use crate::fixture::{Fixture, error_reason, invalid_field, new_task, title_change};

#[tokio::test]
async fn task_is_returned_as_of_any_time() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let early = fixture.clock.now() - TimeDelta::microseconds(1);
    // With a value of every type, because a snapshot must keep them all.
    let custom = serde_json::Map::from_iter([("floor".to_owned(), serde_json::json!(3))]);
    let full = CreateTaskRequest {
        description: "All of it".to_owned(),
        priority: TaskPriority::High.into(),
        due_at: Some(timestamp(fixture.clock.now() + TimeDelta::days(2))),
        tags: vec!["cellar".to_owned(), "attic".to_owned()],
        visibility: TaskVisibility::Team.into(),
        estimated_seconds: Some(3_600),
        custom_fields: Some(to_struct(custom)),
        recurrence_rule: Some("FREQ=DAILY".to_owned()),
        ..new_task("Title 0")
    };
    let id = fixture.create(me, full).await.unwrap().id;
    // More than two snapshots, with work before and after each.
    let mut seen: Vec<(chrono::DateTime<chrono::Utc>, Task)> = Vec::new();
    for n in 1..=110 {
        fixture.clock.advance(TimeDelta::seconds(1));
        let task = match n % 11 {
            1 => match fixture.get(me, &id).await.unwrap().status() {
                TaskStatus::Pending => fixture.start(me, &id).await,
                TaskStatus::Paused => fixture.resume(me, &id).await,
                _ => fixture.pause(me, &id, &format!("lunch {n}")).await,
            },
            _ => fixture.update(me, &id, &["title"], title_change(&format!("Title {n}"))).await,
        };
        seen.push((fixture.clock.now(), task.unwrap()));
    }
    let snapshots: Vec<i32> = sqlx::query_scalar("select version from task.task_snapshots order by version")
        .fetch_all(&fixture.context.admin())
        .await
        .unwrap();
    assert_eq!(snapshots, [50, 100]);
    for (time, task) in &seen {
        assert_eq!(&fixture.as_of(me, &id, *time).await.unwrap(), task);
        let later = fixture.as_of(me, &id, *time + TimeDelta::milliseconds(900)).await.unwrap();
        assert_eq!((&later.title, later.version), (&task.title, task.version));
    }
    assert_eq!(fixture.as_of(me, &id, fixture.clock.now() + TimeDelta::days(1)).await.unwrap().version, 111);
    assert_eq!(error_reason(fixture.as_of(me, &id, early).await), Reason::TaskNotFound, "it did not exist yet");

    // Replay starts at the nearest snapshot, so a wrong snapshot shows.
    let lie = r#"update task.task_snapshots set state = state || '{"description": "a lie"}' where version = 50"#;
    sqlx::query(lie).execute(&fixture.context.admin()).await.unwrap();
    for (index, expected) in [(40, "All of it"), (60, "a lie"), (105, "All of it")] {
        assert_eq!(fixture.as_of(me, &id, seen[index].0).await.unwrap().description, expected);
    }
}

#[tokio::test]
async fn past_state_requires_present_visibility() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let me = &team.user_a1;
    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    let created = fixture.clock.now();
    assert_eq!(error_reason(fixture.as_of(&team.user_b1, &id, created).await), Reason::TaskNotFound);
    fixture.clock.advance(TimeDelta::seconds(1));
    fixture.delete(me, &id).await.unwrap();
    assert_eq!(error_reason(fixture.as_of(me, &id, created).await), Reason::TaskNotFound, "it is in the trash");
    let deleted = fixture.clock.now();
    fixture.clock.advance(TimeDelta::seconds(1));
    fixture.restore(me, &id).await.unwrap();
    fixture.as_of(me, &id, created).await.unwrap();
    assert_eq!(error_reason(fixture.as_of(me, &id, deleted).await), Reason::TaskNotFound, "it was in the trash then");

    let request = baton_proto::baton::task::v1::GetTaskRequest {
        id: id.clone(),
        as_of: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
    };
    assert_eq!(invalid_field(fixture.tasks().get_task(fixture.call(me, request)).await), "as_of");
}
