//! Dependencies: blocked tasks, visibility, cycles, limits.

use std::collections::HashSet;

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{
        AddDependencyRequest, CreateTaskRequest, DependencyEvent, DueConflictKind, ListDependenciesRequest,
        RemoveDependencyRequest, TaskDependencies, TaskEvent, TaskStatus, TaskVisibility,
        structure_service_client::StructureServiceClient,
    },
    convert::timestamp,
};
use baton_testkit::Person;
use chrono::TimeDelta;
use futures_util::future::join_all;
use uuid::Uuid;

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task, new_task_for};

impl Fixture {
    pub(crate) async fn add_dependency(
        &self,
        actor: &Person,
        id: &str,
        blocked_by: &str,
    ) -> RpcResult<TaskDependencies> {
        let message = AddDependencyRequest { id: id.to_owned(), blocked_by: blocked_by.to_owned() };
        let mut client = StructureServiceClient::new(self.channel());
        Ok(client.add_dependency(self.call(actor, message)).await?.into_inner().dependencies.unwrap())
    }

    async fn remove_dependency(&self, actor: &Person, id: &str, blocked_by: &str) -> RpcResult<()> {
        let message = RemoveDependencyRequest { id: id.to_owned(), blocked_by: blocked_by.to_owned() };
        StructureServiceClient::new(self.channel()).remove_dependency(self.call(actor, message)).await?;
        Ok(())
    }

    async fn dependencies(&self, actor: &Person, id: &str) -> RpcResult<TaskDependencies> {
        let message = ListDependenciesRequest { id: id.to_owned() };
        let mut client = StructureServiceClient::new(self.channel());
        Ok(client.list_dependencies(self.call(actor, message)).await?.into_inner().dependencies.unwrap())
    }
}

#[tokio::test]
async fn dependency_marks_a_task_blocked_but_prevents_no_transition() {
    let fixture = Fixture::new().await;
    let me = fixture.team.user_a1.clone();
    let due = |days| Some(timestamp(fixture.clock.now() + TimeDelta::days(days)));
    let house = fixture.create(&me, CreateTaskRequest { due_at: due(3), ..new_task("House") }).await.unwrap().id;
    let ground = fixture.create(&me, CreateTaskRequest { due_at: due(5), ..new_task("Ground") }).await.unwrap().id;

    let around = fixture.add_dependency(&me, &house, &ground).await.unwrap();
    assert!(around.blocked && around.blocks.is_empty());
    assert_eq!(around.blocked_by[0].task_id.as_ref(), Some(&ground));
    assert_eq!(around.blocked_by[0].title.as_deref(), Some("Ground"));
    let [conflict] = around.conflicts.as_slice() else { panic!("{around:?}") };
    assert_eq!(conflict.kind(), DueConflictKind::DueBeforeBlocker);
    assert_eq!((conflict.task_id.as_ref(), conflict.blocked_by.as_ref()), (Some(&house), Some(&ground)));
    // Adding the same dependency again changes nothing.
    assert_eq!(fixture.add_dependency(&me, &house, &ground).await.unwrap(), around);
    let from_below = fixture.dependencies(&me, &ground).await.unwrap();
    assert!(!from_below.blocked && from_below.blocked_by.is_empty());
    assert_eq!((from_below.blocks[0].task_id.as_ref(), &from_below.conflicts), (Some(&house), &around.conflicts));
    assert!(fixture.get(&me, &house).await.unwrap().blocked && !fixture.get(&me, &ground).await.unwrap().blocked);

    // A dependency informs and prevents nothing.
    fixture.start(&me, &house).await.unwrap();
    fixture.start(&me, &ground).await.unwrap();
    fixture.complete(&me, &ground).await.unwrap();
    let around = fixture.dependencies(&me, &house).await.unwrap();
    assert!(!around.blocked && around.conflicts.is_empty() && around.blocked_by.len() == 1);
    assert!(!fixture.get(&me, &house).await.unwrap().blocked);
    fixture.reopen(&me, &ground, None).await.unwrap();
    assert!(fixture.dependencies(&me, &house).await.unwrap().blocked);
    // A deleted blocker does not block; a restored one blocks again.
    fixture.delete(&me, &ground).await.unwrap();
    let around = fixture.dependencies(&me, &house).await.unwrap();
    assert!(!around.blocked && around.blocked_by.is_empty() && !fixture.get(&me, &house).await.unwrap().blocked);
    fixture.restore(&me, &ground).await.unwrap();
    assert!(fixture.dependencies(&me, &house).await.unwrap().blocked);

    fixture.remove_dependency(&me, &house, &ground).await.unwrap();
    assert_eq!(error_reason(fixture.remove_dependency(&me, &house, &ground).await), Reason::DependencyNotFound);
    assert_eq!(fixture.dependencies(&me, &house).await.unwrap(), TaskDependencies::default());
    let events = fixture.published::<DependencyEvent>("dependency.").await;
    assert_eq!(
        events.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
        ["dependency.added", "dependency.removed"]
    );
    let user_id = me.user_id.to_string();
    for (_, event) in events {
        assert_eq!((&event.task_id, &event.blocked_by, &event.created_by), (&house, &ground, &user_id));
    }
}

