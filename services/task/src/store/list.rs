//! Lists of tasks: one builder for ListTasks and the boards.

use baton_errors::{Error, Reason, Result};
use baton_store::{Cursor, Page, Tx};
use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::task::{COLUMNS, Row};
use crate::{
    filter::{Filter, Scope, Sort},
    task::{Status, Task, Visibility},
    visibility::Who,
};

type Query = QueryBuilder<Postgres>;

/// A list: whose, of what, in which order.
#[derive(Clone, Copy)]
pub(crate) struct List<'a> {
    pub(crate) who: Who<'a>,
    pub(crate) scope: Scope,
    pub(crate) filter: &'a Filter,
}

/// The tasks of a page, and one more if another page follows.
pub(crate) async fn page(tx: &mut Tx, list: List<'_>, page: &Page) -> Result<Vec<Task>> {
    let mut query = Query::new("select ");
    query.push(COLUMNS).push(" from task.tasks");
    list.matching(&mut query, tx.tenant().account_id);
    if let Some(cursor) = page.after() {
        after(&mut query, list.filter, cursor)?;
    }
    order(&mut query, list.filter);
    query.push(" limit ").push_bind(page.limit()).push(" offset ").push_bind(page.offset());
    let rows: Vec<Row> = query.build_query_as().fetch_all(&mut **tx).await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// How many tasks the list has in each state, on all pages.
pub(crate) async fn counts(tx: &mut Tx, list: List<'_>) -> Result<[(Status, i64); 4]> {
    let mut query = Query::new("select status, count(*) from task.tasks");
    list.matching(&mut query, tx.tenant().account_id);
    query.push(" group by status");
    let found: Vec<(String, i64)> = query.build_query_as().fetch_all(&mut **tx).await?;
    let count = |status: Status| found.iter().find(|(name, _)| name == status.name()).map_or(0, |&(_, count)| count);
    Ok(Status::ALL.map(|status| (status, count(status))))
}

/// The key of a task in this order, as page tokens carry it.
pub(crate) fn key(task: &Task, sort: Sort) -> Option<String> {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    match sort {
        Sort::CreatedAt => Some(time(task.created_at)),
        Sort::UpdatedAt => Some(time(task.updated_at)),
        Sort::DueAt => task.fields.due_at.map(time),
        Sort::Priority => Some(task.fields.priority.level().to_string()),
    }
}

impl List<'_> {
    /// Which tasks: those of the account that the caller sees, in scope, that pass the filter.
    fn matching(self, query: &mut Query, account_id: Uuid) {
        query.push(" where deleted_at is null and account_id = ").push_bind(account_id);
        visible(query, self.who);
        scope(query, self.who, self.scope);
        filter(query, self.filter);
    }
}

/// [`Who::sees`] in SQL.
fn visible(query: &mut Query, who: Who<'_>) {
    if who.runs_the_account() {
        return;
    }
    let with_reports: Vec<Uuid> = who.membership.reports.iter().copied().chain([who.id]).collect();
    let close: Vec<Uuid> = who.membership.team.iter().copied().chain(with_reports.iter().copied()).collect();
    query.push(" and (");
    holds_or_created(query, with_reports);
    query.push(" or visibility = ").push_bind(Visibility::Account.name());
    query.push(" or visibility = ").push_bind(Visibility::Team.name()).push(" and (");
    holds_or_created(query, close);
    query.push("))");
}

fn scope(query: &mut Query, who: Who<'_>, scope: Scope) {
    match scope {
        Scope::Visible => {}
        Scope::BoardOf(person) => {
            query.push(" and (assigned_to = ").push_bind(person);
            query.push(" or created_by = ").push_bind(person).push(" and assigned_to is null)");
        }
        Scope::Team if who.runs_the_account() => {}
        Scope::Team => {
            query.push(" and (");
            holds_or_created(query, who.membership.reports.iter().copied().chain([who.id]).collect());
            query.push(")");
        }
    }
}

fn holds_or_created(query: &mut Query, people: Vec<Uuid>) {
    query.push("created_by = any(").push_bind(people.clone()).push(") or assigned_to = any(");
    query.push_bind(people).push(")");
}

fn filter(query: &mut Query, filter: &Filter) {
    if !filter.status.is_empty() {
        let names: Vec<&str> = filter.status.iter().map(|status| status.name()).collect();
        query.push(" and status = any(").push_bind(names).push(")");
    }
    if !filter.priority.is_empty() {
        let levels: Vec<i16> = filter.priority.iter().map(|priority| priority.level()).collect();
        query.push(" and priority = any(").push_bind(levels).push(")");
    }
    if let Some(person) = filter.assigned_to {
        query.push(" and assigned_to = ").push_bind(person);
    }
    if let Some(person) = filter.created_by {
        query.push(" and created_by = ").push_bind(person);
    }
    if let Some(time) = filter.due_from {
        query.push(" and due_at >= ").push_bind(time);
    }
    if let Some(time) = filter.due_to {
        query.push(" and due_at < ").push_bind(time);
    }
    if !filter.tags.is_empty() {
        query.push(" and tags @> ").push_bind(filter.tags.clone());
    }
    if let Some(search) = &filter.search {
        let pattern = format!("%{}%", escape(search));
        query.push(" and (title ilike ").push_bind(pattern.clone());
        query.push(" or description ilike ").push_bind(pattern).push(")");
    }
}

/// Text that LIKE takes as it stands.
fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}

fn column(sort: Sort) -> &'static str {
    match sort {
        Sort::CreatedAt => "created_at",
        Sort::UpdatedAt => "updated_at",
        Sort::DueAt => "due_at",
        Sort::Priority => "priority",
    }
}

fn order(query: &mut Query, filter: &Filter) {
    let direction = if filter.descending { "desc" } else { "asc" };
    // Ascending, Postgres puts nulls last by itself.
    let nulls = if filter.sort == Sort::DueAt && filter.descending { " nulls last" } else { "" };
    let column = column(filter.sort);
    query.push(format_args!(" order by {column} {direction}{nulls}, id {direction}"));
}

/// What comes after the cursor's row in [`order`].
fn after(query: &mut Query, filter: &Filter, cursor: &Cursor) -> Result<()> {
    let (column, than) = (column(filter.sort), if filter.descending { "<" } else { ">" });
    let foreign = || Error::from(Reason::PageTokenInvalid);
    let Some(key) = &cursor.key else {
        if filter.sort != Sort::DueAt {
            return Err(foreign());
        }
        // Among the tasks without a due time, which come last.
        query.push(format_args!(" and due_at is null and id {than} ")).push_bind(cursor.id);
        return Ok(());
    };
    query.push(format_args!(" and (({column}, id) {than} ("));
    match filter.sort {
        Sort::Priority => query.push_bind(key.parse::<i16>().map_err(|_| foreign())?),
        Sort::CreatedAt | Sort::UpdatedAt | Sort::DueAt => {
            query.push_bind(DateTime::parse_from_rfc3339(key).map_err(|_| foreign())?.to_utc())
        }
    };
    query.push(", ").push_bind(cursor.id).push(")");
    if filter.sort == Sort::DueAt {
        query.push(" or due_at is null");
    }
    query.push(")");
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn escaped_text_has_no_wildcards(text in r"[a%_\\]{0,12}") {
            let escaped = escape(&text);
            let mut rest = escaped.chars();
            let mut read = String::new();
            while let Some(c) = rest.next() {
                prop_assert!(!matches!(c, '%' | '_'));
                read.push(if c == '\\' { rest.next().unwrap() } else { c });
            }
            prop_assert_eq!(read, text);
        }
    }
}
