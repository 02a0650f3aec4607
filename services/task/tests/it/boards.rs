//! People look at boards.

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

use crate::desk::{Answer, Desk, new, new_for, refused};

type Board = (HashSet<String>, Vec<(TaskStatus, i32)>);

fn board(tasks: Vec<Task>, columns: &[BoardColumn]) -> Board {
    let columns = columns.iter().map(|column| (column.status(), column.count)).collect();
    (tasks.into_iter().map(|task| task.title).collect(), columns)
}

async fn mine(desk: &Desk, who: &Person) -> Answer<Board> {
    let answer = desk.boards().get_my_board(desk.call(who, GetMyBoardRequest::default())).await?.into_inner();
    Ok(board(answer.tasks, &answer.columns))
}

async fn of(desk: &Desk, who: &Person, user_id: Uuid) -> Answer<Board> {
    let request = GetUserBoardRequest { user_id: user_id.to_string(), ..Default::default() };
    let answer = desk.boards().get_user_board(desk.call(who, request)).await?.into_inner();
    Ok(board(answer.tasks, &answer.columns))
}

async fn teams(desk: &Desk, who: &Person) -> Answer<Board> {
    let answer = desk.boards().get_team_board(desk.call(who, GetTeamBoardRequest::default())).await?.into_inner();
    Ok(board(answer.tasks, &answer.columns))
}

async fn accounts(desk: &Desk, who: &Person, request: GetAccountBoardRequest) -> Answer<Board> {
    let answer = desk.boards().get_account_board(desk.call(who, request)).await?.into_inner();
    assert_eq!(answer.meta.unwrap().total_count, answer.columns.iter().map(|column| column.count).sum::<i32>());
    Ok(board(answer.tasks, &answer.columns))
}

fn titles(titles: &[&str]) -> HashSet<String> {
    titles.iter().map(|&title| title.to_owned()).collect()
}

#[tokio::test]
async fn each_board_shows_its_tasks_and_counts() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let running = desk.create(&team.user_a1, new("running")).await.unwrap().id;
    desk.start(&team.user_a1, &running).await.unwrap();
    let given = desk.create(&team.manager_a, new_for("given", &team.user_a1)).await.unwrap().id;
    desk.create(&team.manager_a, new("unheld")).await.unwrap();
    desk.create(&team.user_a2, new("colleague's")).await.unwrap();
    desk.create(&team.owner, new_for("other team's", &team.user_b1)).await.unwrap();
    desk.create(&team.owner, new("owner's")).await.unwrap();
    let gone = desk.create(&team.user_a1, new("deleted")).await.unwrap().id;
    desk.delete(&team.user_a1, &gone).await.unwrap();

    use TaskStatus::{Canceled, Completed, InProgress, Paused, Pending};
    let (shown, columns) = mine(&desk, &team.user_a1).await.unwrap();
    assert_eq!(shown, titles(&["running", "given"]));
    assert_eq!(columns, [(Pending, 1), (InProgress, 1), (Paused, 0), (Completed, 0), (Canceled, 0)]);
    assert_eq!(of(&desk, &team.manager_a, team.user_a1.user_id).await.unwrap(), (shown, columns), "the same board");
    let (shown, _) = mine(&desk, &team.manager_a).await.unwrap();
    assert_eq!(shown, titles(&["unheld"]), "what was given away is another's");

    let (shown, columns) = teams(&desk, &team.manager_a).await.unwrap();
    assert_eq!(shown, titles(&["running", "given", "unheld", "colleague's"]));
    assert_eq!(columns, [(Pending, 3), (InProgress, 1), (Paused, 0), (Completed, 0), (Canceled, 0)]);

    let all = ["running", "given", "unheld", "colleague's", "other team's", "owner's"];
    for person in [&team.super_manager, &team.owner] {
        assert_eq!(teams(&desk, person).await.unwrap().0, titles(&all), "everyone is below them");
        assert_eq!(accounts(&desk, person, GetAccountBoardRequest::default()).await.unwrap().0, titles(&all));
    }

    // Counts are of all pages, and of what the filter leaves.
    desk.accept(&team.user_a1, &given).await.unwrap();
    let first = Page { per_page: 1, ..Default::default() };
    let request = GetAccountBoardRequest { filter: None, page: Some(first), ..Default::default() };
    let (shown, columns) = accounts(&desk, &team.owner, request).await.unwrap();
    assert_eq!((shown.len(), columns[0]), (1, (Pending, 5)));
    let filter = TaskFilter { status: vec![InProgress.into()], ..Default::default() };
    let request = GetAccountBoardRequest { filter: Some(filter), page: None, ..Default::default() };
    let (shown, columns) = accounts(&desk, &team.owner, request).await.unwrap();
    assert_eq!(shown, titles(&["running"]));
    assert_eq!(columns, [(Pending, 0), (InProgress, 1), (Paused, 0), (Completed, 0), (Canceled, 0)]);
    let filter = TaskFilter { priority: vec![TaskPriority::Urgent.into()], ..Default::default() };
    let request = GetAccountBoardRequest { filter: Some(filter), page: None, ..Default::default() };
    assert!(accounts(&desk, &team.owner, request).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn boards_open_as_the_matrix_says() {
    let desk = Desk::open().await;
    let team = &desk.team;
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
            let answer = of(&desk, person, other.user_id).await;
            if open {
                answer.unwrap();
            } else {
                assert_eq!(refused(answer), Reason::BoardNotFound);
            }
        }
        assert_eq!(refused(of(&desk, person, Uuid::now_v7()).await), Reason::BoardNotFound, "nobody's");
        mine(&desk, person).await.unwrap();
        teams(&desk, person).await.unwrap();
    }
    mine(&desk, &team.user_a1).await.unwrap();
    assert_eq!(refused(of(&desk, &team.user_a1, team.user_a2.user_id).await), Reason::PermissionMissing);
    assert_eq!(refused(teams(&desk, &team.user_a1).await), Reason::PermissionMissing);
    for person in [&team.user_a1, &team.manager_a] {
        let answer = accounts(&desk, person, GetAccountBoardRequest::default()).await;
        assert_eq!(refused(answer), Reason::PermissionMissing);
    }
}
