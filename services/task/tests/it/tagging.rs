//! People look for tags to use.

use baton_proto::baton::{
    api::v1::Page,
    task::v1::{
        ListTagsRequest, ListTagsResponse, Tag, TaskChange, TaskFilter, TaskVisibility,
        tag_service_client::TagServiceClient,
    },
};
use baton_testkit::Person;

use crate::desk::{Answer, Desk, new, refused, wrong_field};

impl Desk {
    pub(crate) async fn tags(&self, who: &Person, prefix: &str, page: Page) -> Answer<ListTagsResponse> {
        let request = ListTagsRequest { prefix: prefix.to_owned(), page: Some(page) };
        Ok(TagServiceClient::new(self.channel()).list_tags(self.call(who, request)).await?.into_inner())
    }

    async fn tagged(&self, who: &Person, visibility: TaskVisibility, tags: &[&str]) -> String {
        let mut request = new("Sweep");
        (request.visibility, request.tags) = (visibility.into(), tags.iter().map(|&tag| tag.to_owned()).collect());
        self.create(who, request).await.unwrap().id
    }
}

/// Names and counts of all that begin so, in order.
async fn known(desk: &Desk, who: &Person, prefix: &str) -> Vec<(String, i32)> {
    let answer = desk.tags(who, prefix, Page { per_page: 100, ..Page::default() }).await.unwrap();
    assert_eq!(answer.meta.unwrap().total_count as usize, answer.tags.len());
    assert!(!answer.truncated && answer.tags.iter().all(|tag| !tag.has_older_tasks));
    answer.tags.into_iter().map(|tag| (tag.name, tag.task_count)).collect()
}

fn list(tags: &[(&str, i32)]) -> Vec<(String, i32)> {
    tags.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
}

#[tokio::test]
async fn tags_are_those_of_the_tasks_that_one_sees() {
    use TaskVisibility::{Account, Private, Team};
    let desk = Desk::open().await;
    let team = &desk.team;
    desk.tagged(&team.user_a1, Private, &["yard", "Zoo", "über"]).await;
    desk.tagged(&team.user_a2, Team, &["yard", "yarn"]).await;
    desk.tagged(&team.user_b1, Account, &["house"]).await;
    desk.tagged(&team.user_b1, Private, &["yard", "secret"]).await;
    let other = desk.elsewhere().await;
    other.tagged(&other.team.owner, Account, &["foreign", "yard"]).await;

    let all = [("Zoo", 1), ("house", 1), ("secret", 1), ("yard", 3), ("yarn", 1), ("über", 1)];
    assert_eq!(known(&desk, &team.owner, "").await, list(&all), "by code points");
    let mine = [("Zoo", 1), ("house", 1), ("yard", 2), ("yarn", 1), ("über", 1)];
    for who in [&team.user_a1, &team.manager_a] {
        assert_eq!(known(&desk, who, "").await, list(&mine));
    }
    assert_eq!(known(&desk, &team.user_a2, "").await, list(&[("house", 1), ("yard", 1), ("yarn", 1)]));
    assert_eq!(known(&desk, &team.user_b1, "").await, list(&[("house", 1), ("secret", 1), ("yard", 1)]));
    assert_eq!(known(&other, &other.team.user_b1, "").await, list(&[("foreign", 1), ("yard", 1)]));

    for (prefix, expected) in [
        ("ya", &[("yard", 3), ("yarn", 1)][..]),
        (" yard", &[("yard", 3)]),
        ("yards", &[]),
        ("Y", &[]),
        ("ü", &[("über", 1)]),
        ("%", &[]),
    ] {
        assert_eq!(known(&desk, &team.owner, prefix).await, list(expected), "{prefix}");
    }
    for prefix in ["a\0".to_owned(), "\u{10FFFF}".to_owned(), "x".repeat(51)] {
        assert_eq!(wrong_field(desk.tags(&team.owner, &prefix, Page::default()).await), "prefix");
    }
    assert_eq!(refused(other.tags(&team.owner, "", Page::default()).await), baton_errors::Reason::NotAMember);
}

