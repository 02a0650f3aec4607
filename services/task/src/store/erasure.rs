//! Mentions of people who are erased, in the comments of others.

use baton_errors::Result;
use baton_store::{Db, subject_data::Subject};
use uuid::Uuid;

/// A comment that mentions a person.
pub(crate) struct MentioningComment {
    pub(crate) account_id: Uuid,
    pub(crate) task_id: Uuid,
    pub(crate) id: Uuid,
    /// The handle by which it mentions them.
    pub(crate) handle: String,
    pub(crate) body: String,
}

/// Rewrites the next comments that mention a person, of all accounts or of one, and forgets those mentions; returns their number.
pub(crate) async fn rewrite_mentions(
    db: &Db,
    subject: Subject,
    limit: i64,
    rewrite: impl Fn(&MentioningComment) -> String,
) -> Result<usize> {
    let mut tx = db.system().begin().await?;
    let comments = sqlx::query_as!(
        MentioningComment,
        "select c.account_id, c.task_id, c.id, m.handle, c.body
         from task.comment_mentions m
         join task.comments c on c.account_id = m.account_id and c.task_id = m.task_id and c.id = m.comment_id
         where m.user_id = $1 and ($3::uuid is null or m.account_id = $3) order by m.account_id, m.task_id, m.comment_id limit $2 for update of c",
        subject.user_id,
        limit,
        subject.account_id,
    )
    .fetch_all(&mut *tx)
    .await?;
    let accounts: Vec<Uuid> = comments.iter().map(|comment| comment.account_id).collect();
    let tasks: Vec<Uuid> = comments.iter().map(|comment| comment.task_id).collect();
    let ids: Vec<Uuid> = comments.iter().map(|comment| comment.id).collect();
    let bodies: Vec<String> = comments.iter().map(rewrite).collect();
    sqlx::query!(
        "with rewritten as (
             select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[]) as new (account_id, task_id, id, body)
         ), forgotten as (
             delete from task.comment_mentions m using rewritten new
             where m.account_id = new.account_id and m.task_id = new.task_id and m.comment_id = new.id and m.user_id = $5
         )
         update task.comments c set body = new.body, version = c.version + 1 from rewritten new
         where c.account_id = new.account_id and c.task_id = new.task_id and c.id = new.id and c.body <> new.body",
        &accounts,
        &tasks,
        &ids,
        &bodies,
        subject.user_id,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(comments.len())
}
