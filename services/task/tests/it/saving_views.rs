//! People save views, and share them.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{
    BoardLook, CreateViewRequest, DeleteViewRequest, GetViewRequest, ListViewsRequest, TaskFilter, TaskStatus,
    UpdateViewRequest, View, ViewChange, ViewEvent, ViewSource, ViewVisibility, view_service_client::ViewServiceClient,
};
use baton_testkit::Person;
use prost_types::FieldMask;
use tonic::transport::Channel;

use crate::desk::{Answer, Desk, refused, with, wrong_field};

fn views(desk: &Desk) -> ViewServiceClient<Channel> {
    ViewServiceClient::new(desk.channel())
}

fn named(name: &str) -> CreateViewRequest {
    CreateViewRequest { name: name.to_owned(), source: ViewSource::My.into(), ..Default::default() }
}

async fn create(desk: &Desk, who: &Person, request: CreateViewRequest) -> Answer<View> {
    Ok(views(desk).create_view(desk.call(who, request)).await?.into_inner().view.unwrap())
}

async fn get(desk: &Desk, who: &Person, id: &str) -> Answer<View> {
    let request = desk.call(who, GetViewRequest { id: id.to_owned() });
    Ok(views(desk).get_view(request).await?.into_inner().view.unwrap())
}

async fn names(desk: &Desk, who: &Person) -> Vec<String> {
    let answer = views(desk).list_views(desk.call(who, ListViewsRequest::default())).await.unwrap().into_inner();
    assert_eq!(answer.meta.unwrap().total_count as usize, answer.views.len());
    answer.views.into_iter().map(|view| view.name).collect()
}

async fn update(desk: &Desk, who: &Person, id: &str, mask: &[&str], view: ViewChange) -> Answer<View> {
    let paths = mask.iter().map(|&path| path.to_owned()).collect();
    let request = UpdateViewRequest { id: id.to_owned(), view: Some(view), update_mask: Some(FieldMask { paths }) };
    Ok(views(desk).update_view(desk.call(who, request)).await?.into_inner().view.unwrap())
}

async fn delete(desk: &Desk, who: &Person, id: &str) -> Answer<()> {
    views(desk).delete_view(desk.call(who, DeleteViewRequest { id: id.to_owned() })).await.map(drop)
}

#[tokio::test]
async fn a_view_keeps_what_was_saved() {
    let desk = Desk::open().await;
    let me = &desk.team.manager_a;
    let filter = TaskFilter {
        status: vec![TaskStatus::InProgress.into()],
        assigned_to: Some(desk.team.user_a1.user_id.to_string()),
        tags: vec!["shop".to_owned()],
        overdue: Some(true),
        ..Default::default()
    };
    let request = CreateViewRequest {
        name: " Late at A1 ".to_owned(),
        source: ViewSource::User.into(),
        user_id: Some(desk.team.user_a1.user_id.to_string()),
        look: BoardLook::Calendar.into(),
        filter: Some(filter.clone()),
        visibility: ViewVisibility::Shared.into(),
    };
    let view = create(&desk, me, request).await.unwrap();
    assert_eq!((view.name.as_str(), view.position, view.version), ("Late at A1", 0, 1));
    assert_eq!(get(&desk, me, &view.id).await.unwrap(), view);
    assert_eq!(view.filter.as_ref(), Some(&filter));

    let change = ViewChange {
        filter: Some(TaskFilter { status: vec![TaskStatus::Paused.into()], ..Default::default() }),
        name: "Paused at A1".to_owned(),
        position: 7,
        ..Default::default()
    };
    let mask = ["filter.status", "filter.overdue", "name", "position"];
    let changed = update(&desk, me, &view.id, &mask, change).await.unwrap();
    let expected = TaskFilter { status: vec![TaskStatus::Paused.into()], overdue: None, ..filter };
    assert_eq!(changed.filter, Some(expected));
    assert_eq!((changed.name.as_str(), changed.position, changed.version), ("Paused at A1", 7, 2));
    let same = update(&desk, me, &view.id, &["position"], ViewChange { position: 7, ..Default::default() }).await;
    assert_eq!(same.unwrap(), changed);
    let stale = with(desk.call(me, DeleteViewRequest { id: view.id.clone() }), "if-match", "\"1\"");
    assert_eq!(refused(views(&desk).delete_view(stale).await), Reason::VersionMismatch);
    delete(&desk, me, &view.id).await.unwrap();
    assert_eq!(refused(get(&desk, me, &view.id).await), Reason::ViewNotFound);
    let told = desk.told::<ViewEvent>("view.").await;
    assert_eq!(
        told.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
        ["view.created", "view.updated", "view.deleted"]
    );
}

