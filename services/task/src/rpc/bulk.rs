//! Bulk changes.

use std::collections::{BTreeMap, BTreeSet};

use baton_access::{Principal, matrix};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::{
    access::v1::Permission,
    task::v1::{
        BulkAction, BulkResult, ChangeTasksRequest, ChangeTasksResponse, TaskFilter, bulk_service_server::BulkService,
    },
};
use baton_store::{Page, Tx, page::From as Start};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, mutation::Mutation, subtasks::parent_check};
use crate::{
    application::{action, writer::UnitOfWork},
    convert,
    policy::{assignment::Assignee, visibility::Actor},
    query::filter::{Filter, Scope},
    store::{self, list::ListQuery},
    task::{
        Task,
        action::TaskAction,
        bulk::{BulkOutcome, MAX_TASKS},
        fields::{id, required},
    },
    watchers::Audience,
};

#[tonic::async_trait]
impl BulkService for Rpc {
    async fn change_tasks(
        &self,
        request: Request<ChangeTasksRequest>,
    ) -> Result<Response<ChangeTasksResponse>, Status> {
        let mutation = Mutation::of("ChangeTasks", &request)?;
        let (principal, actor, message) = (mutation.principal(), mutation.actor(), request.get_ref());
        let selection = Selection::of(message)?;
        let pending = PendingAction::of(message, principal)?;
        // No transaction waits for another service. The error is propagated only after the idempotency check.
        let assignee = match pending {
            PendingAction::Assign(_, to) => Some(self.members.assignee(principal, to).await),
            PendingAction::Ready(_) => None,
        };
        let ids = match selection {
            Selection::Ids(ids) => Ok(ids),
            Selection::Filter(filter) => match self.filter(principal, Some(*filter)).await {
                Ok(filter) => self.matching(principal, &filter).await,
                Err(error) => Err(error),
            },
        };
        let audience = match &ids {
            Ok(ids) if pending.notifies_watchers() && !message.dry_run => self.audience(principal, ids).await,
            _ => Ok(Audience::default()),
        };
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(response) = tx.replay(mutation.idempotency()).await? {
            return Ok(Response::new(response));
        }
        let (mut action, ids) = (pending.with(assignee)?, ids?);
        prepare(&mut tx, &mut action).await?;
        let tasks = action::lock(&mut tx, actor, action.kind(), &ids).await?;
        if let TaskAction::Update(update) = &mut action
            && let Some(parent) = update.parent()
        {
            let moved: Vec<Uuid> = tasks.iter().map(|task| task.id).collect();
            update.parent_check = Some(parent_check(&mut tx, actor, &moved, parent, "task.parent_task_id").await?);
        }
        let outcome = apply_action(&mut tx, &mutation, &action, tasks).await?;
        let response = response(&ids, &outcome);
        if !message.dry_run {
            UnitOfWork::change(outcome.changed, mutation.policy()).notifying(&audience?).write(&mut tx).await?;
            tx.remember(mutation.idempotency(), &response).await?;
            tx.commit().await?;
        }
        Ok(Response::new(response))
    }
}

/// The selected tasks.
enum Selection {
    Ids(Vec<Uuid>),
    Filter(Box<TaskFilter>),
}

impl Selection {
    fn of(message: &ChangeTasksRequest) -> Result<Self> {
        match (message.task_ids.as_slice(), &message.filter) {
            ([], None) => Err(Error::invalid("task_ids", "must not be empty without a filter")),
            ([], Some(_)) if message.action() == BulkAction::Restore => {
                Err(Error::invalid("filter", "must be empty for restore; use task_ids"))
            }
            ([], Some(filter)) => Ok(Self::Filter(Box::new(filter.clone()))),
            (_, Some(_)) => Err(Error::invalid("filter", "must be empty with task_ids")),
            (ids, None) => {
                let ids = ids.iter().map(|one| id(one, "task_ids")).collect::<Result<BTreeSet<_>>>()?;
                Ok(Self::Ids(ids.into_iter().collect()))
            }
        }
    }
}

/// An action whose assignee may not be resolved yet.
enum PendingAction {
    Ready(TaskAction),
    Assign(fn(Assignee) -> TaskAction, Uuid),
}

