//! Row counts of lists: exact for small lists, an estimate for large ones, where counting would be the slowest part of
//! the call.

use std::{collections::HashMap, hash::Hash, time::Duration};

use baton_errors::Result;
use moka::sync::Cache;
use serde_json::Value;
use sqlx::{Postgres, QueryBuilder, types::Json};

use crate::{ReadTx, Tenant, page::hash};

/// Row counts up to this are exact.
const MAX_EXACT: i64 = 10_000;
/// A planner estimate above this is used without counting: it is seldom wrong by a factor of ten.
const TRUST_ESTIMATE_ABOVE: i64 = 10 * MAX_EXACT;
/// Time for which an estimate is reused for the same list.
const CACHE_TTL: Duration = Duration::from_secs(10);
const CACHE_CAPACITY: u64 = 10_000;

/// Number of rows of a list, on all pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowCount {
    /// The number.
    pub count: i64,
    /// Whether it is an estimate; then it is above 10,000.
    pub is_estimate: bool,
}

impl From<i64> for RowCount {
    fn from(count: i64) -> Self {
        Self { count, is_estimate: false }
    }
}

impl std::iter::Sum for RowCount {
    fn sum<I: Iterator<Item = Self>>(totals: I) -> Self {
        totals.fold(Self::default(), |sum, total| Self {
            count: sum.count.saturating_add(total.count),
            is_estimate: sum.is_estimate || total.is_estimate,
        })
    }
}

/// Recent estimates, by tenant, list and position. Exact counts are not cached.
#[derive(Debug, Clone)]
pub(crate) struct Estimates(Cache<(Tenant, u64, usize), i64>);

impl Default for Estimates {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(CACHE_TTL).build())
    }
}

impl RowCount {
    /// Counts several lists at once. `push` appends the clauses after `select 1` of the list with this index: `from`
    /// and `where`. `of` is everything that the lists depend on except the tenant.
    ///
    /// The planner is asked first; only lists that it expects to be small are counted, up to 10,000 rows. This takes
    /// two statements, however many lists there are; none if all counts are estimates from the last ten seconds for the
    /// same tenant.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn of(
        tx: &mut ReadTx,
        of: &impl Hash,
        lists: usize,
        push: impl Fn(&mut QueryBuilder<Postgres>, usize),
    ) -> Result<Vec<Self>> {
        let (estimates, tenant, of) = (tx.db().estimates().clone(), tx.tenant(), hash(of));
        let key = |list: usize| (tenant, of, list);
        let mut totals: Vec<Option<Self>> =
            (0..lists).map(|list| estimates.0.get(&key(list)).map(|count| Self { count, is_estimate: true })).collect();
        let unknown: Vec<usize> = (0..lists).filter(|&list| totals[list].is_none()).collect();
        if !unknown.is_empty() {
            let asked = count(tx, unknown.len(), |query, number| push(query, unknown[number])).await?;
            for (&list, total) in unknown.iter().zip(asked) {
                if total.is_estimate {
                    estimates.0.insert(key(list), total.count);
                }
                totals[list] = Some(total);
            }
        }
        Ok(totals.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Counts the rows of a list by their value in `column`: one count for each of `groups`. `push` is that of
    /// [`RowCount::of`], for a group by its index or for the whole list, which is read once if it has at most 10,000
    /// rows.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn of_groups(
        tx: &mut ReadTx,
        of: &impl Hash,
        column: &str,
        groups: &[&str],
        push: impl Fn(&mut QueryBuilder<Postgres>, Option<usize>),
    ) -> Result<Vec<Self>> {
        let (estimates, tenant) = (tx.db().estimates(), tx.tenant());
        let known_as_long = (0..groups.len()).any(|group| estimates.0.contains_key(&(tenant, hash(of), group)));
        if !known_as_long
            && planner_estimate(tx, 1, &|query, _| push(query, None)).await?.iter().all(|&rows| rows <= MAX_EXACT)
        {
            let mut query = QueryBuilder::new(format!("select {column}, count(*) from (select {column} "));
            push(&mut query, None);
            query.push(format_args!(" limit {}) rows group by {column}", MAX_EXACT + 1));
            let counts: HashMap<String, i64> =
                query.build_query_as().fetch_all(tx.connection()).await?.into_iter().collect();
            if counts.values().sum::<i64>() <= MAX_EXACT {
                return Ok(groups.iter().map(|&group| counts.get(group).copied().unwrap_or_default().into()).collect());
            }
        }
        Self::of(tx, of, groups.len(), |query, group| push(query, Some(group))).await
    }
}

