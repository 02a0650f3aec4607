//! Assignee suggestions: ranking, reasons, and who may be suggested.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{
    SuggestAssigneesRequest, SuggestedAssignee, SuggestionReasonKind as Kind, TaskVisibility,
};
use baton_proto::convert::timestamp;
use baton_testkit::Person;
use chrono::TimeDelta;
use uuid::Uuid;

use crate::{
    assignment_history::assignments,
    fixture::{Fixture, RpcResult, error_reason, new_task, new_task_for},
};

async fn suggest(fixture: &Fixture, actor: &Person, id: &str, limit: Option<i32>) -> RpcResult<Vec<SuggestedAssignee>> {
    let request = SuggestAssigneesRequest { id: id.to_owned(), limit };
    Ok(assignments(fixture).suggest_assignees(fixture.call(actor, request)).await?.into_inner().suggestions)
}

fn people(suggestions: &[SuggestedAssignee]) -> Vec<Uuid> {
    suggestions.iter().map(|one| one.user_id.parse().unwrap()).collect()
}

fn value(suggestion: &SuggestedAssignee, kind: Kind) -> f64 {
    suggestion.reasons.iter().find(|reason| reason.kind() == kind).unwrap().value
}

#[tokio::test]
async fn less_busy_members_rank_first_with_reasons() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let now = fixture.clock.now();
    let mut request = new_task("To be given");
    request.due_at = Some(timestamp(now + TimeDelta::days(3)));
    let id = fixture.create(&team.super_manager, request).await.unwrap().id;

    // One overdue task, one due before ours, one after. One of the first task's two hours has been worked.
    for (days, title) in [(-1, "late"), (2, "before"), (5, "after")] {
        let mut request = new_task_for(title, &team.user_a1);
        request.due_at = Some(timestamp(now + TimeDelta::days(days)));
        request.estimated_seconds = Some(7_200);
        fixture.create(&team.manager_a, request).await.unwrap();
    }
    sqlx::query("update task.tasks set actual_seconds = 3600 where title = 'late'")
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    fixture.create(&team.manager_a, new_task_for("one", &team.user_a2)).await.unwrap();
    // Unassigned, closed and deleted tasks add to nobody's load.
    let closed = fixture.create(&team.manager_b, new_task_for("closed", &team.user_b1)).await.unwrap().id;
    fixture.start(&team.user_b1, &closed).await.unwrap();
    fixture.complete(&team.user_b1, &closed).await.unwrap();
    let gone = fixture.create(&team.manager_b, new_task_for("gone", &team.user_b1)).await.unwrap().id;
    fixture.delete(&team.manager_b, &gone).await.unwrap();
    fixture.create(&team.user_b1, new_task("own")).await.unwrap();

    let suggestions = suggest(&fixture, &team.super_manager, &id, None).await.unwrap();
    let mut free = [&team.manager_a, &team.manager_b, &team.user_b1].map(|person| person.user_id);
    free.sort();
    assert_eq!(people(&suggestions)[..3], free, "equal load is ordered by id");
    assert_eq!(people(&suggestions)[3..], [team.user_a2.user_id, team.user_a1.user_id]);
    let busiest = &suggestions[4];
    for (kind, expected) in [
        (Kind::OpenTasks, 3.0),
        (Kind::RemainingSeconds, 18_000.0),
        (Kind::OverdueTasks, 1.0),
        (Kind::DueBeforeTasks, 1.0),
        (Kind::Pace, 1.0),
    ] {
        assert_eq!(value(busiest, kind), expected, "{kind:?}");
    }
    for suggestion in &suggestions {
        let sum: f64 = suggestion.reasons.iter().map(|reason| reason.adds).sum();
        assert!((sum - suggestion.score).abs() < 1e-9 && (0.0..=1.0).contains(&sum));
        assert_eq!(suggestion.reasons.len(), 5);
    }
    assert_eq!(suggest(&fixture, &team.super_manager, &id, Some(2)).await.unwrap(), suggestions[..2]);
    for limit in [0, 101] {
        let refusal = suggest(&fixture, &team.super_manager, &id, Some(limit)).await;
        assert_eq!(error_reason(refusal), Reason::ValidationFailed);
    }
    // The first suggestion is assignable.
    let best = people(&suggestions)[0];
    fixture.assign(&team.super_manager, &id, best).await.unwrap();
}

