//! Lists of the activity log, and who may read them.

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
async fn actions_are_logged_once_in_order_and_without_gaps() {
    let fixture = Fixture::start().await;
    let (team, initial) = (&fixture.team, fixture.initial_rows().await);
    let promote = team.super_manager.call(team.account_id, new_role(team.account_id, &team.user_b1, Role::Manager));
    // A promotion past the manager requires another manager.
    let status = members(&fixture.context).update_member(promote).await.unwrap_err();
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
    members(&fixture.context).update_member(team.super_manager.call(team.account_id, change)).await.unwrap();

    let rows = fixture.log(initial + 2).await;
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
    // Refused calls are not logged. Events without an account (signing in) are in no log.
    assert_eq!(rows.iter().filter(|row| row.action == "member.role_changed").count(), 1);
    let elsewhere = "select count(*) from tenancy.activity_logs where action like 'session.%' or action like 'user.%'";
    assert_eq!(fixture.count(elsewhere).await, 0);
}

#[tokio::test]
async fn rows_are_filtered_by_actor_action_resource_and_time() {
    let fixture = Fixture::start().await;
    let (team, initial) = (&fixture.team, fixture.initial_rows().await);
    let task_id = Uuid::now_v7();
    fixture.publish(&team.user_a1, "task.created", task_id, origin()).await;
    fixture.publish(&team.user_a1, "task.started", task_id, origin()).await;
    fixture.publish(&team.user_a2, "task.created", Uuid::now_v7(), Origin::default()).await;
    let all = fixture.log(initial + 3).await;
    let tasks: Vec<_> = all.iter().filter(|row| row.resource_type == "task").collect();
    let [last, second, first] = tasks[..] else { unreachable!() };

    let find = async |filter: ActivityFilter| {
        let response = fixture.list(&team.super_manager, filtered(filter)).await.unwrap();
        assert_eq!(response.meta.unwrap().total_count as usize, response.activity_logs.len());
        response.activity_logs.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let actor = Some(team.user_a1.user_id.to_string());
    assert_eq!(find(ActivityFilter { actor: actor.clone(), ..Default::default() }).await, [&*second.id, &first.id]);
    let created = Some("task.created".to_owned());
    assert_eq!(find(ActivityFilter { action: created.clone(), ..Default::default() }).await, [&*last.id, &first.id]);
    assert_eq!(find(ActivityFilter { actor, action: created, ..Default::default() }).await, [&*first.id]);
    let tasks = Some("task".to_owned());
    assert_eq!(find(ActivityFilter { resource_type: tasks, ..Default::default() }).await.len(), 3);
    let (from, to) = (second.occurred_at, last.occurred_at);
    assert_eq!(
        find(ActivityFilter { from, to, ..Default::default() }).await,
        [&*second.id],
        "from is inclusive, to is exclusive"
    );
    assert!(find(ActivityFilter { actor: Some(Uuid::now_v7().to_string()), ..Default::default() }).await.is_empty());

    assert_eq!(first.address.as_deref(), Some("203.0.113.7"));
    assert_eq!((first.user_agent.clone(), first.request_id.as_deref()), (Some(origin().user_agent), Some("request-1")));
    assert_eq!((&last.address, &last.user_agent, &last.request_id), (&None, &None, &None));
    for bad in ["created", "Task.Created", "task.created; drop table", ""] {
        let status =
            fixture.list(&team.owner, filtered(ActivityFilter { action: Some(bad.to_owned()), ..Default::default() }));
        assert_eq!(baton_testkit::reason(&status.await.unwrap_err()), Some(Reason::ValidationFailed), "{bad}");
    }
}

#[tokio::test]
async fn pages_are_stable_while_the_log_grows() {
    let fixture = Fixture::start().await;
    let initial = fixture.initial_rows().await;
    fill(&fixture, 5).await;
    let page = async |page: Page| {
        let request = ListActivityLogsRequest { filter: None, page: Some(page) };
        let response = fixture.list(&fixture.team.owner, request).await?;
        let sequences: Vec<i32> = response.activity_logs.iter().map(|row| row.sequence).collect();
        Ok::<_, Status>((sequences, response.meta.unwrap()))
    };
    let newest = initial as i32 + 5;
    let (rows, meta) = page(Page { per_page: 2, ..Page::default() }).await.unwrap();
    assert_eq!((rows, meta.total_count), (vec![newest, newest - 1], newest));
    fill(&fixture, 3).await;
    let (rows, _) =
        page(Page { per_page: 2, page_token: meta.next_page_token.clone(), ..Page::default() }).await.unwrap();
    assert_eq!(rows, [newest - 2, newest - 3]);
    let (rows, _) = page(Page { per_page: 2, page: 2, ..Page::default() }).await.unwrap();
    assert_eq!(rows, [newest + 1, newest], "pages by number shift");
    let request = ListActivityLogsRequest {
        filter: Some(ActivityFilter { resource_type: Some("task".to_owned()), ..Default::default() }),
        page: Some(Page { page_token: meta.next_page_token, ..Page::default() }),
    };
    let status = fixture.list(&fixture.team.owner, request).await.unwrap_err();
    assert_eq!(baton_testkit::reason(&status), Some(Reason::PageTokenInvalid), "a token of another list");
}

#[tokio::test]
async fn a_deleted_task_keeps_its_log() {
    let fixture = Fixture::start().await;
    let (team, initial) = (&fixture.team, fixture.initial_rows().await);
    let task_id = Uuid::now_v7();
    for kind in ["task.created", "task.completed", "task.deleted"] {
        fixture.publish(&team.user_a1, kind, task_id, Origin::default()).await;
    }
    fixture.log(initial + 3).await;
    let ask = |person: &Person, task_id: Uuid| {
        person.call(team.account_id, ListTaskActivityLogsRequest { task_id: task_id.to_string(), page: None })
    };
    let response = fixture.client().list_task_activity_logs(ask(&team.owner, task_id)).await.unwrap().into_inner();
    let actions: Vec<_> = response.activity_logs.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["task.deleted", "task.completed", "task.created"]);
    let unknown = fixture.client().list_task_activity_logs(ask(&team.owner, Uuid::now_v7())).await;
    assert_eq!(refusal(unknown), Reason::TaskNotFound);
    // The id of another resource finds nothing.
    let member = fixture.log(1).await.into_iter().find(|row| row.resource_type != "task").unwrap();
    let member = member.resource_id.parse().unwrap();
    assert_eq!(refusal(fixture.client().list_task_activity_logs(ask(&team.owner, member)).await), Reason::TaskNotFound);
}

