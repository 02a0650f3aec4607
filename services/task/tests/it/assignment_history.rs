//! Assignment history, and the lists of tasks by assignee, assigner and team.

use baton_errors::Reason;
use baton_proto::baton::{
    api::v1::{Page, PageMeta},
    task::v1::{
        Assignment, AssignmentOrigin as Origin, GetAssignmentHistoryRequest, ListTasksAssignedByMeRequest,
        ListTasksAssignedToMeRequest, ListTeamTasksRequest, Task, TaskFilter, TaskSort, TaskStatus,
        assignment_service_client::AssignmentServiceClient,
    },
    tenancy::v1::{RemoveMemberRequest, member_service_client::MemberServiceClient},
};
use baton_testkit::{Person, eventually};
use chrono::TimeDelta;
use tonic::transport::Channel;

use crate::fixture::{Fixture, RpcResult, error_reason, new_task, new_task_for};

pub(crate) fn assignments(fixture: &Fixture) -> AssignmentServiceClient<Channel> {
    AssignmentServiceClient::new(fixture.channel())
}

async fn page(fixture: &Fixture, actor: &Person, id: &str, page: Page) -> RpcResult<(Vec<Assignment>, PageMeta)> {
    let request = GetAssignmentHistoryRequest { id: id.to_owned(), page: Some(page) };
    let response = assignments(fixture).get_assignment_history(fixture.call(actor, request)).await?.into_inner();
    Ok((response.assignments, response.meta.unwrap()))
}

async fn history(fixture: &Fixture, actor: &Person, id: &str) -> RpcResult<Vec<Assignment>> {
    Ok(page(fixture, actor, id, Page { per_page: 100, ..Page::default() }).await?.0)
}

/// Assigner, assignee and origin of each assignment, in order.
fn chain(history: &[Assignment]) -> Vec<(&str, &str, Origin)> {
    history.iter().map(|one| (one.assigned_by.as_str(), one.assigned_to.as_str(), one.origin())).collect()
}

#[tokio::test]
async fn every_assignment_is_recorded() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let [owner, boss, manager, user, other] =
        [&team.owner, &team.super_manager, &team.manager_a, &team.user_a1, &team.user_b1]
            .map(|person| person.user_id.to_string());
    let id = fixture.create(&team.super_manager, new_task_for("Sweep", &team.manager_a)).await.unwrap().id;
    let first = history(&fixture, &team.super_manager, &id).await.unwrap();
    assert_eq!(chain(&first), [(&*boss, &*manager, Origin::Assigned)]);
    assert_eq!((&first[0].accepted_at, &first[0].ended_at), (&None, &None));

    let step = || fixture.clock.advance(TimeDelta::minutes(1));
    step();
    let accepted = fixture.accept(&team.manager_a, &id).await.unwrap().accepted_at;
    step();
    fixture.assign(&team.manager_a, &id, team.user_a1.user_id).await.unwrap();
    fixture.assign(&team.manager_a, &id, team.user_a1.user_id).await.unwrap();
    step();
    fixture.reject(&team.user_a1, &id, Some("no broom")).await.unwrap();
    step();
    let task = fixture.reassign(&team.super_manager, &id, team.user_b1.user_id).await.unwrap();
    assert_eq!(task.reassignment_count, 1);
    step();
    fixture.start(&team.user_b1, &id).await.unwrap();
    step();
    let task = fixture.reassign(&team.owner, &id, team.owner.user_id).await.unwrap();
    assert_eq!(task.reassignment_count, 2);

    let history = self::history(&fixture, &team.owner, &id).await.unwrap();
    assert_eq!(
        chain(&history),
        [
            (&*boss, &*manager, Origin::Assigned),
            (&*manager, &*user, Origin::Delegated),
            (&*user, &*manager, Origin::Returned),
            (&*boss, &*other, Origin::Reassigned),
            (&*owner, &*owner, Origin::Reassigned),
        ]
    );
    assert_eq!(history[0].accepted_at, accepted);
    let rejected = &history[1];
    assert_eq!((rejected.accepted_at, rejected.rejection_reason.as_deref()), (None, Some("no broom")));
    assert_eq!(rejected.rejected_at, rejected.ended_at);
    assert!(history[3].accepted_at.is_some(), "work accepts");
    for pair in history.windows(2) {
        assert_eq!(pair[0].ended_at, pair[1].assigned_at, "assignments do not overlap");
    }
    assert!(history[4].ended_at.is_none());
    // The history requires visibility of the task.
    assert_eq!(error_reason(self::history(&fixture, &team.user_a1, &id).await), Reason::TaskNotFound);
    let other_account = fixture.other_account().await;
    assert_eq!(error_reason(self::history(&other_account, &other_account.team.owner, &id).await), Reason::TaskNotFound);
    // Other changes add no assignment; the timeline has them.
    assert_eq!(fixture.timeline(&team.owner, &id).await.unwrap().len(), 7);
}

