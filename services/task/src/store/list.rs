//! The query builder of all task lists and boards.

use baton_errors::{Error, Reason, Result};
use baton_store::{Cursor, Db, Page, ReadTx, RowCount, Tenant, page_cache::PageWindow};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{
    search_terms,
    task::{COLUMNS, Row},
    visibility::{holds_or_created, visible},
};
use crate::{
    policy::visibility::Actor,
    query::{
        filter::{Filter, Scope, Sort},
        search::MAX_LISTED,
    },
    task::{Status, Task},
};

type Query = QueryBuilder<Postgres>;

/// Maximum difference between the time in a task's id and its creation time.
const ID_SLACK: TimeDelta = TimeDelta::minutes(1);

/// A list of tasks: actor, scope, filter and order.
#[derive(Clone, Copy)]
pub(crate) struct ListQuery<'a> {
    pub(crate) actor: Actor<'a>,
    pub(crate) scope: Scope,
    pub(crate) filter: &'a Filter,
    /// The time that decides which tasks are overdue.
    pub(crate) now: DateTime<Utc>,
}

/// The tasks of a page, and one more if another page follows.
pub(crate) async fn page(tx: &mut ReadTx, list: ListQuery<'_>, page: &Page) -> Result<Vec<Task>> {
    let account_id = tx.tenant().account_id;
    let window = page.window(tx, &(list.scope, list.filter));
    // Reads the ids from an index first, so that rows skipped by the offset are never read.
    let mut query = Query::new("with page as materialized (select id");
    let column = column(list.filter.sort);
    let columns = if column == "id" { "id".to_owned() } else { format!("id, {column}") };
    if let (Scope::BoardOf(person), None) = (list.scope, &list.filter.search) {
        list.parts(&mut query, account_id, person, &columns, &window)?;
    } else if list.filter.spans_few_days() {
        // `offset 0` sorts all candidates. Postgres would otherwise scan in list order, expecting early matches; but
        // tasks due in one month were created in one as well.
        query.push(format_args!(" from (select {columns}"));
        list.matching(&mut query, account_id, None);
        query.push(" offset 0) few where true");
    } else {
        list.id_conditions(&mut query, account_id);
    }
    if let Some(cursor) = window.after() {
        after(&mut query, list.filter, cursor)?;
    }
    order(&mut query, list.filter);
    // The limit is part of the text: a plan without it assumes a tenth of all tasks.
    query.push(format_args!(" limit {} offset ", window.limit())).push_bind(window.offset());
    query.push(") select ").push(COLUMNS).push(" from page join task.tasks using (id) where account_id = ");
    query.push_bind(account_id);
    order(&mut query, list.filter);
    let rows: Vec<Row> = query.build_query_as().fetch_all(tx.connection()).await?;
    let mut tasks = rows.into_iter().map(Task::try_from).collect::<Result<Vec<Task>>>()?;
    window.trim(&mut tasks, |task| (key(task, list.filter.sort), task.id));
    Ok(tasks)
}

/// Total number of tasks in the list; `read` is the number of rows read for this page.
pub(crate) async fn total(tx: &mut ReadTx, list: ListQuery<'_>, page: &Page, read: usize) -> Result<RowCount> {
    // The last page implies the total.
    let read = read as i64;
    if page.after().is_none() && read < page.limit() && (read > 0 || page.offset() == 0) {
        return Ok((page.offset() + read).into());
    }
    let account_id = tx.tenant().account_id;
    let totals =
        RowCount::of(tx, &(list.scope, list.filter), 1, |query, _| list.id_conditions(query, account_id)).await?;
    Ok(totals.into_iter().sum())
}

