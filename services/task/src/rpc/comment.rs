//! Comment and reaction RPCs.

use std::slice;

use baton_access::{Principal, principal};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::task::v1::{
    AddReactionRequest, AddReactionResponse, Comment as ProtoComment, CreateCommentRequest, CreateCommentResponse,
    DeleteCommentRequest, DeleteCommentResponse, GetCommentRequest, GetCommentResponse, ListCommentsRequest,
    ListCommentsResponse, RemoveReactionRequest, RemoveReactionResponse, UpdateCommentRequest, UpdateCommentResponse,
    comment_service_server::CommentService,
};
use baton_runtime::Via;
use baton_store::{Page, Preconditions, ReadTx, Tx};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, lookup::get, mutation::Mutation};
use crate::{
    convert::comment as convert,
    events::publish::comment as events,
    policy::visibility::Actor,
    store,
    task::{
        Task,
        comment::{self, Comment, Mention},
        fields::id,
    },
    watchers::{MemberSet, WatchState},
};

#[tonic::async_trait]
impl CommentService for Rpc {
    async fn list_comments(
        &self,
        request: Request<ListCommentsRequest>,
    ) -> Result<Response<ListCommentsResponse>, Status> {
        let principal = principal(&request)?;
        let ListCommentsRequest { task_id, parent_id, page } = request.get_ref();
        let parent = parent_id.as_deref().map(|text| id(text, "parent_id")).transpose()?;
        let list = (task_id, parent);
        let page = Page::of(page.as_ref(), &list)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, Actor::of(principal), task_id).await?;
        let thread = match parent {
            Some(parent) => Some(store::comment::thread_root(&mut tx, task.id, parent).await?),
            None => None,
        };
        let (mut comments, total) = store::comment::list(&mut tx, task.id, thread, &page).await?;
        let meta = page.meta(&mut comments, total, &list, |comment| (None, comment.id));
        let mut details = store::comment::details(&mut tx, &comments).await?;
        drop(tx);
        let comments = comments.into_iter().map(|comment| {
            let details = details.remove(&comment.id).unwrap_or_default();
            convert::comment(comment, details)
        });
        Ok(Response::new(ListCommentsResponse { comments: comments.collect(), meta: Some(meta) }))
    }

    async fn create_comment(
        &self,
        request: Request<CreateCommentRequest>,
    ) -> Result<Response<CreateCommentResponse>, Status> {
        let mutation = Mutation::of("CreateComment", &request)?;
        let (principal, actor) = (mutation.principal(), mutation.actor());
        let CreateCommentRequest { task_id, body, parent_id } = request.get_ref();
        let (body, handles) = comment::body(body.clone(), "body")?;
        let parent = parent_id.as_deref().map(|text| id(text, "parent_id")).transpose()?;

        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, actor, task_id).await?;
        let watchers = store::watcher::all(&mut tx, &task).await?;
        tx.commit().await?;
        let mut watchers: Vec<Uuid> = watchers.into_iter().map(|watcher| watcher.user_id).collect();
        watchers.retain(|id| *id != actor.id);
        // Propagate this error only after the idempotency check, so that a retry still gets its first response.
        let members = if watchers.is_empty() && handles.is_empty() {
            Ok(MemberSet::default())
        } else {
            let concerned = watchers.iter().copied().chain(creator_and_holder(&task)).collect();
            self.members.profiles(principal, &handles, concerned).await
        };

        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(response) = tx.replay(mutation.idempotency()).await? {
            return Ok(Response::new(response));
        }
        let (task, members) = (get(&mut tx, actor, task_id).await?, members?);
        let parent_id = match parent {
            Some(parent) => Some(store::comment::lock_thread_shared(&mut tx, task.id, parent).await?),
            None => None,
        };
        let now = self.db.clock().now();
        let comment = Comment {
            id: self.db.clock().new_id(),
            account_id: task.account_id,
            task_id: task.id,
            parent_id,
            author_id: actor.id,
            body,
            version: 1,
            created_at: now,
            edited_at: None,
            deleted_at: None,
            via: Via::current().map(serde_json::to_value).transpose().map_err(Error::internal)?,
        };
        store::comment::insert(&mut tx, &comment).await?;
        store::watcher::lock(&mut tx, task.id).await?;
        watch_implicitly(&mut tx, &task, &[actor.id], WatchState::Commented).await?;
        let mentioned = store_mentions(&mut tx, &comment, &task, &members, &handles).await?;
        watchers.retain(|id| !mentioned.contains(id) && members.can_see(*id, &task));
        tx.publish(events::created(&comment, &watchers)).await?;
        let response = CreateCommentResponse { comment: Some(to_proto(&mut tx, comment).await?) };
        tx.remember(mutation.idempotency(), &response).await?;
        tx.commit().await?;
        Ok(Response::new(response))
    }

    async fn get_comment(&self, request: Request<GetCommentRequest>) -> Result<Response<GetCommentResponse>, Status> {
        let principal = principal(&request)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let (comment, _) = find(&mut tx, Actor::of(principal), &request.get_ref().comment_id).await?;
        let comment = to_proto(&mut tx, comment).await?;
        drop(tx);
        Ok(Response::new(GetCommentResponse { comment: Some(comment) }))
    }

    async fn update_comment(
        &self,
        request: Request<UpdateCommentRequest>,
    ) -> Result<Response<UpdateCommentResponse>, Status> {
        let principal = principal(&request)?.clone();
        let actor = Actor::of(&principal);
        let expected = Preconditions::of(request.metadata())?;
        let UpdateCommentRequest { comment_id, comment: new, update_mask } = request.into_inner();
        let paths = update_mask.unwrap_or_default().paths;
        if paths.is_empty() || paths.iter().any(|path| path != "body") {
            return Err(Error::invalid("update_mask", "must be `body`").into());
        }
        let (body, handles) = comment::body(new.unwrap_or_default().body, "comment.body")?;

        let mut tx = self.db.begin(principal.tenant()).await?;
        let (comment, task) = find(&mut tx, actor, &comment_id).await?;
        comment.can_edit(actor)?;
        tx.commit().await?;
        let members = if handles.is_empty() {
            MemberSet::default()
        } else {
            self.members.profiles(&principal, &handles, creator_and_holder(&task).collect()).await?
        };

        let mut tx = self.db.begin(principal.tenant()).await?;
        let (_, task) = find(&mut tx, actor, &comment_id).await?;
        let before = lock(&mut tx, comment.id).await?;
        expected.check(before.version)?;
        let mut comment = before.clone();
        if body != before.body {
            (comment.body, comment.version) = (body, before.version + 1);
            comment.edited_at = Some(self.db.clock().now());
            store::comment::save(&mut tx, &comment).await?;
            store::watcher::lock(&mut tx, task.id).await?;
            store_mentions(&mut tx, &comment, &task, &members, &handles).await?;
            tx.publish(events::updated(&comment)).await?;
        }
        let comment = to_proto(&mut tx, comment).await?;
        tx.commit().await?;
        Ok(Response::new(UpdateCommentResponse { comment: Some(comment) }))
    }

    async fn delete_comment(
        &self,
        request: Request<DeleteCommentRequest>,
    ) -> Result<Response<DeleteCommentResponse>, Status> {
        let principal = principal(&request)?;
        let actor = Actor::of(principal);
        let expected = Preconditions::of(request.metadata())?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let (comment, _) = find(&mut tx, actor, &request.get_ref().comment_id).await?;
        store::comment::lock_thread(&mut tx, comment.thread()).await?;
        let comment = lock(&mut tx, comment.id).await?;
        comment.can_delete(actor)?;
        expected.check(comment.version)?;
        store::comment::delete(&mut tx, &comment, self.db.clock().now()).await?;
        tx.publish(events::deleted(&comment)).await?;
        tx.commit().await?;
        Ok(Response::new(DeleteCommentResponse {}))
    }

    async fn add_reaction(
        &self,
        request: Request<AddReactionRequest>,
    ) -> Result<Response<AddReactionResponse>, Status> {
        let AddReactionRequest { comment_id, emoji } = request.get_ref();
        let comment = self.react(principal(&request)?, comment_id, emoji, true).await?;
        Ok(Response::new(AddReactionResponse { comment: Some(comment) }))
    }

    async fn remove_reaction(
        &self,
        request: Request<RemoveReactionRequest>,
    ) -> Result<Response<RemoveReactionResponse>, Status> {
        let RemoveReactionRequest { comment_id, emoji } = request.get_ref();
        let comment = self.react(principal(&request)?, comment_id, emoji, false).await?;
        Ok(Response::new(RemoveReactionResponse { comment: Some(comment) }))
    }
}