impl PendingAction {
    fn of(message: &ChangeTasksRequest, principal: &Principal) -> Result<Self> {
        let ChangeTasksRequest { assigned_to, reason, task, clear, add_tags, remove_tags, .. } = message;
        let action = message.action();
        let invalid = |field: &str, problem: &str| Err(Error::invalid(field, problem));
        let assigns = matches!(action, BulkAction::Assign | BulkAction::Reassign);
        let takes_reason = matches!(action, BulkAction::Pause | BulkAction::Cancel | BulkAction::Reopen);
        if assigned_to.is_some() != assigns {
            return invalid("assigned_to", "must be given for assign and reassign only");
        }
        if reason.is_some() && !takes_reason {
            return invalid("reason", "must be given for pause, cancel and reopen only");
        }
        let changes_tags = !add_tags.is_empty() || !remove_tags.is_empty();
        if action != BulkAction::Update && (task.is_some() || !clear.is_empty() || changes_tags) {
            return invalid("task", "must be given for update only, like `clear`, `add_tags` and `remove_tags`");
        }
        let reason = reason.clone();
        let action = match action {
            BulkAction::Start => TaskAction::Start,
            BulkAction::Pause => match reason {
                Some(reason) => TaskAction::Pause(required(reason, "reason")?),
                None => return invalid("reason", "must not be empty for a pause"),
            },
            BulkAction::Resume => TaskAction::Resume,
            BulkAction::Complete => TaskAction::Complete,
            BulkAction::Archive => TaskAction::Archive,
            BulkAction::Cancel => TaskAction::Cancel(reason),
            BulkAction::Reopen => TaskAction::Reopen(reason),
            BulkAction::Delete => TaskAction::Delete,
            BulkAction::Restore => TaskAction::Restore,
            BulkAction::Assign | BulkAction::Reassign => {
                let to = id(assigned_to.as_deref().unwrap_or_default(), "assigned_to")?;
                let (permission, action): (_, fn(Assignee) -> TaskAction) = match action {
                    BulkAction::Assign => (Permission::AssignToUsers, TaskAction::Assign),
                    _ => (Permission::ReassignTasks, TaskAction::Reassign),
                };
                if !matrix::holds(principal.role(), permission) {
                    return Err(Error::from(Reason::PermissionMissing).with("permission", permission.as_str_name()));
                }
                return Ok(PendingAction::Assign(action, to));
            }
            BulkAction::Update => {
                let default = convert::default_visibility(&principal.membership.settings);
                TaskAction::Update(Box::new(convert::bulk::update(
                    task.clone().unwrap_or_default(),
                    clear.clone(),
                    (add_tags.clone(), remove_tags.clone()),
                    default,
                )?))
            }
            BulkAction::Unspecified => return invalid("action", "must be a known action"),
        };
        Ok(PendingAction::Ready(action))
    }

    fn notifies_watchers(&self) -> bool {
        matches!(self, PendingAction::Ready(action) if action.kind().notifies_watchers())
    }

    fn with(self, assignee: Option<Result<Assignee>>) -> Result<TaskAction> {
        match (self, assignee) {
            (PendingAction::Ready(action), _) => Ok(action),
            (PendingAction::Assign(action, _), Some(assignee)) => assignee.map(action),
            (PendingAction::Assign(..), None) => Err(Reason::AssigneeInvalid.into()),
        }
    }
}

/// Takes the locks that must precede task locks, and reads the custom field definitions.
async fn prepare(tx: &mut Tx, action: &mut TaskAction) -> Result<()> {
    let TaskAction::Update(update) = action else { return Ok(()) };
    if update.changes_parent() {
        store::task::lock_hierarchy(tx).await?;
    }
    if update.changes_custom_fields() {
        let definitions = store::custom_field::all(tx).await?;
        update.set_definitions(definitions)?;
    }
    Ok(())
}

impl Rpc {
    /// Ids of the matching tasks that the caller sees.
    ///
    /// # Errors
    /// TOO_MANY_TASKS.
    async fn matching(&self, principal: &Principal, filter: &Filter) -> Result<Vec<Uuid>> {
        let list = ListQuery { actor: Actor::of(principal), scope: Scope::Visible, filter, now: self.db.clock().now() };
        let page = Page { per_page: MAX_TASKS as u32, from: Start::Number(1) };
        let mut tx = list.begin(&self.db, principal.tenant()).await?;
        let tasks = store::list::page(&mut tx, list, &page).await?;
        if tasks.len() > MAX_TASKS {
            let matched = store::list::total(&mut tx, list, &page, tasks.len()).await?;
            let error = Error::from(Reason::TooManyTasks).with("limit", MAX_TASKS.to_string());
            return Err(error.with("matched", matched.count.to_string()));
        }
        let ids: BTreeSet<Uuid> = tasks.iter().map(|task| task.id).collect();
        Ok(ids.into_iter().collect())
    }
}

/// Applies the action to the tasks within the account's limits.
async fn apply_action(
    tx: &mut Tx,
    mutation: &Mutation<'_>,
    action: &TaskAction,
    tasks: Vec<Task>,
) -> Result<BulkOutcome> {
    let (actor, policy) = (mutation.actor(), mutation.policy());
    let mut outcome = BulkOutcome::of(action, tasks, actor, tx.db().clock().now());
    let mut busy = false;
    if policy.one_running_timer && outcome.starts_timer() {
        // Only the worker of a task starts it, so the caller is the worker.
        store::task::lock_timers(tx, &[actor.id]).await?;
        busy = store::task::running(tx, &[actor.id], &[]).await?.is_some();
    }
    let creators: Vec<Uuid> = outcome.opened_per_creator().into_keys().collect();
    let used = if creators.is_empty() || policy.open_tasks.is_none() {
        BTreeMap::new()
    } else {
        store::quota_counters::lock(tx, &creators).await?
    };
    outcome.enforce_limits(policy, used, busy);
    Ok(outcome)
}

/// One result per requested id. A task that the caller does not see is not found.
fn response(ids: &[Uuid], outcome: &BulkOutcome) -> ChangeTasksResponse {
    let succeeded: BTreeSet<Uuid> = outcome.changed.iter().map(|change| change.before.id).collect();
    let result = |id: &Uuid| {
        let ok = succeeded.contains(id);
        let reason = outcome.refused.get(id).copied().unwrap_or(Reason::TaskNotFound);
        BulkResult { task_id: id.to_string(), ok, reason: (!ok).then(|| reason.name().to_owned()) }
    };
    ChangeTasksResponse {
        results: ids.iter().map(result).collect(),
        succeeded: succeeded.len() as i32,
        failed: (ids.len() - succeeded.len()) as i32,
    }
}
