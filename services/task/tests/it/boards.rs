//! Boards: my, user, team and account.

use std::collections::HashSet;

use baton_errors::Reason;
use baton_proto::baton::{
    api::v1::Page,
    task::v1::{
        BoardColumn, GetAccountBoardRequest, GetMyBoardRequest, GetTeamBoardRequest, GetUserBoardRequest, Task,
        TaskFilter, TaskPriority, TaskStatus,
    },
};
use baton_testkit::Person;
use uuid::Uuid;

use crate::fixture::{Fixture, RpcResult, error_reason, new_task, new_task_for};

type Board = (HashSet<String>, Vec<(TaskStatus, i32)>);

fn board(tasks: Vec<Task>, columns: &[BoardColumn]) -> Board {
    let columns = columns.iter().map(|column| (column.status(), column.count)).collect();
    (tasks.into_iter().map(|task| task.title).collect(), columns)
}

async fn mine(fixture: &Fixture, actor: &Person) -> RpcResult<Board> {
    let response = fixture.boards().get_my_board(fixture.call(actor, GetMyBoardRequest::default())).await?.into_inner();
    Ok(board(response.tasks, &response.columns))
}

async fn of(fixture: &Fixture, actor: &Person, user_id: Uuid) -> RpcResult<Board> {
    let request = GetUserBoardRequest { user_id: user_id.to_string(), ..Default::default() };
    let response = fixture.boards().get_user_board(fixture.call(actor, request)).await?.into_inner();
    Ok(board(response.tasks, &response.columns))
}

async fn teams(fixture: &Fixture, actor: &Person) -> RpcResult<Board> {
    let response =
        fixture.boards().get_team_board(fixture.call(actor, GetTeamBoardRequest::default())).await?.into_inner();
    Ok(board(response.tasks, &response.columns))
}

async fn accounts(fixture: &Fixture, actor: &Person, request: GetAccountBoardRequest) -> RpcResult<Board> {
    let response = fixture.boards().get_account_board(fixture.call(actor, request)).await?.into_inner();
    assert_eq!(response.meta.unwrap().total_count, response.columns.iter().map(|column| column.count).sum::<i32>());
    Ok(board(response.tasks, &response.columns))
}

fn titles(titles: &[&str]) -> HashSet<String> {
    titles.iter().map(|&title| title.to_owned()).collect()
}

#[tokio::test]
async fn each_board_returns_its_tasks_and_column_counts() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let running = fixture.create(&team.user_a1, new_task("running")).await.unwrap().id;
    fixture.start(&team.user_a1, &running).await.unwrap();
    let given = fixture.create(&team.manager_a, new_task_for("given", &team.user_a1)).await.unwrap().id;
    fixture.create(&team.manager_a, new_task("unassigned")).await.unwrap();
    fixture.create(&team.user_a2, new_task("colleague's")).await.unwrap();
    fixture.create(&team.owner, new_task_for("other team's", &team.user_b1)).await.unwrap();
    fixture.create(&team.owner, new_task("owner's")).await.unwrap();
    let gone = fixture.create(&team.user_a1, new_task("deleted")).await.unwrap().id;
    fixture.delete(&team.user_a1, &gone).await.unwrap();

    use TaskStatus::{Canceled, Completed, InProgress, Paused, Pending};
    let (shown, columns) = mine(&fixture, &team.user_a1).await.unwrap();
    assert_eq!(shown, titles(&["running", "given"]));
    assert_eq!(columns, [(Pending, 1), (InProgress, 1), (Paused, 0), (Completed, 0), (Canceled, 0)]);
    assert_eq!(of(&fixture, &team.manager_a, team.user_a1.user_id).await.unwrap(), (shown, columns), "the same board");
    let (shown, _) = mine(&fixture, &team.manager_a).await.unwrap();
    assert_eq!(shown, titles(&["unassigned"]), "an assigned task is on its assignee's board");

    let (shown, columns) = teams(&fixture, &team.manager_a).await.unwrap();
    assert_eq!(shown, titles(&["running", "given", "unassigned", "colleague's"]));
    assert_eq!(columns, [(Pending, 3), (InProgress, 1), (Paused, 0), (Completed, 0), (Canceled, 0)]);

    let all = ["running", "given", "unassigned", "colleague's", "other team's", "owner's"];
    for person in [&team.super_manager, &team.owner] {
        assert_eq!(teams(&fixture, person).await.unwrap().0, titles(&all), "everyone reports to them");
        assert_eq!(accounts(&fixture, person, GetAccountBoardRequest::default()).await.unwrap().0, titles(&all));
    }

    // Counts cover all pages and respect the filter.
    fixture.accept(&team.user_a1, &given).await.unwrap();
    let first = Page { per_page: 1, ..Default::default() };
    let request = GetAccountBoardRequest { filter: None, page: Some(first), ..Default::default() };
    let (shown, columns) = accounts(&fixture, &team.owner, request).await.unwrap();
    assert_eq!((shown.len(), columns[0]), (1, (Pending, 5)));
    let filter = TaskFilter { status: vec![InProgress.into()], ..Default::default() };
    let request = GetAccountBoardRequest { filter: Some(filter), page: None, ..Default::default() };
    let (shown, columns) = accounts(&fixture, &team.owner, request).await.unwrap();
    assert_eq!(shown, titles(&["running"]));
    assert_eq!(columns, [(Pending, 0), (InProgress, 1), (Paused, 0), (Completed, 0), (Canceled, 0)]);
    let filter = TaskFilter { priority: vec![TaskPriority::Urgent.into()], ..Default::default() };
    let request = GetAccountBoardRequest { filter: Some(filter), page: None, ..Default::default() };
    assert!(accounts(&fixture, &team.owner, request).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn board_access_follows_the_permission_matrix() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let people = [
        &team.owner,
        &team.super_manager,
        &team.manager_a,
        &team.manager_b,
        &team.user_a1,
        &team.user_a2,
        &team.user_b1,
    ];
    for (person, expected) in [
        (&team.owner, [true; 7]),
        (&team.super_manager, [false, true, true, true, true, true, true]),
        (&team.manager_a, [false, false, true, false, true, true, false]),
    ] {
        for (other, open) in people.into_iter().zip(expected) {
            let response = of(&fixture, person, other.user_id).await;
            if open {
                response.unwrap();
            } else {
                assert_eq!(error_reason(response), Reason::BoardNotFound);
            }
        }
        assert_eq!(error_reason(of(&fixture, person, Uuid::now_v7()).await), Reason::BoardNotFound, "nobody's");
        mine(&fixture, person).await.unwrap();
        teams(&fixture, person).await.unwrap();
    }
    mine(&fixture, &team.user_a1).await.unwrap();
    assert_eq!(error_reason(of(&fixture, &team.user_a1, team.user_a2.user_id).await), Reason::PermissionMissing);
    assert_eq!(error_reason(teams(&fixture, &team.user_a1).await), Reason::PermissionMissing);
    for person in [&team.user_a1, &team.manager_a] {
        let response = accounts(&fixture, person, GetAccountBoardRequest::default()).await;
        assert_eq!(error_reason(response), Reason::PermissionMissing);
    }
}
