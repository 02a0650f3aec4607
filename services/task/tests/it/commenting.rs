//! People talk about a task: comments, replies, edits, reactions.

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

use crate::desk::{Answer, Desk, new, new_for, refused, with, wrong_field};

pub(crate) fn client(desk: &Desk) -> CommentServiceClient<Channel> {
    CommentServiceClient::new(desk.channel())
}

pub(crate) async fn say(desk: &Desk, who: &Person, task: &str, body: &str) -> Answer<Comment> {
    reply(desk, who, task, body, None).await
}

pub(crate) async fn reply(desk: &Desk, who: &Person, task: &str, body: &str, to: Option<&Comment>) -> Answer<Comment> {
    // Ids sort by time, and the desk's clock stands still.
    desk.clock.advance(TimeDelta::milliseconds(2));
    let request = CreateCommentRequest {
        task_id: task.to_owned(),
        body: body.to_owned(),
        parent_id: to.map(|comment| comment.id.clone()),
    };
    Ok(client(desk).create_comment(desk.call(who, request)).await?.into_inner().comment.unwrap())
}

fn edit_of(id: &str, body: &str) -> UpdateCommentRequest {
    UpdateCommentRequest {
        comment_id: id.to_owned(),
        comment: Some(CommentChange { body: body.to_owned() }),
        update_mask: Some(FieldMask { paths: vec!["body".to_owned()] }),
    }
}

async fn edited(desk: &Desk, request: Request<UpdateCommentRequest>) -> Answer<Comment> {
    Ok(client(desk).update_comment(request).await?.into_inner().comment.unwrap())
}

pub(crate) async fn edit(desk: &Desk, who: &Person, id: &str, body: &str) -> Answer<Comment> {
    edited(desk, desk.call(who, edit_of(id, body))).await
}

async fn get(desk: &Desk, who: &Person, id: &str) -> Answer<Comment> {
    let request = desk.call(who, GetCommentRequest { comment_id: id.to_owned() });
    Ok(client(desk).get_comment(request).await?.into_inner().comment.unwrap())
}

async fn delete(desk: &Desk, who: &Person, id: &str) -> Answer<()> {
    let request = desk.call(who, DeleteCommentRequest { comment_id: id.to_owned() });
    client(desk).delete_comment(request).await.map(|_| ())
}

async fn list(desk: &Desk, who: &Person, task: &str, thread: Option<&Comment>) -> Answer<Vec<Comment>> {
    let request = ListCommentsRequest {
        task_id: task.to_owned(),
        parent_id: thread.map(|comment| comment.id.clone()),
        page: Some(Page { per_page: 100, ..Page::default() }),
    };
    let answer = client(desk).list_comments(desk.call(who, request)).await?.into_inner();
    assert_eq!(answer.meta.unwrap().total_count as usize, answer.comments.len());
    Ok(answer.comments)
}

async fn react(desk: &Desk, who: &Person, comment: &Comment, emoji: &str) -> Answer<Comment> {
    let request = AddReactionRequest { comment_id: comment.id.clone(), emoji: emoji.to_owned() };
    Ok(client(desk).add_reaction(desk.call(who, request)).await?.into_inner().comment.unwrap())
}

async fn unreact(desk: &Desk, who: &Person, comment: &Comment, emoji: &str) -> Answer<Comment> {
    let request = RemoveReactionRequest { comment_id: comment.id.clone(), emoji: emoji.to_owned() };
    Ok(client(desk).remove_reaction(desk.call(who, request)).await?.into_inner().comment.unwrap())
}

fn bodies(comments: &[Comment]) -> Vec<&str> {
    comments.iter().map(|comment| comment.body.as_str()).collect()
}

fn kinds(events: &[(String, impl Sized)]) -> Vec<&str> {
    events.iter().map(|(kind, _)| kind.as_str()).collect()
}