#[tokio::test]
async fn pace_is_derived_from_past_work() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    // Three tasks each: A1 takes twice the estimate, A2 half of it. Old tasks do not count.
    for (person, seconds, days) in [(&team.user_a1, 7_200, 10), (&team.user_a2, 1_800, 10), (&team.user_a2, 36_000, 91)]
    {
        sqlx::query(
            "insert into task.tasks (id, account_id, title, description, status, priority, visibility, tags,
                                     custom_fields, created_by, assigned_to, accepted_at, estimated_seconds,
                                     actual_seconds, version, created_at, updated_at, completed_at)
             select gen_random_uuid(), $1, 'Done', '', 'completed', 2, 'private', '{}', '{}', $2, $2, $5, 3600, $3, 1,
                    $5, $5, $5 - make_interval(days => $4)
             from generate_series(1, 3)",
        )
        .bind(team.account_id)
        .bind(person.user_id)
        .bind(seconds)
        .bind(days)
        .bind(fixture.clock.now())
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    }
    let id = fixture.create(&team.manager_a, new_task("Sweep")).await.unwrap().id;
    let suggestions = suggest(&fixture, &team.manager_a, &id, None).await.unwrap();
    assert_eq!(people(&suggestions), [team.user_a2.user_id, team.user_a1.user_id]);
    assert_eq!([0, 1].map(|n| value(&suggestions[n], Kind::Pace)), [0.5, 2.0]);
}

#[tokio::test]
async fn only_assignable_members_are_suggested() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = fixture.create(&team.owner, new_task_for("Sweep", &team.manager_a)).await.unwrap().id;
    // The assignee passes it down; superiors reassign it.
    let mut reports = [team.user_a1.user_id, team.user_a2.user_id];
    reports.sort();
    assert_eq!(people(&suggest(&fixture, &team.manager_a, &id, None).await.unwrap()), reports);
    let suggested = people(&suggest(&fixture, &team.owner, &id, Some(100)).await.unwrap());
    assert_eq!(suggested.len(), 5, "neither the caller nor the assignee");
    for person in suggested {
        fixture.reassign(&team.owner, &id, person).await.unwrap();
        fixture.reassign(&team.owner, &id, team.manager_a.user_id).await.unwrap();
    }
    // The same refusals as AssignTask and ReassignTask.
    assert_eq!(error_reason(suggest(&fixture, &team.manager_b, &id, None).await), Reason::TaskNotFound);
    assert_eq!(error_reason(suggest(&fixture, &team.user_a1, &id, None).await), Reason::PermissionMissing);
    fixture.assign(&team.manager_a, &id, team.user_a1.user_id).await.unwrap();
    assert_eq!(error_reason(suggest(&fixture, &team.manager_a, &id, None).await), Reason::ReassignmentNotAllowed);
    let mut shared = new_task("Shared");
    shared.visibility = TaskVisibility::Account.into();
    let shared = fixture.create(&team.owner, shared).await.unwrap().id;
    assert_eq!(error_reason(suggest(&fixture, &team.manager_a, &shared, None).await), Reason::TaskChangeNotAllowed);
    fixture.start(&team.user_a1, &id).await.unwrap();
    fixture.complete(&team.user_a1, &id).await.unwrap();
    assert_eq!(error_reason(suggest(&fixture, &team.owner, &id, None).await), Reason::TaskWrongState);
    let other_account = fixture.other_account().await;
    assert_eq!(error_reason(suggest(&other_account, &other_account.team.owner, &id, None).await), Reason::TaskNotFound);
}
