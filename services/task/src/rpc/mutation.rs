//! Steps that all writes of a task share: check visibility, lock, apply a rule, save, publish.

use std::slice;

use baton_access::{Principal, principal};
use baton_errors::{Reason, Result};
use baton_proto::baton::task::v1 as proto;
use baton_store::{Idempotency, Preconditions, Tx};
use prost::Message;
use tonic::Request;

use super::{
    Rpc,
    lookup::{parse_id, visible},
    subtasks::{hide_parents, parent_check},
};
use crate::{
    application::{action, writer::UnitOfWork},
    convert,
    policy::visibility::Actor,
    store,
    task::{Task, action::TaskAction, change::AccountPolicy, custom_field, event_kind::EventKind},
    watchers::Audience,
};

/// Caller, preconditions and idempotency key of a write.
pub(super) struct Mutation<'a> {
    principal: &'a Principal,
    /// Preconditions (`If-Match`).
    expected: Preconditions,
    idempotency: Idempotency,
}

impl<'a> Mutation<'a> {
    /// Reads them from a request.
    pub(super) fn of<T: Message>(rpc: &'static str, request: &'a Request<T>) -> Result<Self> {
        Ok(Self {
            principal: principal(request)?,
            expected: Preconditions::of(request.metadata())?,
            idempotency: Idempotency::of(rpc, request.metadata(), request.get_ref())?,
        })
    }

    pub(super) fn principal(&self) -> &'a Principal {
        self.principal
    }

    pub(super) fn idempotency(&self) -> &Idempotency {
        &self.idempotency
    }

    pub(super) fn actor(&self) -> Actor<'a> {
        Actor::of(self.principal)
    }

    pub(super) fn policy(&self) -> AccountPolicy {
        AccountPolicy::of(&self.principal.membership)
    }
}

impl Rpc {
    /// Applies an action to a task in one transaction. A repeated call returns its first response.
    pub(super) async fn change(&self, mutation: &Mutation<'_>, id: &str, action: TaskAction) -> Result<proto::Task> {
        self.try_change(mutation, id, action.kind(), Ok(action)).await
    }

    /// [`Self::change`] with an action of this kind that may be invalid. Its error is propagated only after the
    /// idempotency check, so that a retry still gets its first response, and to callers who see the task.
    pub(super) async fn try_change(
        &self,
        mutation: &Mutation<'_>,
        id: &str,
        kind: EventKind,
        action: Result<TaskAction>,
    ) -> Result<proto::Task> {
        let id = parse_id(id)?;
        let audience = if kind.notifies_watchers() {
            self.audience(mutation.principal, &[id]).await
        } else {
            Ok(Audience::default())
        };
        let mut tx = self.db.begin(mutation.principal.tenant()).await?;
        if let Some(response) = tx.replay(&mutation.idempotency).await? {
            return Ok(response);
        }
        let before = action::lock(&mut tx, mutation.actor(), kind, &[id]).await?.pop().ok_or(Reason::TaskNotFound)?;
        mutation.expected.check(before.version)?;
        let change = action?.apply(before, mutation.actor(), self.db.clock().now())?;
        let work = UnitOfWork::change(vec![change], mutation.policy());
        let mut task = work.notifying(&audience?).write_one(&mut tx).await?;
        hide_parents(&mut tx, mutation.actor(), slice::from_mut(&mut task)).await?;
        let task = convert::task(task, self.db.clock().now());
        tx.remember(&mutation.idempotency, &task).await?;
        tx.commit().await?;
        Ok(task)
    }

    /// Stores a new task in one transaction. A repeated call returns its first response. `assign` sets the first
    /// holder.
    pub(super) async fn create(
        &self,
        mutation: &Mutation<'_>,
        mut task: Task,
        assign: impl FnOnce(&mut Task) -> Result<()> + Send,
    ) -> Result<proto::Task> {
        let mut tx = self.db.begin(mutation.principal.tenant()).await?;
        if let Some(response) = tx.replay(&mutation.idempotency).await? {
            return Ok(response);
        }
        if let Some(parent) = task.fields.parent_task_id {
            // The hierarchy is locked before any task, so no ancestor moves meanwhile.
            store::subtasks::lock_hierarchy_shared(&mut tx).await?;
            parent_check(&mut tx, mutation.actor(), &[], parent, "parent_task_id")
                .await?
                .accepts(task.id, "parent_task_id")?;
        }
        let definitions = store::custom_field::all(&mut tx).await?;
        custom_field::check(&definitions, None, &task.fields.custom_fields, "custom_fields")?;
        assign(&mut task)?;
        let response = convert::task(task.clone(), task.created_at);
        tx.remember(&mutation.idempotency, &response).await?;
        UnitOfWork::create(task, mutation.policy()).write(&mut tx).await?;
        tx.commit().await?;
        Ok(response)
    }
}

/// Locks the task and checks that it has the expected version.
pub(super) async fn lock(tx: &mut Tx, mutation: &Mutation<'_>, id: &str) -> Result<Task> {
    let task = visible(store::task::lock(tx, parse_id(id)?).await?, mutation.actor())?;
    mutation.expected.check(task.version)?;
    Ok(task)
}
