//! How many rows a list has: exact where people look at the number, an estimate where counting would be the slowest
//! part of the call.

use baton_errors::Result;
use serde_json::Value;
use sqlx::{Postgres, QueryBuilder, types::Json};

use crate::Tx;

/// Up to here totals are exact.
const EXACT: i64 = 10_000;
/// A guess of the planner that is larger than this is taken without looking: it is seldom wrong by a factor of ten.
const SURE: i64 = 10 * EXACT;

/// How many rows a list has, on all pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// So many.
    pub count: i64,
    /// Whether that is only about right; then it is more than 10,000.
    pub is_estimate: bool,
}

impl From<i64> for Total {
    fn from(count: i64) -> Self {
        Self { count, is_estimate: false }
    }
}

impl std::iter::Sum for Total {
    fn sum<I: Iterator<Item = Self>>(totals: I) -> Self {
        totals.fold(Self::default(), |sum, total| Self {
            count: sum.count.saturating_add(total.count),
            is_estimate: sum.is_estimate || total.is_estimate,
        })
    }
}

impl Total {
    /// Counts `lists` lists at once. `push` appends what follows `select 1` in the list with this number: `from`, and
    /// what it has to match.
    ///
    /// The planner is asked first what it expects; only lists that it does not think large are counted, and those no
    /// further than 10,000. Two statements, however many lists.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn of(tx: &mut Tx, lists: usize, push: impl Fn(&mut QueryBuilder<Postgres>, usize)) -> Result<Vec<Self>> {
        let guesses = guess(tx, lists, &push).await?;
        let mut totals: Vec<Self> = guesses.iter().map(|&count| Self { count, is_estimate: true }).collect();
        let counted: Vec<usize> = (0..lists).filter(|&list| guesses[list] <= SURE).collect();
        if counted.is_empty() {
            return Ok(totals);
        }
        let mut query = QueryBuilder::new("");
        for (number, &list) in counted.iter().enumerate() {
            query.push(if number > 0 { " union all " } else { "" });
            query.push(format_args!("select {list}, count(*) from (select 1 "));
            push(&mut query, list);
            query.push(format_args!(" limit {}) rows", EXACT + 1));
        }
        let counts: Vec<(i32, i64)> = query.build_query_as().fetch_all(&mut **tx).await?;
        for (list, count) in counts {
            let Some(total) = usize::try_from(list).ok().and_then(|list| totals.get_mut(list)) else { continue };
            *total =
                if count <= EXACT { count.into() } else { Self { count: total.count.max(count), is_estimate: true } };
        }
        Ok(totals)
    }
}

/// How many rows the planner expects in each list; 0 where it cannot be told from the plan.
async fn guess(tx: &mut Tx, lists: usize, push: &impl Fn(&mut QueryBuilder<Postgres>, usize)) -> Result<Vec<i64>> {
    let mut query = QueryBuilder::new("explain (format json) ");
    for list in 0..lists {
        query.push(if list > 0 { " union all " } else { "" }).push("select 1 ");
        push(&mut query, list);
    }
    let Json(plan): Json<Value> = query.build_query_scalar().fetch_one(&mut **tx).await?;
    Ok(rows(&plan, lists))
}

/// Of a plan of so many lists, one after the other.
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
    fn a_plan_of_several_lists_tells_of_each() {
        let part = |rows: u32| json!({"Parent Relationship": "Member", "Plan Rows": rows});
        let setting = json!({"Parent Relationship": "InitPlan", "Plan Rows": 1});
        let plan = json!([{"Plan": {"Node Type": "Append", "Plan Rows": 12, "Plans": [setting, part(5), part(7)]}}]);
        assert_eq!(rows(&plan, 2), [5, 7]);
        assert_eq!(rows(&plan, 1), [12]);
        // One that the planner knows to be empty is not in the plan, and nobody knows which.
        assert_eq!(rows(&plan, 3), [0, 0, 0]);
    }

    #[test]
    fn a_sum_is_as_sure_as_its_parts() {
        let estimate = Total { count: 20_000, is_estimate: true };
        assert_eq!([Total::from(3), Total::from(4)].into_iter().sum::<Total>(), Total::from(7));
        assert_eq!([Total::from(3), estimate].into_iter().sum::<Total>(), Total { count: 20_003, is_estimate: true });
    }
}
