//! People ask for what is theirs and of which days: `me`, `today`, `this_week`.

use baton_proto::{
    baton::task::v1::{
        CreateTaskRequest, CreateViewRequest, GetViewRequest, SortOrder, TaskFilter, TaskSort, ViewSource,
        ViewVisibility, view_service_client::ViewServiceClient,
    },
    convert::timestamp,
};
use baton_testkit::Person;
use chrono::{DateTime, TimeDelta, Utc};

use crate::desk::{Desk, new, new_for, wrong_field};

/// The next day at noon on which no clock of Berlin or New York changes within a week of it: later than all that a test
/// writes.
fn noon(desk: &Desk) -> DateTime<Utc> {
    let year = desk.clock.now().format("%Y").to_string().parse::<i32>().unwrap() + 1;
    // A Wednesday in June.
    let june = chrono::NaiveDate::from_isoywd_opt(year, 24, chrono::Weekday::Wed).unwrap();
    june.and_hms_opt(12, 0, 0).unwrap().and_utc()
}

async fn lives(desk: &Desk, who: &Person, timezone: &str) {
    let update = "update auth.users set timezone = $2 where id = $1";
    sqlx::query(update).bind(who.user_id).bind(timezone).execute(&desk.world.admin()).await.unwrap();
}

fn due(title: &str, at: DateTime<Utc>) -> CreateTaskRequest {
    CreateTaskRequest { due_at: Some(timestamp(at)), ..new(title) }
}

async fn titles(desk: &Desk, who: &Person, filter: TaskFilter) -> Vec<String> {
    let mut titles = Vec::new();
    for id in desk.list(who, filter).await.unwrap() {
        titles.push(desk.get(who, &id).await.unwrap().title);
    }
    titles.sort();
    titles
}

fn named(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[tokio::test]
async fn me_is_whoever_asks_wherever_a_person_is_named() {
    let desk = Desk::open().await;
    let team = &desk.team;
    desk.create(&team.manager_a, new_for("given", &team.user_a1)).await.unwrap();
    desk.create(&team.user_a1, new("own")).await.unwrap();
    let held = || TaskFilter { assigned_to: named("me"), ..Default::default() };
    let made = || TaskFilter { created_by: named("me"), ..Default::default() };
    assert_eq!(titles(&desk, &team.user_a1, held()).await, ["given"]);
    assert_eq!(titles(&desk, &team.user_a1, made()).await, ["own"]);
    assert_eq!(titles(&desk, &team.manager_a, made()).await, ["given"]);
    assert!(titles(&desk, &team.manager_a, held()).await.is_empty());
    for wrong in ["Me", "myself", "", "me "] {
        let filter = TaskFilter { assigned_to: named(wrong), ..Default::default() };
        assert_eq!(wrong_field(desk.list(&team.user_a1, filter).await), "filter.assigned_to", "{wrong}");
    }
}

#[tokio::test]
async fn days_are_those_of_the_readers_timezone() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let now = noon(&desk);
    desk.clock.advance(now - desk.clock.now());
    lives(&desk, &team.owner, "Europe/Berlin").await;
    lives(&desk, &team.super_manager, "America/New_York").await;
    // Berlin's day ends at 22:00 UTC, New York's at 4:00.
    let midnight = now - TimeDelta::hours(12);
    for (title, at) in [
        ("a night", midnight - TimeDelta::hours(3)),
        ("b early", midnight - TimeDelta::hours(1)),
        ("c noon", now),
        ("d late", midnight + TimeDelta::hours(23)),
        ("e monday", midnight + TimeDelta::days(5) + TimeDelta::hours(6)),
    ] {
        desk.create(&team.owner, due(title, at)).await.unwrap();
    }
    let of = |name: &str| TaskFilter { due: named(name), ..Default::default() };
    assert_eq!(titles(&desk, &team.owner, of("today")).await, ["b early", "c noon"]);
    assert_eq!(titles(&desk, &team.super_manager, of("today")).await, ["c noon", "d late"]);
    assert_eq!(titles(&desk, &team.owner, of("yesterday")).await, ["a night"]);
    assert_eq!(titles(&desk, &team.owner, of("tomorrow")).await, ["d late"]);
    assert_eq!(titles(&desk, &team.owner, of("this_week")).await, ["a night", "b early", "c noon", "d late"]);
    assert_eq!(titles(&desk, &team.owner, of("next_week")).await, ["e monday"]);
    assert_eq!(titles(&desk, &team.owner, of("next_7_days")).await, ["b early", "c noon", "d late", "e monday"]);
    // Both must hold.
    let bounded = TaskFilter { due_to: Some(timestamp(now)), ..of("today") };
    assert_eq!(titles(&desk, &team.owner, bounded).await, ["b early"]);
}

