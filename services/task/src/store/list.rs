//! Lists of tasks: one builder for ListTasks and the boards.

use baton_errors::{Error, Reason, Result};
use baton_store::{Cursor, Db, Page, RowCount, Tenant, Tx, page_cache::PageWindow};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{
    search,
    task::{COLUMNS, Row},
};
use crate::{
    policy::visibility::Actor,
    query::{
        filter::{Filter, Scope, Sort},
        search::MAX_LISTED,
    },
    task::{Status, Task, Visibility},
};

type Query = QueryBuilder<Postgres>;

/// How far the time in a task's id may be from the time of its creation.
const ID_SLACK: TimeDelta = TimeDelta::minutes(1);

/// A list: whose, of what, in which order.
#[derive(Clone, Copy)]
pub(crate) struct ListQuery<'a> {
    pub(crate) actor: Actor<'a>,
    pub(crate) scope: Scope,
    pub(crate) filter: &'a Filter,
    /// What is overdue is so by now.
    pub(crate) now: DateTime<Utc>,
}

/// The tasks of a page, and one more if another page follows.
pub(crate) async fn page(tx: &mut Tx, list: ListQuery<'_>, page: &Page) -> Result<Vec<Task>> {
    let account_id = tx.tenant().account_id;
    let stretch = page.window(tx, &(list.scope, list.filter));
    // The ids first, from an index alone: what a deep page skips is never read.
    let mut query = Query::new("with page as materialized (select id");
    let column = column(list.filter.sort);
    let columns = if column == "id" { "id".to_owned() } else { format!("id, {column}") };
    if let (Scope::BoardOf(person), None) = (list.scope, &list.filter.search) {
        list.parts(&mut query, account_id, person, &columns, &stretch)?;
    } else if list.filter.spans_few_days() {
        // All of them before they are sorted, which is what `offset 0` is for: Postgres hopes to find them soon in the
        // order of the list, but what is due in one month was created in one as well.
        query.push(format_args!(" from (select {columns}"));
        list.matching(&mut query, account_id, None);
        query.push(" offset 0) few where true");
    } else {
        list.identified(&mut query, account_id);
    }
    if let Some(cursor) = stretch.after() {
        after(&mut query, list.filter, cursor)?;
    }
    order(&mut query, list.filter);
    // The limit is part of the text: whoever plans without it takes a page for a tenth of all tasks.
    query.push(format_args!(" limit {} offset ", stretch.limit())).push_bind(stretch.offset());
    query.push(") select ").push(COLUMNS).push(" from page join task.tasks using (id) where account_id = ");
    query.push_bind(account_id);
    order(&mut query, list.filter);
    let rows: Vec<Row> = query.build_query_as().fetch_all(&mut **tx).await?;
    let mut tasks = rows.into_iter().map(Task::try_from).collect::<Result<Vec<Task>>>()?;
    stretch.trim(&mut tasks, |task| (key(task, list.filter.sort), task.id));
    Ok(tasks)
}

/// How many tasks the list has, on all pages; `read` is what was read of this page.
pub(crate) async fn total(tx: &mut Tx, list: ListQuery<'_>, page: &Page, read: usize) -> Result<RowCount> {
    // The last page knows it already.
    let read = read as i64;
    if page.after().is_none() && read < page.limit() && (read > 0 || page.offset() == 0) {
        return Ok((page.offset() + read).into());
    }
    let account_id = tx.tenant().account_id;
    let totals = RowCount::of(tx, &(list.scope, list.filter), 1, |query, _| list.identified(query, account_id)).await?;
    Ok(totals.into_iter().sum())
}

