//! One change of many tasks.

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

use super::{Rpc, change::Change, structure::place};
use crate::{
    convert,
    list::filter::{Filter, Scope},
    people::{assignment::Member, visibility::Who, watching::Audience},
    store,
    store::list::List,
    task::{
        Task,
        bulk::{Deed, Done, MOST, Update},
        fields::{id, text, words},
        record,
    },
};

#[tonic::async_trait]
impl BulkService for Rpc {
    async fn change_tasks(
        &self,
        request: Request<ChangeTasksRequest>,
    ) -> Result<Response<ChangeTasksResponse>, Status> {
        let change = Change::of("ChangeTasks", &request)?;
        let (principal, who, message) = (change.principal(), change.who(), request.get_ref());
        let which = Which::of(message)?;
        let plan = Plan::of(message, principal)?;
        // Asked before a transaction begins; a failure counts only once it is known that this is no repetition.
        let assignee = match plan {
            Plan::Hand(_, to) => Some(self.members.assignee(principal, to).await),
            Plan::Do(_) => None,
        };
        let ids = match which {
            Which::Ids(ids) => Ok(ids),
            Which::Filter(filter) => match self.filter(principal, Some(*filter)).await {
                Ok(filter) => self.matching(principal, &filter).await,
                Err(error) => Err(error),
            },
        };
        let audience = match &ids {
            Ok(ids) if plan.tells_watchers() && !message.dry_run => self.audience(principal, ids).await,
            _ => Ok(Audience::default()),
        };
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(answer) = tx.replay(change.idempotency()).await? {
            return Ok(Response::new(answer));
        }
        let (mut deed, ids) = (plan.with(assignee)?, ids?);
        prepare(&mut tx, &mut deed).await?;
        let tasks = lock(&mut tx, who, &deed, &ids).await?;
        if let Deed::Update(update) = &mut deed
            && let Some(parent) = update.parent()
        {
            let moved: Vec<Uuid> = tasks.iter().map(|task| task.id).collect();
            update.place = Some(place(&mut tx, who, &moved, parent, "task.parent_task_id").await?);
        }
        let done = done(&mut tx, &change, &deed, tasks).await?;
        let answer = answer(&ids, &done);
        if !message.dry_run {
            record::save_and_tell(&mut tx, done.changed, change.terms(), &audience?).await?;
            tx.remember(change.idempotency(), &answer).await?;
            tx.commit().await?;
        }
        Ok(Response::new(answer))
    }
}

/// Which tasks.
enum Which {
    Ids(Vec<Uuid>),
    Filter(Box<TaskFilter>),
}

impl Which {
    fn of(message: &ChangeTasksRequest) -> Result<Self> {
        match (message.task_ids.as_slice(), &message.filter) {
            ([], None) => Err(Error::invalid("task_ids", "are needed, or a filter")),
            ([], Some(_)) if message.action() == BulkAction::Restore => {
                Err(Error::invalid("filter", "finds nothing in the trash; name the tasks"))
            }
            ([], Some(filter)) => Ok(Self::Filter(Box::new(filter.clone()))),
            (_, Some(_)) => Err(Error::invalid("filter", "goes without task_ids")),
            (ids, None) => {
                let ids = ids.iter().map(|one| id(one, "task_ids")).collect::<Result<BTreeSet<_>>>()?;
                Ok(Self::Ids(ids.into_iter().collect()))
            }
        }
    }
}

/// What to do, before it is known to whom tasks are handed.
enum Plan {
    Do(Deed),
    Hand(fn(Member) -> Deed, Uuid),
}

impl Plan {
    fn of(message: &ChangeTasksRequest, principal: &Principal) -> Result<Self> {
        let ChangeTasksRequest { assigned_to, reason, task, clear, .. } = message;
        let action = message.action();
        let wrong = |field: &str, why: &str| Err(Error::invalid(field, why));
        let hands = matches!(action, BulkAction::Assign | BulkAction::Reassign);
        let explains = matches!(action, BulkAction::Pause | BulkAction::Cancel | BulkAction::Reopen);
        if assigned_to.is_some() != hands {
            return wrong("assigned_to", "goes with assign and reassign, which need it");
        }
        if reason.is_some() && !explains {
            return wrong("reason", "goes with pause, cancel and reopen");
        }
        if action != BulkAction::Update && (task.is_some() || !clear.is_empty()) {
            return wrong("task", "and `clear` go with update");
        }
        let reason = reason.clone().map(|reason| text(reason, "reason")).transpose()?;
        let deed = match action {
            BulkAction::Start => Deed::Start,
            BulkAction::Pause => match reason {
                Some(reason) => Deed::Pause(words(reason, "reason")?),
                None => return wrong("reason", "is needed for a pause"),
            },
            BulkAction::Resume => Deed::Resume,
            BulkAction::Complete => Deed::Complete,
            BulkAction::Archive => Deed::Archive,
            BulkAction::Cancel => Deed::Cancel(reason),
            BulkAction::Reopen => Deed::Reopen(reason),
            BulkAction::Delete => Deed::Delete,
            BulkAction::Restore => Deed::Restore,
            BulkAction::Assign | BulkAction::Reassign => {
                let to = id(assigned_to.as_deref().unwrap_or_default(), "assigned_to")?;
                let (permission, deed): (_, fn(Member) -> Deed) = match action {
                    BulkAction::Assign => (Permission::AssignToUsers, Deed::Assign),
                    _ => (Permission::ReassignTasks, Deed::Reassign),
                };
                if !matrix::holds(principal.role(), permission) {
                    return Err(Error::from(Reason::PermissionMissing).with("permission", permission.as_str_name()));
                }
                return Ok(Self::Hand(deed, to));
            }
            BulkAction::Update => {
                let default = convert::default_visibility(&principal.membership.settings);
                Deed::Update(Box::new(Update::new(task.clone().unwrap_or_default(), clear.clone(), default)?))
            }
            BulkAction::Unspecified => return wrong("action", "is none that there is"),
        };
        Ok(Self::Do(deed))
    }