#[tokio::test]
async fn users_read_their_own_actions_managers_their_reports_and_higher_roles_all() {
    let fixture = Fixture::start().await;
    let (team, initial) = (&fixture.team, fixture.initial_rows().await);
    let everyone = [&team.user_a1, &team.user_a2, &team.user_b1, &team.manager_a, &team.manager_b, &team.super_manager];
    for person in everyone {
        fixture.publish(person, "task.created", Uuid::now_v7(), origin()).await;
    }
    fixture.log(initial + everyone.len()).await;
    let ask = async |reader: &Person, person: &Person| {
        let request = reader.call(team.account_id, of_user(person));
        fixture.client().list_user_activity_logs(request).await.map(|response| response.into_inner().activity_logs)
    };
    for (reader, reads) in [
        (&team.user_a1, vec![&team.user_a1]),
        (&team.manager_a, vec![&team.manager_a, &team.user_a1, &team.user_a2]),
        (&team.super_manager, everyone.to_vec()),
        (&team.owner, everyone.to_vec()),
    ] {
        for person in everyone {
            let response = ask(reader, person).await;
            if !reads.iter().any(|read| read.user_id == person.user_id) {
                let status = response.unwrap_err();
                assert_eq!(
                    baton_testkit::reason(&status),
                    Some(Reason::MemberNotFound),
                    "{} {}",
                    reader.email,
                    person.email
                );
                continue;
            }
            let rows = response.unwrap();
            assert!(rows.iter().all(|row| row.actor_id == Some(person.user_id.to_string())));
            let row = rows.iter().find(|row| row.action == "task.created").unwrap();
            // A manager does not see address and user agent of a report.
            let is_hidden = reader.user_id == team.manager_a.user_id && person.user_id != reader.user_id;
            assert_eq!((row.address.is_none(), row.user_agent.is_none()), (is_hidden, is_hidden), "{}", person.email);
        }
    }
    // A former member is still in the log; a stranger is not.
    let remove = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: team.user_b1.user_id.to_string(),
        ..Default::default()
    };
    members(&fixture.context).remove_member(team.owner.call(team.account_id, remove)).await.unwrap();
    assert!(!ask(&team.owner, &team.user_b1).await.unwrap().is_empty());
    let stranger = fixture.context.person("stranger").await;
    let status = ask(&team.owner, &stranger).await.unwrap_err();
    assert_eq!(baton_testkit::reason(&status), Some(Reason::MemberNotFound));
}