impl Rpc {
    /// Adds or removes the caller's reaction.
    async fn react(&self, principal: &Principal, comment_id: &str, emoji: &str, add: bool) -> Result<ProtoComment> {
        let emoji = comment::emoji(emoji)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let (comment, _) = find(&mut tx, Actor::of(principal), comment_id).await?;
        let comment = lock(&mut tx, comment.id).await?;
        let changed = if add {
            store::reaction::add(&mut tx, &comment, emoji, self.db.clock().now()).await?
        } else {
            store::reaction::remove(&mut tx, &comment, emoji).await?
        };
        if changed {
            tx.publish(events::reaction(&comment, principal.user_id(), add)).await?;
        }
        let comment = to_proto(&mut tx, comment).await?;
        tx.commit().await?;
        Ok(comment)
    }
}

/// The comment, deleted or not, and its task, if the caller sees the task.
async fn find(tx: &mut ReadTx, actor: Actor<'_>, comment_id: &str) -> Result<(Comment, Task)> {
    let absent = || Error::from(Reason::CommentNotFound);
    let comment_id: Uuid = comment_id.parse().map_err(|_| absent())?;
    let comment = store::comment::get(tx, comment_id).await?.ok_or_else(absent)?;
    let task = store::task::get(tx, comment.task_id).await?.filter(|task| actor.can_see(task));
    Ok((comment, task.ok_or_else(absent)?))
}