#[tokio::test]
async fn shared_views_are_seen_by_all_and_changed_by_few() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let private = create(&desk, &team.user_a1, named("private")).await.unwrap();
    let shared = CreateViewRequest { visibility: ViewVisibility::Shared.into(), ..named("shared") };
    let shared = create(&desk, &team.user_a1, shared).await.unwrap();
    create(&desk, &team.user_b1, named("another's own")).await.unwrap();

    assert_eq!(names(&desk, &team.user_a1).await, ["private", "shared"]);
    assert_eq!(names(&desk, &team.user_b1).await, ["another's own", "shared"]);
    assert_eq!(refused(get(&desk, &team.owner, &private.id).await), Reason::ViewNotFound, "private is private");
    let rename = || ViewChange { name: "renamed".to_owned(), ..Default::default() };
    for person in [&team.user_b1, &team.manager_a] {
        assert_eq!(get(&desk, person, &shared.id).await.unwrap().name, "shared");
        let refusal = update(&desk, person, &shared.id, &["name"], rename()).await;
        assert_eq!(refused(refusal), Reason::ViewChangeNotAllowed);
        assert_eq!(refused(delete(&desk, person, &shared.id).await), Reason::ViewChangeNotAllowed);
    }
    update(&desk, &team.super_manager, &shared.id, &["name"], rename()).await.unwrap();
    let other = desk.elsewhere().await;
    assert_eq!(refused(get(&other, &other.team.owner, &shared.id).await), Reason::ViewNotFound);
    assert!(names(&other, &other.team.owner).await.is_empty());
}

#[tokio::test]
async fn a_view_that_means_nothing_is_refused() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let of_nobody = CreateViewRequest { source: ViewSource::User.into(), ..named("x") };
    let of_somebody = CreateViewRequest { user_id: Some(me.user_id.to_string()), ..named("x") };
    let filter = TaskFilter { search: Some("a\0".to_owned()), ..Default::default() };
    for (request, field) in [
        (named("  "), "name"),
        (of_nobody, "user_id"),
        (of_somebody, "user_id"),
        (CreateViewRequest { filter: Some(filter), ..named("x") }, "filter.search"),
    ] {
        assert_eq!(wrong_field(create(&desk, me, request).await), field);
    }
    create(&desk, me, named("Mine")).await.unwrap();
    assert_eq!(refused(create(&desk, me, named("mine")).await), Reason::ViewNameTaken);
    create(&desk, &desk.team.user_a2, named("Mine")).await.expect("another's name is free");
    assert_eq!(names(&desk, me).await, ["Mine"], "nothing else was stored");
}

#[tokio::test]
async fn nobody_has_more_than_a_hundred_views() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    for n in 0..99 {
        create(&desk, me, named(&format!("View {n}"))).await.unwrap();
    }
    let (one, other) = tokio::join!(create(&desk, me, named("One")), create(&desk, me, named("Other")));
    let refusals: Vec<Reason> = [one, other].into_iter().filter(Result::is_err).map(refused).collect();
    assert_eq!(refusals, [Reason::ViewLimit], "of two who want the last place, one gets it");
}

#[tokio::test]
async fn names_that_look_the_same_are_one_name() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    create(&desk, me, named("Caf\u{e9}  late")).await.unwrap();
    for same in
        ["Cafe\u{301} late", "CAF\u{c9} LATE", "Caf\u{e9}\u{a0}late", "Ca\u{200b}f\u{e9} late", "Ｃaf\u{e9} late"]
    {
        assert_eq!(refused(create(&desk, me, named(same)).await), Reason::ViewNameTaken, "{same}");
    }
    let other = create(&desk, me, named("Early")).await.unwrap();
    let change = ViewChange { name: "cafe\u{301} late".to_owned(), ..Default::default() };
    assert_eq!(refused(update(&desk, me, &other.id, &["name"], change).await), Reason::ViewNameTaken);
    assert_eq!(names(&desk, me).await, ["Caf\u{e9} late", "Early"]);
}
