//! What waits for what, and what is a part of what.

use std::collections::HashMap;

use baton_access::principal;
use baton_errors::{Error, Result};
use baton_proto::baton::task::v1::{
    AddDependencyRequest, AddDependencyResponse, ListDependenciesRequest, ListDependenciesResponse,
    ListSubtasksRequest, ListSubtasksResponse, RemoveDependencyRequest, RemoveDependencyResponse, TaskDependencies,
    structure_service_server::StructureService,
};
use baton_store::Tx;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Rpc,
    change::{Change, get, parent_of},
    list::Listed,
};
use crate::{
    convert::structure as convert,
    events::structure as events,
    list::filter::Scope,
    people::visibility::Who,
    store::{self, parts::Around, timeline::Entry},
    task::{Task, fields::id, parts::Place},
};

/// What a line of a timeline calls what a task is a part of.
const PARENT: &str = "parent_task_id";

#[tonic::async_trait]
impl StructureService for Rpc {
    async fn list_dependencies(
        &self,
        request: Request<ListDependenciesRequest>,
    ) -> Result<Response<ListDependenciesResponse>, Status> {
        let principal = principal(&request)?;
        let who = Who::of(principal);
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, who, &request.get_ref().id).await?;
        let dependencies = dependencies(&mut tx, who, &task).await?;
        drop(tx);
        Ok(Response::new(ListDependenciesResponse { dependencies: Some(dependencies) }))
    }

    async fn add_dependency(
        &self,
        request: Request<AddDependencyRequest>,
    ) -> Result<Response<AddDependencyResponse>, Status> {
        let change = Change::of("AddDependency", &request)?;
        let AddDependencyRequest { id: task_id, blocked_by } = request.get_ref();
        let mut tx = self.db.begin(change.principal().tenant()).await?;
        if let Some(dependencies) = tx.replay(change.idempotency()).await? {
            return Ok(Response::new(AddDependencyResponse { dependencies: Some(dependencies) }));
        }
        store::dependency::lock(&mut tx).await?;
        let task = get(&mut tx, change.who(), task_id).await?;
        change.who().may_change(&task)?;
        let blocker = parent_of(&mut tx, change.who(), id(blocked_by, "blocked_by")?, "blocked_by").await?;
        if blocker.id == task.id {
            return Err(Error::invalid("blocked_by", "is the task itself").into());
        }
        if store::dependency::add(&mut tx, task.id, blocker.id).await? {
            tx.publish(events::dependency(&task, blocker.id, true)).await?;
        }
        let dependencies = dependencies(&mut tx, change.who(), &task).await?;
        tx.remember(change.idempotency(), &dependencies).await?;
        tx.commit().await?;
        Ok(Response::new(AddDependencyResponse { dependencies: Some(dependencies) }))
    }

    async fn remove_dependency(
        &self,
        request: Request<RemoveDependencyRequest>,
    ) -> Result<Response<RemoveDependencyResponse>, Status> {
        let principal = principal(&request)?;
        let who = Who::of(principal);
        let RemoveDependencyRequest { id: task_id, blocked_by } = request.get_ref();
        let blocked_by = id(blocked_by, "blocked_by")?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, who, task_id).await?;
        who.may_change(&task)?;
        store::dependency::remove(&mut tx, task.id, blocked_by).await?;
        tx.publish(events::dependency(&task, blocked_by, false)).await?;
        tx.commit().await?;
        Ok(Response::new(RemoveDependencyResponse {}))
    }

    async fn list_subtasks(
        &self,
        request: Request<ListSubtasksRequest>,
    ) -> Result<Response<ListSubtasksResponse>, Status> {
        let principal = principal(&request)?.clone();
        let ListSubtasksRequest { id, filter, page } = request.into_inner();
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let whole = get(&mut tx, Who::of(&principal), &id).await?;
        drop(tx);
        let mut filter = filter.unwrap_or_default();
        filter.parent_task_id = Some(whole.id.to_string());
        let Listed { tasks, meta } = self.list(&principal, Scope::Visible, Some(filter), page).await?;
        Ok(Response::new(ListSubtasksResponse { tasks, meta: Some(meta) }))
    }
}

async fn dependencies(tx: &mut Tx, who: Who<'_>, task: &Task) -> Result<TaskDependencies> {
    let linked = store::dependency::around(tx, task.id).await?;
    Ok(convert::dependencies(task, linked, who, tx.db().clock().now()))
}

/// What stands around these tasks now.
pub(super) async fn around(tx: &mut Tx, tasks: &[Task]) -> Result<HashMap<Uuid, Around>> {
    if tasks.is_empty() {
        return Ok(HashMap::new());
    }
    let (ids, now): (Vec<Uuid>, _) = (tasks.iter().map(|task| task.id).collect(), tx.db().clock().now());
    store::parts::around(tx, &ids, now).await
}

/// Takes out of tasks what they are parts of, where the caller does not see it: it is as absent as what never was.
pub(super) async fn hide_parents(tx: &mut Tx, who: Who<'_>, tasks: &mut [Task]) -> Result<()> {
    let mut parents = tasks.iter_mut().map(|task| &mut task.fields.parent_task_id).collect::<Vec<_>>();
    hide_unseen(tx, who, &mut parents).await
}

/// The same in lines of a timeline.
pub(super) async fn hide_parents_told(tx: &mut Tx, who: Who<'_>, entries: &mut [Entry]) -> Result<()> {
    let told = |entry: &Entry| entry.changes.get(PARENT).and_then(|parent| parent.as_str()?.parse().ok());
    let mut parents: Vec<Option<Uuid>> = entries.iter().map(told).collect();
    hide_unseen(tx, who, &mut parents.iter_mut().collect::<Vec<_>>()).await?;
    for (entry, parent) in entries.iter_mut().zip(parents) {
        if parent.is_none()
            && let Some(told) = entry.changes.get_mut(PARENT)
        {
            *told = serde_json::Value::Null;
        }
    }
    Ok(())
}

async fn hide_unseen(tx: &mut Tx, who: Who<'_>, tasks: &mut [&mut Option<Uuid>]) -> Result<()> {
    let ids: Vec<Uuid> = tasks.iter().filter_map(|task| **task).collect();
    if ids.is_empty() || who.runs_the_account() {
        return Ok(());
    }
    let seen = store::parts::seen(tx, who, &ids).await?;
    for task in tasks {
        **task = task.filter(|id| seen.contains(id));
    }
    Ok(())
}

/// Where tasks would be as parts of `parent`, which the caller sees. The hierarchy is held already.
///
/// # Errors
/// TASK_NOT_FOUND, at `field`.
pub(super) async fn place(tx: &mut Tx, who: Who<'_>, moved: &[Uuid], parent: Uuid, field: &str) -> Result<Place> {
    parent_of(tx, who, parent, field).await?;
    let above = store::parts::above(tx, parent).await?;
    let levels = if moved.is_empty() { HashMap::new() } else { store::parts::levels(tx, moved).await? };
    Ok(Place { above, levels })
}