#[tokio::test]
async fn threads_are_one_level_deep_and_read_oldest_first() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let task = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    let first = say(&desk, &team.manager_a, &task, "Which **broom**?\n").await.unwrap();
    assert_eq!((first.body.as_str(), first.version), ("Which **broom**?\n", 1), "kept as it was typed");
    assert_eq!((first.author_id.clone(), first.parent_id.clone()), (team.manager_a.user_id.to_string(), None));
    let second = say(&desk, &team.user_a1, &task, "When?").await.unwrap();
    let answer = reply(&desk, &team.user_a1, &task, "The red one", Some(&first)).await.unwrap();
    let deeper = reply(&desk, &team.owner, &task, "Good", Some(&answer)).await.unwrap();
    assert_eq!((answer.parent_id, deeper.parent_id), (Some(first.id.clone()), Some(first.id.clone())));

    let all = list(&desk, &team.user_a1, &task, None).await.unwrap();
    assert_eq!(bodies(&all), ["Which **broom**?\n", "When?", "The red one", "Good"]);
    assert_eq!(all.iter().map(|comment| comment.reply_count).collect::<Vec<_>>(), [2, 0, 0, 0]);
    assert_eq!(bodies(&list(&desk, &team.user_a1, &task, Some(&first)).await.unwrap()), ["The red one", "Good"]);
    assert!(list(&desk, &team.user_a1, &task, Some(&second)).await.unwrap().is_empty());
    assert_eq!(get(&desk, &team.user_a1, &first.id).await.unwrap(), all[0]);

    let other = desk.create(&team.manager_a, new("Mop")).await.unwrap().id;
    let astray = reply(&desk, &team.manager_a, &other, "No", Some(&first)).await;
    assert_eq!(refused(astray), Reason::CommentNotFound, "a thread is on one task");
    assert_eq!(refused(list(&desk, &team.manager_a, &other, Some(&first)).await), Reason::CommentNotFound);
}

#[tokio::test]
async fn pages_cover_all_comments_in_order() {
    let desk = Desk::open().await;
    let owner = &desk.team.owner;
    let task = desk.create(owner, new("Sweep")).await.unwrap().id;
    for n in 0..5 {
        say(&desk, owner, &task, &n.to_string()).await.unwrap();
    }
    let (mut read, mut token) = (Vec::new(), String::new());
    loop {
        let page = Page { per_page: 2, page_token: token, ..Page::default() };
        let request = ListCommentsRequest { task_id: task.clone(), parent_id: None, page: Some(page) };
        let answer = client(&desk).list_comments(desk.call(owner, request)).await.unwrap().into_inner();
        read.extend(answer.comments);
        token = answer.meta.unwrap().next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(bodies(&read), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn who_does_not_see_the_task_finds_no_comment() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let task = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    let comment = say(&desk, &team.user_a1, &task, "Hm").await.unwrap();
    let elsewhere = desk.elsewhere().await;
    for (desk, who) in [(&desk, &team.user_a2), (&desk, &team.manager_b), (&elsewhere, &elsewhere.team.owner)] {
        assert_eq!(refused(list(desk, who, &task, None).await), Reason::TaskNotFound);
        assert_eq!(refused(say(desk, who, &task, "Ha").await), Reason::TaskNotFound);
        assert_eq!(refused(get(desk, who, &comment.id).await), Reason::CommentNotFound);
        assert_eq!(refused(edit(desk, who, &comment.id, "Ha").await), Reason::CommentNotFound);
        assert_eq!(refused(delete(desk, who, &comment.id).await), Reason::CommentNotFound);
        assert_eq!(refused(react(desk, who, &comment, "👍").await), Reason::CommentNotFound);
        assert_eq!(refused(unreact(desk, who, &comment, "👍").await), Reason::CommentNotFound);
    }
    // What is in the trash has no comments; what is taken out has them again.
    desk.delete(&team.manager_a, &task).await.unwrap();
    assert_eq!(refused(get(&desk, &team.manager_a, &comment.id).await), Reason::CommentNotFound);

    // Row-level security alone hides them from other accounts.
    let db = desk.world.db(baton_task::SCHEMA);
    let mut tx = db.begin(baton_store::Tenant::account(elsewhere.team.account_id)).await.unwrap();
    for table in ["comments", "comment_mentions", "comment_reactions", "task_watchers"] {
        let count = sqlx::AssertSqlSafe(format!("select count(*) from task.{table}"));
        assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *tx).await.unwrap(), 0, "{table}");
    }
}

