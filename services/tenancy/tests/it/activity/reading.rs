//! Who reads what of the log.

use baton_errors::Reason;
use baton_proto::baton::{
    api::v1::Page,
    tenancy::v1::{
        ActivityFilter, ListTaskActivityLogsRequest, ListUserActivityLogsRequest, RemoveMemberRequest, Role,
    },
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::*;
use crate::{members, new_role, refusal};

fn filtered(filter: ActivityFilter) -> ListActivityLogsRequest {
    ListActivityLogsRequest { filter: Some(filter), page: None }
}

fn of_user(person: &Person) -> ListUserActivityLogsRequest {
    ListUserActivityLogsRequest { user_id: person.user_id.to_string(), page: None }
}

#[tokio::test]
async fn what_members_do_is_in_the_log_once_in_order_and_without_gaps() {
    let stage = Stage::set().await;
    let (team, begun) = (&stage.team, stage.begun().await);
    let promote = team.super_manager.call(team.account_id, new_role(team.account_id, &team.user_b1, Role::Manager));
    // A promotion past one's manager names another.
    let status = members(&stage.world).update_member(promote).await.unwrap_err();
    assert_eq!(baton_testkit::reason(&status), Some(Reason::ManagerInvalid));
    let change = crate::change(
        team.account_id,
        &team.user_b1,
        baton_proto::baton::tenancy::v1::MemberChange {
            role: Role::Manager.into(),
            manager_id: Some(team.super_manager.user_id.to_string()),
            can_reassign_tasks: false,
        },
        &["role", "manager_id"],
    );
    members(&stage.world).update_member(team.super_manager.call(team.account_id, change)).await.unwrap();

    let rows = stage.log(begun + 2).await;
    let times: Vec<_> = rows.iter().map(|row| row.occurred_at.unwrap()).map(|at| (at.seconds, at.nanos)).collect();
    assert!(times.is_sorted_by(|later, earlier| later >= earlier), "newest first");
    let mut sequences: Vec<i32> = rows.iter().map(|row| row.sequence).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=rows.len() as i32).collect::<Vec<_>>(), "no gaps");
    let row = rows.iter().find(|row| row.action == "member.role_changed").unwrap();
    assert_eq!(row.actor_id, Some(team.super_manager.user_id.to_string()));
    assert_eq!((row.resource_type.as_str(), row.account_id.as_str()), ("member", &*team.account_id.to_string()));
    let details = baton_proto::convert::to_object(row.details.clone().unwrap());
    assert_eq!((&details["role"], &details["user_id"]), (&"manager".into(), &team.user_b1.user_id.to_string().into()));
    // What was refused is not there, and what belongs to no account (signing in) is in nobody's log.
    assert_eq!(rows.iter().filter(|row| row.action == "member.role_changed").count(), 1);
    let elsewhere = "select count(*) from tenancy.activity_logs where action like 'session.%' or action like 'user.%'";
    assert_eq!(stage.count(elsewhere).await, 0);
}

