//! What rules do: each action has its effect, in its creator's name, and histories say so.

use baton_proto::baton::{
    automation::v1::{ExecutionStatus, TriggerType},
    task::v1::{
        AddDependencyRequest, CancelTaskRequest, CompleteTaskRequest, CreateTaskRequest, ListCommentsRequest,
        ListTasksRequest, TaskPriority, TaskStatus, comment_service_client::CommentServiceClient,
        structure_service_client::StructureServiceClient,
    },
};
use baton_testkit::eventually;
use serde_json::json;

use crate::fixture::{Fixture, outcomes};

#[tokio::test]
async fn paused_task_notifies_the_manager_of_its_assignee() {
    let fixture = Fixture::start().await;
    let (ada, boss) = (&fixture.team.user_a1, &fixture.team.manager_a);
    let notify = json!({"type": "notify", "to": "manager", "message": "{{title}} is paused ({{priority}})"});
    let rule = fixture.rule(ada, TriggerType::TaskPaused, json!({"priority": "medium"}), &[notify]).await;
    let new = CreateTaskRequest {
        title: "Ship it".to_owned(),
        assigned_to: Some(ada.user_id.to_string()),
        ..Default::default()
    };
    let task = fixture.create_with(ada, new).await;
    fixture.pause(ada, &task.id).await;
    let message = eventually(|| async { fixture.messages(boss).await.into_iter().next() }).await;
    assert_eq!(message.text.as_deref(), Some("Ship it is paused (medium)"));
    assert_eq!((message.task_id.as_deref(), message.actor_id), (Some(&*task.id), Some(ada.user_id.to_string())));
    let [execution] = &fixture.ended(ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!(
        (execution.status(), execution.reason.as_deref(), execution.depth),
        (ExecutionStatus::Succeeded, None, 1)
    );
    assert_eq!((&*execution.event_type, execution.task_id.as_deref()), ("task.paused", Some(&*task.id)));
    assert_eq!(fixture.messages(boss).await.len(), 1);
}

#[tokio::test]
async fn actions_change_the_task_in_order_in_their_creators_name() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let actions = [
        json!({"type": "set_field", "field": "priority", "value": "urgent"}),
        json!({"type": "set_field", "field": "title", "value": "{{title}}, late"}),
        json!({"type": "set_field", "field": "estimated_seconds", "value": 600}),
        json!({"type": "set_field", "field": "custom_fields.site", "value": "Bonn"}),
        json!({"type": "add_tag", "tag": "late"}),
        json!({"type": "remove_tag", "tag": "new"}),
        json!({"type": "add_comment", "message": "It was {{priority}}."}),
        json!({"type": "create_task", "title": "After {{title}}", "message": "More", "due_in_seconds": 3600, "to": "me", "subtask": true}),
        json!({"type": "set_status", "status": "archived"}),
    ];
    let rule = fixture.rule(ada, TriggerType::TaskPaused, json!({}), &actions).await;
    let new = CreateTaskRequest {
        title: "Ship it".to_owned(),
        tags: vec!["new".to_owned(), "x".to_owned()],
        ..Default::default()
    };
    let task = fixture.create_with(ada, new).await;
    fixture.pause(ada, &task.id).await;
    let [execution] = &fixture.ended(ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!(outcomes(execution), vec![(ExecutionStatus::Succeeded, None); 9]);
    let after = fixture.get(ada, &task.id).await;
    assert_eq!(
        (&*after.title, after.priority(), after.status()),
        ("Ship it, late", TaskPriority::Urgent, TaskStatus::Archived)
    );
    assert_eq!((after.tags, after.estimated_seconds), (vec!["late".to_owned(), "x".to_owned()], Some(600)));
    assert_eq!(after.custom_fields.unwrap().fields.len(), 1);
    let request = fixture.call(ada, ListCommentsRequest { task_id: task.id.clone(), ..Default::default() });
    let comments =
        CommentServiceClient::new(fixture.task_channel()).list_comments(request).await.unwrap().into_inner().comments;
    let [comment] = &comments[..] else { panic!("{comments:?}") };
    // What the event says is as of the event.
    assert_eq!((&*comment.body, &comment.author_id), ("It was medium.", &ada.user_id.to_string()));
    let via = comment.via.clone().unwrap();
    assert_eq!((&*via.service, &*via.kind, &via.id, via.depth), ("automation", "rule", &rule.id, 1));
    let created = execution.actions[7].task_id.clone().unwrap();
    let created = fixture.get(ada, &created).await;
    assert_eq!((&*created.title, created.parent_task_id.as_deref()), ("After Ship it, late", Some(&*task.id)));
    assert!(created.due_at.is_some());

    // The timeline tells what she did from what was done in her name.
    let timeline = fixture.timeline(ada, &task.id).await;
    assert!(timeline.iter().all(|entry| entry.actor_id == ada.user_id.to_string()));
    let by_hand: Vec<bool> = timeline.iter().map(|entry| entry.via.is_none()).collect();
    assert_eq!(by_hand.iter().filter(|by_hand| **by_hand).count(), 3, "created, started, paused: {by_hand:?}");
    assert!(by_hand.len() >= 10, "{by_hand:?}");
}

#[tokio::test]
async fn rule_assigns_to_a_handle_a_suggestion_and_the_manager() {
    let fixture = Fixture::start().await;
    let (boss, ada) = (&fixture.team.manager_a, &fixture.team.user_a1);
    fixture.set_handle(ada, "ada").await;
    let assign = json!({"type": "assign", "to": "@ADA"});
    fixture.rule(boss, TriggerType::TaskCreated, json!({"title": "For ada"}), &[assign]).await;
    let suggest = json!({"type": "assign", "to": "suggested"});
    fixture.rule(boss, TriggerType::TaskCreated, json!({"title": "For anybody"}), &[suggest]).await;
    let nobody = json!({"type": "assign", "to": "@nobody"});
    let refused = fixture.rule(boss, TriggerType::TaskCreated, json!({"title": "For nobody"}), &[nobody]).await;
    let (to_ada, to_anybody) = (fixture.create(boss, "For ada").await, fixture.create(boss, "For anybody").await);
    fixture.create(boss, "For nobody").await;
    eventually(|| async {
        (fixture.get(boss, &to_ada.id).await.assigned_to == Some(ada.user_id.to_string())).then_some(())
    })
    .await;
    eventually(|| async { fixture.get(boss, &to_anybody.id).await.assigned_to }).await;
    let [execution] = &fixture.ended(boss, &refused, 1).await[..] else { panic!("one execution") };
    assert_eq!(outcomes(execution), [(ExecutionStatus::Refused, Some("ASSIGNEE_INVALID"))]);
}

#[tokio::test]
async fn first_failure_stops_the_rest_unless_the_action_says_continue() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    // A completed task is not canceled, and nobody manages an unassigned task.
    let cancel = |go_on: bool| json!({"type": "cancel", "continue": go_on});
    let tag = |tag: &str| json!({"type": "add_tag", "tag": tag});
    let stops = [tag("one"), cancel(false), tag("two")];
    let stops = fixture.rule(ada, TriggerType::TaskCompleted, json!({}), &stops).await;
    let goes_on =
        [json!({"type": "notify", "to": "manager", "message": "x", "continue": true}), cancel(true), tag("three")];
    let goes_on = fixture.rule(ada, TriggerType::TaskCompleted, json!({}), &goes_on).await;
    let task = fixture.create(ada, "Ship it").await;
    fixture.pause(ada, &task.id).await;
    fixture.tasks().complete_task(fixture.call(ada, CompleteTaskRequest { id: task.id.clone() })).await.unwrap();
    let [execution] = &fixture.ended(ada, &stops, 1).await[..] else { panic!("one execution") };
    assert_eq!(execution.status(), ExecutionStatus::Partly);
    assert_eq!(
        outcomes(execution),
        [
            (ExecutionStatus::Succeeded, None),
            (ExecutionStatus::Failed, Some("TASK_WRONG_STATE")),
            (ExecutionStatus::Skipped, None)
        ]
    );
    let [execution] = &fixture.ended(ada, &goes_on, 1).await[..] else { panic!("one execution") };
    assert_eq!(
        outcomes(execution),
        [
            (ExecutionStatus::Failed, Some("MEMBER_NOT_FOUND")),
            (ExecutionStatus::Failed, Some("TASK_WRONG_STATE")),
            (ExecutionStatus::Succeeded, None)
        ]
    );
    assert_eq!(fixture.get(ada, &task.id).await.tags, ["one", "three"]);
}