#[tokio::test]
async fn assignment_history_is_paginated() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = fixture.create(&team.owner, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    for n in 0..6 {
        let to = if n % 2 == 0 { &team.user_b1 } else { &team.user_a1 };
        fixture.reassign(&team.owner, &id, to.user_id).await.unwrap();
    }
    let (first, meta) = page(&fixture, &team.owner, &id, Page { per_page: 3, ..Page::default() }).await.unwrap();
    assert_eq!((first.len(), meta.total_count, meta.total_pages), (3, 7, 3));
    let next = Page { per_page: 3, page_token: meta.next_page_token, ..Page::default() };
    let (second, meta) = page(&fixture, &team.owner, &id, next).await.unwrap();
    let last = Page { per_page: 3, page_token: meta.next_page_token, ..Page::default() };
    let (third, meta) = page(&fixture, &team.owner, &id, last).await.unwrap();
    assert!(meta.next_page_token.is_empty());
    let all: Vec<Assignment> = [first, second, third].concat();
    assert_eq!(all, history(&fixture, &team.owner, &id).await.unwrap());
    let by_number = Page { per_page: 3, page: 2, ..Page::default() };
    assert_eq!(page(&fixture, &team.owner, &id, by_number).await.unwrap().0, all[3..6]);
}

#[tokio::test]
async fn removed_member_is_recorded_as_the_assigner() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let held = fixture.create(&team.manager_a, new_task_for("Held", &team.user_a1)).await.unwrap().id;
    let own = fixture.create(&team.user_a1, new_task("Own")).await.unwrap().id;
    let request = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: team.user_a1.user_id.to_string(),
        hand_over_to: None,
    };
    MemberServiceClient::new(fixture.context.tenancy())
        .remove_member(fixture.call(&team.owner, request))
        .await
        .unwrap();
    let [owner, manager, user] = [&team.owner, &team.manager_a, &team.user_a1].map(|person| person.user_id.to_string());
    let noted = eventually(|| async {
        let history = history(&fixture, &team.owner, &own).await.unwrap();
        (!history.is_empty()).then_some(history)
    })
    .await;
    assert_eq!(chain(&noted), [(&*owner, &*manager, Origin::HandedOver)]);
    let noted = history(&fixture, &team.owner, &held).await.unwrap();
    assert_eq!(chain(&noted), [(&*manager, &*user, Origin::Assigned), (&*owner, &*manager, Origin::HandedOver)]);
    let counts = [&held, &own].map(|id| fixture.get(&team.owner, id));
    let [held, own] = futures_util::future::join_all(counts).await.try_into().unwrap();
    assert_eq!((held.unwrap().reassignment_count, own.unwrap().reassignment_count), (1, 0));
}

#[tokio::test]
async fn concurrent_assignments_leave_one_assignee() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = fixture.create(&team.owner, new_task("Sweep")).await.unwrap().id;
    let people = [&team.manager_a, &team.manager_b, &team.user_a1, &team.user_a2, &team.user_b1];
    let given = people.map(|to| fixture.assign(&team.owner, &id, to.user_id));
    let given = futures_util::future::join_all(given).await;
    let refusals: Vec<Reason> = given.into_iter().filter(Result::is_err).map(error_reason).collect();
    assert_eq!(refusals, [Reason::TaskAlreadyAssigned; 4]);
    let history = history(&fixture, &team.owner, &id).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(fixture.get(&team.owner, &id).await.unwrap().assigned_to.as_deref(), Some(&*history[0].assigned_to));
}

fn titles(tasks: Vec<Task>) -> Vec<String> {
    tasks.into_iter().map(|task| task.title).collect()
}

async fn to_me(fixture: &Fixture, actor: &Person, filter: TaskFilter) -> RpcResult<Vec<String>> {
    let request = ListTasksAssignedToMeRequest { filter: Some(filter), page: None };
    let response = assignments(fixture).list_tasks_assigned_to_me(fixture.call(actor, request)).await?.into_inner();
    assert_eq!(response.meta.unwrap().total_count as usize, response.tasks.len());
    Ok(titles(response.tasks))
}