    fn tells_watchers(&self) -> bool {
        matches!(self, Self::Do(deed) if deed.kind().tells_watchers())
    }

    fn with(self, assignee: Option<Result<Member>>) -> Result<Deed> {
        match (self, assignee) {
            (Self::Do(deed), _) => Ok(deed),
            (Self::Hand(deed, _), Some(assignee)) => assignee.map(deed),
            (Self::Hand(..), None) => Err(Reason::AssigneeInvalid.into()),
        }
    }
}

/// Holds what has to stay as it is before tasks are locked, and reads what values are checked by.
async fn prepare(tx: &mut Tx, deed: &mut Deed) -> Result<()> {
    if deed.kind().opens_again() {
        store::hand_over::hold(tx).await?;
    }
    let Deed::Update(update) = deed else { return Ok(()) };
    if update.moves() {
        store::task::lock_hierarchy(tx).await?;
    }
    if update.notes() {
        let definitions = store::custom_field::all(tx).await?;
        update.by_definitions(definitions)?;
    }
    Ok(())
}

impl Rpc {
    /// The tasks that match and that they see.
    ///
    /// # Errors
    /// TOO_MANY_TASKS.
    async fn matching(&self, principal: &Principal, filter: &Filter) -> Result<Vec<Uuid>> {
        let list = List { who: Who::of(principal), scope: Scope::Visible, filter, now: self.db.clock().now() };
        let page = Page { per_page: MOST as u32, from: Start::Number(1) };
        let mut tx = list.begin(&self.db, principal.tenant()).await?;
        let tasks = store::list::page(&mut tx, list, &page).await?;
        if tasks.len() > MOST {
            let matched = store::list::total(&mut tx, list, &page, tasks.len()).await?;
            let error = Error::from(Reason::TooManyTasks).with("limit", MOST.to_string());
            return Err(error.with("matched", matched.count.to_string()));
        }
        let ids: BTreeSet<Uuid> = tasks.iter().map(|task| task.id).collect();
        Ok(ids.into_iter().collect())
    }
}

/// Those of the tasks that they see, locked, in the order of their ids.
async fn lock(tx: &mut Tx, who: Who<'_>, deed: &Deed, ids: &[Uuid]) -> Result<Vec<Task>> {
    let mut tasks = match deed {
        Deed::Restore => store::bulk::lock_in_trash(tx, ids).await?,
        _ => store::task::lock_all(tx, ids).await?,
    };
    tasks.retain(|task| who.sees(task));
    Ok(tasks)
}

/// What the deed makes of the tasks, within what the account allows.
async fn done(tx: &mut Tx, change: &Change<'_>, deed: &Deed, tasks: Vec<Task>) -> Result<Done> {
    let (who, terms) = (change.who(), change.terms());
    let mut done = Done::of(deed, tasks, who, tx.db().clock().now());
    let mut busy = false;
    if terms.one_running_timer && done.begins_work() {
        // Only the worker begins work, so it is the caller's.
        store::task::lock_timers(tx, &[who.id]).await?;
        busy = store::task::running(tx, &[who.id], &[]).await?.is_some();
    }
    let creators: Vec<Uuid> = done.opens().into_keys().collect();
    let used = if creators.is_empty() || terms.open_tasks.is_none() {
        BTreeMap::new()
    } else {
        store::usage::hold(tx, &creators).await?
    };
    done.within(terms, used, busy);
    Ok(done)
}

/// A line for each task. What they do not see was not there to be locked.
fn answer(ids: &[Uuid], done: &Done) -> ChangeTasksResponse {
    let succeeded: BTreeSet<Uuid> = done.changed.iter().map(|change| change.before.id).collect();
    let result = |id: &Uuid| {
        let ok = succeeded.contains(id);
        let reason = done.refused.get(id).copied().unwrap_or(Reason::TaskNotFound);
        BulkResult { task_id: id.to_string(), ok, reason: (!ok).then(|| reason.name().to_owned()) }
    };
    ChangeTasksResponse {
        results: ids.iter().map(result).collect(),
        succeeded: succeeded.len() as i32,
        failed: (ids.len() - succeeded.len()) as i32,
    }
}