/// Number of tasks per column of a board, over all pages.
pub(crate) async fn columns(tx: &mut ReadTx, list: ListQuery<'_>) -> Result<Vec<(Status, RowCount)>> {
    let (account_id, states) = (tx.tenant().account_id, &list.filter.status);
    let columns = Status::ALL.into_iter().filter(|&status| list.filter.includes(status));
    let mut columns: Vec<_> = columns.map(|status| (status, RowCount::default())).collect();
    let asked = columns.iter_mut().filter(|(status, _)| states.is_empty() || states.contains(status));
    let asked: Vec<_> = asked.collect();
    let names: Vec<&str> = asked.iter().map(|(status, _)| status.name()).collect();
    let count = |query: &mut Query, n: Option<usize>| list.matching(query, account_id, n.map(|n| asked[n].0));
    let totals = RowCount::of_groups(tx, &("columns", list.scope, list.filter), "status", &names, count).await?;
    for ((_, column), total) in asked.into_iter().zip(totals) {
        *column = total;
    }
    Ok(columns)
}

/// The task's sort key, as in page tokens.
pub(crate) fn key(task: &Task, sort: Sort) -> Option<String> {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    match sort {
        // Ids are in creation order.
        Sort::CreatedAt => None,
        Sort::UpdatedAt => Some(time(task.updated_at)),
        Sort::DueAt => task.fields.due_at.map(time),
        Sort::Priority => Some(task.fields.priority.level().to_string()),
        Sort::Rank => task.rank.clone(),
    }
}

impl ListQuery<'_> {
    /// Begins the transaction that reads the list. The whole account is read by the index of the sort order, whatever
    /// the values, so one generic plan suffices; it saves half of the first page's time.
    pub(crate) async fn begin(self, db: &Db, tenant: Tenant) -> Result<ReadTx> {
        if self.is_whole() && self.filter.is_empty() {
            db.begin_read(tenant).await
        } else {
            db.begin_list(tenant).await
        }
    }

    /// The tag, if the list is all tasks with it in creation order: the table of tags suffices.
    fn only_tag(&self) -> Option<&str> {
        let by_age = self.is_whole() && self.filter.sort == Sort::CreatedAt;
        let [tag] = &*self.filter.tags else { return None };
        let rest = Filter { tags: Vec::new(), ..self.filter.clone() };
        (by_age && rest.is_empty()).then_some(tag)
    }

    /// Whether the scope contains every task of the account.
    fn is_whole(&self) -> bool {
        self.actor.is_account_admin() && matches!(self.scope, Scope::Visible | Scope::Team)
    }

    /// Conditions of the list: visible tasks of the account in scope that match the filter; with `column`, those in
    /// this state.
    pub(super) fn matching(self, query: &mut Query, account_id: Uuid, column: Option<Status>) {
        query.push(" from ");
        match self.scope {
            Scope::BoardOf(person) => {
                let [assigned, unassigned] = BoardPart::BOTH;
                assigned.of(query.push("(select * from task.tasks where "), person);
                unassigned.of(query.push(" union all select * from task.tasks where "), person);
                query.push(") tasks where true");
            }
            _ => {
                query.push("task.tasks where true");
            }
        }
        self.conditions(query, account_id, column);
    }

    /// A person's board as the union of the first rows of its parts. In creation order an index sorts each part. In any
    /// other order `offset 0` sorts a whole part; Postgres would otherwise scan the whole account in list order.
    fn parts(
        self,
        query: &mut Query,
        account_id: Uuid,
        person: Uuid,
        columns: &str,
        window: &PageWindow,
    ) -> Result<()> {
        // Powers of two keep the number of distinct statements small.
        let rows = (window.offset() + window.limit()).unsigned_abs().next_power_of_two();
        for (part, begin) in BoardPart::BOTH.into_iter().zip([" from (", " union all "]) {
            query.push(format_args!("{begin}(select {columns} from (select {columns} from task.tasks where "));
            part.of(query, person);
            self.conditions(query, account_id, None);
            query.push(if self.filter.sort == Sort::CreatedAt { "" } else { " offset 0" }).push(") part where true");
            if let Some(cursor) = window.after() {
                after(query, self.filter, cursor)?;
            }
            order(query, self.filter);
            query.push(format_args!(" limit {rows})"));
        }
        query.push(") both_parts where true");
        Ok(())
    }

    /// All conditions except those of the board's owner.
    fn conditions(self, query: &mut Query, account_id: Uuid, column: Option<Status>) {
        query.push(" and deleted_at is null and account_id = ").push_bind(account_id);
        match column {
            Some(status) => in_states(query, &[status]),
            None if self.filter.status.is_empty() => {
                // Archived tasks only on request.
                query.push(" and status <> ").push_bind(Status::Archived.name());
            }
            None => in_states(query, &self.filter.status),
        }
        // A person sees everything on their own board.
        if self.scope != Scope::BoardOf(self.actor.id) {
            visible(query, self.actor);
        }
        scope(query, self.actor, self.scope);
        filter(query, self.filter);
        overdue(query, self.filter.overdue, self.now);
        if let Some(words) = &self.filter.search {
            query.push(" and id in (");
            search_terms::candidates(query, self.actor, words, MAX_LISTED);
            query.push(")");
        }
        tagged(query, account_id, &self.filter.tags);
    }

    /// [`Self::conditions`] for queries that read ids only.
    fn id_conditions(self, query: &mut Query, account_id: Uuid) {
        let Some(tag) = self.only_tag() else { return self.matching(query, account_id, None) };
        query.push(" from (select task_id as id from task.task_tags where account_id = ").push_bind(account_id);
        query.push(" and tag = ").push_bind(tag.to_owned()).push(" and not archived) tagged where true");
    }
}

