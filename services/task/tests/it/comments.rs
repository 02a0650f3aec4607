//! Comments: threads, edits, reactions.

use baton_errors::Reason;
use baton_proto::baton::{
    api::v1::Page,
    task::v1::{
        AddReactionRequest, Comment, CommentChange, CommentEvent, CreateCommentRequest, DeleteCommentRequest,
        GetCommentRequest, ListCommentsRequest, RemoveReactionRequest, TaskVisibility, UpdateCommentRequest,
        comment_service_client::CommentServiceClient,
    },
};
use baton_testkit::{Person, eventually};
use chrono::TimeDelta;
use futures_util::future::join_all;
use prost_types::FieldMask;
use tonic::{Request, transport::Channel};

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task, new_task_for, with_header};

pub(crate) fn client(fixture: &Fixture) -> CommentServiceClient<Channel> {
    CommentServiceClient::new(fixture.channel())
}

pub(crate) async fn post_comment(fixture: &Fixture, actor: &Person, task: &str, body: &str) -> RpcResult<Comment> {
    reply(fixture, actor, task, body, None).await
}

pub(crate) async fn reply(
    fixture: &Fixture,
    actor: &Person,
    task: &str,
    body: &str,
    to: Option<&Comment>,
) -> RpcResult<Comment> {
    // Ids sort by time, and the fixture's clock is fixed.
    fixture.clock.advance(TimeDelta::milliseconds(2));
    let request = CreateCommentRequest {
        task_id: task.to_owned(),
        body: body.to_owned(),
        parent_id: to.map(|comment| comment.id.clone()),
    };
    Ok(client(fixture).create_comment(fixture.call(actor, request)).await?.into_inner().comment.unwrap())
}

fn edit_of(id: &str, body: &str) -> UpdateCommentRequest {
    UpdateCommentRequest {
        comment_id: id.to_owned(),
        comment: Some(CommentChange { body: body.to_owned() }),
        update_mask: Some(FieldMask { paths: vec!["body".to_owned()] }),
    }
}

async fn edited(fixture: &Fixture, request: Request<UpdateCommentRequest>) -> RpcResult<Comment> {
    Ok(client(fixture).update_comment(request).await?.into_inner().comment.unwrap())
}

pub(crate) async fn edit(fixture: &Fixture, actor: &Person, id: &str, body: &str) -> RpcResult<Comment> {
    edited(fixture, fixture.call(actor, edit_of(id, body))).await
}

async fn get(fixture: &Fixture, actor: &Person, id: &str) -> RpcResult<Comment> {
    let request = fixture.call(actor, GetCommentRequest { comment_id: id.to_owned() });
    Ok(client(fixture).get_comment(request).await?.into_inner().comment.unwrap())
}

async fn delete(fixture: &Fixture, actor: &Person, id: &str) -> RpcResult<()> {
    let request = fixture.call(actor, DeleteCommentRequest { comment_id: id.to_owned() });
    client(fixture).delete_comment(request).await.map(|_| ())
}

async fn list(fixture: &Fixture, actor: &Person, task: &str, thread: Option<&Comment>) -> RpcResult<Vec<Comment>> {
    let request = ListCommentsRequest {
        task_id: task.to_owned(),
        parent_id: thread.map(|comment| comment.id.clone()),
        page: Some(Page { per_page: 100, ..Page::default() }),
    };
    let response = client(fixture).list_comments(fixture.call(actor, request)).await?.into_inner();
    assert_eq!(response.meta.unwrap().total_count as usize, response.comments.len());
    Ok(response.comments)
}

async fn react(fixture: &Fixture, actor: &Person, comment: &Comment, emoji: &str) -> RpcResult<Comment> {
    let request = AddReactionRequest { comment_id: comment.id.clone(), emoji: emoji.to_owned() };
    Ok(client(fixture).add_reaction(fixture.call(actor, request)).await?.into_inner().comment.unwrap())
}

async fn unreact(fixture: &Fixture, actor: &Person, comment: &Comment, emoji: &str) -> RpcResult<Comment> {
    let request = RemoveReactionRequest { comment_id: comment.id.clone(), emoji: emoji.to_owned() };
    Ok(client(fixture).remove_reaction(fixture.call(actor, request)).await?.into_inner().comment.unwrap())
}

fn bodies(comments: &[Comment]) -> Vec<&str> {
    comments.iter().map(|comment| comment.body.as_str()).collect()
}