#[tokio::test]
async fn what_a_comment_may_not_say_is_refused() {
    let desk = Desk::open().await;
    let owner = &desk.team.owner;
    let task = desk.create(owner, new("Sweep")).await.unwrap().id;
    let names: String = (0..51).map(|n| format!("@anna{n} ")).collect();
    for body in ["", " \n\t ", "a\0b", &"x".repeat(20_001), &names] {
        assert_eq!(wrong_field(say(&desk, owner, &task, body).await), "body", "{body:.20}");
    }
    let longest = say(&desk, owner, &task, &"é".repeat(20_000)).await.unwrap();
    for body in [" ", "a\0b", &names] {
        assert_eq!(wrong_field(edit(&desk, owner, &longest.id, body).await), "comment.body");
    }
    let odd = UpdateCommentRequest {
        update_mask: Some(FieldMask { paths: vec!["author_id".to_owned()] }),
        ..edit_of(&longest.id, "x")
    };
    assert_eq!(wrong_field(edited(&desk, desk.call(owner, odd)).await), "update_mask");
    assert_eq!(list(&desk, owner, &task, None).await.unwrap(), [longest], "nothing else was stored");
}

#[tokio::test]
async fn authors_edit_their_own_and_lose_no_edit() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let task = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    let comment = say(&desk, &team.user_a1, &task, "Frist").await.unwrap();
    for who in [&team.manager_a, &team.super_manager, &team.owner] {
        let refusal = edit(&desk, who, &comment.id, "Mine").await;
        assert_eq!(refused(refusal), Reason::CommentChangeNotAllowed, "not even who runs the account");
    }
    let after = edit(&desk, &team.user_a1, &comment.id, "First").await.unwrap();
    assert_eq!((after.body.as_str(), after.version, after.edited_at.is_some()), ("First", 2, true));
    assert_eq!(edit(&desk, &team.user_a1, &comment.id, "First").await.unwrap(), after, "again changes nothing");
    let stale = with(desk.call(&team.user_a1, edit_of(&comment.id, "Late")), "if-match", "\"1\"");
    assert_eq!(refused(edited(&desk, stale).await), Reason::VersionMismatch);

    let race = (0..10).map(|n| {
        let body = format!("Try {n}");
        let request = with(desk.call(&team.user_a1, edit_of(&comment.id, &body)), "if-match", "\"2\"");
        edited(&desk, request)
    });
    let won = join_all(race.collect::<Vec<_>>()).await.into_iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(won, 1);
    assert_eq!(get(&desk, &team.user_a1, &comment.id).await.unwrap().version, 3);
    let read_before = DeleteCommentRequest { comment_id: comment.id.clone() };
    let stale = with(desk.call(&team.user_a1, read_before), "if-match", "\"2\"");
    assert_eq!(refused(client(&desk).delete_comment(stale).await), Reason::VersionMismatch);
    assert_eq!(
        kinds(&desk.told::<CommentEvent>("comment.").await),
        ["comment.created", "comment.updated", "comment.updated"]
    );
}

