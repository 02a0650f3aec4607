//! Reads pages of tasks for all list and board RPCs.

use std::collections::HashMap;

use baton_access::Principal;
use baton_errors::Result;
use baton_proto::baton::{
    api::v1::{Page as ProtoPage, PageMeta},
    task::v1 as proto,
};
use baton_store::{Page, RowCount};
use chrono_tz::Tz;
use uuid::Uuid;

use super::{
    Rpc,
    subtasks::{hide_parents, summaries},
};
use crate::{
    convert,
    policy::visibility::Actor,
    query::filter::{Filter, Reader, Scope},
    store::{
        self,
        list::{ListQuery, key},
    },
    task::{Task, subtasks::TaskSummary},
};

/// A page of tasks.
pub(super) struct TaskPage {
    pub(super) tasks: Vec<proto::Task>,
    pub(super) meta: PageMeta,
}

/// A page of a board, and its column counts.
pub(super) struct BoardPage {
    pub(super) columns: Vec<proto::BoardColumn>,
    pub(super) tasks: Vec<proto::Task>,
    pub(super) meta: PageMeta,
}

impl Rpc {
    /// A page of the visible tasks in scope.
    pub(super) async fn list(
        &self,
        principal: &Principal,
        scope: Scope,
        filter: Option<proto::TaskFilter>,
        page: Option<ProtoPage>,
    ) -> Result<TaskPage> {
        let filter = self.filter(principal, filter).await?;
        let page = Page::of(page.as_ref(), &(scope, &filter))?;
        let list = ListQuery { actor: Actor::of(principal), scope, filter: &filter, now: self.db.clock().now() };
        let mut tx = list.begin(&self.db, principal.tenant()).await?;
        let mut tasks = store::list::page(&mut tx, list, &page).await?;
        hide_parents(&mut tx, list.actor, &mut tasks).await?;
        let summaries = summaries(&mut tx, &tasks).await?;
        let total = store::list::total(&mut tx, list, &page, tasks.len()).await?;
        drop(tx);
        Ok(self.to_page(tasks, &summaries, total, list, &page))
    }

    /// Parses the filter. Named dates use the caller's time zone; the account's if they have none or auth is
    /// unavailable. The time zone is read before a transaction begins.
    pub(super) async fn filter(&self, principal: &Principal, filter: Option<proto::TaskFilter>) -> Result<Filter> {
        let filter = convert::filter::template(filter.unwrap_or_default())?;
        let timezone = if filter.has_named_dates() { self.own_timezone(principal).await } else { Tz::UTC };
        filter.resolve(Reader { user_id: principal.user_id(), timezone, now: self.db.clock().now() })
    }

    async fn own_timezone(&self, principal: &Principal) -> Tz {
        let own = self.directory.timezone(principal.user_id()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the caller's time zone; named dates use the account's");
            None
        });
        let known = own.and_then(|name| name.parse().ok());
        known.or_else(|| principal.membership.settings.timezone.parse().ok()).unwrap_or(Tz::UTC)
    }

    /// As [`Self::list`], with the column counts.
    pub(super) async fn board(
        &self,
        principal: &Principal,
        scope: Scope,
        filter: Option<proto::TaskFilter>,
        page: Option<ProtoPage>,
    ) -> Result<BoardPage> {
        let filter = self.filter(principal, filter).await?;
        let page = Page::of(page.as_ref(), &(scope, &filter))?;
        let list = ListQuery { actor: Actor::of(principal), scope, filter: &filter, now: self.db.clock().now() };
        let mut tx = list.begin(&self.db, principal.tenant()).await?;
        let mut tasks = store::list::page(&mut tx, list, &page).await?;
        hide_parents(&mut tx, list.actor, &mut tasks).await?;
        let summaries = summaries(&mut tx, &tasks).await?;
        let columns = store::list::columns(&mut tx, list).await?;
        drop(tx);
        let total = columns.iter().map(|&(_, total)| total).sum();
        let TaskPage { tasks, meta } = self.to_page(tasks, &summaries, total, list, &page);
        Ok(BoardPage { columns: columns.into_iter().map(convert::board::column).collect(), tasks, meta })
    }

    fn to_page(
        &self,
        mut tasks: Vec<Task>,
        summaries: &HashMap<Uuid, TaskSummary>,
        total: RowCount,
        list: ListQuery<'_>,
        page: &Page,
    ) -> TaskPage {
        let meta =
            page.meta(&mut tasks, total, &(list.scope, list.filter), |task| (key(task, list.filter.sort), task.id));
        let now = self.db.clock().now();
        let show = |task: Task| {
            let summary = summaries.get(&task.id).copied().unwrap_or_default();
            convert::subtasks::task(task, summary, now)
        };
        TaskPage { tasks: tasks.into_iter().map(show).collect(), meta }
    }
}