fn kinds(events: &[(String, impl Sized)]) -> Vec<&str> {
    events.iter().map(|(kind, _)| kind.as_str()).collect()
}

#[tokio::test]
async fn threads_are_one_level_deep_and_ordered_oldest_first() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let task = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    let first = post_comment(&fixture, &team.manager_a, &task, "Which **broom**?\n").await.unwrap();
    assert_eq!((first.body.as_str(), first.version), ("Which **broom**?\n", 1), "stored as typed");
    assert_eq!((first.author_id.clone(), first.parent_id.clone()), (team.manager_a.user_id.to_string(), None));
    let second = post_comment(&fixture, &team.user_a1, &task, "When?").await.unwrap();
    let response = reply(&fixture, &team.user_a1, &task, "The red one", Some(&first)).await.unwrap();
    let deeper = reply(&fixture, &team.owner, &task, "Good", Some(&response)).await.unwrap();
    assert_eq!((response.parent_id, deeper.parent_id), (Some(first.id.clone()), Some(first.id.clone())));

    let all = list(&fixture, &team.user_a1, &task, None).await.unwrap();
    assert_eq!(bodies(&all), ["Which **broom**?\n", "When?", "The red one", "Good"]);
    assert_eq!(all.iter().map(|comment| comment.reply_count).collect::<Vec<_>>(), [2, 0, 0, 0]);
    assert_eq!(bodies(&list(&fixture, &team.user_a1, &task, Some(&first)).await.unwrap()), ["The red one", "Good"]);
    assert!(list(&fixture, &team.user_a1, &task, Some(&second)).await.unwrap().is_empty());
    assert_eq!(get(&fixture, &team.user_a1, &first.id).await.unwrap(), all[0]);

    let other = fixture.create(&team.manager_a, new_task("Mop")).await.unwrap().id;
    let astray = reply(&fixture, &team.manager_a, &other, "No", Some(&first)).await;
    assert_eq!(error_reason(astray), Reason::CommentNotFound, "a thread belongs to one task");
    assert_eq!(error_reason(list(&fixture, &team.manager_a, &other, Some(&first)).await), Reason::CommentNotFound);
}

