//! The manual order.

use std::{collections::HashMap, slice};

use baton_errors::{Error, Result};
use baton_proto::baton::task::v1::{self as proto, MoveTaskRequest};
use baton_store::Tx;
use tonic::Request;
use uuid::Uuid;

use super::{
    Rpc,
    lookup::get,
    mutation::{Mutation, lock},
    subtasks::hide_parents,
};
use crate::{
    application::writer::UnitOfWork,
    convert,
    store::{self, rank::RankedTask},
    task::{Task, change::AppliedChange, event_kind::EventKind, rank},
};

/// Tasks on each side that are spread out when a rank would be too long.
const SPREAD_NEIGHBOURS: usize = 256;

impl Rpc {
    /// Moves a task directly before or after another.
    pub(super) async fn move_to(&self, request: &Request<MoveTaskRequest>) -> Result<proto::Task> {
        let mutation = Mutation::of("MoveTask", request)?;
        let MoveTaskRequest { id, before_id, after_id } = request.get_ref();
        let (field, neighbour) = match (before_id, after_id) {
            (Some(before), None) => ("before_id", before),
            (None, Some(after)) => ("after_id", after),
            _ => return Err(Error::invalid("before_id", "must be given, or after_id, but not both")),
        };
        if neighbour.parse::<Uuid>() == id.parse::<Uuid>() {
            return Err(Error::invalid(field, "must not be the task itself"));
        }
        let mut tx = self.db.begin(mutation.principal().tenant()).await?;
        if let Some(response) = tx.replay(mutation.idempotency()).await? {
            return Ok(response);
        }
        store::rank::lock(&mut tx).await?;
        let task = lock(&mut tx, &mutation, id).await?;
        mutation.actor().can_change(&task).or_else(|_| mutation.actor().can_work_on(&task))?;
        let neighbour = get(&mut tx, mutation.actor(), neighbour)
            .await
            .map_err(|absent| absent.field(field, "must be a task that the caller sees"))?;
        let changed = place_beside(&mut tx, task.clone(), &neighbour, before_id.is_some()).await?;
        let saved = UnitOfWork::change(changed, mutation.policy()).write(&mut tx).await?;
        let mut moved = saved.into_iter().find(|saved| saved.id == task.id).unwrap_or(task);
        hide_parents(&mut tx, mutation.actor(), slice::from_mut(&mut moved)).await?;
        let response = convert::task(moved, self.db.clock().now());
        tx.remember(mutation.idempotency(), &response).await?;
        tx.commit().await?;
        Ok(response)
    }
}

/// The changes that put the task next to its neighbour: of the task alone, or also of tasks around it when ranks have
/// become too long.
async fn place_beside(tx: &mut Tx, task: Task, neighbour: &Task, before: bool) -> Result<Vec<AppliedChange>> {
    let at = neighbour.rank.clone().unwrap_or_default();
    let beyond = if before {
        store::rank::before(tx, &at, task.id, 1).await?
    } else {
        store::rank::after(tx, &at, task.id, 1).await?
    };
    let (at, beyond) = (Some(at), beyond.into_iter().next().map(|placed| placed.rank));
    let (lower, upper) = if before { (beyond, at) } else { (at, beyond) };
    let (lower, upper) = (lower.as_deref(), upper.as_deref());
    let is_there = task
        .rank
        .as_deref()
        .is_some_and(|rank| lower.is_none_or(|lower| lower < rank) && upper.is_none_or(|upper| rank < upper));
    if is_there {
        return Ok(Vec::new());
    }
    let rank = rank::between(lower, upper, tx.db().clock().new_id());
    if rank.len() <= rank::MAX_LEN {
        return Ok(vec![with_rank(task, rank)]);
    }
    spread(tx, task, &rank).await
}

/// Spreads the tasks around `at` evenly and places the task among them.
async fn spread(tx: &mut Tx, task: Task, at: &str) -> Result<Vec<AppliedChange>> {
    let limit = SPREAD_NEIGHBOURS as i64 + 1;
    let mut below = store::rank::before(tx, at, task.id, limit).await?;
    let mut above = store::rank::after(tx, at, task.id, limit).await?;
    let beyond = |near: &mut Vec<RankedTask>| if near.len() > SPREAD_NEIGHBOURS { near.pop() } else { None };
    let (lower, upper) = (beyond(&mut below), beyond(&mut above));
    let ids: Vec<Uuid> = below
        .iter()
        .rev()
        .map(|placed| placed.id)
        .chain([task.id])
        .chain(above.iter().map(|placed| placed.id))
        .collect();
    let bound = |placed: &Option<RankedTask>| placed.as_ref().map(|placed| placed.rank.clone());
    let ranks = rank::spread(bound(&lower).as_deref(), bound(&upper).as_deref(), ids.len());
    let mut ranks: HashMap<Uuid, String> = ids.iter().copied().zip(ranks).collect();
    let tasks = store::task::lock_all(tx, &ids).await?;
    // Tasks deleted meanwhile keep their ranks.
    Ok(tasks.into_iter().filter_map(|task| Some(with_rank(task.clone(), ranks.remove(&task.id)?))).collect())
}

fn with_rank(before: Task, rank: String) -> AppliedChange {
    let after = Task { rank: Some(rank), ..before.clone() };
    AppliedChange { before, after, kind: EventKind::Moved, reason: None }
}