/// The parts of a person's board. Each has a covering index; with an `or` Postgres would read the rows.
#[derive(Clone, Copy)]
enum BoardPart {
    /// Tasks that the person holds.
    Held,
    /// Unassigned tasks that the person created.
    Unassigned,
}

impl BoardPart {
    const BOTH: [Self; 2] = [Self::Held, Self::Unassigned];

    fn of(self, query: &mut Query, person: Uuid) {
        query.push(match self {
            Self::Held => "assigned_to = ",
            Self::Unassigned => "assigned_to is null and created_by = ",
        });
        query.push_bind(person);
    }
}

/// A single state has a condition of its own, so that its index provides the order too.
fn in_states(query: &mut Query, states: &[Status]) {
    if let [status] = states {
        query.push(" and status = ").push_bind(status.name());
    } else {
        let names: Vec<&str> = states.iter().map(|status| status.name()).collect();
        query.push(" and status = any(").push_bind(names).push(")");
    }
}

/// Uses the table of tags: `tags @>` would scan every task, see the migration.
fn tagged(query: &mut Query, account_id: Uuid, tags: &[String]) {
    for tag in tags {
        query.push(" and id in (select task_id from task.task_tags where account_id = ").push_bind(account_id);
        query.push(" and tag = ").push_bind(tag.clone()).push(")");
    }
}

fn scope(query: &mut Query, actor: Actor<'_>, scope: Scope) {
    match scope {
        // The parts select the owner of the board.
        Scope::Visible | Scope::BoardOf(_) => {}
        Scope::AssignedTo(person) => {
            query.push(" and assigned_to = ").push_bind(person);
        }
        Scope::AssignedBy(person) => {
            query.push(" and assigned_by = ").push_bind(person);
        }
        Scope::Team if actor.is_account_admin() => {}
        Scope::Team => {
            query.push(" and (");
            holds_or_created(query, actor.membership.reports.iter().copied().chain([actor.id]).collect());
            query.push(")");
        }
    }
}