#[tokio::test]
async fn end_of_the_last_open_blocker_is_an_event_of_the_task_that_waited() {
    let fixture = Fixture::new().await;
    let me = fixture.team.user_a1.clone();
    let create = async |title: &str| fixture.create(&me, new_task(title)).await.unwrap().id;
    let unblocked = async || {
        let events = fixture.published::<TaskEvent>("task.unblocked").await;
        events.into_iter().map(|(_, event)| event.task_id).collect::<Vec<_>>()
    };
    let (roof, walls, ground, done) =
        (create("Roof").await, create("Walls").await, create("Ground").await, create("Done").await);
    for blocker in [&walls, &ground, &done] {
        fixture.add_dependency(&me, &roof, blocker).await.unwrap();
    }
    fixture.add_dependency(&me, &walls, &ground).await.unwrap();
    fixture.cancel(&me, &done, None).await.unwrap();
    assert_eq!(unblocked().await, Vec::<String>::new());
    fixture.start(&me, &ground).await.unwrap();
    fixture.complete(&me, &ground).await.unwrap();
    assert_eq!(unblocked().await, std::slice::from_ref(&walls), "the roof waits for the walls");
    // A closed task waits for nothing. What is archived was closed before.
    fixture.archive(&me, &ground).await.unwrap();
    fixture.delete(&me, &walls).await.unwrap();
    assert_eq!(unblocked().await, [walls.clone(), roof.clone()]);
    fixture.restore(&me, &walls).await.unwrap();
    fixture.remove_dependency(&me, &roof, &done).await.unwrap();
    assert_eq!(unblocked().await.len(), 2, "it waits for another one, and that was closed");
    fixture.remove_dependency(&me, &roof, &walls).await.unwrap();
    assert_eq!(unblocked().await, [walls, roof.clone(), roof.clone()]);
    let last = fixture.published::<TaskEvent>("task.unblocked").await.pop().unwrap().1;
    assert_eq!(
        (last.status(), last.version, last.changed_fields),
        (TaskStatus::Pending, 1, vec!["blocked".to_owned()])
    );
    // A closed task is not told.
    let late = create("Late").await;
    fixture.add_dependency(&me, &roof, &late).await.unwrap();
    fixture.cancel(&me, &roof, None).await.unwrap();
    fixture.cancel(&me, &late, None).await.unwrap();
    assert_eq!(unblocked().await.len(), 3);
}

#[tokio::test]
async fn of_blockers_that_end_at_once_exactly_one_unblocks_the_task() {
    let fixture = Fixture::new().await;
    let me = fixture.team.user_a1.clone();
    let rounds = 10;
    for round in 0..rounds {
        let tasks = join_all((0..5).map(|_| fixture.create(&me, new_task("Sweep")))).await;
        let tasks: Vec<String> = tasks.into_iter().map(|task| task.unwrap().id).collect();
        let (waiting, blockers) = tasks.split_first().unwrap();
        for blocker in blockers {
            fixture.add_dependency(&me, waiting, blocker).await.unwrap();
        }
        let (canceled, removed) = blockers.split_at(if round % 2 == 0 { 4 } else { 2 });
        let (canceled, removed) = tokio::join!(
            join_all(canceled.iter().map(|id| fixture.cancel(&me, id, None))),
            join_all(removed.iter().map(|id| fixture.remove_dependency(&me, waiting, id)))
        );
        assert!(canceled.iter().all(Result::is_ok) && removed.iter().all(Result::is_ok));
        assert_eq!(fixture.published::<TaskEvent>("task.unblocked").await.len(), round + 1);
    }
}