/// Counts the lists, or estimates them.
async fn count(
    tx: &mut ReadTx,
    lists: usize,
    push: impl Fn(&mut QueryBuilder<Postgres>, usize),
) -> Result<Vec<RowCount>> {
    let guesses = planner_estimate(tx, lists, &push).await?;
    let mut totals: Vec<RowCount> = guesses.iter().map(|&count| RowCount { count, is_estimate: true }).collect();
    let counted: Vec<usize> = (0..lists).filter(|&list| guesses[list] <= TRUST_ESTIMATE_ABOVE).collect();
    if counted.is_empty() {
        return Ok(totals);
    }
    let mut query = QueryBuilder::new("");
    for (number, &list) in counted.iter().enumerate() {
        query.push(if number > 0 { " union all " } else { "" });
        query.push(format_args!("select {list}, count(*) from (select 1 "));
        push(&mut query, list);
        query.push(format_args!(" limit {}) rows", MAX_EXACT + 1));
    }
    let counts: Vec<(i32, i64)> = query.build_query_as().fetch_all(tx.connection()).await?;
    for (list, count) in counts {
        let Some(total) = usize::try_from(list).ok().and_then(|list| totals.get_mut(list)) else { continue };
        *total = if count <= MAX_EXACT {
            count.into()
        } else {
            RowCount { count: total.count.max(count), is_estimate: true }
        };
    }
    Ok(totals)
}

/// The planner's estimate for each list; 0 if the plan does not show it.
async fn planner_estimate(
    tx: &mut ReadTx,
    lists: usize,
    push: &impl Fn(&mut QueryBuilder<Postgres>, usize),
) -> Result<Vec<i64>> {
    let mut query = QueryBuilder::new("explain (format json) ");
    for list in 0..lists {
        query.push(if list > 0 { " union all " } else { "" }).push("select 1 ");
        push(&mut query, list);
    }
    let Json(plan): Json<Value> = query.build_query_scalar().fetch_one(tx.connection()).await?;
    Ok(rows(&plan, lists))
}

/// The estimates in a plan of several lists in sequence.
fn rows(plan: &Value, lists: usize) -> Vec<i64> {
    let root = &plan[0]["Plan"];
    let of = |plan: &Value| plan["Plan Rows"].as_f64().map_or(0, |rows| rows as i64);
    if lists == 1 {
        return vec![of(root)];
    }
    let parts = root["Plans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let parts: Vec<i64> = parts.iter().filter(|part| part["Parent Relationship"] == "Member").map(of).collect();
    if parts.len() == lists { parts } else { vec![0; lists] }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plan_has_an_estimate_for_each_list() {
        let part = |rows: u32| json!({"Parent Relationship": "Member", "Plan Rows": rows});
        let setting = json!({"Parent Relationship": "InitPlan", "Plan Rows": 1});
        let plan = json!([{"Plan": {"Node Type": "Append", "Plan Rows": 12, "Plans": [setting, part(5), part(7)]}}]);
        assert_eq!(rows(&plan, 2), [5, 7]);
        assert_eq!(rows(&plan, 1), [12]);
        // A list that the planner knows to be empty is missing from the plan, so the lists cannot be told apart.
        assert_eq!(rows(&plan, 3), [0, 0, 0]);
    }

    #[test]
    fn sum_with_an_estimate_is_an_estimate() {
        let estimate = RowCount { count: 20_000, is_estimate: true };
        assert_eq!([RowCount::from(3), RowCount::from(4)].into_iter().sum::<RowCount>(), RowCount::from(7));
        assert_eq!(
            [RowCount::from(3), estimate].into_iter().sum::<RowCount>(),
            RowCount { count: 20_003, is_estimate: true }
        );
    }
}
