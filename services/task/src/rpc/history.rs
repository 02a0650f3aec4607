//! The past of tasks, for services that replay it.

use baton_access::Principal;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::task::v1::{ListTaskHistoryRequest, ListTaskHistoryResponse, TaskHistoryEvent, TaskStateTimes},
    convert::timestamp,
};
use baton_store::{ReadTx, via};
use chrono::TimeDelta;
use prost::Message as _;
use uuid::Uuid;

use super::{Rpc, lookup::parse_id, subtasks::hide_parents};
use crate::{
    convert,
    policy::visibility::Actor,
    store::{self, history::HistoryEvent},
    task::{Task, subtasks::TaskSummary},
};

/// Time of the events.
const MAX_RANGE: TimeDelta = TimeDelta::days(30);
/// Events are counted up to this number.
const MAX_COUNTED: i64 = 100_001;
/// Bytes of a page, about: a message of gRPC has 4 MiB at most.
const MAX_PAGE_LEN: usize = 2 * 1024 * 1024;

/// A page of events of the tasks that the caller sees.
///
/// # Errors
/// VALIDATION_FAILED, and those of the database.
pub(super) async fn list(
    rpc: &Rpc,
    principal: &Principal,
    request: &ListTaskHistoryRequest,
) -> Result<ListTaskHistoryResponse> {
    let actor = Actor::of(principal);
    let time = |time: Option<&prost_types::Timestamp>, field| convert::time(&time.copied().unwrap_or_default(), field);
    let range = (time(request.from.as_ref(), "from")?, time(request.to.as_ref(), "to")?);
    if range.1 - range.0 > MAX_RANGE {
        return Err(Error::invalid("from", "must be at most 30 days before `to`"));
    }
    let after: Option<Uuid> = request.after_task_id.as_deref().and_then(|id| id.parse().ok());
    let mut tx = rpc.db.begin_list(principal.tenant()).await?;
    let total = match after {
        None => Some(store::history::count(&mut tx, actor, range, MAX_COUNTED).await?),
        Some(_) => None,
    };
    let after = after.map(|task_id| (task_id, request.after_version));
    let (mut events, mut has_more) = store::history::page(&mut tx, actor, range, after).await?;
    hide_parents_of(&mut tx, actor, &mut events).await?;
    drop(tx);
    let (mut page, mut length) = (Vec::with_capacity(events.len()), 0);
    for event in events {
        if length >= MAX_PAGE_LEN {
            has_more = true;
            break;
        }
        let event = to_proto(event);
        length += event.encoded_len();
        page.push(event);
    }
    Ok(ListTaskHistoryResponse {
        total: total.map(|total| i32::try_from(total).unwrap_or(i32::MAX)),
        events: page,
        has_more,
    })
}

/// An event of a task that the caller sees.
///
/// # Errors
/// TASK_NOT_FOUND, and those of the database.
pub(super) async fn get(rpc: &Rpc, principal: &Principal, id: &str) -> Result<TaskHistoryEvent> {
    let actor = Actor::of(principal);
    let mut tx = rpc.db.begin_read(principal.tenant()).await?;
    let mut events: Vec<HistoryEvent> = store::history::get(&mut tx, actor, parse_id(id)?).await?.into_iter().collect();
    hide_parents_of(&mut tx, actor, &mut events).await?;
    events.pop().map(to_proto).ok_or_else(|| Reason::TaskNotFound.into())
}

/// A task that others have moved under a parent does not say which.
async fn hide_parents_of(tx: &mut ReadTx, actor: Actor<'_>, events: &mut [HistoryEvent]) -> Result<()> {
    let mut tasks: Vec<Task> = Vec::with_capacity(events.len());
    for event in &*events {
        tasks.extend(event.before.clone());
        tasks.push(event.after.clone());
    }
    hide_parents(tx, actor, &mut tasks).await?;
    let mut tasks = tasks.into_iter();
    for event in events {
        if event.before.is_some() {
            event.before = tasks.next();
        }
        if let Some(task) = tasks.next() {
            event.after = task;
        }
    }
    Ok(())
}

/// Since when those of the tasks that the caller sees have been in their states.
///
/// # Errors
/// Those of the database.
pub(super) async fn state_times(rpc: &Rpc, principal: &Principal, task_ids: &[String]) -> Result<Vec<TaskStateTimes>> {
    let ids: Vec<Uuid> = task_ids.iter().filter_map(|id| id.parse().ok()).collect();
    let mut tx = rpc.db.begin_read(principal.tenant()).await?;
    let times = store::history::state_times(&mut tx, Actor::of(principal), &ids).await?;
    Ok(times
        .into_iter()
        .map(|times| TaskStateTimes {
            task_id: times.task_id.to_string(),
            status_since: Some(timestamp(times.status_since)),
            assignee_since: times.assignee_since.map(timestamp),
        })
        .collect())
}

fn to_proto(event: HistoryEvent) -> TaskHistoryEvent {
    let HistoryEvent { entry, before, after } = event;
    let time = entry.logged.occurred_at;
    let task = |task: Task| convert::subtasks::task(task, TaskSummary::default(), time);
    TaskHistoryEvent {
        id: entry.id.to_string(),
        kind: entry.logged.kind.map(convert::to_event_kind).unwrap_or_default().into(),
        actor_id: entry.logged.actor_id.to_string(),
        occurred_at: Some(timestamp(time)),
        changed_fields: entry.logged.changes.keys().cloned().collect(),
        via: entry.via.map(via::to_proto),
        before: before.map(task),
        after: Some(task(after)),
    }
}
