//! Task visibility.

use std::collections::HashSet;

use baton_errors::Reason;
use baton_proto::baton::task::v1::{TaskChange, TaskFilter, TaskVisibility};
use baton_testkit::Person;

use crate::fixture::{Fixture, error_reason, new_task, new_task_for};

/// Every creator, assignee and visibility that the rules distinguish, for every user. The SQL of lists, the rule for
/// single tasks and the expected table must agree.
#[tokio::test]
async fn lists_contain_exactly_the_readable_tasks() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let people: [(&str, &Person); 7] = [
        ("owner", &team.owner),
        ("super", &team.super_manager),
        ("manager a", &team.manager_a),
        ("manager b", &team.manager_b),
        ("user a1", &team.user_a1),
        ("user a2", &team.user_a2),
        ("user b1", &team.user_b1),
    ];
    // Creator, assignee, users who see it while private, and further users while visible to the team. Account
    // visibility includes all.
    type Case<'a> = (&'a Person, Option<&'a Person>, &'a [&'a str], &'a [&'a str]);
    let cases: [Case<'_>; 6] = [
        (&team.user_a1, None, &["owner", "super", "manager a", "user a1"], &["user a2"]),
        (&team.owner, None, &["owner", "super"], &[]),
        (&team.owner, Some(&team.manager_a), &["owner", "super", "manager a"], &["manager b", "user a1", "user a2"]),
        (&team.manager_a, Some(&team.user_a1), &["owner", "super", "manager a", "user a1"], &["manager b", "user a2"]),
        (&team.super_manager, Some(&team.user_b1), &["owner", "super", "manager b", "user b1"], &["manager a"]),
        (&team.manager_b, None, &["owner", "super", "manager b"], &["manager a", "user b1"]),
    ];
    let visibilities = [TaskVisibility::Private, TaskVisibility::Team, TaskVisibility::Account];
    let mut tasks = Vec::new();
    for (creator, assignee, when_private, when_team) in cases {
        for visibility in visibilities {
            let mut request = assignee.map_or_else(|| new_task("Sweep"), |assignee| new_task_for("Sweep", assignee));
            request.visibility = visibility.into();
            let id = fixture.create(creator, request).await.unwrap().id;
            tasks.push((id, visibility, when_private, when_team));
        }
    }
    for (name, person) in people {
        let listed: HashSet<String> = fixture.list(person, TaskFilter::default()).await.unwrap().into_iter().collect();
        for (id, visibility, when_private, when_team) in &tasks {
            let expected = match visibility {
                TaskVisibility::Private => when_private.contains(&name),
                TaskVisibility::Team => when_private.contains(&name) || when_team.contains(&name),
                _ => true,
            };
            let opened = fixture.get(person, id).await;
            assert_eq!(listed.contains(id), opened.is_ok(), "{name}, {visibility:?}, {when_private:?}");
            assert_eq!(opened.is_ok(), expected, "{name}, {visibility:?}, {when_private:?}");
            if let Err(refusal) = opened {
                assert_eq!(baton_testkit::reason(&refusal), Some(Reason::TaskNotFound));
            }
        }
    }
}

#[tokio::test]
async fn creator_and_superiors_may_change_a_task() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let mut request = new_task_for("Sweep", &team.user_b1);
    request.visibility = TaskVisibility::Account.into();
    let id = fixture.create(&team.super_manager, request).await.unwrap().id;
    let change = |title: &str| TaskChange { title: title.to_owned(), ..Default::default() };
    for (index, person) in [&team.owner, &team.super_manager, &team.manager_b].into_iter().enumerate() {
        fixture.update(person, &id, &["title"], change(&format!("Sweep {index}"))).await.unwrap();
    }
    for person in [&team.manager_a, &team.user_b1, &team.user_a1] {
        let refusal = fixture.update(person, &id, &["title"], change("Mine")).await;
        assert_eq!(error_reason(refusal), Reason::TaskChangeNotAllowed);
    }
    for person in [&team.manager_b, &team.manager_a, &team.user_b1] {
        assert_eq!(error_reason(fixture.delete(person, &id).await), Reason::TaskChangeNotAllowed);
    }
    fixture.delete(&team.owner, &id).await.unwrap();
    assert_eq!(error_reason(fixture.get(&team.owner, &id).await), Reason::TaskNotFound);
    assert_eq!(error_reason(fixture.delete(&team.owner, &id).await), Reason::TaskNotFound);
    assert_eq!(error_reason(fixture.timeline(&team.owner, &id).await), Reason::TaskNotFound);
    assert!(fixture.list(&team.owner, TaskFilter::default()).await.unwrap().is_empty());
    assert_eq!(fixture.events(&id).await.pop().unwrap().0, "task.deleted");
}
