//! The past of tasks, for services that replay it.

use std::collections::BTreeMap;

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{ListStateTimesRequest, ListTaskHistoryRequest, ListTaskHistoryResponse, Task, TaskStateTimes},
    convert::timestamp,
};
use baton_testkit::Person;
use chrono::{DateTime, TimeDelta, Utc};

use crate::fixture::{Fixture, error_reason, new_task, title_change};

async fn page(
    fixture: &Fixture,
    person: &Person,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    after: Option<&Task>,
) -> Result<ListTaskHistoryResponse, tonic::Status> {
    let message = ListTaskHistoryRequest {
        from: Some(timestamp(from)),
        to: Some(timestamp(to)),
        after_task_id: after.map(|task| task.id.clone()),
        after_version: after.map_or(0, |task| task.version),
    };
    Ok(fixture.tasks().list_task_history(fixture.call(person, message)).await?.into_inner())
}

#[tokio::test]
async fn events_of_visible_tasks_come_with_the_tasks_after_them() {
    let fixture = Fixture::new().await;
    let (me, other) = (&fixture.team.user_a1, &fixture.team.user_b1);
    // More than two pages, and more than a snapshot of each task.
    let mut expected: BTreeMap<(String, i32), String> = BTreeMap::new();
    let early = fixture.create(me, new_task("Early")).await.unwrap();
    fixture.clock.advance(TimeDelta::seconds(1));
    let from = fixture.clock.now();
    let mut tasks = vec![early];
    for n in 0..9 {
        tasks.push(fixture.create(me, new_task(&format!("Task {n}"))).await.unwrap());
    }
    for task in tasks.iter().skip(1) {
        expected.insert((task.id.clone(), 1), task.title.clone());
    }
    for n in 0..110 {
        for task in &tasks {
            fixture.clock.advance(TimeDelta::milliseconds(1));
            let title = format!("{} {n}", task.title);
            let after = fixture.update(me, &task.id, &["title"], title_change(&title)).await.unwrap();
            expected.insert((after.id, after.version), title);
        }
    }
    // Neither others' tasks nor those in the trash.
    fixture.create(other, new_task("Theirs")).await.unwrap();
    let deleted = fixture.create(me, new_task("Deleted")).await.unwrap();
    fixture.delete(me, &deleted.id).await.unwrap();
    fixture.clock.advance(TimeDelta::seconds(1));
    let range = (from, fixture.clock.now());

    let (mut found, mut last, mut pages, mut firsts): (BTreeMap<_, _>, Option<Task>, _, _) =
        (BTreeMap::new(), None, 0, 0);
    loop {
        let response = page(&fixture, me, range, last.as_ref()).await.unwrap();
        let total = (pages == 0).then_some(i32::try_from(expected.len()).unwrap());
        assert_eq!(response.total, total);
        pages += 1;
        let mut before: Option<Task> = None;
        for event in response.events {
            let after = event.after.unwrap();
            match (&before, &event.before) {
                // Whoever reads the page knows the task already.
                (Some(before), None) if before.id == after.id => assert_eq!(before.version + 1, after.version),
                (_, Some(first)) => {
                    firsts += 1;
                    assert_eq!((&first.id, first.version + 1), (&after.id, after.version));
                }
                (_, None) => assert_eq!(after.version, 1, "a new task"),
            }
            assert!(event.changed_fields.contains(&"title".to_owned()));
            found.insert((after.id.clone(), after.version), after.title.clone());
            (before, last) = (Some(after.clone()), Some(after));
        }
        if !response.has_more {
            break;
        }
    }
    assert_eq!(found, expected);
    // The task from before, and those that a page has cut.
    assert_eq!((pages, firsts), (3, 3));
}

#[tokio::test]
async fn history_has_a_limit() {
    let fixture = Fixture::new().await;
    let now = fixture.clock.now();
    let refused = page(&fixture, &fixture.team.user_a1, (now - TimeDelta::days(31), now), None).await;
    assert_eq!(error_reason(refused), Reason::ValidationFailed);
}

#[tokio::test]
async fn state_times_are_those_of_the_last_changes_of_status_and_assignee() {
    let fixture = Fixture::new().await;
    let (boss, me, other) = (&fixture.team.manager_a, &fixture.team.user_a1, &fixture.team.user_b1);
    let times = async |person: &Person, ids: &[&str]| {
        let message = ListStateTimesRequest { task_ids: ids.iter().map(|&id| id.to_owned()).collect() };
        let response = fixture.tasks().list_state_times(fixture.call(person, message)).await.unwrap();
        response.into_inner().tasks
    };
    let later = || {
        fixture.clock.advance(TimeDelta::seconds(60));
        Some(timestamp(fixture.clock.now()))
    };
    let created = Some(timestamp(fixture.clock.now()));
    let task = fixture.create(boss, new_task("Ship it")).await.unwrap();
    let new = TaskStateTimes { task_id: task.id.clone(), status_since: created, assignee_since: None };
    assert_eq!(times(boss, &[&task.id]).await, [new]);
    let assigned = later();
    fixture.assign(boss, &task.id, me.user_id).await.unwrap();
    let started = later();
    fixture.start(me, &task.id).await.unwrap();
    later();
    fixture.update(boss, &task.id, &["title"], title_change("Ship them")).await.unwrap();
    let expected = TaskStateTimes { task_id: task.id.clone(), status_since: started, assignee_since: assigned };
    assert_eq!(times(me, &[&task.id]).await, [expected]);
    // Whoever does not see it learns nothing.
    assert_eq!(times(other, &[&task.id]).await, []);
}