#[tokio::test]
async fn editors_add_dependencies_on_visible_tasks_only() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let mine = fixture.create(&team.manager_a, new_task_for("Mine", &team.user_a1)).await.unwrap().id;
    let secret = fixture.create(&team.owner, new_task("Secret")).await.unwrap().id;
    let shared = CreateTaskRequest { visibility: TaskVisibility::Account.into(), ..new_task("Shared") };
    let shared = fixture.create(&team.owner, shared).await.unwrap().id;
    let other_account = fixture.other_account().await;
    let theirs = other_account.create(&other_account.team.owner, new_task("Theirs")).await.unwrap().id;

    for absent in [&secret, &theirs, &Uuid::now_v7().to_string()] {
        assert_eq!(error_reason(fixture.add_dependency(&team.manager_a, &mine, absent).await), Reason::TaskNotFound);
        assert_eq!(error_reason(fixture.add_dependency(&team.manager_a, absent, &mine).await), Reason::TaskNotFound);
    }
    assert_eq!(error_reason(fixture.add_dependency(&team.user_a1, &mine, &shared).await), Reason::TaskChangeNotAllowed);
    assert_eq!(invalid_field(fixture.add_dependency(&team.manager_a, &mine, &mine).await), "blocked_by");
    fixture.add_dependency(&team.manager_a, &mine, &shared).await.unwrap();
    assert_eq!(
        error_reason(fixture.remove_dependency(&team.user_a1, &mine, &shared).await),
        Reason::TaskChangeNotAllowed
    );

    // The owner adds a blocker that others do not see: they learn that the task is blocked, but not by which task.
    fixture.add_dependency(&team.owner, &mine, &secret).await.unwrap();
    let seen = fixture.dependencies(&team.user_a1, &mine).await.unwrap();
    let mut shown: Vec<_> =
        seen.blocked_by.iter().map(|link| (link.task_id.as_deref(), link.title.as_deref())).collect();
    shown.sort_unstable();
    assert_eq!(shown, [(None, None), (Some(shared.as_str()), Some("Shared"))]);
    assert!(seen.blocked);
    assert!(
        fixture.dependencies(&team.owner, &mine).await.unwrap().blocked_by.iter().all(|link| link.task_id.is_some())
    );
}

/// Random dependencies: no task may block itself transitively, and only such requests are refused.
#[tokio::test]
async fn random_dependencies_create_no_cycle() {
    let fixture = Fixture::new().await;
    let me = fixture.team.user_a1.clone();
    let tasks = join_all((0..7).map(|_| fixture.create(&me, new_task("Sweep")))).await;
    let tasks: Vec<String> = tasks.into_iter().map(|task| task.unwrap().id).collect();
    // waits[a] contains b if a waits for b, directly or transitively.
    let mut links: HashSet<(usize, usize)> = HashSet::new();
    let reaches = |links: &HashSet<(usize, usize)>, from: usize, to: usize| {
        let (mut seen, mut todo) = (HashSet::from([from]), vec![from]);
        while let Some(at) = todo.pop() {
            let next = links.iter().filter(|(task, _)| *task == at).map(|&(_, blocker)| blocker);
            todo.extend(next.filter(|&blocker| seen.insert(blocker)).collect::<Vec<_>>());
        }
        seen.contains(&to)
    };
    let mut refusals = 0;
    let mut random = Uuid::new_v4().as_u128();
    let mut choose = |of: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 64) as usize % of
    };
    for _ in 0..80 {
        let (task, blocker) = (choose(7), choose(7));
        if task == blocker {
            continue;
        }
        if links.contains(&(task, blocker)) && choose(3) == 0 {
            fixture.remove_dependency(&me, &tasks[task], &tasks[blocker]).await.unwrap();
            links.remove(&(task, blocker));
            continue;
        }
        let response = fixture.add_dependency(&me, &tasks[task], &tasks[blocker]).await;
        if reaches(&links, blocker, task) {
            refusals += 1;
            assert_eq!(error_reason(response), Reason::DependencyCycle, "{task} waits for {blocker}: {links:?}");
        } else {
            response.unwrap();
            links.insert((task, blocker));
        }
    }
    assert!(refusals > 0, "80 random dependencies without a cycle");
}

#[tokio::test]
async fn concurrent_dependencies_create_no_cycle() {
    let fixture = Fixture::new().await;
    let me = fixture.team.user_a1.clone();
    for _ in 0..10 {
        let one = fixture.create(&me, new_task("One")).await.unwrap().id;
        let other = fixture.create(&me, new_task("Other")).await.unwrap().id;
        let both = tokio::join!(fixture.add_dependency(&me, &one, &other), fixture.add_dependency(&me, &other, &one));
        assert!(both.0.is_ok() != both.1.is_ok(), "{both:?}");
    }
}

#[tokio::test]
async fn task_has_at_most_a_hundred_dependencies() {
    let fixture = Fixture::new().await;
    let me = fixture.team.user_a1.clone();
    let whole = fixture.create(&me, new_task("Whole")).await.unwrap().id;
    let mut tasks = Vec::new();
    for _ in 0..103 {
        tasks.push(fixture.create(&me, new_task("Sweep")).await.unwrap().id);
    }
    let (first, last) = tasks.split_at(97);
    for task in first {
        fixture.add_dependency(&me, &whole, task).await.unwrap();
    }
    // Six concurrent requests for three free slots.
    let responses = join_all(last.iter().map(|task| fixture.add_dependency(&me, &whole, task))).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 3);
    assert!(
        responses.into_iter().filter(Result::is_err).all(|response| error_reason(response) == Reason::DependencyLimit)
    );
    assert_eq!(fixture.dependencies(&me, &whole).await.unwrap().blocked_by.len(), 100);
}
