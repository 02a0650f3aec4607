//! Watcher RPCs.

use std::collections::{HashMap, HashSet};

use baton_access::{Principal, principal};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::task::v1::{
    AddWatcherRequest, AddWatcherResponse, ListWatchersRequest, ListWatchersResponse, RemoveWatcherRequest,
    RemoveWatcherResponse, UnwatchTaskRequest, UnwatchTaskResponse, WatchTaskRequest, WatchTaskResponse,
    Watcher as ProtoWatcher, watcher_service_server::WatcherService,
};
use baton_store::{Page, Tx};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, lookup::get};
use crate::{
    convert::comment as convert,
    events::publish::comment as events,
    policy::visibility::Actor,
    store::{self, watcher::TaskWatcher},
    task::{Task, fields::id},
    watchers::{self, Audience, MAX_NOTIFIED_WATCHERS, WatchState, Watcher},
};

#[tonic::async_trait]
impl WatcherService for Rpc {
    async fn list_watchers(
        &self,
        request: Request<ListWatchersRequest>,
    ) -> Result<Response<ListWatchersResponse>, Status> {
        let principal = principal(&request)?;
        let ListWatchersRequest { task_id, page } = request.get_ref();
        let page = Page::of(page.as_ref(), task_id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, Actor::of(principal), task_id).await?;
        // Few enough to page in memory; creator and holder are not in the table.
        let all = store::watcher::all(&mut tx, &task).await?;
        drop(tx);
        let total = all.len() as i64;
        let after = page.after().map(|cursor| cursor.id);
        let (offset, limit) = (page.offset() as usize, page.limit() as usize);
        let rest = all.into_iter().filter(|watcher| after.is_none_or(|after| watcher.user_id > after));
        let mut watchers: Vec<Watcher> = rest.skip(offset).take(limit).collect();
        let meta = page.meta(&mut watchers, total, task_id, |watcher| (None, watcher.user_id));
        let watchers = watchers.into_iter().map(|watcher| convert::watcher(watcher, &task)).collect();
        Ok(Response::new(ListWatchersResponse { watchers, meta: Some(meta) }))
    }

    async fn watch_task(&self, request: Request<WatchTaskRequest>) -> Result<Response<WatchTaskResponse>, Status> {
        let principal = principal(&request)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, Actor::of(principal), &request.get_ref().task_id).await?;
        let watcher = watch(&mut tx, &task, principal.user_id(), WatchState::Chose).await?;
        tx.commit().await?;
        Ok(Response::new(WatchTaskResponse { watcher: Some(watcher) }))
    }

    async fn unwatch_task(
        &self,
        request: Request<UnwatchTaskRequest>,
    ) -> Result<Response<UnwatchTaskResponse>, Status> {
        let principal = principal(&request)?;
        self.end_watch(principal, &request.get_ref().task_id, principal.user_id()).await?;
        Ok(Response::new(UnwatchTaskResponse {}))
    }

    async fn add_watcher(&self, request: Request<AddWatcherRequest>) -> Result<Response<AddWatcherResponse>, Status> {
        let principal = principal(&request)?;
        let actor = Actor::of(principal);
        let AddWatcherRequest { task_id, user_id } = request.get_ref();
        let user_id = id(user_id, "user_id")?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, actor, task_id).await?;
        actor.can_change(&task)?;
        tx.commit().await?;
        let ids = [Some(user_id), Some(task.created_by), task.assigned_to].into_iter().flatten().collect();
        let members = self.members.profiles(principal, &[], ids).await?;

        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, actor, task_id).await?;
        actor.can_change(&task)?;
        if !members.can_see(user_id, &task) {
            return Err(Error::from(Reason::WatcherInvalid).into());
        }
        let watcher = watch(&mut tx, &task, user_id, WatchState::Added).await?;
        tx.commit().await?;
        Ok(Response::new(AddWatcherResponse { watcher: Some(watcher) }))
    }

    async fn remove_watcher(
        &self,
        request: Request<RemoveWatcherRequest>,
    ) -> Result<Response<RemoveWatcherResponse>, Status> {
        let RemoveWatcherRequest { task_id, user_id } = request.get_ref();
        self.end_watch(principal(&request)?, task_id, id(user_id, "user_id")?).await?;
        Ok(Response::new(RemoveWatcherResponse {}))
    }
}

impl Rpc {
    /// Watchers of these tasks, except the caller, creators and holders. Read before a transaction changes the tasks:
    /// no transaction waits for another service.
    pub(super) async fn audience(&self, principal: &Principal, tasks: &[Uuid]) -> Result<Audience> {
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let watching = store::watcher::of_tasks(&mut tx, tasks, principal.user_id(), MAX_NOTIFIED_WATCHERS).await?;
        drop(tx);
        let mut watchers: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        let mut ids = HashSet::new();
        for TaskWatcher { task_id, user_id, created_by, assigned_to } in watching {
            watchers.entry(task_id).or_default().push(user_id);
            ids.extend([Some(user_id), Some(created_by), assigned_to].into_iter().flatten());
        }
        let members = self.members.by_ids(principal, ids).await?;
        Ok(Audience { watchers, members })
    }

    async fn end_watch(&self, principal: &Principal, task_id: &str, user_id: Uuid) -> Result<()> {
        let actor = Actor::of(principal);
        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, actor, task_id).await?;
        let requested = if user_id == actor.id { WatchState::Declined } else { WatchState::Removed };
        if requested == WatchState::Removed {
            actor.can_change(&task)?;
            let watchers = store::watcher::all(&mut tx, &task).await?;
            if watchers.iter().all(|watcher| watcher.user_id != user_id) {
                return Err(Reason::WatcherNotFound.into());
            }
        }
        set_state(&mut tx, &task, user_id, requested).await?;
        tx.commit().await
    }
}

/// Makes somebody a watcher and returns the resulting state.
async fn watch(tx: &mut Tx, task: &Task, user_id: Uuid, requested: WatchState) -> Result<ProtoWatcher> {
    let now = set_state(tx, task, user_id, requested).await?;
    Ok(convert::watcher(Watcher { user_id, standing: Some(now) }, task))
}

/// Changes a watch state if [`watchers::next`] allows it, and returns the resulting state. Publishes an event when the
/// person starts or stops watching.
async fn set_state(tx: &mut Tx, task: &Task, user_id: Uuid, requested: WatchState) -> Result<WatchState> {
    store::watcher::lock(tx, task.id).await?;
    let before = store::watcher::state(tx, task.id, user_id).await?;
    let Some(after) = watchers::next(before, requested)? else { return Ok(before.unwrap_or(requested)) };
    let now = tx.db().clock().now();
    store::watcher::set(tx, task.id, user_id, after, now).await?;
    let by_themselves = user_id == task.created_by || task.assigned_to == Some(user_id);
    if before.map_or(by_themselves, WatchState::watches) != after.watches() {
        tx.publish(events::watcher(task.account_id, task.id, user_id, after.watches())).await?;
    }
    Ok(after)
}