fn filter(query: &mut Query, filter: &Filter) {
    if let [priority] = *filter.priority {
        query.push(" and priority = ").push_bind(priority.level());
    } else if !filter.priority.is_empty() {
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
    if let Some((from, to)) = filter.created {
        query.push(" and created_at >= ").push_bind(from).push(" and created_at < ").push_bind(to);
        // Ids are in creation order within [`ID_SLACK`], so their index finds the range.
        query
            .push(" and id >= ")
            .push_bind(first_id(from - ID_SLACK))
            .push(" and id < ")
            .push_bind(first_id(to + ID_SLACK));
    }
    if let Some((from, to)) = filter.updated {
        query.push(" and updated_at >= ").push_bind(from).push(" and updated_at < ").push_bind(to);
    }
    if let Some((from, to)) = filter.completed {
        query.push(" and completed_at >= ").push_bind(from).push(" and completed_at < ").push_bind(to);
        // The expression of the index.
        query.push(" and coalesce(completed_at, canceled_at, due_at, 'infinity') >= ").push_bind(from);
        query.push(" and coalesce(completed_at, canceled_at, due_at, 'infinity') < ").push_bind(to);
    }
    if let Some(nobody) = filter.unassigned {
        query.push(if nobody { " and assigned_to is null" } else { " and assigned_to is not null" });
    }
    if let Some(task) = filter.parent_task_id {
        query.push(" and parent_task_id = ").push_bind(task);
    }
    if let Some((from, to)) = filter.within {
        query.push(" and coalesce(started_at, created_at) < ").push_bind(to);
        query.push(" and coalesce(completed_at, canceled_at, due_at, 'infinity') >= ").push_bind(from);
    }
    if let Some(then) = filter.unchanged_since {
        query.push(" and updated_at <= ").push_bind(then);
    }
    if let Some(dated) = filter.has_due {
        query.push(if dated { " and due_at is not null" } else { " and due_at is null" });
    }
}

/// The lowest id (UUIDv7) of this time.
fn first_id(at: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(u128::from(at.timestamp_millis().max(0).unsigned_abs()) << 80)
}

/// [`Task::is_overdue`] in SQL.
fn overdue(query: &mut Query, overdue: Option<bool>, now: DateTime<Utc>) {
    let Some(overdue) = overdue else { return };
    let open: Vec<&str> = Status::ALL.into_iter().filter(|status| status.is_open()).map(Status::name).collect();
    query.push(if overdue { " and (" } else { " and not (" });
    // Null is not overdue.
    query.push("coalesce(due_at < ").push_bind(now).push(", false) and status = any(").push_bind(open).push("))");
}

fn column(sort: Sort) -> &'static str {
    match sort {
        // Ids are in creation order (UUIDv7), and every index ends with the id.
        Sort::CreatedAt => "id",
        Sort::UpdatedAt => "updated_at",
        Sort::DueAt => "due_at",
        Sort::Priority => "priority",
        Sort::Rank => "rank",
    }
}

fn order(query: &mut Query, filter: &Filter) {
    let direction = if filter.descending { "desc" } else { "asc" };
    // Ascending order puts nulls last by default.
    let nulls = if filter.sort == Sort::DueAt && filter.descending { " nulls last" } else { "" };
    query.push(format_args!(" order by {} {direction}{nulls}", column(filter.sort)));
    // These keys are unique.
    if !matches!(filter.sort, Sort::CreatedAt | Sort::Rank) {
        query.push(format_args!(", id {direction}"));
    }
}

/// Rows after the cursor in [`order`].
fn after(query: &mut Query, filter: &Filter, cursor: &Cursor) -> Result<()> {
    let (column, than) = (column(filter.sort), if filter.descending { "<" } else { ">" });
    let foreign = || Error::from(Reason::PageTokenInvalid);
    if filter.sort == Sort::CreatedAt {
        query.push(format_args!(" and id {than} ")).push_bind(cursor.id);
        return Ok(());
    }
    let Some(key) = &cursor.key else {
        if filter.sort != Sort::DueAt {
            return Err(foreign());
        }
        // Among the tasks without a due time, which are last.
        query.push(format_args!(" and due_at is null and id {than} ")).push_bind(cursor.id);
        return Ok(());
    };
    query.push(format_args!(" and (({column}, id) {than} ("));
    match filter.sort {
        Sort::Priority => query.push_bind(key.parse::<i16>().map_err(|_| foreign())?),
        Sort::Rank => query.push_bind(key.clone()),
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
