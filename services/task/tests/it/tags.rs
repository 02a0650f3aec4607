//! Listing tags.

use baton_proto::baton::{
    api::v1::Page,
    task::v1::{
        ListTagsRequest, ListTagsResponse, Tag, TaskChange, TaskFilter, TaskVisibility,
        tag_service_client::TagServiceClient,
    },
};
use baton_testkit::Person;

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task};

impl Fixture {
    pub(crate) async fn tags(&self, actor: &Person, prefix: &str, page: Page) -> RpcResult<ListTagsResponse> {
        let request = ListTagsRequest { prefix: prefix.to_owned(), page: Some(page) };
        Ok(TagServiceClient::new(self.channel()).list_tags(self.call(actor, request)).await?.into_inner())
    }

    async fn tagged(&self, actor: &Person, visibility: TaskVisibility, tags: &[&str]) -> String {
        let mut request = new_task("Sweep");
        (request.visibility, request.tags) = (visibility.into(), tags.iter().map(|&tag| tag.to_owned()).collect());
        self.create(actor, request).await.unwrap().id
    }
}

/// Names and counts of all tags with this prefix, in order.
async fn known(fixture: &Fixture, actor: &Person, prefix: &str) -> Vec<(String, i32)> {
    let response = fixture.tags(actor, prefix, Page { per_page: 100, ..Page::default() }).await.unwrap();
    assert_eq!(response.meta.unwrap().total_count as usize, response.tags.len());
    assert!(!response.truncated && response.tags.iter().all(|tag| !tag.has_older_tasks));
    response.tags.into_iter().map(|tag| (tag.name, tag.task_count)).collect()
}

fn list(tags: &[(&str, i32)]) -> Vec<(String, i32)> {
    tags.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
}

#[tokio::test]
async fn tags_come_from_visible_tasks_only() {
    use TaskVisibility::{Account, Private, Team};
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    fixture.tagged(&team.user_a1, Private, &["yard", "Zoo", "über"]).await;
    fixture.tagged(&team.user_a2, Team, &["yard", "yarn"]).await;
    fixture.tagged(&team.user_b1, Account, &["house"]).await;
    fixture.tagged(&team.user_b1, Private, &["yard", "secret"]).await;
    let other = fixture.other_account().await;
    other.tagged(&other.team.owner, Account, &["foreign", "yard"]).await;

    let all = [("Zoo", 1), ("house", 1), ("secret", 1), ("yard", 3), ("yarn", 1), ("über", 1)];
    assert_eq!(known(&fixture, &team.owner, "").await, list(&all), "ordered by code point");
    let mine = [("Zoo", 1), ("house", 1), ("yard", 2), ("yarn", 1), ("über", 1)];
    for actor in [&team.user_a1, &team.manager_a] {
        assert_eq!(known(&fixture, actor, "").await, list(&mine));
    }
    assert_eq!(known(&fixture, &team.user_a2, "").await, list(&[("house", 1), ("yard", 1), ("yarn", 1)]));
    assert_eq!(known(&fixture, &team.user_b1, "").await, list(&[("house", 1), ("secret", 1), ("yard", 1)]));
    assert_eq!(known(&other, &other.team.user_b1, "").await, list(&[("foreign", 1), ("yard", 1)]));

    for (prefix, expected) in [
        ("ya", &[("yard", 3), ("yarn", 1)][..]),
        (" yard", &[("yard", 3)]),
        ("yards", &[]),
        ("Y", &[]),
        ("ü", &[("über", 1)]),
        ("%", &[]),
    ] {
        assert_eq!(known(&fixture, &team.owner, prefix).await, list(expected), "{prefix}");
    }
    for prefix in ["a\0".to_owned(), "\u{10FFFF}".to_owned(), "x".repeat(51)] {
        assert_eq!(invalid_field(fixture.tags(&team.owner, &prefix, Page::default()).await), "prefix");
    }
    assert_eq!(error_reason(other.tags(&team.owner, "", Page::default()).await), baton_errors::Reason::NotAMember);
}

