//! Comments and their mentions.

use std::collections::HashMap;

use baton_errors::{Reason, Result};
use baton_store::{Page, ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::task::comment::{Comment, CommentDetails, Mention, Reaction};

/// A comment of the account. The caller checks visibility.
pub(crate) async fn get(tx: &mut ReadTx, id: Uuid) -> Result<Option<Comment>> {
    let comment = sqlx::query_as!(
        Comment,
        "select id, account_id, task_id, parent_id, author_id, body, version, created_at, edited_at, deleted_at, via
         from task.comments where account_id = $1 and id = $2",
        tx.tenant().account_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(comment)
}

/// Locks a comment that is not deleted.
pub(crate) async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<Comment>> {
    let comment = sqlx::query_as!(
        Comment,
        "select id, account_id, task_id, parent_id, author_id, body, version, created_at, edited_at, deleted_at, via
         from task.comments where account_id = $1 and id = $2 and deleted_at is null for no key update",
        tx.tenant().account_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(comment)
}

/// The root of this comment's thread on this task.
///
/// # Errors
/// COMMENT_NOT_FOUND.
pub(crate) async fn thread_root(tx: &mut ReadTx, task_id: Uuid, id: Uuid) -> Result<Uuid> {
    let thread = sqlx::query_scalar!(
        r#"select coalesce(parent_id, id) as "thread!" from task.comments
           where account_id = $1 and task_id = $2 and id = $3"#,
        tx.tenant().account_id,
        task_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    thread.ok_or_else(|| Reason::CommentNotFound.into())
}

/// The root of this comment's thread, locked shared for a reply: it is not deleted meanwhile.
///
/// # Errors
/// COMMENT_NOT_FOUND.
pub(crate) async fn lock_thread_shared(tx: &mut Tx, task_id: Uuid, id: Uuid) -> Result<Uuid> {
    let thread = sqlx::query_scalar!(
        "select id from task.comments
         where account_id = $1 and task_id = $2
           and id = (select coalesce(parent_id, id) from task.comments
                     where account_id = $1 and task_id = $2 and id = $3)
         for key share",
        tx.tenant().account_id,
        task_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    thread.ok_or_else(|| Reason::CommentNotFound.into())
}

/// Locks a thread by its root, against concurrent replies and deletions.
pub(crate) async fn lock_thread(tx: &mut Tx, thread: Uuid) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!("select id from task.comments where account_id = $1 and id = $2 for update", account_id, thread)
        .fetch_optional(tx.connection())
        .await?;
    Ok(())
}

/// Stores a new comment.
pub(crate) async fn insert(tx: &mut Tx, comment: &Comment) -> Result<()> {
    sqlx::query!(
        "insert into task.comments (id, account_id, task_id, parent_id, author_id, body, version, created_at, via)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        comment.id,
        comment.account_id,
        comment.task_id,
        comment.parent_id,
        comment.author_id,
        comment.body,
        comment.version,
        comment.created_at,
        comment.via.clone(),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Stores the mutable columns of a locked comment.
pub(crate) async fn save(tx: &mut Tx, comment: &Comment) -> Result<()> {
    sqlx::query!(
        "update task.comments set body = $3, version = $4, edited_at = $5, deleted_at = $6
         where account_id = $1 and id = $2",
        comment.account_id,
        comment.id,
        comment.body,
        comment.version,
        comment.edited_at,
        comment.deleted_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes a comment of a locked thread. A comment with replies stays, empty. One without is deleted, together with an
/// empty root that was kept for it alone.
pub(crate) async fn delete(tx: &mut Tx, comment: &Comment, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "with emptied as (
             update task.comments set body = '', deleted_at = $4, version = version + 1
             where account_id = $1 and task_id = $2 and id = $3
               and exists (select from task.comments where account_id = $1 and task_id = $2 and parent_id = $3)
             returning id
         ), mentions as (
             delete from task.comment_mentions
             where account_id = $1 and task_id = $2 and comment_id = (select id from emptied)
         ), reactions as (
             delete from task.comment_reactions
             where account_id = $1 and task_id = $2 and comment_id = (select id from emptied)
         )
         delete from task.comments
         where account_id = $1 and task_id = $2
           and (id = $3 and not exists (select from emptied)
                or id = $5 and deleted_at is not null
                   and not exists (select from task.comments
                                   where account_id = $1 and task_id = $2 and parent_id = $5 and id <> $3))",
        comment.account_id,
        comment.task_id,
        comment.id,
        now,
        comment.parent_id,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A page of the task's comments, or of a thread's replies, oldest first, and their total number.
pub(crate) async fn list(
    tx: &mut ReadTx,
    task_id: Uuid,
    thread: Option<Uuid>,
    page: &Page,
) -> Result<(Vec<Comment>, i64)> {
    let account_id = tx.tenant().account_id;
    // Without a cursor, before all ids.
    let after = page.after().map(|cursor| cursor.id).unwrap_or_default();
    // Two statements, so that each has its index.
    let (comments, total) = match thread {
        None => {
            let comments = sqlx::query_as!(
                Comment,
                "select id, account_id, task_id, parent_id, author_id, body, version, created_at, edited_at, deleted_at, via
                 from task.comments where account_id = $1 and task_id = $2 and id > $3
                 order by id limit $4 offset $5",
                account_id,
                task_id,
                after,
                page.limit(),
                page.offset()
            )
            .fetch_all(tx.connection())
            .await?;
            let total = sqlx::query_scalar!(
                r#"select count(*) as "count!" from task.comments where account_id = $1 and task_id = $2"#,
                account_id,
                task_id
            )
            .fetch_one(tx.connection())
            .await?;
            (comments, total)
        }
        Some(thread) => {
            let comments = sqlx::query_as!(
                Comment,
                "select id, account_id, task_id, parent_id, author_id, body, version, created_at, edited_at, deleted_at, via
                 from task.comments where account_id = $1 and task_id = $2 and parent_id = $3 and id > $4
                 order by id limit $5 offset $6",
                account_id,
                task_id,
                thread,
                after,
                page.limit(),
                page.offset()
            )
            .fetch_all(tx.connection())
            .await?;
            let total = sqlx::query_scalar!(
                r#"select count(*) as "count!" from task.comments
                   where account_id = $1 and task_id = $2 and parent_id = $3"#,
                account_id,
                task_id,
                thread
            )
            .fetch_one(tx.connection())
            .await?;
            (comments, total)
        }
    };
    Ok((comments, total))
}

/// Replaces the mentions of a comment that the transaction has created or locked. Existing mentions keep their values.
/// Returns the new ones, in order.
pub(crate) async fn replace_mentions(tx: &mut Tx, comment: &Comment, mentions: Vec<Mention>) -> Result<Vec<Mention>> {
    let ids: Vec<Uuid> = mentions.iter().map(|mention| mention.user_id).collect();
    let handles: Vec<String> = mentions.iter().map(|mention| mention.handle.clone()).collect();
    let seeing: Vec<bool> = mentions.iter().map(|mention| mention.sees_task).collect();
    let before = sqlx::query_scalar!(
        "select user_id from task.comment_mentions where account_id = $1 and task_id = $2 and comment_id = $3",
        comment.account_id,
        comment.task_id,
        comment.id
    )
    .fetch_all(tx.connection())
    .await?;
    sqlx::query!(
        "with gone as (
             delete from task.comment_mentions
             where account_id = $1 and task_id = $2 and comment_id = $3 and user_id <> all($4)
         )
         insert into task.comment_mentions (account_id, task_id, comment_id, user_id, handle, sees_task, place)
         select $1, $2, $3, user_id, handle, sees_task, place
         from unnest($4::uuid[], $5::text[], $6::boolean[]) with ordinality
              as named (user_id, handle, sees_task, place)
         on conflict (account_id, task_id, comment_id, user_id) do update
             set handle = excluded.handle, place = excluded.place",
        comment.account_id,
        comment.task_id,
        comment.id,
        &ids,
        &handles,
        &seeing
    )
    .execute(tx.connection())
    .await?;
    Ok(mentions.into_iter().filter(|mention| !before.contains(&mention.user_id)).collect())
}

/// Details of comments on one task, by comment id; a comment without any is left out. Reactions include whether the
/// caller gave them.
pub(crate) async fn details(tx: &mut ReadTx, comments: &[Comment]) -> Result<HashMap<Uuid, CommentDetails>> {
    let mut details: HashMap<Uuid, CommentDetails> = HashMap::new();
    let Some(task_id) = comments.first().map(|comment| comment.task_id) else { return Ok(details) };
    let tenant = tx.tenant();
    let ids: Vec<Uuid> = comments.iter().map(|comment| comment.id).collect();
    let mentions = sqlx::query!(
        "select comment_id, user_id, handle, sees_task from task.comment_mentions
         where account_id = $1 and task_id = $2 and comment_id = any($3) order by comment_id, place",
        tenant.account_id,
        task_id,
        &ids
    )
    .fetch_all(tx.connection())
    .await?;
    for row in mentions {
        let mention = Mention { user_id: row.user_id, handle: row.handle, sees_task: row.sees_task };
        details.entry(row.comment_id).or_default().mentions.push(mention);
    }
    let reactions = sqlx::query!(
        r#"select comment_id, emoji, count(*) as "count!", bool_or(user_id = $4) as "mine!" from task.comment_reactions
           where account_id = $1 and task_id = $2 and comment_id = any($3)
           group by comment_id, emoji order by comment_id, min(created_at), emoji"#,
        tenant.account_id,
        task_id,
        &ids,
        tenant.user_id
    )
    .fetch_all(tx.connection())
    .await?;
    for row in reactions {
        let reaction = Reaction { emoji: row.emoji, count: row.count, mine: row.mine };
        details.entry(row.comment_id).or_default().reactions.push(reaction);
    }
    let replies = sqlx::query!(
        r#"select parent_id as "parent_id!", count(*) as "count!" from task.comments
           where account_id = $1 and task_id = $2 and parent_id = any($3) group by parent_id"#,
        tenant.account_id,
        task_id,
        &ids
    )
    .fetch_all(tx.connection())
    .await?;
    for row in replies {
        details.entry(row.parent_id).or_default().replies = row.count;
    }
    Ok(details)
}