#[tokio::test]
async fn pages_cover_all_comments_in_order() {
    let fixture = Fixture::new().await;
    let owner = &fixture.team.owner;
    let task = fixture.create(owner, new_task("Sweep")).await.unwrap().id;
    for n in 0..5 {
        post_comment(&fixture, owner, &task, &n.to_string()).await.unwrap();
    }
    let (mut read, mut token) = (Vec::new(), String::new());
    loop {
        let page = Page { per_page: 2, page_token: token, ..Page::default() };
        let request = ListCommentsRequest { task_id: task.clone(), parent_id: None, page: Some(page) };
        let response = client(&fixture).list_comments(fixture.call(owner, request)).await.unwrap().into_inner();
        read.extend(response.comments);
        token = response.meta.unwrap().next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(bodies(&read), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn comments_of_a_hidden_task_are_not_found() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let task = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    let comment = post_comment(&fixture, &team.user_a1, &task, "Hm").await.unwrap();
    let other_account = fixture.other_account().await;
    for (fixture, actor) in
        [(&fixture, &team.user_a2), (&fixture, &team.manager_b), (&other_account, &other_account.team.owner)]
    {
        assert_eq!(error_reason(list(fixture, actor, &task, None).await), Reason::TaskNotFound);
        assert_eq!(error_reason(post_comment(fixture, actor, &task, "Ha").await), Reason::TaskNotFound);
        assert_eq!(error_reason(get(fixture, actor, &comment.id).await), Reason::CommentNotFound);
        assert_eq!(error_reason(edit(fixture, actor, &comment.id, "Ha").await), Reason::CommentNotFound);
        assert_eq!(error_reason(delete(fixture, actor, &comment.id).await), Reason::CommentNotFound);
        assert_eq!(error_reason(react(fixture, actor, &comment, "👍").await), Reason::CommentNotFound);
        assert_eq!(error_reason(unreact(fixture, actor, &comment, "👍").await), Reason::CommentNotFound);
    }
    // A deleted task has no comments; a restored one has them again.
    fixture.delete(&team.manager_a, &task).await.unwrap();
    assert_eq!(error_reason(get(&fixture, &team.manager_a, &comment.id).await), Reason::CommentNotFound);

    // Row-level security alone hides them from other accounts.
    let db = fixture.context.db(baton_task::SPEC.name);
    let mut tx = db.begin(baton_store::Tenant::account(other_account.team.account_id)).await.unwrap();
    for table in ["comments", "comment_mentions", "comment_reactions", "task_watchers"] {
        let count = sqlx::AssertSqlSafe(format!("select count(*) from task.{table}"));
        assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(tx.connection()).await.unwrap(), 0, "{table}");
    }
}

#[tokio::test]
async fn invalid_comment_body_is_refused() {
    let fixture = Fixture::new().await;
    let owner = &fixture.team.owner;
    let task = fixture.create(owner, new_task("Sweep")).await.unwrap().id;
    let names: String = (0..51).map(|n| format!("@anna{n} ")).collect();
    for body in ["", " \n\t ", "a\0b", &"x".repeat(20_001), &names] {
        assert_eq!(invalid_field(post_comment(&fixture, owner, &task, body).await), "body", "{body:.20}");
    }
    let longest = post_comment(&fixture, owner, &task, &"é".repeat(20_000)).await.unwrap();
    for body in [" ", "a\0b", &names] {
        assert_eq!(invalid_field(edit(&fixture, owner, &longest.id, body).await), "comment.body");
    }
    let odd = UpdateCommentRequest {
        update_mask: Some(FieldMask { paths: vec!["author_id".to_owned()] }),
        ..edit_of(&longest.id, "x")
    };
    assert_eq!(invalid_field(edited(&fixture, fixture.call(owner, odd)).await), "update_mask");
    assert_eq!(list(&fixture, owner, &task, None).await.unwrap(), [longest], "nothing else was stored");
}

#[tokio::test]
async fn authors_edit_only_their_own_comments_without_lost_updates() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let task = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    let comment = post_comment(&fixture, &team.user_a1, &task, "Frist").await.unwrap();
    for actor in [&team.manager_a, &team.super_manager, &team.owner] {
        let refusal = edit(&fixture, actor, &comment.id, "Mine").await;
        assert_eq!(error_reason(refusal), Reason::CommentChangeNotAllowed, "not even account admins");
    }
    let after = edit(&fixture, &team.user_a1, &comment.id, "First").await.unwrap();
    assert_eq!((after.body.as_str(), after.version, after.edited_at.is_some()), ("First", 2, true));
    assert_eq!(
        edit(&fixture, &team.user_a1, &comment.id, "First").await.unwrap(),
        after,
        "a repetition changes nothing"
    );
    let stale = with_header(fixture.call(&team.user_a1, edit_of(&comment.id, "Late")), "if-match", "\"1\"");
    assert_eq!(error_reason(edited(&fixture, stale).await), Reason::VersionMismatch);

    let race = (0..10).map(|n| {
        let body = format!("Try {n}");
        let request = with_header(fixture.call(&team.user_a1, edit_of(&comment.id, &body)), "if-match", "\"2\"");
        edited(&fixture, request)
    });
    let won = join_all(race.collect::<Vec<_>>()).await.into_iter().filter(|response| response.is_ok()).count();
    assert_eq!(won, 1);
    assert_eq!(get(&fixture, &team.user_a1, &comment.id).await.unwrap().version, 3);
    let read_before = DeleteCommentRequest { comment_id: comment.id.clone() };
    let stale = with_header(fixture.call(&team.user_a1, read_before), "if-match", "\"2\"");
    assert_eq!(error_reason(client(&fixture).delete_comment(stale).await), Reason::VersionMismatch);
    assert_eq!(
        kinds(&fixture.published::<CommentEvent>("comment.").await),
        ["comment.created", "comment.updated", "comment.updated"]
    );
}