#[tokio::test]
async fn tag_disappears_with_its_last_task() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let task = fixture.tagged(me, TaskVisibility::Private, &["yard", "broom"]).await;
    let other = fixture.tagged(me, TaskVisibility::Private, &["yard"]).await;
    let change = TaskChange { tags: vec!["yard".to_owned(), "rake".to_owned()], ..TaskChange::default() };
    fixture.update(me, &task, &["tags"], change).await.unwrap();
    assert_eq!(known(&fixture, me, "").await, list(&[("rake", 1), ("yard", 2)]));
    fixture.cancel(me, &other, None).await.unwrap();
    fixture.archive(me, &other).await.unwrap();
    assert_eq!(known(&fixture, me, "").await, list(&[("rake", 1), ("yard", 2)]), "archived tasks count");
    fixture.delete(me, &task).await.unwrap();
    assert_eq!(known(&fixture, me, "").await, list(&[("yard", 1)]));
    fixture.restore(me, &task).await.unwrap();
    assert_eq!(known(&fixture, me, "").await, list(&[("rake", 1), ("yard", 2)]));
}

#[tokio::test]
async fn tags_are_paginated_up_to_a_thousand() {
    let fixture = Fixture::new().await;
    let (me, stranger) = (&fixture.team.manager_a, &fixture.team.user_b1);
    for n in 0..51 {
        let tags: Vec<String> = (0..20).map(|m| format!("tag{:04}", n * 20 + m)).collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        fixture.tagged(me, TaskVisibility::Private, &tags).await;
    }
    for actor in [me, &fixture.team.owner] {
        let mut page = Page { per_page: 100, ..Page::default() };
        let mut read: Vec<String> = Vec::new();
        loop {
            let response = fixture.tags(actor, "tag", page.clone()).await.unwrap();
            let meta = response.meta.unwrap();
            assert_eq!((meta.total_count, meta.total_pages, response.truncated), (1_000, 10, true));
            read.extend(response.tags.into_iter().map(|tag| tag.name));
            if meta.next_page_token.is_empty() {
                break;
            }
            page.page_token = meta.next_page_token;
        }
        assert!(read.is_sorted() && read.len() == 1_000 && read[999] == "tag0999");
        let tenth = fixture.tags(actor, "tag", Page { page: 10, per_page: 100, ..Page::default() }).await.unwrap();
        assert_eq!(tenth.tags.first().unwrap().name, read[900]);
        let rest = fixture.tags(actor, "tag101", Page::default()).await.unwrap();
        assert_eq!((rest.tags.len(), rest.truncated), (10, false));
    }
    let first = fixture.tags(me, "tag", Page { per_page: 1, ..Page::default() }).await.unwrap();
    let page = Page { page_token: first.meta.unwrap().next_page_token, ..Page::default() };
    assert_eq!(error_reason(fixture.tags(me, "", page).await), baton_errors::Reason::PageTokenInvalid);
    let theirs = fixture.tags(stranger, "tag", Page::default()).await.unwrap();
    assert_eq!((theirs.tags, theirs.truncated), (Vec::<Tag>::new(), true));
}

#[tokio::test]
async fn visually_equal_spellings_are_one_tag() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    for tag in ["caf\u{e9}", "cafe\u{301}", " caf\u{e9} ", "ca\u{200b}f\u{e9}", "ｃaf\u{e9}"] {
        fixture.tagged(me, TaskVisibility::Private, &[tag, "caf\u{e9}"]).await;
    }
    assert_eq!(known(&fixture, me, "cafe\u{301}").await, list(&[("caf\u{e9}", 5)]));
    let filter = TaskFilter { tags: vec!["cafe\u{301}".to_owned()], ..Default::default() };
    assert_eq!(fixture.list(me, filter).await.unwrap().len(), 5);
    for (tag, field) in [("a\u{1b}", "tags[1]"), ("\u{2800}", "tags[1]"), ("a\nb", "tags[1]")] {
        let mut request = new_task("Sweep");
        request.tags = vec!["a".to_owned(), tag.to_owned()];
        assert_eq!(invalid_field(fixture.create(me, request).await), field);
    }
}
