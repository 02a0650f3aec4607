//! Relative filters: `me`, `today`, `this_week`.

use baton_proto::{
    baton::task::v1::{
        CreateTaskRequest, CreateViewRequest, GetViewRequest, SortOrder, TaskFilter, TaskSort, ViewSource,
        ViewVisibility, view_service_client::ViewServiceClient,
    },
    convert::timestamp,
};
use baton_testkit::Person;
use chrono::{DateTime, TimeDelta, Utc};

use crate::fixture::{Fixture, invalid_field, new_task, new_task_for};

/// Noon of a future day with no daylight saving change in Berlin or New York within a week.
fn noon(fixture: &Fixture) -> DateTime<Utc> {
    let year = fixture.clock.now().format("%Y").to_string().parse::<i32>().unwrap() + 1;
    // A Wednesday in June.
    let june = chrono::NaiveDate::from_isoywd_opt(year, 24, chrono::Weekday::Wed).unwrap();
    june.and_hms_opt(12, 0, 0).unwrap().and_utc()
}

async fn set_time_zone(fixture: &Fixture, actor: &Person, timezone: &str) {
    let update = "update auth.users set timezone = $2 where id = $1";
    sqlx::query(update).bind(actor.user_id).bind(timezone).execute(&fixture.context.admin()).await.unwrap();
}

fn due(title: &str, at: DateTime<Utc>) -> CreateTaskRequest {
    CreateTaskRequest { due_at: Some(timestamp(at)), ..new_task(title) }
}

async fn titles(fixture: &Fixture, actor: &Person, filter: TaskFilter) -> Vec<String> {
    let mut titles = Vec::new();
    for id in fixture.list(actor, filter).await.unwrap() {
        titles.push(fixture.get(actor, &id).await.unwrap().title);
    }
    titles.sort();
    titles
}

fn named(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[tokio::test]
async fn me_resolves_to_the_caller_in_every_user_filter() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    fixture.create(&team.manager_a, new_task_for("given", &team.user_a1)).await.unwrap();
    fixture.create(&team.user_a1, new_task("own")).await.unwrap();
    let held = || TaskFilter { assigned_to: named("me"), ..Default::default() };
    let made = || TaskFilter { created_by: named("me"), ..Default::default() };
    assert_eq!(titles(&fixture, &team.user_a1, held()).await, ["given"]);
    assert_eq!(titles(&fixture, &team.user_a1, made()).await, ["own"]);
    assert_eq!(titles(&fixture, &team.manager_a, made()).await, ["given"]);
    assert!(titles(&fixture, &team.manager_a, held()).await.is_empty());
    for wrong in ["Me", "myself", "", "me "] {
        let filter = TaskFilter { assigned_to: named(wrong), ..Default::default() };
        assert_eq!(invalid_field(fixture.list(&team.user_a1, filter).await), "filter.assigned_to", "{wrong}");
    }
}

#[tokio::test]
async fn named_days_use_the_callers_time_zone() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let now = noon(&fixture);
    fixture.clock.advance(now - fixture.clock.now());
    set_time_zone(&fixture, &team.owner, "Europe/Berlin").await;
    set_time_zone(&fixture, &team.super_manager, "America/New_York").await;
    // Berlin's day ends at 22:00 UTC, New York's at 4:00.
    let midnight = now - TimeDelta::hours(12);
    for (title, at) in [
        ("a night", midnight - TimeDelta::hours(3)),
        ("b early", midnight - TimeDelta::hours(1)),
        ("c noon", now),
        ("d late", midnight + TimeDelta::hours(23)),
        ("e monday", midnight + TimeDelta::days(5) + TimeDelta::hours(6)),
    ] {
        fixture.create(&team.owner, due(title, at)).await.unwrap();
    }
    let of = |name: &str| TaskFilter { due: named(name), ..Default::default() };
    assert_eq!(titles(&fixture, &team.owner, of("today")).await, ["b early", "c noon"]);
    assert_eq!(titles(&fixture, &team.super_manager, of("today")).await, ["c noon", "d late"]);
    assert_eq!(titles(&fixture, &team.owner, of("yesterday")).await, ["a night"]);
    assert_eq!(titles(&fixture, &team.owner, of("tomorrow")).await, ["d late"]);
    assert_eq!(titles(&fixture, &team.owner, of("this_week")).await, ["a night", "b early", "c noon", "d late"]);
    assert_eq!(titles(&fixture, &team.owner, of("next_week")).await, ["e monday"]);
    assert_eq!(titles(&fixture, &team.owner, of("next_7_days")).await, ["b early", "c noon", "d late", "e monday"]);
    // Both filters apply.
    let bounded = TaskFilter { due_to: Some(timestamp(now)), ..of("today") };
    assert_eq!(titles(&fixture, &team.owner, bounded).await, ["b early"]);
}

