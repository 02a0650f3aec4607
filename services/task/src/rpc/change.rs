//! What all changes of a task have in common: see it, lock it, apply a rule, save it, tell of it.

use baton_access::{Principal, principal};
use baton_errors::{Reason, Result};
use baton_proto::baton::task::v1 as proto;
use baton_store::{Idempotency, Tx, precondition};
use chrono::{DateTime, Utc};
use prost::Message;
use tonic::Request;
use uuid::Uuid;

use super::Rpc;
use crate::{
    convert,
    events::{self, Kind},
    store,
    task::Task,
    visibility::Who,
};

/// A change that a caller asks for.
pub(super) struct Change<'a> {
    principal: &'a Principal,
    /// The version that the caller has read, if they say.
    expected: Option<i32>,
    idempotency: Idempotency,
}

impl<'a> Change<'a> {
    /// Reads who calls, and what comes with the call.
    pub(super) fn of<T: Message>(rpc: &'static str, request: &'a Request<T>) -> Result<Self> {
        Ok(Self {
            principal: principal(request)?,
            expected: precondition::if_match(request.metadata())?,
            idempotency: Idempotency::of(rpc, request.metadata(), request.get_ref())?,
        })
    }

    pub(super) fn principal(&self) -> &'a Principal {
        self.principal
    }

    pub(super) fn who(&self) -> Who<'a> {
        Who::of(self.principal)
    }
}

impl Rpc {
    /// Changes a task by `rule`, in one transaction; a repeated call gets its first answer.
    pub(super) async fn change(
        &self,
        change: &Change<'_>,
        id: &str,
        kind: Kind,
        reason: Option<&str>,
        rule: impl FnOnce(&mut Task, Who<'_>, DateTime<Utc>) -> Result<()> + Send,
    ) -> Result<proto::Task> {
        let mut tx = self.db.begin(change.principal.tenant()).await?;
        if let Some(answer) = tx.replay(&change.idempotency).await? {
            return Ok(answer);
        }
        let before = lock(&mut tx, change, id).await?;
        let mut after = before.clone();
        rule(&mut after, change.who(), self.db.clock().now())?;
        let task = save(&mut tx, &before, after, kind, reason).await?;
        tx.remember(&change.idempotency, &task).await?;
        tx.commit().await?;
        Ok(task)
    }

    /// Stores a new task, in one transaction; a repeated call gets its first answer. `assign` puts it into
    /// its first hands.
    pub(super) async fn create(
        &self,
        change: &Change<'_>,
        mut task: Task,
        assign: impl FnOnce(&mut Task) -> Result<()> + Send,
    ) -> Result<proto::Task> {
        let mut tx = self.db.begin(change.principal.tenant()).await?;
        if let Some(answer) = tx.replay(&change.idempotency).await? {
            return Ok(answer);
        }
        if let Some(parent) = task.fields.parent_task_id {
            parent_of(&mut tx, change.who(), parent, "parent_task_id").await?;
        }
        assign(&mut task)?;
        let (account_id, creator) = (task.account_id, task.created_by);
        let values = task.first_values();
        let changed = values.keys().cloned().collect();
        store::task::insert(&mut tx, &task).await?;
        store::timeline::append(&mut tx, &task, Kind::Created, &values, None).await?;
        tx.publish(events::task(Kind::Created, None, &task, changed)).await?;
        if task.assigned_by.is_some() {
            // One version, so one line in the timeline; but two things for those who listen.
            let changed = vec!["assigned_to".to_owned(), "assigned_by".to_owned()];
            tx.publish(events::task(Kind::Assigned, None, &task, changed)).await?;
        }
        let now = task.created_at;
        let task = convert::task(task, now);
        tx.remember(&change.idempotency, &task).await?;
        // Last, as all who create for the same person wait for each other from here to the commit.
        let limit = change.principal.membership.limits.open_tasks_per_user;
        let open = store::usage::add(&mut tx, creator, limit).await?;
        tx.publish(events::usage_changed(account_id, creator, open)).await?;
        tx.commit().await?;
        Ok(task)
    }
}

/// The task with this id, if the caller sees it.
pub(super) async fn get(tx: &mut Tx, who: Who<'_>, id: &str) -> Result<Task> {
    visible(store::task::get(tx, parse(id)?).await?, who)
}

/// The same, locked, and in the version that the caller expects.
pub(super) async fn lock(tx: &mut Tx, change: &Change<'_>, id: &str) -> Result<Task> {
    let task = visible(store::task::lock(tx, parse(id)?).await?, change.who())?;
    precondition::check(change.expected, task.version)?;
    Ok(task)
}

/// Stores what was made of a locked task, with its line in the timeline and its event. A change that
/// changes nothing leaves everything as it is.
pub(super) async fn save(
    tx: &mut Tx,
    before: &Task,
    mut after: Task,
    kind: Kind,
    reason: Option<&str>,
) -> Result<proto::Task> {
    let now = tx.db().clock().now();
    let changes = after.changes_since(before);
    if !changes.is_empty() {
        (after.version, after.updated_at) = (before.version + 1, now);
        store::task::save(tx, &after).await?;
        store::timeline::append(tx, &after, kind, &changes, reason).await?;
        let changed = changes.keys().cloned().collect();
        tx.publish(events::task(kind, Some(before), &after, changed)).await?;
        if before.is_open() && !after.is_open() {
            closed(tx, before).await?;
        }
    }
    Ok(convert::task(after, now))
}

/// Counts a task as closed that its creator's quota had counted as open.
pub(super) async fn closed(tx: &mut Tx, task: &Task) -> Result<()> {
    let open = store::usage::subtract(tx, task.created_by).await?;
    tx.publish(events::usage_changed(task.account_id, task.created_by, open)).await
}

/// The task that another shall be a part of, as `field` names it.
pub(super) async fn parent_of(tx: &mut Tx, who: Who<'_>, id: Uuid, field: &str) -> Result<Task> {
    let task = store::task::get(tx, id).await?;
    visible(task, who).map_err(|absent| absent.field(field, "names no task that the caller sees"))
}

/// A task that the caller does not see is as absent as one that never was.
fn visible(task: Option<Task>, who: Who<'_>) -> Result<Task> {
    task.filter(|task| who.sees(task)).ok_or_else(|| Reason::TaskNotFound.into())
}

fn parse(id: &str) -> Result<Uuid> {
    id.parse().map_err(|_| Reason::TaskNotFound.into())
}