/// How many tasks a board has in each of its columns, on all pages.
pub(crate) async fn columns(tx: &mut Tx, list: ListQuery<'_>) -> Result<Vec<(Status, RowCount)>> {
    let (account_id, states) = (tx.tenant().account_id, &list.filter.status);
    let columns = Status::ALL.into_iter().filter(|&status| list.filter.shows(status));
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

/// The key of a task in this order, as page tokens carry it.
pub(crate) fn key(task: &Task, sort: Sort) -> Option<String> {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    match sort {
        // Ids are made in this order.
        Sort::CreatedAt => None,
        Sort::UpdatedAt => Some(time(task.updated_at)),
        Sort::DueAt => task.fields.due_at.map(time),
        Sort::Priority => Some(task.fields.priority.level().to_string()),
        Sort::Rank => task.rank.clone(),
    }
}

impl ListQuery<'_> {
    /// OffsetCache the transaction that reads it. The whole account is read by the index of the order, whatever the values
    /// are: one plan will do, and takes half of the time that the first page costs.
    pub(crate) async fn begin(self, db: &Db, tenant: Tenant) -> Result<Tx> {
        if self.is_whole() && self.filter.is_empty() {
            db.begin_read(tenant).await
        } else {
            db.begin_list(tenant).await
        }
    }

    /// The tag, if the list is all that has it, by age: the table of tags knows enough of them.
    fn only_tag(&self) -> Option<&str> {
        let by_age = self.is_whole() && self.filter.sort == Sort::CreatedAt;
        let [tag] = &*self.filter.tags else { return None };
        let rest = Filter { tags: Vec::new(), ..self.filter.clone() };
        (by_age && rest.is_empty()).then_some(tag)
    }

    /// Whether no task of the account is out of its scope.
    fn is_whole(&self) -> bool {
        self.actor.is_account_admin() && matches!(self.scope, Scope::Visible | Scope::Team)
    }

    /// Which tasks: those of the account that the caller sees, in scope, that pass the filter; with a `column`, those of
    /// them in this state.
    pub(super) fn matching(self, query: &mut Query, account_id: Uuid, column: Option<Status>) {
        query.push(" from ");
        match self.scope {
            Scope::BoardOf(person) => {
                let [held, kept] = Part::BOTH;
                held.of(query.push("(select * from task.tasks where "), person);
                kept.of(query.push(" union all select * from task.tasks where "), person);
                query.push(") tasks where true");
            }
            _ => {
                query.push("task.tasks where true");
            }
        }
        self.conditions(query, account_id, column);
    }

    /// The board of this person, as what comes first of each of its parts. An index gives the order if that is by age.
    /// In any other order all of a part before it is sorted, which is what `offset 0` is for: Postgres hopes to find it soon
    /// in the order of the whole account.
    fn parts(
        self,
        query: &mut Query,
        account_id: Uuid,
        person: Uuid,
        columns: &str,
        stretch: &PageWindow,
    ) -> Result<()> {
        // Few numbers, so few statements.
        let most = (stretch.offset() + stretch.limit()).unsigned_abs().next_power_of_two();
        for (part, begin) in Part::BOTH.into_iter().zip([" from (", " union all "]) {
            query.push(format_args!("{begin}(select {columns} from (select {columns} from task.tasks where "));
            part.of(query, person);
            self.conditions(query, account_id, None);
            query.push(if self.filter.sort == Sort::CreatedAt { "" } else { " offset 0" }).push(") part where true");
            if let Some(cursor) = stretch.after() {
                after(query, self.filter, cursor)?;
            }
            order(query, self.filter);
            query.push(format_args!(" limit {most})"));
        }
        query.push(") both_parts where true");
        Ok(())
    }

    /// Those conditions that do not say whose board it is.
    fn conditions(self, query: &mut Query, account_id: Uuid, column: Option<Status>) {
        query.push(" and deleted_at is null and account_id = ").push_bind(account_id);
        match column {
            Some(status) => in_states(query, &[status]),
            None if self.filter.status.is_empty() => {
                // Put away: shown when asked for only.
                query.push(" and status <> ").push_bind(Status::Archived.name());
            }
            None => in_states(query, &self.filter.status),
        }
        // Of what is on their own board they hold or have created everything.
        if self.scope != Scope::BoardOf(self.actor.id) {
            visible(query, self.actor);
        }
        scope(query, self.actor, self.scope);
        filter(query, self.filter);
        overdue(query, self.filter.overdue, self.now);
        if let Some(words) = &self.filter.search {
            query.push(" and id in (");
            search::candidates(query, self.actor, words, MAX_LISTED);
            query.push(")");
        }
        tagged(query, account_id, &self.filter.tags);
    }

    /// The same for what asks for ids alone.
    fn identified(self, query: &mut Query, account_id: Uuid) {
        let Some(tag) = self.only_tag() else { return self.matching(query, account_id, None) };
        query.push(" from (select task_id as id from task.task_tags where account_id = ").push_bind(account_id);
        query.push(" and tag = ").push_bind(tag.to_owned()).push(" and not archived) tagged where true");
    }
}

