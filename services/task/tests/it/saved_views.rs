//! Saved views.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{
    BoardLayout, CreateViewRequest, DeleteViewRequest, GetViewRequest, ListViewsRequest, TaskFilter, TaskStatus,
    UpdateViewRequest, View, ViewChange, ViewEvent, ViewSource, ViewVisibility, view_service_client::ViewServiceClient,
};
use baton_testkit::Person;
use prost_types::FieldMask;
use tonic::transport::Channel;

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, with_header};

fn views(fixture: &Fixture) -> ViewServiceClient<Channel> {
    ViewServiceClient::new(fixture.channel())
}

fn named(name: &str) -> CreateViewRequest {
    CreateViewRequest { name: name.to_owned(), source: ViewSource::My.into(), ..Default::default() }
}

async fn create(fixture: &Fixture, actor: &Person, request: CreateViewRequest) -> RpcResult<View> {
    Ok(views(fixture).create_view(fixture.call(actor, request)).await?.into_inner().view.unwrap())
}

async fn get(fixture: &Fixture, actor: &Person, id: &str) -> RpcResult<View> {
    let request = fixture.call(actor, GetViewRequest { id: id.to_owned() });
    Ok(views(fixture).get_view(request).await?.into_inner().view.unwrap())
}

async fn names(fixture: &Fixture, actor: &Person) -> Vec<String> {
    let response =
        views(fixture).list_views(fixture.call(actor, ListViewsRequest::default())).await.unwrap().into_inner();
    assert_eq!(response.meta.unwrap().total_count as usize, response.views.len());
    response.views.into_iter().map(|view| view.name).collect()
}

async fn update(fixture: &Fixture, actor: &Person, id: &str, mask: &[&str], view: ViewChange) -> RpcResult<View> {
    let paths = mask.iter().map(|&path| path.to_owned()).collect();
    let request = UpdateViewRequest { id: id.to_owned(), view: Some(view), update_mask: Some(FieldMask { paths }) };
    Ok(views(fixture).update_view(fixture.call(actor, request)).await?.into_inner().view.unwrap())
}

async fn delete(fixture: &Fixture, actor: &Person, id: &str) -> RpcResult<()> {
    views(fixture).delete_view(fixture.call(actor, DeleteViewRequest { id: id.to_owned() })).await.map(drop)
}

#[tokio::test]
async fn view_returns_what_was_saved() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.manager_a;
    let filter = TaskFilter {
        status: vec![TaskStatus::InProgress.into()],
        assigned_to: Some(fixture.team.user_a1.user_id.to_string()),
        tags: vec!["shop".to_owned()],
        overdue: Some(true),
        ..Default::default()
    };
    let request = CreateViewRequest {
        name: " Late at A1 ".to_owned(),
        source: ViewSource::User.into(),
        user_id: Some(fixture.team.user_a1.user_id.to_string()),
        layout: BoardLayout::Calendar.into(),
        filter: Some(filter.clone()),
        visibility: ViewVisibility::Shared.into(),
    };
    let view = create(&fixture, me, request).await.unwrap();
    assert_eq!((view.name.as_str(), view.position, view.version), ("Late at A1", 0, 1));
    assert_eq!(get(&fixture, me, &view.id).await.unwrap(), view);
    assert_eq!(view.filter.as_ref(), Some(&filter));

    let change = ViewChange {
        filter: Some(TaskFilter { status: vec![TaskStatus::Paused.into()], ..Default::default() }),
        name: "Paused at A1".to_owned(),
        position: 7,
        ..Default::default()
    };
    let mask = ["filter.status", "filter.overdue", "name", "position"];
    let changed = update(&fixture, me, &view.id, &mask, change).await.unwrap();
    let expected = TaskFilter { status: vec![TaskStatus::Paused.into()], overdue: None, ..filter };
    assert_eq!(changed.filter, Some(expected));
    assert_eq!((changed.name.as_str(), changed.position, changed.version), ("Paused at A1", 7, 2));
    let same = update(&fixture, me, &view.id, &["position"], ViewChange { position: 7, ..Default::default() }).await;
    assert_eq!(same.unwrap(), changed);
    let stale = with_header(fixture.call(me, DeleteViewRequest { id: view.id.clone() }), "if-match", "\"1\"");
    assert_eq!(error_reason(views(&fixture).delete_view(stale).await), Reason::VersionMismatch);
    delete(&fixture, me, &view.id).await.unwrap();
    assert_eq!(error_reason(get(&fixture, me, &view.id).await), Reason::ViewNotFound);
    let events = fixture.published::<ViewEvent>("view.").await;
    assert_eq!(
        events.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
        ["view.created", "view.updated", "view.deleted"]
    );
}