#[tokio::test]
async fn deleted_comment_with_replies_remains_as_a_placeholder() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let task = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    let first = post_comment(&fixture, &team.user_a1, &task, "First").await.unwrap();
    let response = reply(&fixture, &team.manager_a, &task, "Answer", Some(&first)).await.unwrap();
    react(&fixture, &team.manager_a, &first, "👍").await.unwrap();
    assert_eq!(error_reason(delete(&fixture, &team.manager_a, &first.id).await), Reason::CommentChangeNotAllowed);
    delete(&fixture, &team.user_a1, &first.id).await.unwrap();
    assert_eq!(error_reason(delete(&fixture, &team.user_a1, &first.id).await), Reason::CommentNotFound);
    assert_eq!(error_reason(edit(&fixture, &team.user_a1, &first.id, "Back").await), Reason::CommentNotFound);
    assert_eq!(error_reason(react(&fixture, &team.user_a1, &first, "👍").await), Reason::CommentNotFound);

    let left = list(&fixture, &team.manager_a, &task, None).await.unwrap();
    assert_eq!(bodies(&left), ["", "Answer"]);
    assert!(left[0].deleted_at.is_some() && left[0].reactions.is_empty() && left[0].mentions.is_empty());
    assert_eq!(left[0].reply_count, 1);
    // The thread stays open and disappears with its last reply.
    let second = reply(&fixture, &team.user_a1, &task, "Thanks", Some(&response)).await.unwrap();
    delete(&fixture, &team.owner, &response.id).await.unwrap();
    assert_eq!(bodies(&list(&fixture, &team.manager_a, &task, None).await.unwrap()), ["", "Thanks"]);
    delete(&fixture, &team.super_manager, &second.id).await.unwrap();
    assert!(list(&fixture, &team.manager_a, &task, None).await.unwrap().is_empty());
    let alone = post_comment(&fixture, &team.user_a1, &task, "Alone").await.unwrap();
    delete(&fixture, &team.user_a1, &alone.id).await.unwrap();
    assert!(list(&fixture, &team.manager_a, &task, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn concurrent_reply_and_deletion_leave_no_orphaned_reply() {
    let fixture = Fixture::new().await;
    let owner = &fixture.team.owner;
    let task = fixture.create(owner, new_task("Sweep")).await.unwrap().id;
    for _ in 0..5 {
        let first = post_comment(&fixture, owner, &task, "First").await.unwrap();
        let replies = join_all((0..4).map(|_| reply(&fixture, owner, &task, "Answer", Some(&first))));
        let (deleted, replies) = tokio::join!(delete(&fixture, owner, &first.id), replies);
        deleted.unwrap();
        let stored = replies.iter().filter(|reply| reply.is_ok()).count();
        for refusal in replies.into_iter().filter(Result::is_err) {
            assert_eq!(error_reason(refusal), Reason::CommentNotFound);
        }
        let left = list(&fixture, owner, &task, None).await.unwrap();
        let of_thread = left.iter().filter(|comment| comment.parent_id.as_ref() == Some(&first.id)).count();
        assert_eq!(of_thread, stored);
        assert_eq!(left.iter().any(|comment| comment.id == first.id), stored > 0);
    }
}

#[tokio::test]
async fn repeated_comment_is_created_once() {
    let fixture = Fixture::new().await;
    let owner = &fixture.team.owner;
    let task = fixture.create(owner, new_task("Sweep")).await.unwrap().id;
    let request = |body: &str| {
        let request = CreateCommentRequest { task_id: task.clone(), body: body.to_owned(), parent_id: None };
        with_header(fixture.call(owner, request), "idempotency-key", "once")
    };
    let send = |body: &str| {
        let request = request(body);
        async { client(&fixture).create_comment(request).await }
    };
    let responses = join_all((0..10).map(|_| send("Once"))).await;
    let first = responses[0].as_ref().unwrap().get_ref().clone();
    for response in responses {
        assert_eq!(response.unwrap().into_inner(), first);
    }
    assert_eq!(error_reason(send("Twice").await), Reason::IdempotencyKeyReused);
    assert_eq!(bodies(&list(&fixture, owner, &task, None).await.unwrap()), ["Once"]);
    assert_eq!(fixture.published::<CommentEvent>("comment.").await.len(), 1);
}

#[tokio::test]
async fn reaction_is_idempotent_per_user_and_emoji() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let mut shared = new_task("Sweep");
    shared.visibility = TaskVisibility::Account.into();
    let task = fixture.create(&team.owner, shared).await.unwrap().id;
    let comment = post_comment(&fixture, &team.owner, &task, "Done!").await.unwrap();
    let seen = |comment: &Comment| -> Vec<(String, i32, bool)> {
        comment.reactions.iter().map(|one| (one.emoji.clone(), one.count, one.mine)).collect()
    };
    // Every spelling of the emoji is the same reaction.
    for emoji in ["🎉", "tada", "🎉"] {
        let after = react(&fixture, &team.user_a1, &comment, emoji).await.unwrap();
        assert_eq!(seen(&after), [("🎉".to_owned(), 1, true)]);
    }
    join_all((0..5).map(|_| react(&fixture, &team.user_b1, &comment, "🎉"))).await;
    fixture.clock.advance(TimeDelta::seconds(1));
    let after = react(&fixture, &team.user_b1, &comment, "👍").await.unwrap();
    assert_eq!(seen(&after), [("🎉".to_owned(), 2, true), ("👍".to_owned(), 1, true)]);
    let others = get(&fixture, &team.user_a2, &comment.id).await.unwrap();
    assert_eq!(seen(&others), [("🎉".to_owned(), 2, false), ("👍".to_owned(), 1, false)]);
    assert_eq!(others.version, 1, "a reaction does not change the version");
    for _ in 0..2 {
        let after = unreact(&fixture, &team.user_b1, &comment, "🎉").await.unwrap();
        assert_eq!(seen(&after), [("🎉".to_owned(), 1, false), ("👍".to_owned(), 1, true)]);
    }
    for nonsense in ["hello", "👍👍", "<b>", "nonsense"] {
        assert_eq!(invalid_field(react(&fixture, &team.user_b1, &comment, nonsense).await), "emoji");
    }
    let events = fixture.published::<baton_proto::baton::task::v1::ReactionEvent>("reaction.").await;
    assert_eq!(kinds(&events), ["reaction.added", "reaction.added", "reaction.added", "reaction.removed"]);
}

#[tokio::test]
async fn comment_has_at_most_fifty_distinct_emoji() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let task = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    let comment = post_comment(&fixture, &team.manager_a, &task, "Go").await.unwrap();
    let many = "insert into task.comment_reactions (account_id, task_id, comment_id, user_id, emoji, created_at)
                select $1, $2, $3, $4, chr(128000 + n), now() from generate_series(1, 49) n";
    let id = |text: &str| text.parse::<uuid::Uuid>().unwrap();
    let rows = sqlx::query(many).bind(team.account_id).bind(id(&task)).bind(id(&comment.id));
    rows.bind(team.owner.user_id).execute(&fixture.context.admin()).await.unwrap();
    let (one, other) =
        tokio::join!(react(&fixture, &team.manager_a, &comment, "🎉"), react(&fixture, &team.user_a1, &comment, "👍"));
    let refusals: Vec<_> = [one, other].into_iter().filter(Result::is_err).map(error_reason).collect();
    assert_eq!(refusals, [Reason::ReactionLimit], "one of two concurrent new emoji exceeds the limit");
    let full = get(&fixture, &team.user_a1, &comment.id).await.unwrap();
    assert_eq!(full.reactions.len(), 50);
    // An emoji that is already present takes any number of users.
    react(&fixture, &team.user_a1, &comment, &full.reactions[0].emoji).await.unwrap();
}