/// What a person's board consists of. Each part has an index that knows all that decides; of an `or` Postgres would read
/// the rows themselves.
#[derive(Clone, Copy)]
enum Part {
    /// What they hold.
    Held,
    /// What they have made for nobody yet.
    Kept,
}

impl Part {
    const BOTH: [Self; 2] = [Self::Held, Self::Kept];

    fn of(self, query: &mut Query, person: Uuid) {
        query.push(match self {
            Self::Held => "assigned_to = ",
            Self::Kept => "assigned_to is null and created_by = ",
        });
        query.push_bind(person);
    }
}

/// One state is asked for by itself: then its index gives the order as well.
fn in_states(query: &mut Query, states: &[Status]) {
    if let [status] = states {
        query.push(" and status = ").push_bind(status.name());
    } else {
        let names: Vec<&str> = states.iter().map(|status| status.name()).collect();
        query.push(" and status = any(").push_bind(names).push(")");
    }
}

/// Through the table of tags: `tags @>` would have to look at every task, see the migration.
fn tagged(query: &mut Query, account_id: Uuid, tags: &[String]) {
    for tag in tags {
        query.push(" and id in (select task_id from task.task_tags where account_id = ").push_bind(account_id);
        query.push(" and tag = ").push_bind(tag.clone()).push(")");
    }
}

/// [`Actor::sees`] in SQL.
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

fn scope(query: &mut Query, actor: Actor<'_>, scope: Scope) {
    match scope {
        // The board of a person is what is read from.
        Scope::Visible | Scope::BoardOf(_) => {}
        Scope::HeldBy(person) => {
            query.push(" and assigned_to = ").push_bind(person);
        }
        Scope::GivenBy(person) => {
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

fn holds_or_created(query: &mut Query, people: Vec<Uuid>) {
    query.push("created_by = any(").push_bind(people.clone()).push(") or assigned_to = any(");
    query.push_bind(people).push(")");
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
        // Ids are made in this order, a moment before or after: their index leads there.
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
        // As the index of ends puts it.
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

/// The first id (UUIDv7) that can be made at this time.
fn first_id(at: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(u128::from(at.timestamp_millis().max(0).unsigned_abs()) << 80)
}

/// [`Task::overdue`] in SQL.
fn overdue(query: &mut Query, overdue: Option<bool>, now: DateTime<Utc>) {
    let Some(overdue) = overdue else { return };
    let open: Vec<&str> = Status::ALL.into_iter().filter(|status| status.is_open()).map(Status::name).collect();
    query.push(if overdue { " and (" } else { " and not (" });
    // Null is not late.
    query.push("coalesce(due_at < ").push_bind(now).push(", false) and status = any(").push_bind(open).push("))");
}

fn column(sort: Sort) -> &'static str {
    match sort {
        // Ids are made in this order (UUIDv7), and every index ends in them.
        Sort::CreatedAt => "id",
        Sort::UpdatedAt => "updated_at",
        Sort::DueAt => "due_at",
        Sort::Priority => "priority",
        Sort::Rank => "rank",
    }
}

fn order(query: &mut Query, filter: &Filter) {
    let direction = if filter.descending { "desc" } else { "asc" };
    // Ascending, Postgres puts nulls last by itself.
    let nulls = if filter.sort == Sort::DueAt && filter.descending { " nulls last" } else { "" };
    query.push(format_args!(" order by {} {direction}{nulls}", column(filter.sort)));
    // No two tasks share these.
    if !matches!(filter.sort, Sort::CreatedAt | Sort::Rank) {
        query.push(format_args!(", id {direction}"));
    }
}

/// What comes after the cursor's row in [`order`].
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
        // Among the tasks without a due time, which come last.
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