async fn by_me(fixture: &Fixture, actor: &Person, filter: TaskFilter) -> RpcResult<Vec<String>> {
    let request = ListTasksAssignedByMeRequest { filter: Some(filter), page: None };
    let response = assignments(fixture).list_tasks_assigned_by_me(fixture.call(actor, request)).await?.into_inner();
    assert_eq!(response.meta.unwrap().total_count as usize, response.tasks.len());
    Ok(titles(response.tasks))
}

async fn team(fixture: &Fixture, actor: &Person, filter: TaskFilter) -> RpcResult<Vec<String>> {
    let request = ListTeamTasksRequest { filter: Some(filter), page: None };
    let response = assignments(fixture).list_team_tasks(fixture.call(actor, request)).await?.into_inner();
    assert_eq!(response.meta.unwrap().total_count as usize, response.tasks.len());
    Ok(titles(response.tasks))
}

/// In the order in which they were created.
fn oldest_first() -> TaskFilter {
    TaskFilter {
        sort: TaskSort::CreatedAt.into(),
        order: baton_proto::baton::task::v1::SortOrder::Asc.into(),
        ..TaskFilter::default()
    }
}

#[tokio::test]
async fn assignment_lists_filter_by_assignee_assigner_and_team() {
    let fixture = Fixture::new().await;
    let people = fixture.team.clone();
    let create = async |by: &Person, title: &str, to: Option<&Person>| {
        fixture.clock.advance(TimeDelta::seconds(1));
        let request = to.map_or_else(|| new_task(title), |to| new_task_for(title, to));
        fixture.create(by, request).await.unwrap().id
    };
    create(&people.manager_a, "given", Some(&people.user_a1)).await;
    create(&people.user_a1, "own", None).await;
    create(&people.manager_a, "kept", Some(&people.manager_a)).await;
    let down = create(&people.super_manager, "down", Some(&people.manager_a)).await;
    create(&people.manager_b, "elsewhere", Some(&people.user_b1)).await;

    let all = oldest_first;
    assert_eq!(
        to_me(&fixture, &people.user_a1, all()).await.unwrap(),
        ["given"],
        "an unassigned task is assigned to nobody"
    );
    assert_eq!(to_me(&fixture, &people.manager_a, all()).await.unwrap(), ["kept", "down"]);
    assert_eq!(
        by_me(&fixture, &people.manager_a, all()).await.unwrap(),
        ["given"],
        "a self-assigned task was not given to anyone"
    );
    assert_eq!(by_me(&fixture, &people.super_manager, all()).await.unwrap(), ["down"]);
    assert_eq!(by_me(&fixture, &people.user_a1, all()).await.unwrap(), Vec::<String>::new());
    assert_eq!(team(&fixture, &people.manager_a, all()).await.unwrap(), ["given", "own", "kept", "down"]);
    assert_eq!(team(&fixture, &people.owner, all()).await.unwrap().len(), 5);
    assert_eq!(error_reason(team(&fixture, &people.user_a1, all()).await), Reason::PermissionMissing);

    // After the task is passed on, the one who passed it on is its assigner.
    fixture.assign(&people.manager_a, &down, people.user_a1.user_id).await.unwrap();
    fixture.start(&people.user_a1, &down).await.unwrap();
    assert_eq!(by_me(&fixture, &people.manager_a, all()).await.unwrap(), ["given", "down"]);
    assert_eq!(by_me(&fixture, &people.super_manager, all()).await.unwrap(), Vec::<String>::new());

    // Filters and sorts of ListTasks apply.
    let running = || TaskFilter { status: vec![TaskStatus::InProgress.into()], ..all() };
    assert_eq!(to_me(&fixture, &people.user_a1, running()).await.unwrap(), ["down"]);
    assert_eq!(by_me(&fixture, &people.manager_a, running()).await.unwrap(), ["down"]);
    assert_eq!(team(&fixture, &people.manager_a, running()).await.unwrap(), ["down"]);
    let newest = TaskFilter { order: 0, search: Some("given".to_owned()), ..all() };
    assert_eq!(team(&fixture, &people.manager_a, newest).await.unwrap(), ["given"]);
    // Members of another account see only their own lists.
    let other_account = fixture.other_account().await;
    assert_eq!(team(&other_account, &other_account.team.owner, all()).await.unwrap(), Vec::<String>::new());
}
