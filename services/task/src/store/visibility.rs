//! The rule of visibility ([`Actor::can_see`]) in SQL.

use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use crate::{policy::visibility::Actor, task::Visibility};

type Query = QueryBuilder<Postgres>;

/// Appends the condition that the actor sees the task.
pub(super) fn visible(query: &mut Query, actor: Actor<'_>) {
    if actor.is_account_admin() {
        return;
    }
    let with_reports: Vec<Uuid> = actor.membership.reports.iter().copied().chain([actor.id]).collect();
    let close: Vec<Uuid> = actor.membership.team.iter().copied().chain(with_reports.iter().copied()).collect();
    query.push(" and (");
    holds_or_created(query, with_reports);
    query.push(" or visibility = ").push_bind(Visibility::Account.name());
    query.push(" or visibility = ").push_bind(Visibility::Team.name()).push(" and (");
    holds_or_created(query, close);
    query.push("))");
}

/// Appends the condition that one of these people holds or created the task.
pub(super) fn holds_or_created(query: &mut Query, people: Vec<Uuid>) {
    query.push("created_by = any(").push_bind(people.clone()).push(") or assigned_to = any(");
    query.push_bind(people).push(")");
}

/// Appends the visibility arguments of the candidate functions: null when the actor sees all tasks.
pub(super) fn visibility_keys(query: &mut Query, actor: Actor<'_>) {
    if actor.is_account_admin() {
        query.push("null, null");
        return;
    }
    let own: Vec<Uuid> = actor.membership.reports.iter().copied().chain([actor.id]).collect();
    let close: Vec<Uuid> = actor.membership.team.iter().copied().chain(own.iter().copied()).collect();
    query.push_bind(own).push(", ").push_bind(close);
}