#[tokio::test]
async fn a_tag_goes_with_its_last_task() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let task = desk.tagged(me, TaskVisibility::Private, &["yard", "broom"]).await;
    let other = desk.tagged(me, TaskVisibility::Private, &["yard"]).await;
    let change = TaskChange { tags: vec!["yard".to_owned(), "rake".to_owned()], ..TaskChange::default() };
    desk.update(me, &task, &["tags"], change).await.unwrap();
    assert_eq!(known(&desk, me, "").await, list(&[("rake", 1), ("yard", 2)]));
    desk.cancel(me, &other, None).await.unwrap();
    desk.archive(me, &other).await.unwrap();
    assert_eq!(known(&desk, me, "").await, list(&[("rake", 1), ("yard", 2)]), "what is archived counts");
    desk.delete(me, &task).await.unwrap();
    assert_eq!(known(&desk, me, "").await, list(&[("yard", 1)]));
    desk.restore(me, &task).await.unwrap();
    assert_eq!(known(&desk, me, "").await, list(&[("rake", 1), ("yard", 2)]));
}

#[tokio::test]
async fn many_tags_are_read_in_pages_and_no_more_than_a_thousand() {
    let desk = Desk::open().await;
    let (me, stranger) = (&desk.team.manager_a, &desk.team.user_b1);
    for n in 0..51 {
        let tags: Vec<String> = (0..20).map(|m| format!("tag{:04}", n * 20 + m)).collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        desk.tagged(me, TaskVisibility::Private, &tags).await;
    }
    for who in [me, &desk.team.owner] {
        let mut page = Page { per_page: 100, ..Page::default() };
        let mut read: Vec<String> = Vec::new();
        loop {
            let answer = desk.tags(who, "tag", page.clone()).await.unwrap();
            let meta = answer.meta.unwrap();
            assert_eq!((meta.total_count, meta.total_pages, answer.truncated), (1_000, 10, true));
            read.extend(answer.tags.into_iter().map(|tag| tag.name));
            if meta.next_page_token.is_empty() {
                break;
            }
            page.page_token = meta.next_page_token;
        }
        assert!(read.is_sorted() && read.len() == 1_000 && read[999] == "tag0999");
        let tenth = desk.tags(who, "tag", Page { page: 10, per_page: 100, ..Page::default() }).await.unwrap();
        assert_eq!(tenth.tags.first().unwrap().name, read[900]);
        let rest = desk.tags(who, "tag101", Page::default()).await.unwrap();
        assert_eq!((rest.tags.len(), rest.truncated), (10, false));
    }
    let first = desk.tags(me, "tag", Page { per_page: 1, ..Page::default() }).await.unwrap();
    let page = Page { page_token: first.meta.unwrap().next_page_token, ..Page::default() };
    assert_eq!(refused(desk.tags(me, "", page).await), baton_errors::Reason::PageTokenInvalid);
    let theirs = desk.tags(stranger, "tag", Page::default()).await.unwrap();
    assert_eq!((theirs.tags, theirs.truncated), (Vec::<Tag>::new(), true));
}

#[tokio::test]
async fn spellings_that_look_the_same_are_one_tag() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    for tag in ["caf\u{e9}", "cafe\u{301}", " caf\u{e9} ", "ca\u{200b}f\u{e9}", "ｃaf\u{e9}"] {
        desk.tagged(me, TaskVisibility::Private, &[tag, "caf\u{e9}"]).await;
    }
    assert_eq!(known(&desk, me, "cafe\u{301}").await, list(&[("caf\u{e9}", 5)]));
    let filter = TaskFilter { tags: vec!["cafe\u{301}".to_owned()], ..Default::default() };
    assert_eq!(desk.list(me, filter).await.unwrap().len(), 5);
    for (tag, field) in [("a\u{1b}", "tags[1]"), ("\u{2800}", "tags[1]"), ("a\nb", "tags[1]")] {
        let mut request = new("Sweep");
        request.tags = vec!["a".to_owned(), tag.to_owned()];
        assert_eq!(wrong_field(desk.create(me, request).await), field);
    }
}