#[tokio::test]
async fn shared_view_is_visible_to_all_and_editable_by_its_owner_and_admins() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let private = create(&fixture, &team.user_a1, named("private")).await.unwrap();
    let shared = CreateViewRequest { visibility: ViewVisibility::Shared.into(), ..named("shared") };
    let shared = create(&fixture, &team.user_a1, shared).await.unwrap();
    create(&fixture, &team.user_b1, named("another's own")).await.unwrap();

    assert_eq!(names(&fixture, &team.user_a1).await, ["private", "shared"]);
    assert_eq!(names(&fixture, &team.user_b1).await, ["another's own", "shared"]);
    assert_eq!(
        error_reason(get(&fixture, &team.owner, &private.id).await),
        Reason::ViewNotFound,
        "private views are hidden from the owner"
    );
    let rename = || ViewChange { name: "renamed".to_owned(), ..Default::default() };
    for person in [&team.user_b1, &team.manager_a] {
        assert_eq!(get(&fixture, person, &shared.id).await.unwrap().name, "shared");
        let refusal = update(&fixture, person, &shared.id, &["name"], rename()).await;
        assert_eq!(error_reason(refusal), Reason::ViewChangeNotAllowed);
        assert_eq!(error_reason(delete(&fixture, person, &shared.id).await), Reason::ViewChangeNotAllowed);
    }
    update(&fixture, &team.super_manager, &shared.id, &["name"], rename()).await.unwrap();
    let other = fixture.other_account().await;
    assert_eq!(error_reason(get(&other, &other.team.owner, &shared.id).await), Reason::ViewNotFound);
    assert!(names(&other, &other.team.owner).await.is_empty());
}

#[tokio::test]
async fn invalid_view_is_refused() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let of_nobody = CreateViewRequest { source: ViewSource::User.into(), ..named("x") };
    let of_somebody = CreateViewRequest { user_id: Some(me.user_id.to_string()), ..named("x") };
    let filter = TaskFilter { search: Some("a\0".to_owned()), ..Default::default() };
    for (request, field) in [
        (named("  "), "name"),
        (of_nobody, "user_id"),
        (of_somebody, "user_id"),
        (CreateViewRequest { filter: Some(filter), ..named("x") }, "filter.search"),
    ] {
        assert_eq!(invalid_field(create(&fixture, me, request).await), field);
    }
    create(&fixture, me, named("Mine")).await.unwrap();
    assert_eq!(error_reason(create(&fixture, me, named("mine")).await), Reason::ViewNameTaken);
    create(&fixture, &fixture.team.user_a2, named("Mine")).await.expect("names are per user");
    assert_eq!(names(&fixture, me).await, ["Mine"], "nothing else was stored");
}

#[tokio::test]
async fn user_has_at_most_a_hundred_views() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    for n in 0..99 {
        create(&fixture, me, named(&format!("View {n}"))).await.unwrap();
    }
    let (one, other) = tokio::join!(create(&fixture, me, named("One")), create(&fixture, me, named("Other")));
    let refusals: Vec<Reason> = [one, other].into_iter().filter(Result::is_err).map(error_reason).collect();
    assert_eq!(refusals, [Reason::ViewLimit], "one of two concurrent creates exceeds the limit");
}

#[tokio::test]
async fn visually_equal_names_are_duplicates() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    create(&fixture, me, named("Caf\u{e9}  late")).await.unwrap();
    for same in
        ["Cafe\u{301} late", "CAF\u{c9} LATE", "Caf\u{e9}\u{a0}late", "Ca\u{200b}f\u{e9} late", "Ｃaf\u{e9} late"]
    {
        assert_eq!(error_reason(create(&fixture, me, named(same)).await), Reason::ViewNameTaken, "{same}");
    }
    let other = create(&fixture, me, named("Early")).await.unwrap();
    let change = ViewChange { name: "cafe\u{301} late".to_owned(), ..Default::default() };
    assert_eq!(error_reason(update(&fixture, me, &other.id, &["name"], change).await), Reason::ViewNameTaken);
    assert_eq!(names(&fixture, me).await, ["Caf\u{e9} late", "Early"]);
}