#[tokio::test]
async fn rows_are_found_by_who_what_and_when() {
    let stage = Stage::set().await;
    let (team, begun) = (&stage.team, stage.begun().await);
    let task_id = Uuid::now_v7();
    stage.happens(&team.user_a1, "task.created", task_id, somewhere()).await;
    stage.happens(&team.user_a1, "task.started", task_id, somewhere()).await;
    stage.happens(&team.user_a2, "task.created", Uuid::now_v7(), Origin::default()).await;
    let all = stage.log(begun + 3).await;
    let tasks: Vec<_> = all.iter().filter(|row| row.resource_type == "task").collect();
    let [last, second, first] = tasks[..] else { unreachable!() };

    let find = async |filter: ActivityFilter| {
        let answer = stage.list(&team.super_manager, filtered(filter)).await.unwrap();
        assert_eq!(answer.meta.unwrap().total_count as usize, answer.activity_logs.len());
        answer.activity_logs.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let actor = Some(team.user_a1.user_id.to_string());
    assert_eq!(find(ActivityFilter { actor: actor.clone(), ..Default::default() }).await, [&*second.id, &first.id]);
    let created = Some("task.created".to_owned());
    assert_eq!(find(ActivityFilter { action: created.clone(), ..Default::default() }).await, [&*last.id, &first.id]);
    assert_eq!(find(ActivityFilter { actor, action: created, ..Default::default() }).await, [&*first.id]);
    let tasks = Some("task".to_owned());
    assert_eq!(find(ActivityFilter { resource_type: tasks, ..Default::default() }).await.len(), 3);
    let (from, to) = (second.occurred_at, last.occurred_at);
    assert_eq!(find(ActivityFilter { from, to, ..Default::default() }).await, [&*second.id], "from is in, to is not");
    assert!(find(ActivityFilter { actor: Some(Uuid::now_v7().to_string()), ..Default::default() }).await.is_empty());

    assert_eq!(first.address.as_deref(), Some("203.0.113.7"));
    assert_eq!(
        (first.user_agent.clone(), first.request_id.as_deref()),
        (Some(somewhere().user_agent), Some("request-1"))
    );
    assert_eq!((&last.address, &last.user_agent, &last.request_id), (&None, &None, &None));
    for bad in ["created", "Task.Created", "task.created; drop table", ""] {
        let status =
            stage.list(&team.owner, filtered(ActivityFilter { action: Some(bad.to_owned()), ..Default::default() }));
        assert_eq!(baton_testkit::reason(&status.await.unwrap_err()), Some(Reason::ValidationFailed), "{bad}");
    }
}

#[tokio::test]
async fn pages_hold_still_while_the_log_grows() {
    let stage = Stage::set().await;
    let begun = stage.begun().await;
    fill(&stage, 5).await;
    let page = async |page: Page| {
        let request = ListActivityLogsRequest { filter: None, page: Some(page) };
        let answer = stage.list(&stage.team.owner, request).await?;
        let sequences: Vec<i32> = answer.activity_logs.iter().map(|row| row.sequence).collect();
        Ok::<_, Status>((sequences, answer.meta.unwrap()))
    };
    let newest = begun as i32 + 5;
    let (rows, meta) = page(Page { per_page: 2, ..Page::default() }).await.unwrap();
    assert_eq!((rows, meta.total_count), (vec![newest, newest - 1], newest));
    fill(&stage, 3).await;
    let (rows, _) =
        page(Page { per_page: 2, page_token: meta.next_page_token.clone(), ..Page::default() }).await.unwrap();
    assert_eq!(rows, [newest - 2, newest - 3]);
    let (rows, _) = page(Page { per_page: 2, page: 2, ..Page::default() }).await.unwrap();
    assert_eq!(rows, [newest + 1, newest], "by number it moves");
    let request = ListActivityLogsRequest {
        filter: Some(ActivityFilter { resource_type: Some("task".to_owned()), ..Default::default() }),
        page: Some(Page { page_token: meta.next_page_token, ..Page::default() }),
    };
    let status = stage.list(&stage.team.owner, request).await.unwrap_err();
    assert_eq!(baton_testkit::reason(&status), Some(Reason::PageTokenInvalid), "a token of another list");
}

#[tokio::test]
async fn a_task_has_its_log_also_when_it_is_gone() {
    let stage = Stage::set().await;
    let (team, begun) = (&stage.team, stage.begun().await);
    let task_id = Uuid::now_v7();
    for kind in ["task.created", "task.completed", "task.deleted"] {
        stage.happens(&team.user_a1, kind, task_id, Origin::default()).await;
    }
    stage.log(begun + 3).await;
    let ask = |person: &Person, task_id: Uuid| {
        person.call(team.account_id, ListTaskActivityLogsRequest { task_id: task_id.to_string(), page: None })
    };
    let answer = stage.client().list_task_activity_logs(ask(&team.owner, task_id)).await.unwrap().into_inner();
    let actions: Vec<_> = answer.activity_logs.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["task.deleted", "task.completed", "task.created"]);
    let unknown = stage.client().list_task_activity_logs(ask(&team.owner, Uuid::now_v7())).await;
    assert_eq!(refusal(unknown), Reason::TaskNotFound);
    // A member's row is no task's.
    let member = stage.log(1).await.into_iter().find(|row| row.resource_type != "task").unwrap();
    let member = member.resource_id.parse().unwrap();
    assert_eq!(refusal(stage.client().list_task_activity_logs(ask(&team.owner, member)).await), Reason::TaskNotFound);
}

#[tokio::test]
async fn people_read_what_they_did_managers_what_their_reports_did_and_higher_roles_all() {
    let stage = Stage::set().await;
    let (team, begun) = (&stage.team, stage.begun().await);
    let everyone = [&team.user_a1, &team.user_a2, &team.user_b1, &team.manager_a, &team.manager_b, &team.super_manager];
    for person in everyone {
        stage.happens(person, "task.created", Uuid::now_v7(), somewhere()).await;
    }
    stage.log(begun + everyone.len()).await;
    let ask = async |reader: &Person, person: &Person| {
        let request = reader.call(team.account_id, of_user(person));
        stage.client().list_user_activity_logs(request).await.map(|answer| answer.into_inner().activity_logs)
    };
    for (reader, reads) in [
        (&team.user_a1, vec![&team.user_a1]),
        (&team.manager_a, vec![&team.manager_a, &team.user_a1, &team.user_a2]),
        (&team.super_manager, everyone.to_vec()),
        (&team.owner, everyone.to_vec()),
    ] {
        for person in everyone {
            let answer = ask(reader, person).await;
            if !reads.iter().any(|read| read.user_id == person.user_id) {
                let status = answer.unwrap_err();
                assert_eq!(
                    baton_testkit::reason(&status),
                    Some(Reason::MemberNotFound),
                    "{} {}",
                    reader.email,
                    person.email
                );
                continue;
            }
            let rows = answer.unwrap();
            assert!(rows.iter().all(|row| row.actor_id == Some(person.user_id.to_string())));
            let row = rows.iter().find(|row| row.action == "task.created").unwrap();
            // Where a report calls from is not their manager's business.
            let hidden = reader.user_id == team.manager_a.user_id && person.user_id != reader.user_id;
            assert_eq!((row.address.is_none(), row.user_agent.is_none()), (hidden, hidden), "{}", person.email);
        }
    }
    // Who has left is still in the log; a stranger never was.
    let remove = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: team.user_b1.user_id.to_string(),
        ..Default::default()
    };
    members(&stage.world).remove_member(team.owner.call(team.account_id, remove)).await.unwrap();
    assert!(!ask(&team.owner, &team.user_b1).await.unwrap().is_empty());
    let stranger = stage.world.person("stranger").await;
    let status = ask(&team.owner, &stranger).await.unwrap_err();
    assert_eq!(baton_testkit::reason(&status), Some(Reason::MemberNotFound));
}