#[tokio::test]
async fn conditions_on_the_task_decide_and_nothing_is_stored_of_those_that_do_not_hold() {
    let fixture = Fixture::start().await;
    let (ada, boss) = (&fixture.team.user_a1, &fixture.team.manager_a);
    let conditions = json!({"all": [
        {"field": "tags", "op": "contains", "value": "vip"},
        {"field": "assignee.manager", "op": "eq", "value": boss.user_id.to_string()},
        {"field": "parent.title", "op": "contains", "value": "Project"},
        {"not": {"field": "blocked", "op": "eq", "value": true}}
    ]});
    let rule =
        fixture.rule(ada, TriggerType::TaskCreated, conditions, &[json!({"type": "add_tag", "tag": "seen"})]).await;
    let parent = fixture.create(ada, "Project X").await;
    let new = |tags: &[&str], parent: Option<&str>| CreateTaskRequest {
        title: "Part".to_owned(),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        assigned_to: Some(ada.user_id.to_string()),
        parent_task_id: parent.map(str::to_owned),
        ..Default::default()
    };
    fixture.create_with(ada, new(&["vip"], None)).await;
    fixture.create_with(ada, new(&["other"], Some(&parent.id))).await;
    let matching = fixture.create_with(ada, new(&["vip"], Some(&parent.id))).await;
    let executions = fixture.ended(ada, &rule, 1).await;
    fixture.settle().await;
    assert_eq!(executions.iter().map(|it| it.task_id.clone()).collect::<Vec<_>>(), [Some(matching.id)]);
    assert_eq!(fixture.all::<i64>("select count(*) from automation.executions").await, [1]);
}