#[tokio::test]
async fn deleted_account_deletes_its_comments() {
    let fixture = Fixture::new().await;
    let other_account = fixture.other_account().await;
    let admin = fixture.context.admin();
    for fixture in [&fixture, &other_account] {
        let owner = &fixture.team.owner;
        let task = fixture.create(owner, new_task("Sweep")).await.unwrap().id;
        let first = post_comment(fixture, owner, &task, "First").await.unwrap();
        reply(fixture, owner, &task, "Second", Some(&first)).await.unwrap();
        react(fixture, owner, &first, "👍").await.unwrap();
    }
    let end = "update tenancy.accounts set status = 'canceled', deletes_at = now() - interval '1 second' where id = $1";
    sqlx::query(end).bind(fixture.team.account_id).execute(&admin).await.unwrap();
    let rows = async |account_id: uuid::Uuid| -> (i64, i64, i64) {
        sqlx::query_as(
            "select (select count(*) from task.comments where account_id = $1),
                    (select count(*) from task.comment_reactions where account_id = $1),
                    (select count(*) from task.task_watchers where account_id = $1)",
        )
        .bind(account_id)
        .fetch_one(&admin)
        .await
        .unwrap()
    };
    eventually(|| async { (rows(fixture.team.account_id).await == (0, 0, 0)).then_some(()) }).await;
    assert_eq!(rows(other_account.team.account_id).await, (2, 1, 1));
}