#[tokio::test]
async fn created_updated_and_completed_filters_work_with_every_sort() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    fixture.clock.advance(noon(&fixture) - fixture.clock.now());
    let old = fixture.create(me, new_task("old")).await.unwrap().id;
    let done = fixture.create(me, new_task("done")).await.unwrap().id;
    fixture.clock.advance(TimeDelta::days(3));
    fixture.create(me, new_task("new")).await.unwrap();
    fixture.start(me, &done).await.unwrap();
    fixture.complete(me, &done).await.unwrap();
    let today = named("today");
    for sort in [TaskSort::CreatedAt, TaskSort::UpdatedAt, TaskSort::DueAt, TaskSort::Priority, TaskSort::Rank] {
        let filter = || TaskFilter { sort: sort.into(), order: SortOrder::Asc.into(), ..Default::default() };
        let created = TaskFilter { created: today.clone(), ..filter() };
        assert_eq!(titles(&fixture, me, created).await, ["new"], "{sort:?}");
        let updated = TaskFilter { updated: today.clone(), ..filter() };
        assert_eq!(titles(&fixture, me, updated).await, ["done", "new"], "{sort:?}");
        let completed = TaskFilter { completed: today.clone(), ..filter() };
        assert_eq!(titles(&fixture, me, completed).await, ["done"], "{sort:?}");
        let earlier = TaskFilter { created: named("last_4_days"), completed: named("yesterday"), ..filter() };
        assert!(titles(&fixture, me, earlier).await.is_empty());
    }
    let earlier = TaskFilter { updated: named("last_4_days"), created: named("last_4_days"), ..Default::default() };
    assert_eq!(titles(&fixture, me, earlier).await, ["done", "new", "old"]);
    assert_eq!(fixture.get(me, &old).await.unwrap().title, "old");
    for (field, filter) in [
        ("filter.due", TaskFilter { due: named("this_century"), ..Default::default() }),
        ("filter.created", TaskFilter { created: named("now-7d"), ..Default::default() }),
        ("filter.updated", TaskFilter { updated: named("last_0_days"), ..Default::default() }),
        ("filter.completed", TaskFilter { completed: named(""), ..Default::default() }),
    ] {
        assert_eq!(invalid_field(fixture.list(me, filter).await), field);
    }
}

#[tokio::test]
async fn saved_view_keeps_relative_filters_unresolved() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    fixture.clock.advance(noon(&fixture) - fixture.clock.now());
    let filter = TaskFilter { assigned_to: named("me"), due: named("this_week"), ..Default::default() };
    let request = CreateViewRequest {
        name: "Mine, this week".to_owned(),
        source: ViewSource::List.into(),
        filter: Some(filter.clone()),
        visibility: ViewVisibility::Shared.into(),
        ..Default::default()
    };
    let mut views = ViewServiceClient::new(fixture.channel());
    let view = views.create_view(fixture.call(&team.manager_a, request)).await.unwrap().into_inner().view.unwrap();
    for person in [&team.user_a1, &team.user_b1] {
        let in_a_week = due("later", fixture.clock.now() + TimeDelta::days(7));
        for request in [due("now", fixture.clock.now()), in_a_week] {
            let request = CreateTaskRequest { assigned_to: Some(person.user_id.to_string()), ..request };
            fixture.create(&team.owner, request).await.unwrap();
        }
    }
    let mut seen = Vec::new();
    for person in [&team.user_a1, &team.user_b1] {
        let request = GetViewRequest { id: view.id.clone() };
        let view = views.get_view(fixture.call(person, request)).await.unwrap().into_inner().view.unwrap();
        assert_eq!(view.filter.as_ref(), Some(&filter));
        let mut found = fixture.list(person, view.filter.clone().unwrap()).await.unwrap();
        assert_eq!(found.len(), 1, "the reader's own tasks of this week");
        seen.push(found.remove(0));
        // A week later the view resolves to another task.
        fixture.clock.advance(TimeDelta::days(7));
        let later = fixture.list(person, view.filter.unwrap()).await.unwrap();
        assert!(later.len() == 1 && !seen.contains(&later[0]));
        fixture.clock.advance(TimeDelta::days(-7));
    }
    assert_ne!(seen[0], seen[1]);
}