#[tokio::test]
async fn what_was_made_changed_and_completed_is_found_by_its_day_in_every_order() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    desk.clock.advance(noon(&desk) - desk.clock.now());
    let old = desk.create(me, new("old")).await.unwrap().id;
    let done = desk.create(me, new("done")).await.unwrap().id;
    desk.clock.advance(TimeDelta::days(3));
    desk.create(me, new("new")).await.unwrap();
    desk.start(me, &done).await.unwrap();
    desk.complete(me, &done).await.unwrap();
    let today = named("today");
    for sort in [TaskSort::CreatedAt, TaskSort::UpdatedAt, TaskSort::DueAt, TaskSort::Priority, TaskSort::Rank] {
        let filter = || TaskFilter { sort: sort.into(), order: SortOrder::Asc.into(), ..Default::default() };
        let created = TaskFilter { created: today.clone(), ..filter() };
        assert_eq!(titles(&desk, me, created).await, ["new"], "{sort:?}");
        let updated = TaskFilter { updated: today.clone(), ..filter() };
        assert_eq!(titles(&desk, me, updated).await, ["done", "new"], "{sort:?}");
        let completed = TaskFilter { completed: today.clone(), ..filter() };
        assert_eq!(titles(&desk, me, completed).await, ["done"], "{sort:?}");
        let earlier = TaskFilter { created: named("last_4_days"), completed: named("yesterday"), ..filter() };
        assert!(titles(&desk, me, earlier).await.is_empty());
    }
    let earlier = TaskFilter { updated: named("last_4_days"), created: named("last_4_days"), ..Default::default() };
    assert_eq!(titles(&desk, me, earlier).await, ["done", "new", "old"]);
    assert_eq!(desk.get(me, &old).await.unwrap().title, "old");
    for (field, filter) in [
        ("filter.due", TaskFilter { due: named("this_century"), ..Default::default() }),
        ("filter.created", TaskFilter { created: named("now-7d"), ..Default::default() }),
        ("filter.updated", TaskFilter { updated: named("last_0_days"), ..Default::default() }),
        ("filter.completed", TaskFilter { completed: named(""), ..Default::default() }),
    ] {
        assert_eq!(wrong_field(desk.list(me, filter).await), field);
    }
}

#[tokio::test]
async fn a_view_keeps_me_and_days_as_they_were_written() {
    let desk = Desk::open().await;
    let team = &desk.team;
    desk.clock.advance(noon(&desk) - desk.clock.now());
    let filter = TaskFilter { assigned_to: named("me"), due: named("this_week"), ..Default::default() };
    let request = CreateViewRequest {
        name: "Mine, this week".to_owned(),
        source: ViewSource::List.into(),
        filter: Some(filter.clone()),
        visibility: ViewVisibility::Shared.into(),
        ..Default::default()
    };
    let mut views = ViewServiceClient::new(desk.channel());
    let view = views.create_view(desk.call(&team.manager_a, request)).await.unwrap().into_inner().view.unwrap();
    for person in [&team.user_a1, &team.user_b1] {
        let in_a_week = due("later", desk.clock.now() + TimeDelta::days(7));
        for request in [due("now", desk.clock.now()), in_a_week] {
            let request = CreateTaskRequest { assigned_to: Some(person.user_id.to_string()), ..request };
            desk.create(&team.owner, request).await.unwrap();
        }
    }
    let mut seen = Vec::new();
    for person in [&team.user_a1, &team.user_b1] {
        let request = GetViewRequest { id: view.id.clone() };
        let view = views.get_view(desk.call(person, request)).await.unwrap().into_inner().view.unwrap();
        assert_eq!(view.filter.as_ref(), Some(&filter));
        let mut found = desk.list(person, view.filter.clone().unwrap()).await.unwrap();
        assert_eq!(found.len(), 1, "their own, of this week");
        seen.push(found.remove(0));
        // A week later it is another one.
        desk.clock.advance(TimeDelta::days(7));
        let later = desk.list(person, view.filter.unwrap()).await.unwrap();
        assert!(later.len() == 1 && !seen.contains(&later[0]));
        desk.clock.advance(TimeDelta::days(-7));
    }
    assert_ne!(seen[0], seen[1]);
}