#[tokio::test]
async fn new_member_is_welcomed_with_a_task() {
    let fixture = Fixture::start().await;
    let boss = &fixture.team.manager_a;
    let create = json!({"type": "create_task", "title": "Welcome them", "to": "me"});
    let rule = fixture.rule(boss, TriggerType::MemberJoined, json!({}), &[create]).await;
    fixture.join_by_invitation("new").await;
    let [execution] = &fixture.ended(boss, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!((execution.status(), &execution.task_id), (ExecutionStatus::Succeeded, &None));
    let request = fixture.call(boss, ListTasksRequest::default());
    let tasks = fixture.tasks().list_tasks(request).await.unwrap().into_inner().tasks;
    assert_eq!(tasks.iter().map(|task| &*task.title).collect::<Vec<_>>(), ["Welcome them"]);
}

#[tokio::test]
async fn end_of_the_last_blocker_starts_the_task_that_waited() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let start = json!({"type": "set_status", "status": "in_progress"});
    let rule = fixture.rule(ada, TriggerType::TaskUnblocked, json!({"blocked": false}), &[start]).await;
    assert_eq!(
        rule.sentence,
        "When a task is no longer blocked and the task is not blocked: bring it into the status in_progress."
    );
    let (roof, walls) = (fixture.create(ada, "Roof").await, fixture.create(ada, "Walls").await);
    let message = AddDependencyRequest { id: roof.id.clone(), blocked_by: walls.id.clone() };
    let mut structure = StructureServiceClient::new(fixture.task_channel());
    structure.add_dependency(fixture.call(ada, message)).await.unwrap();
    let cancel = CancelTaskRequest { id: walls.id.clone(), reason: None };
    fixture.tasks().cancel_task(fixture.call(ada, cancel)).await.unwrap();
    let [execution] = &fixture.ended(ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!((&*execution.event_type, execution.task_id.as_ref()), ("task.unblocked", Some(&roof.id)));
    assert_eq!(fixture.get(ada, &roof.id).await.status(), TaskStatus::InProgress);
}
