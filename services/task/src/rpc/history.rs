//! The past of tasks, for services that replay it.

use baton_access::Principal;
use baton_errors::{Error, Result};
use baton_proto::baton::task::v1::{ListTaskHistoryRequest, ListTaskHistoryResponse, TaskHistoryEvent};
use baton_store::via;
use chrono::TimeDelta;
use prost::Message as _;
use uuid::Uuid;

use super::{Rpc, subtasks::hide_parents};
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
    let mut tasks: Vec<Task> = Vec::with_capacity(events.len());
    for event in &events {
        tasks.extend(event.before.clone());
        tasks.push(event.after.clone());
    }
    // A task that others have moved under a parent does not say which.
    hide_parents(&mut tx, actor, &mut tasks).await?;
    drop(tx);
    let mut tasks = tasks.into_iter();
    for event in &mut events {
        if event.before.is_some() {
            event.before = tasks.next();
        }
        if let Some(task) = tasks.next() {
            event.after = task;
        }
    }
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

fn to_proto(event: HistoryEvent) -> TaskHistoryEvent {
    let HistoryEvent { entry, before, after } = event;
    let time = entry.logged.occurred_at;
    let task = |task: Task| convert::subtasks::task(task, TaskSummary::default(), time);
    TaskHistoryEvent {
        id: entry.id.to_string(),
        kind: entry.logged.kind.map(convert::to_event_kind).unwrap_or_default().into(),
        actor_id: entry.logged.actor_id.to_string(),
        occurred_at: Some(baton_proto::convert::timestamp(time)),
        changed_fields: entry.logged.changes.keys().cloned().collect(),
        via: entry.via.map(via::to_proto),
        before: before.map(task),
        after: Some(task(after)),
    }
}
