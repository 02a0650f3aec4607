//! Reactions to comments.

use baton_errors::{Reason, Result};
use baton_store::Tx;
use chrono::{DateTime, Utc};

use crate::task::comment::{Comment, MAX_REACTIONS};

/// Adds the caller's reaction to a locked comment; `false` if it exists.
///
/// # Errors
/// REACTION_LIMIT.
pub(crate) async fn add(tx: &mut Tx, comment: &Comment, emoji: &str, now: DateTime<Utc>) -> Result<bool> {
    let user_id = tx.tenant().user_id;
    let given = sqlx::query_scalar!(
        r#"select count(distinct emoji) filter (where emoji <> $4) as "given!" from task.comment_reactions
           where account_id = $1 and task_id = $2 and comment_id = $3"#,
        comment.account_id,
        comment.task_id,
        comment.id,
        emoji
    )
    .fetch_one(tx.connection())
    .await?;
    if given >= MAX_REACTIONS {
        return Err(Reason::ReactionLimit.into());
    }
    let added = sqlx::query!(
        "insert into task.comment_reactions (account_id, task_id, comment_id, user_id, emoji, created_at)
         values ($1, $2, $3, $4, $5, $6) on conflict (account_id, task_id, comment_id, user_id, emoji) do nothing",
        comment.account_id,
        comment.task_id,
        comment.id,
        user_id,
        emoji,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Removes the caller's reaction; `false` if there is none.
pub(crate) async fn remove(tx: &mut Tx, comment: &Comment, emoji: &str) -> Result<bool> {
    let user_id = tx.tenant().user_id;
    let removed = sqlx::query!(
        "delete from task.comment_reactions
         where account_id = $1 and task_id = $2 and comment_id = $3 and user_id = $4 and emoji = $5",
        comment.account_id,
        comment.task_id,
        comment.id,
        user_id,
        emoji
    )
    .execute(tx.connection())
    .await?;
    Ok(removed.rows_affected() == 1)
}