#[tokio::test]
async fn the_whole_log_is_for_those_who_run_the_account() {
    let stage = Stage::set().await;
    let team = &stage.team;
    stage.begun().await;
    for person in [&team.user_a1, &team.manager_a] {
        let status = stage.list(person, ListActivityLogsRequest::default()).await.unwrap_err();
        assert_eq!(baton_testkit::reason(&status), Some(Reason::PermissionMissing));
    }
    // Another account's log is its own, and starts at one.
    let other = stage.world.person("other").await;
    let account_id = stage.world.account(&other).await;
    let rows = eventually(async || {
        let request = other.call(account_id, ListActivityLogsRequest::default());
        let rows = stage.client().list_activity_logs(request).await.unwrap().into_inner().activity_logs;
        Some(rows).filter(|rows| !rows.is_empty())
    })
    .await;
    assert!(rows.iter().all(|row| row.account_id == account_id.to_string()));
    assert_eq!(rows.last().unwrap().sequence, 1);
    let foreign = other.call(team.account_id, ListActivityLogsRequest::default());
    assert_eq!(refusal(stage.client().list_activity_logs(foreign).await), Reason::NotAMember);
}

#[tokio::test]
async fn lists_are_counted_without_a_look_at_the_rows() {
    let stage = Stage::set().await;
    let mut conn = PgConnection::connect(&stage.world.database().app_url("tenancy")).await.unwrap();
    // Rows enough for the planner to care, in the partition of this week.
    let id = Uuid::now_v7();
    let fill = format!(
        "insert into tenancy.activity_logs (account_id, seq, recorded_at, id, occurred_at, actor_id, action, resource_type,
                                            resource_id, changed_fields, details, leaf_hash)
         select '{0}', -n, now(), gen_random_uuid(), now() - n * interval '1 minute',
                case when n % 50 = 0 then '{id}' else gen_random_uuid() end,
                case when n % 50 = 0 then 'task.created' else 'member.joined' end,
                case when n % 50 = 0 then 'task' else 'member' end,
                case when n % 50 = 0 then '{id}' else gen_random_uuid() end, '{{}}', '{{}}', sha256('')
         from generate_series(1, 5000) n",
        stage.team.account_id
    );
    let admin = stage.world.admin();
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&admin).await.unwrap();
    sqlx::raw_sql("vacuum analyze tenancy.activity_logs").execute(&admin).await.unwrap();
    let week: String = sqlx::query_scalar("select tableoid::regclass::text from tenancy.activity_logs where seq = -1")
        .fetch_one(&admin)
        .await
        .unwrap();
    let week = week.trim_start_matches("tenancy.").to_owned() + " ";
    // One account has all rows here, so its heap is as near as its index: what is asked is whether the index suffices.
    let set = format!(
        "set enable_seqscan = off; set enable_bitmapscan = off; set baton.account_id = '{}'",
        stage.team.account_id
    );
    sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut conn).await.unwrap();
    for filter in [
        "true".to_owned(),
        "occurred_at >= now() - interval '1 day' and occurred_at < now()".to_owned(),
        "action = 'task.created'".to_owned(),
        "resource_type = 'task'".to_owned(),
        format!("actor_id = '{id}'"),
    ] {
        let explain = format!(
            "explain select count(*), coalesce(max(seq), 0) from tenancy.activity_logs
             where account_id = '{}' and recorded_at >= now() - interval '90 days' and {filter}",
            stage.team.account_id
        );
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut conn).await.unwrap();
        let scans: Vec<_> = plan.iter().filter(|line| line.contains("Scan") && line.contains(&week)).collect();
        assert!(!scans.is_empty() && scans.iter().all(|line| line.contains("Index Only Scan")), "{filter}: {plan:#?}");
    }
}