#[tokio::test]
async fn only_administrators_read_the_whole_log() {
    let fixture = Fixture::start().await;
    let team = &fixture.team;
    fixture.initial_rows().await;
    for person in [&team.user_a1, &team.manager_a] {
        let status = fixture.list(person, ListActivityLogsRequest::default()).await.unwrap_err();
        assert_eq!(baton_testkit::reason(&status), Some(Reason::PermissionMissing));
    }
    // Another account has its own log, which starts at one.
    let other = fixture.context.person("other").await;
    let account_id = fixture.context.account(&other).await;
    let rows = eventually(async || {
        let request = other.call(account_id, ListActivityLogsRequest::default());
        let rows = fixture.client().list_activity_logs(request).await.unwrap().into_inner().activity_logs;
        Some(rows).filter(|rows| !rows.is_empty())
    })
    .await;
    assert!(rows.iter().all(|row| row.account_id == account_id.to_string()));
    assert_eq!(rows.last().unwrap().sequence, 1);
    let foreign = other.call(team.account_id, ListActivityLogsRequest::default());
    assert_eq!(refusal(fixture.client().list_activity_logs(foreign).await), Reason::NotAMember);
}

#[tokio::test]
async fn counts_use_index_only_scans() {
    let fixture = Fixture::start().await;
    let mut conn = PgConnection::connect(&fixture.context.database().app_url("tenancy")).await.unwrap();
    // Enough rows in this week's partition for the planner to prefer an index.
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
        fixture.team.account_id
    );
    let admin = fixture.context.admin();
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&admin).await.unwrap();
    sqlx::raw_sql("vacuum analyze tenancy.activity_logs").execute(&admin).await.unwrap();
    let week: String = sqlx::query_scalar("select tableoid::regclass::text from tenancy.activity_logs where seq = -1")
        .fetch_one(&admin)
        .await
        .unwrap();
    let week = week.trim_start_matches("tenancy.").to_owned() + " ";
    // All rows belong to one account, so heap and index scans cost about the same. The test only asks whether the index
    // suffices.
    let set = format!(
        "set enable_seqscan = off; set enable_bitmapscan = off; set baton.account_id = '{}'",
        fixture.team.account_id
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
            fixture.team.account_id
        );
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut conn).await.unwrap();
        let scans: Vec<_> = plan.iter().filter(|line| line.contains("Scan") && line.contains(&week)).collect();
        assert!(!scans.is_empty() && scans.iter().all(|line| line.contains("Index Only Scan")), "{filter}: {plan:#?}");
    }
}
