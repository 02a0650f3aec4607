//! What all changes of a task have in common: see it, lock it, apply a rule, save it, tell of it.

use baton_access::{Principal, principal};
use baton_errors::{Reason, Result};
use baton_proto::baton::task::v1 as proto;
use baton_store::{Idempotency, Preconditions, Tx};
use chrono::{DateTime, Utc};
use prost::Message;
use tonic::Request;
use uuid::Uuid;

use super::{
    Rpc,
    structure::{hide_parents, place},
};
use crate::{
    convert,
    events::Kind,
    people::{visibility::Who, watching::Audience},
    store::{self, parts::Around},
    task::{
        Task, custom_field,
        record::{self, Changed, Terms},
    },
};

/// A change that a caller asks for.
pub(super) struct Change<'a> {
    principal: &'a Principal,
    /// What the caller expects of the task.
    expected: Preconditions,
    idempotency: Idempotency,
}

impl<'a> Change<'a> {
    /// Reads who calls, and what comes with the call.
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

    pub(super) fn who(&self) -> Who<'a> {
        Who::of(self.principal)
    }

    pub(super) fn terms(&self) -> Terms {
        Terms::of(&self.principal.membership)
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
        let id = parse(id)?;
        // A failure counts only once it is known that this is no repetition.
        let audience =
            if kind.tells_watchers() { self.audience(change.principal, &[id]).await } else { Ok(Audience::default()) };
        let mut tx = self.db.begin(change.principal.tenant()).await?;
        if let Some(answer) = tx.replay(&change.idempotency).await? {
            return Ok(answer);
        }
        if kind.opens_again() {
            store::hand_over::hold(&mut tx).await?;
        }
        let found = match kind {
            Kind::Restored => store::task::lock_in_trash(&mut tx, id).await?,
            _ => store::task::lock(&mut tx, id).await?,
        };
        let before = visible(found, change.who())?;
        change.expected.check(before.version)?;
        let mut after = before.clone();
        rule(&mut after, change.who(), self.db.clock().now())?;
        let changed = Changed { before, after, kind, reason: reason.map(str::to_owned) };
        let mut tasks = record::save_and_tell(&mut tx, vec![changed], change.terms(), &audience?).await?;
        hide_parents(&mut tx, change.who(), &mut tasks).await?;
        let task = convert::task(record::one(tasks)?, self.db.clock().now());
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
            // Before any task is locked, as always; and no place moves while something is put into it.
            store::parts::hold_hierarchy(&mut tx).await?;
            place(&mut tx, change.who(), &[], parent, "parent_task_id").await?.takes(task.id, "parent_task_id")?;
        }
        let definitions = store::custom_field::all(&mut tx).await?;
        custom_field::check(&definitions, None, &task.fields.custom_fields, "custom_fields")?;
        assign(&mut task)?;
        let told = record::create(&mut tx, &task).await?;
        let (creator, now) = (task.created_by, task.created_at);
        let task = convert::task(task, now);
        tx.remember(&change.idempotency, &task).await?;
        record::tell(&mut tx, told, &[(creator, 1)].into(), change.terms().open_tasks).await?;
        tx.commit().await?;
        Ok(task)
    }
}

/// The task with this id, if the caller sees it.
pub(super) async fn get(tx: &mut Tx, who: Who<'_>, id: &str) -> Result<Task> {
    visible(store::task::get(tx, parse(id)?).await?, who)
}

/// The same, with what stands around it at `now`.
pub(super) async fn shown(tx: &mut Tx, who: Who<'_>, id: &str, now: DateTime<Utc>) -> Result<(Task, Around)> {
    let (task, around) = store::task::shown(tx, parse(id)?, now).await?.unzip();
    Ok((visible(task, who)?, around.unwrap_or_default()))
}

/// The task, locked, and in the version that the caller expects.
pub(super) async fn lock(tx: &mut Tx, change: &Change<'_>, id: &str) -> Result<Task> {
    let task = visible(store::task::lock(tx, parse(id)?).await?, change.who())?;
    change.expected.check(task.version)?;
    Ok(task)
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
