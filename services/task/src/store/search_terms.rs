//! Calls of the functions that find tasks by the terms of a query.

use sqlx::{Postgres, QueryBuilder};

use super::visibility::visibility_keys;
use crate::{policy::visibility::Actor, query::search::SearchTerms};

type Query = QueryBuilder<Postgres>;

/// Appends the ids of matching tasks, as a condition of a list.
pub(super) fn candidates(query: &mut Query, actor: Actor<'_>, words: &SearchTerms, limit: i32) {
    with_terms(query, "id", words);
    visibility_keys(query, actor);
    query.push(", ").push_bind(limit).push(")");
}

/// Appends the call of the function that finds tasks by words, up to its visibility arguments.
pub(super) fn with_terms(query: &mut Query, columns: &str, words: &SearchTerms) {
    let texts: Vec<String> = words.terms.iter().map(|term| term.text.clone()).collect();
    let alternatives: Vec<i32> = words.terms.iter().map(|term| term.alternative).collect();
    let negated: Vec<bool> = words.terms.iter().map(|term| term.is_negated).collect();
    query.push(format_args!("select {columns} from task.search_terms_in_tasks(")).push_bind(texts);
    query.push(", ").push_bind(alternatives).push(", ").push_bind(negated).push(", ");
    query.push_bind(words.is_open).push(", ");
}
