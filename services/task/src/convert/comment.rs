//! Comments and watchers in the contract.

use baton_proto::{
    baton::task::v1::{self as proto, WatchReason},
    convert::timestamp,
};
use baton_store::via;

use crate::{
    task::{
        Task,
        comment::{Comment, CommentDetails, Mention, Reaction},
    },
    watchers::{WatchState, Watcher},
};

/// A comment with its mentions, reactions and replies.
pub(crate) fn comment(comment: Comment, details: CommentDetails) -> proto::Comment {
    proto::Comment {
        id: comment.id.to_string(),
        task_id: comment.task_id.to_string(),
        parent_id: comment.parent_id.map(|id| id.to_string()),
        author_id: comment.author_id.to_string(),
        body: comment.body,
        mentions: details.mentions.into_iter().map(mention).collect(),
        reactions: details.reactions.into_iter().map(reaction).collect(),
        reply_count: number(details.replies),
        version: comment.version,
        created_at: Some(timestamp(comment.created_at)),
        edited_at: comment.edited_at.map(timestamp),
        deleted_at: comment.deleted_at.map(timestamp),
        via: comment.via.and_then(|via| serde_json::from_value(via).ok()).map(via::to_proto),
    }
}

/// A watcher of the task.
pub(crate) fn watcher(watcher: Watcher, task: &Task) -> proto::Watcher {
    let reason = match watcher.standing {
        _ if task.assigned_to == Some(watcher.user_id) => WatchReason::Holder,
        _ if task.created_by == watcher.user_id => WatchReason::Creator,
        Some(WatchState::Chose) => WatchReason::Chose,
        Some(WatchState::Commented) => WatchReason::Commented,
        Some(WatchState::Mentioned) => WatchReason::Mentioned,
        Some(WatchState::Added) => WatchReason::Added,
        Some(WatchState::Declined | WatchState::Removed) | None => WatchReason::Unspecified,
    };
    proto::Watcher { user_id: watcher.user_id.to_string(), reason: reason.into() }
}

fn mention(mention: Mention) -> proto::Mention {
    proto::Mention { user_id: mention.user_id.to_string(), handle: mention.handle, sees_task: mention.sees_task }
}

fn reaction(reaction: Reaction) -> proto::ReactionCount {
    proto::ReactionCount { emoji: reaction.emoji, count: number(reaction.count), mine: reaction.mine }
}

fn number(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
