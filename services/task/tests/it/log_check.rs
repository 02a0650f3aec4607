//! Log check: a task's event log reproduces its row.

use std::collections::BTreeSet;

use baton_proto::baton::task::v1::{CreateTaskRequest, TaskChange, TaskPriority, TaskVisibility};
use baton_task::maintenance::log_check::{Difference, rebuild};
use baton_testkit::Person;
use chrono::TimeDelta;
use futures_util::future::join_all;
use prost_types::Timestamp;
use uuid::Uuid;

use crate::fixture::{Fixture, new_task, new_task_for, title_change};

/// A pseudo-random generator with a fixed seed.
struct Rng(u64);

impl Rng {
    fn next_below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }
}

async fn differences(fixture: &Fixture, only_check: bool) -> (usize, Vec<Difference>) {
    let (mut read, mut found) = (0, Vec::new());
    rebuild(&fixture.context.db("task"), only_check, |more, differences| {
        read += more;
        found.extend(differences);
    })
    .await
    .unwrap();
    (read, found)
}

/// Calls a random action on a random task and returns whether it succeeded.
async fn random_action(fixture: &Fixture, rng: &mut Rng, people: &[&Person], ids: &[String]) -> bool {
    let (actor, other) = (people[rng.next_below(people.len())], people[rng.next_below(people.len())].user_id);
    let id = &ids[rng.next_below(ids.len())];
    let change = TaskChange {
        title: format!("Title {}", rng.next_below(100)),
        description: ["", "With \"quotes\" and ünïcode"][rng.next_below(2)].to_owned(),
        priority: rng.next_below(5) as i32,
        due_at: [None, Some(Timestamp { seconds: 4_000_000_000, nanos: 123_456_789 })][rng.next_below(2)],
        tags: vec![format!("tag {}", rng.next_below(3))],
        visibility: TaskVisibility::Team.into(),
        estimated_seconds: [None, Some(0), Some(60)][rng.next_below(3)],
        parent_task_id: [None, Some(ids[rng.next_below(ids.len())].clone())][rng.next_below(2)].clone(),
        ..Default::default()
    };
    let fields =
        ["title", "description", "priority", "due_at", "tags", "visibility", "estimated_seconds", "parent_task_id"];
    fixture.clock.advance(TimeDelta::microseconds(rng.next_below(5_000_000) as i64 - 100_000));
    match rng.next_below(16) {
        0 | 1 => fixture.start(actor, id).await.is_ok(),
        2 => fixture.pause(actor, id, "lunch").await.is_ok(),
        3 => fixture.resume(actor, id).await.is_ok(),
        4 => fixture.complete(actor, id).await.is_ok(),
        5 => fixture.cancel(actor, id, Some("no more")).await.is_ok(),
        6 => fixture.archive(actor, id).await.is_ok(),
        7 | 8 => fixture.reopen(actor, id, None).await.is_ok(),
        9 => fixture.assign(actor, id, other).await.is_ok(),
        10 => fixture.reassign(actor, id, other).await.is_ok(),
        11 => fixture.accept(actor, id).await.is_ok(),
        12 => fixture.reject(actor, id, Some("not mine")).await.is_ok(),
        13 => fixture.delete(actor, id).await.is_ok(),
        14 => fixture.restore(actor, id).await.is_ok(),
        _ => fixture.update(actor, id, &[fields[rng.next_below(fields.len())]], change).await.is_ok(),
    }
}

#[tokio::test]
async fn replayed_log_matches_every_row_after_random_changes() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let people = [&team.owner, &team.manager_a, &team.user_a1];
    let mut ids = Vec::new();
    for actor in people {
        let plain = CreateTaskRequest { priority: TaskPriority::Urgent.into(), ..new_task("Plain") };
        ids.push(fixture.create(actor, plain).await.unwrap().id);
        ids.push(fixture.create(&team.owner, new_task_for("Held", actor)).await.unwrap().id);
    }
    let mut rng = Rng(0x5eed);
    let mut done = 0;
    for _ in 0..3_000 {
        done += usize::from(random_action(&fixture, &mut rng, &people, &ids).await);
        if done == 150 {
            break;
        }
    }
    assert_eq!(done, 150, "too few successful actions");
    // And several concurrently.
    let many = (0..60).map(|seed| {
        let (fixture, people, ids) = (&fixture, &people, &ids);
        async move { random_action(fixture, &mut Rng(seed * 7 + 1), people, ids).await }
    });
    join_all(many).await;
    assert_eq!(differences(&fixture, true).await, (6, Vec::new()));
    assert_eq!(baton_task::maintenance::quota_counters::rebuild(&fixture.context.db("task"), true).await.unwrap(), []);
}

#[tokio::test]
async fn tampered_row_is_detected_and_repaired() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let mut ids = Vec::new();
    for title in ["Left alone", "Renamed", "Stopped", "Brought back", "Without a log"] {
        ids.push(fixture.create(me, new_task(title)).await.unwrap().id);
    }
    fixture.start(me, &ids[2]).await.unwrap();
    fixture.delete(me, &ids[3]).await.unwrap();
    for n in 0..60 {
        fixture.update(me, &ids[1], &["title"], title_change(&format!("Title {n}"))).await.unwrap();
    }
    let right = fixture.get(me, &ids[1]).await.unwrap();
    let admin = fixture.context.admin();
    for tamper in [
        format!("update task.tasks set title = 'Forged', version = 3 where id = '{}'", ids[1]),
        format!("update task.task_snapshots set state = state || '{{\"title\": \"x\"}}' where task_id = '{}'", ids[1]),
        format!("update task.tasks set status = 'pending', running_since = null where id = '{}'", ids[2]),
        format!("update task.tasks set deleted_at = null where id = '{}'", ids[3]),
        format!("delete from task.task_events where task_id = '{}'", ids[4]),
    ] {
        assert_eq!(sqlx::query(sqlx::AssertSqlSafe(tamper)).execute(&admin).await.unwrap().rows_affected(), 1);
    }
    let expected: BTreeSet<(Uuid, String)> = [
        (ids[1].parse().unwrap(), "title, version, snapshot".to_owned()),
        (ids[2].parse().unwrap(), "running_since, status".to_owned()),
        (ids[3].parse().unwrap(), "deleted_at".to_owned()),
        (ids[4].parse().unwrap(), "log".to_owned()),
    ]
    .into();
    let found = |differences: Vec<Difference>| -> BTreeSet<(Uuid, String)> {
        assert!(differences.iter().all(|difference| difference.account_id == fixture.team.account_id));
        differences.into_iter().map(|difference| (difference.task_id, difference.fields.join(", "))).collect()
    };
    for only_check in [true, true, false] {
        let (read, differences) = differences(&fixture, only_check).await;
        assert_eq!((read, found(differences)), (5, expected.clone()), "a check changes nothing");
    }
    let (_, left) = differences(&fixture, true).await;
    assert_eq!(found(left), [(ids[4].parse().unwrap(), "log".to_owned())].into(), "a missing log cannot be repaired");
    assert_eq!(fixture.get(me, &ids[1]).await.unwrap(), right);
    assert_eq!(fixture.get(me, &ids[2]).await.unwrap().version, 2);
    fixture.pause(me, &ids[2], "lunch").await.unwrap();
    fixture.restore(me, &ids[3]).await.unwrap();
}
