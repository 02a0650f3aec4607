//! The manual order.

use std::{collections::HashMap, slice};

use baton_errors::{Error, Result};
use baton_proto::baton::task::v1::{self as proto, MoveTaskRequest};
use baton_store::Tx;
use tonic::Request;
use uuid::Uuid;

use super::{
    Rpc,
    mutation::{Mutation, get, lock},
    subtasks::hide_parents,
};
use crate::{
    convert,
    store::{self, rank::Placed},
    task::{
        Task,
        event_kind::EventKind,
        rank,
        writer::{self, Changed},
    },
};

/// Tasks on each side that are spread out when a rank would be too long.
const NEIGHBOURS: usize = 256;

impl Rpc {
    /// Moves a task directly before or after another.
    pub(super) async fn move_to(&self, request: &Request<MoveTaskRequest>) -> Result<proto::Task> {
        let change = Mutation::of("MoveTask", request)?;
        let MoveTaskRequest { id, before_id, after_id } = request.get_ref();
        let (field, neighbour) = match (before_id, after_id) {
            (Some(before), None) => ("before_id", before),
            (None, Some(after)) => ("after_id", after),
            _ => return Err(Error::invalid("before_id", "give either this or after_id")),
        };
        if neighbour.parse::<Uuid>() == id.parse::<Uuid>() {
            return Err(Error::invalid(field, "is the task itself"));
        }
        let mut tx = self.db.begin(change.principal().tenant()).await?;
        if let Some(answer) = tx.replay(change.idempotency()).await? {
            return Ok(answer);
        }
        store::rank::lock(&mut tx).await?;
        let task = lock(&mut tx, &change, id).await?;
        change.actor().can_change(&task).or_else(|_| change.actor().can_work_on(&task))?;
        let neighbour = get(&mut tx, change.actor(), neighbour)
            .await
            .map_err(|absent| absent.field(field, "names no task that the caller sees"))?;
        let changed = place(&mut tx, task.clone(), &neighbour, before_id.is_some()).await?;
        let saved = writer::save_all(&mut tx, changed, change.policy()).await?;
        let mut moved = saved.into_iter().find(|saved| saved.id == task.id).unwrap_or(task);
        hide_parents(&mut tx, change.actor(), slice::from_mut(&mut moved)).await?;
        let answer = convert::task(moved, self.db.clock().now());
        tx.remember(change.idempotency(), &answer).await?;
        tx.commit().await?;
        Ok(answer)
    }
}

/// The changes that put the task next to its neighbour: of the task alone, or also of tasks around it when ranks have
/// become too long.
async fn place(tx: &mut Tx, task: Task, neighbour: &Task, before: bool) -> Result<Vec<Changed>> {
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
    let rank = rank::place(lower, upper, tx.db().clock().new_id());
    if rank.len() <= rank::LONGEST {
        return Ok(vec![moved(task, rank)]);
    }
    spread(tx, task, &rank).await
}

/// Spreads the tasks around `at` evenly and places the task among them.
async fn spread(tx: &mut Tx, task: Task, at: &str) -> Result<Vec<Changed>> {
    let limit = NEIGHBOURS as i64 + 1;
    let mut below = store::rank::before(tx, at, task.id, limit).await?;
    let mut above = store::rank::after(tx, at, task.id, limit).await?;
    let beyond = |near: &mut Vec<Placed>| if near.len() > NEIGHBOURS { near.pop() } else { None };
    let (lower, upper) = (beyond(&mut below), beyond(&mut above));
    let ids: Vec<Uuid> =
        below.iter().rev().map(|it| it.id).chain([task.id]).chain(above.iter().map(|it| it.id)).collect();
    let bound = |placed: &Option<Placed>| placed.as_ref().map(|it| it.rank.clone());
    let ranks = rank::spread(bound(&lower).as_deref(), bound(&upper).as_deref(), ids.len());
    let mut ranks: HashMap<Uuid, String> = ids.iter().copied().zip(ranks).collect();
    let tasks = store::task::lock_all(tx, &ids).await?;
    // Tasks deleted meanwhile keep their ranks.
    Ok(tasks.into_iter().filter_map(|task| Some(moved(task.clone(), ranks.remove(&task.id)?))).collect())
}

fn moved(before: Task, rank: String) -> Changed {
    let after = Task { rank: Some(rank), ..before.clone() };
    Changed { before, after, kind: EventKind::Moved, reason: None }
}