/// Locks a comment that exists.
async fn lock(tx: &mut Tx, comment_id: Uuid) -> Result<Comment> {
    store::comment::lock(tx, comment_id).await?.ok_or_else(|| Reason::CommentNotFound.into())
}

/// Creator and holder of the task. Visibility for their teams depends on their memberships.
fn creator_and_holder(task: &Task) -> impl Iterator<Item = Uuid> {
    [Some(task.created_by), task.assigned_to].into_iter().flatten()
}

/// Stores the mentions of a comment. Newly mentioned members who see the task become watchers and are notified; they
/// are returned.
async fn store_mentions(
    tx: &mut Tx,
    comment: &Comment,
    task: &Task,
    members: &MemberSet,
    handles: &[String],
) -> Result<Vec<Uuid>> {
    let named = members.by_handles(handles).into_iter().map(|member| Mention {
        user_id: member.user_id,
        handle: member.handle.clone(),
        sees_task: members.can_see(member.user_id, task),
    });
    let new = store::comment::replace_mentions(tx, comment, named.collect()).await?.into_iter();
    let notified: Vec<Uuid> = new
        .filter(|mention| mention.sees_task && mention.user_id != comment.author_id)
        .map(|mention| mention.user_id)
        .collect();
    if !notified.is_empty() {
        watch_implicitly(tx, task, &notified, WatchState::Mentioned).await?;
        tx.publish(events::mentioned(comment, &notified)).await?;
    }
    Ok(notified)
}

/// Makes these people watchers, unless they already have a watch state.
async fn watch_implicitly(tx: &mut Tx, task: &Task, user_ids: &[Uuid], standing: WatchState) -> Result<()> {
    let now = tx.db().clock().now();
    let joined = store::watcher::add_implicit(tx, task.id, user_ids, standing, now).await?;
    // Creator and holder watch implicitly.
    let new = joined.into_iter().filter(|id| !creator_and_holder(task).any(|person| person == *id));
    tx.publish_all(new.map(|id| events::watcher(task.account_id, task.id, id, true))).await
}

async fn to_proto(tx: &mut ReadTx, comment: Comment) -> Result<ProtoComment> {
    let details = store::comment::details(tx, slice::from_ref(&comment)).await?.remove(&comment.id);
    Ok(convert::comment(comment, details.unwrap_or_default()))
}