#[tokio::test]
async fn a_deleted_comment_stays_empty_while_it_has_replies() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let task = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    let first = say(&desk, &team.user_a1, &task, "First").await.unwrap();
    let answer = reply(&desk, &team.manager_a, &task, "Answer", Some(&first)).await.unwrap();
    react(&desk, &team.manager_a, &first, "👍").await.unwrap();
    assert_eq!(refused(delete(&desk, &team.manager_a, &first.id).await), Reason::CommentChangeNotAllowed);
    delete(&desk, &team.user_a1, &first.id).await.unwrap();
    assert_eq!(refused(delete(&desk, &team.user_a1, &first.id).await), Reason::CommentNotFound);
    assert_eq!(refused(edit(&desk, &team.user_a1, &first.id, "Back").await), Reason::CommentNotFound);
    assert_eq!(refused(react(&desk, &team.user_a1, &first, "👍").await), Reason::CommentNotFound);

    let left = list(&desk, &team.manager_a, &task, None).await.unwrap();
    assert_eq!(bodies(&left), ["", "Answer"]);
    assert!(left[0].deleted_at.is_some() && left[0].reactions.is_empty() && left[0].mentions.is_empty());
    assert_eq!(left[0].reply_count, 1);
    // The thread goes on, and goes with its last reply.
    let second = reply(&desk, &team.user_a1, &task, "Thanks", Some(&answer)).await.unwrap();
    delete(&desk, &team.owner, &answer.id).await.unwrap();
    assert_eq!(bodies(&list(&desk, &team.manager_a, &task, None).await.unwrap()), ["", "Thanks"]);
    delete(&desk, &team.super_manager, &second.id).await.unwrap();
    assert!(list(&desk, &team.manager_a, &task, None).await.unwrap().is_empty());
    let alone = say(&desk, &team.user_a1, &task, "Alone").await.unwrap();
    delete(&desk, &team.user_a1, &alone.id).await.unwrap();
    assert!(list(&desk, &team.manager_a, &task, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn replies_and_the_deletion_of_what_they_reply_to_leave_no_reply_without_a_thread() {
    let desk = Desk::open().await;
    let owner = &desk.team.owner;
    let task = desk.create(owner, new("Sweep")).await.unwrap().id;
    for _ in 0..5 {
        let first = say(&desk, owner, &task, "First").await.unwrap();
        let replies = join_all((0..4).map(|_| reply(&desk, owner, &task, "Answer", Some(&first))));
        let (deleted, replies) = tokio::join!(delete(&desk, owner, &first.id), replies);
        deleted.unwrap();
        let stored = replies.iter().filter(|reply| reply.is_ok()).count();
        for refusal in replies.into_iter().filter(Result::is_err) {
            assert_eq!(refused(refusal), Reason::CommentNotFound);
        }
        let left = list(&desk, owner, &task, None).await.unwrap();
        let of_thread = left.iter().filter(|comment| comment.parent_id.as_ref() == Some(&first.id)).count();
        assert_eq!(of_thread, stored);
        assert_eq!(left.iter().any(|comment| comment.id == first.id), stored > 0);
    }
}

#[tokio::test]
async fn a_comment_that_is_sent_again_is_one() {
    let desk = Desk::open().await;
    let owner = &desk.team.owner;
    let task = desk.create(owner, new("Sweep")).await.unwrap().id;
    let request = |body: &str| {
        let request = CreateCommentRequest { task_id: task.clone(), body: body.to_owned(), parent_id: None };
        with(desk.call(owner, request), "idempotency-key", "once")
    };
    let send = |body: &str| {
        let request = request(body);
        async { client(&desk).create_comment(request).await }
    };
    let answers = join_all((0..10).map(|_| send("Once"))).await;
    let first = answers[0].as_ref().unwrap().get_ref().clone();
    for answer in answers {
        assert_eq!(answer.unwrap().into_inner(), first);
    }
    assert_eq!(refused(send("Twice").await), Reason::IdempotencyKeyReused);
    assert_eq!(bodies(&list(&desk, owner, &task, None).await.unwrap()), ["Once"]);
    assert_eq!(desk.told::<CommentEvent>("comment.").await.len(), 1);
}

#[tokio::test]
async fn one_person_gives_one_emoji_once() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let mut shared = new("Sweep");
    shared.visibility = TaskVisibility::Account.into();
    let task = desk.create(&team.owner, shared).await.unwrap().id;
    let comment = say(&desk, &team.owner, &task, "Done!").await.unwrap();
    let seen = |comment: &Comment| -> Vec<(String, i32, bool)> {
        comment.reactions.iter().map(|one| (one.emoji.clone(), one.count, one.mine)).collect()
    };
    // By any of its names it is the same.
    for emoji in ["🎉", "tada", "🎉"] {
        let after = react(&desk, &team.user_a1, &comment, emoji).await.unwrap();
        assert_eq!(seen(&after), [("🎉".to_owned(), 1, true)]);
    }
    join_all((0..5).map(|_| react(&desk, &team.user_b1, &comment, "🎉"))).await;
    desk.clock.advance(TimeDelta::seconds(1));
    let after = react(&desk, &team.user_b1, &comment, "👍").await.unwrap();
    assert_eq!(seen(&after), [("🎉".to_owned(), 2, true), ("👍".to_owned(), 1, true)]);
    let others = get(&desk, &team.user_a2, &comment.id).await.unwrap();
    assert_eq!(seen(&others), [("🎉".to_owned(), 2, false), ("👍".to_owned(), 1, false)]);
    assert_eq!(others.version, 1, "a reaction is no edit");
    for _ in 0..2 {
        let after = unreact(&desk, &team.user_b1, &comment, "🎉").await.unwrap();
        assert_eq!(seen(&after), [("🎉".to_owned(), 1, false), ("👍".to_owned(), 1, true)]);
    }
    for nonsense in ["hello", "👍👍", "<b>", "nonsense"] {
        assert_eq!(wrong_field(react(&desk, &team.user_b1, &comment, nonsense).await), "emoji");
    }
    let events = desk.told::<baton_proto::baton::task::v1::ReactionEvent>("reaction.").await;
    assert_eq!(kinds(&events), ["reaction.added", "reaction.added", "reaction.added", "reaction.removed"]);
}

#[tokio::test]
async fn a_comment_takes_fifty_different_emoji() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let task = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    let comment = say(&desk, &team.manager_a, &task, "Go").await.unwrap();
    let many = "insert into task.comment_reactions (account_id, task_id, comment_id, user_id, emoji, created_at)
                select $1, $2, $3, $4, chr(128000 + n), now() from generate_series(1, 49) n";
    let id = |text: &str| text.parse::<uuid::Uuid>().unwrap();
    let rows = sqlx::query(many).bind(team.account_id).bind(id(&task)).bind(id(&comment.id));
    rows.bind(team.owner.user_id).execute(&desk.world.admin()).await.unwrap();
    let (one, other) =
        tokio::join!(react(&desk, &team.manager_a, &comment, "🎉"), react(&desk, &team.user_a1, &comment, "👍"));
    let refusals: Vec<_> = [one, other].into_iter().filter(Result::is_err).map(refused).collect();
    assert_eq!(refusals, [Reason::ReactionLimit], "of two at once who bring another, one finds no room");
    let full = get(&desk, &team.user_a1, &comment.id).await.unwrap();
    assert_eq!(full.reactions.len(), 50);
    // One that is there takes any number of people.
    react(&desk, &team.user_a1, &comment, &full.reactions[0].emoji).await.unwrap();
}

#[tokio::test]
async fn a_deleted_account_takes_its_comments_along() {
    let desk = Desk::open().await;
    let elsewhere = desk.elsewhere().await;
    let admin = desk.world.admin();
    for desk in [&desk, &elsewhere] {
        let owner = &desk.team.owner;
        let task = desk.create(owner, new("Sweep")).await.unwrap().id;
        let first = say(desk, owner, &task, "First").await.unwrap();
        reply(desk, owner, &task, "Second", Some(&first)).await.unwrap();
        react(desk, owner, &first, "👍").await.unwrap();
    }
    let end = "update tenancy.accounts set status = 'canceled', deletes_at = now() - interval '1 second' where id = $1";
    sqlx::query(end).bind(desk.team.account_id).execute(&admin).await.unwrap();
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
    eventually(|| async { (rows(desk.team.account_id).await == (0, 0, 0)).then_some(()) }).await;
    assert_eq!(rows(elsewhere.team.account_id).await, (2, 1, 1));
}
