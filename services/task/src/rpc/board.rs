//! Board RPCs: my, user, team and account boards.

use baton_access::{
    Principal, principal,
    relation_policy::{self, Relation},
};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::{
    api::v1::{Page as ProtoPage, PageMeta},
    task::v1::{
        self as proto, GetAccountBoardRequest, GetAccountBoardResponse, GetMyBoardRequest, GetMyBoardResponse,
        GetTeamBoardRequest, GetTeamBoardResponse, GetUserBoardRequest, GetUserBoardResponse, MoveTaskRequest,
        MoveTaskResponse, board_service_server::BoardService,
    },
};
use baton_store::{Page, RowCount};
use chrono::{DateTime, Utc};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Rpc,
    list::BoardPage,
    subtasks::{hide_parents, summaries},
};
use crate::{
    convert,
    policy::visibility::Actor,
    query::{
        board_layout::{self, Layout},
        date_range::Range,
        filter::{Filter, Scope, Sort},
        time_travel,
    },
    store::{self, list::ListQuery},
    task::Task,
};

/// Maximum number of tasks of a calendar, of a timeline, and of a board in the past.
const MAX_TASKS: u32 = 1_000;

/// A board in any layout.
#[derive(Default)]
struct RenderedBoard {
    columns: Vec<proto::BoardColumn>,
    tasks: Vec<proto::Task>,
    meta: Option<PageMeta>,
    days: Vec<proto::BoardDay>,
    bars: Vec<proto::BoardBar>,
    truncated: bool,
}

/// Request fields that all boards share.
struct BoardRequest {
    filter: Option<proto::TaskFilter>,
    page: Option<ProtoPage>,
    options: Option<proto::BoardOptions>,
}

#[tonic::async_trait]
impl BoardService for Rpc {
    async fn get_my_board(&self, request: Request<GetMyBoardRequest>) -> Result<Response<GetMyBoardResponse>, Status> {
        let principal = principal(&request)?.clone();
        let GetMyBoardRequest { filter, page, options } = request.into_inner();
        let scope = Scope::BoardOf(principal.user_id());
        let RenderedBoard { columns, tasks, meta, days, bars, truncated } =
            self.show(&principal, scope, BoardRequest { filter, page, options }).await?;
        Ok(Response::new(GetMyBoardResponse { columns, tasks, meta, days, bars, truncated }))
    }

    async fn get_user_board(
        &self,
        request: Request<GetUserBoardRequest>,
    ) -> Result<Response<GetUserBoardResponse>, Status> {
        let principal = principal(&request)?.clone();
        let GetUserBoardRequest { user_id, filter, page, options } = request.into_inner();
        let person = user_id.parse().map_err(|_| Error::from(Reason::BoardNotFound))?;
        self.can_see_board_of(&principal, person).await?;
        let RenderedBoard { columns, tasks, meta, days, bars, truncated } =
            self.show(&principal, Scope::BoardOf(person), BoardRequest { filter, page, options }).await?;
        Ok(Response::new(GetUserBoardResponse { columns, tasks, meta, days, bars, truncated }))
    }

    async fn get_team_board(
        &self,
        request: Request<GetTeamBoardRequest>,
    ) -> Result<Response<GetTeamBoardResponse>, Status> {
        let principal = principal(&request)?.clone();
        let GetTeamBoardRequest { filter, page, options } = request.into_inner();
        let RenderedBoard { columns, tasks, meta, days, bars, truncated } =
            self.show(&principal, Scope::Team, BoardRequest { filter, page, options }).await?;
        Ok(Response::new(GetTeamBoardResponse { columns, tasks, meta, days, bars, truncated }))
    }

    async fn get_account_board(
        &self,
        request: Request<GetAccountBoardRequest>,
    ) -> Result<Response<GetAccountBoardResponse>, Status> {
        let principal = principal(&request)?.clone();
        let GetAccountBoardRequest { filter, page, options } = request.into_inner();
        // Roles with access to this board see every task of the account.
        let RenderedBoard { columns, tasks, meta, days, bars, truncated } =
            self.show(&principal, Scope::Visible, BoardRequest { filter, page, options }).await?;
        Ok(Response::new(GetAccountBoardResponse { columns, tasks, meta, days, bars, truncated }))
    }

    async fn move_task(&self, request: Request<MoveTaskRequest>) -> Result<Response<MoveTaskResponse>, Status> {
        let task = self.move_to(&request).await?;
        Ok(Response::new(MoveTaskResponse { task: Some(task) }))
    }
}

impl Rpc {
    /// Checks [`relation_policy::BOARDS`]. For a person outside the caller's reports, their role is read first.
    pub(super) async fn can_see_board_of(&self, principal: &Principal, person: Uuid) -> Result<()> {
        let actor = Actor::of(principal);
        let relation = actor.relation(person);
        // The policy opens the boards of all reports, whatever their roles.
        let allowed = relation < Relation::Other
            || actor.is_account_admin()
                && self.members.find(principal, person).await?.is_some_and(|member| {
                    relation_policy::allows(relation_policy::BOARDS, principal.role(), member.role, relation)
                });
        if allowed { Ok(()) } else { Err(Reason::BoardNotFound.into()) }
    }

    async fn show(&self, principal: &Principal, scope: Scope, request: BoardRequest) -> Result<RenderedBoard> {
        let BoardRequest { filter, page, options } = request;
        let timezone = &principal.membership.settings.timezone;
        match convert::board::layout(options, timezone, self.db.clock().now())? {
            Layout::Kanban(None) => {
                let BoardPage { columns, tasks, meta } = self.board(principal, scope, filter, page).await?;
                Ok(RenderedBoard { columns, tasks, meta: Some(meta), ..RenderedBoard::default() })
            }
            Layout::Kanban(Some(then)) => {
                let filter = self.filter(principal, filter).await?;
                self.kanban_as_of(principal, scope, filter, page, then).await
            }
            Layout::Calendar(range, timezone) => {
                let filter = self.filter(principal, filter).await?;
                let mut filter = Filter { sort: Sort::DueAt, descending: false, ..filter };
                filter.due_from = Some(filter.due_from.map_or(range.0, |from| from.max(range.0)));
                filter.due_to = Some(filter.due_to.map_or(range.1, |to| to.min(range.1)));
                let (board, tasks) = self.all_tasks(principal, scope, filter).await?;
                let days = board_layout::days(&tasks, timezone).into_iter().map(convert::board::day).collect();
                Ok(RenderedBoard { days, ..board })
            }
            Layout::Timeline(range) => {
                let filter = self.filter(principal, filter).await?;
                self.timeline(principal, scope, filter, range).await
            }
        }
    }

    async fn timeline(
        &self,
        principal: &Principal,
        scope: Scope,
        filter: Filter,
        range: Range,
    ) -> Result<RenderedBoard> {
        let filter = Filter { within: Some(range), ..filter };
        let (board, tasks) = self.all_tasks(principal, scope, filter).await?;
        let ids: Vec<Uuid> = tasks.iter().map(|task| task.id).collect();
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let blocks = store::board::blocks(&mut tx, &ids).await?;
        drop(tx);
        let bars = board_layout::bars(&tasks, &blocks).into_iter().map(convert::board::bar).collect();
        Ok(RenderedBoard { bars, ..board })
    }

    /// All tasks that match the filter, on one page and truncated at [`MAX_TASKS`].
    async fn all_tasks(
        &self,
        principal: &Principal,
        scope: Scope,
        filter: Filter,
    ) -> Result<(RenderedBoard, Vec<Task>)> {
        let now = self.db.clock().now();
        let list = ListQuery { actor: Actor::of(principal), scope, filter: &filter, now };
        let page = Page::first(MAX_TASKS);
        let mut tx = list.begin(&self.db, principal.tenant()).await?;
        let mut tasks = store::list::page(&mut tx, list, &page).await?;
        let truncated = tasks.len() > MAX_TASKS as usize;
        tasks.truncate(MAX_TASKS as usize);
        hide_parents(&mut tx, list.actor, &mut tasks).await?;
        let summaries = summaries(&mut tx, &tasks).await?;
        let columns = store::list::columns(&mut tx, list).await?;
        drop(tx);
        let total: RowCount = columns.iter().map(|&(_, total)| total).sum();
        // There is no next page.
        let meta = page.meta(&mut tasks, total, &(), |task| (None, task.id));
        let show = |task: Task| {
            let summary = summaries.get(&task.id).copied().unwrap_or_default();
            convert::subtasks::task(task, summary, now)
        };
        let board = RenderedBoard {
            columns: columns.into_iter().map(convert::board::column).collect(),
            tasks: tasks.iter().cloned().map(show).collect(),
            meta: Some(meta),
            truncated,
            ..RenderedBoard::default()
        };
        Ok((board, tasks))
    }

    /// The Kanban board as of `then`: unchanged tasks come from the list query, changed ones from their replayed logs.
    async fn kanban_as_of(
        &self,
        principal: &Principal,
        scope: Scope,
        filter: Filter,
        page: Option<ProtoPage>,
        then: DateTime<Utc>,
    ) -> Result<RenderedBoard> {
        if filter.search.is_some() {
            return Err(Error::invalid("filter.search", "must be empty with options.as_of"));
        }
        let request = page.unwrap_or_default();
        if !request.page_token.is_empty() {
            return Err(Reason::PageTokenInvalid.into());
        }
        let page = Page::of(Some(&request), &())?;
        let end = page.offset() + i64::from(page.per_page);
        let Some(end) = u32::try_from(end).ok().filter(|&end| end <= MAX_TASKS) else {
            return Err(Error::invalid("page.page", "must end within the first 1,000 tasks with options.as_of"));
        };
        let actor = Actor::of(principal);
        let unchanged = Filter { unchanged_since: Some(then), ..filter.clone() };
        let list = ListQuery { actor, scope, filter: &unchanged, now: then };
        let mut tx = self.db.begin_list(principal.tenant()).await?;
        let changed = store::board::changed_since(&mut tx, actor, then, i64::from(MAX_TASKS) + 1).await?;
        if changed.len() > MAX_TASKS as usize {
            return Err(Error::invalid("options.as_of", "must be a time since which at most 1,000 tasks have changed"));
        }
        let mut tasks = store::list::page(&mut tx, list, &Page::first(end)).await?;
        let mut columns = store::list::columns(&mut tx, list).await?;
        let past = store::snapshot::as_of(&mut tx, &changed, then).await?;
        let mut past: Vec<Task> =
            past.into_iter().filter(|task| time_travel::shows(actor, scope, &filter, task, then)).collect();
        hide_parents(&mut tx, actor, &mut past).await?;
        hide_parents(&mut tx, actor, &mut tasks).await?;
        drop(tx);
        for (status, total) in &mut columns {
            let more = past.iter().filter(|task| task.status == *status).count() as i64;
            *total = [*total, more.into()].into_iter().sum();
        }
        tasks.extend(past);
        tasks.sort_by(|one, other| time_travel::compare(&filter, one, other));
        let total: RowCount = columns.iter().map(|&(_, total)| total).sum();
        let mut tasks: Vec<Task> =
            tasks.into_iter().skip(page.offset() as usize).take(page.per_page as usize).collect();
        let meta = page.meta(&mut tasks, total, &(), |task| (None, task.id));
        Ok(RenderedBoard {
            columns: columns.into_iter().map(convert::board::column).collect(),
            tasks: tasks.into_iter().map(|task| convert::task(task, then)).collect(),
            meta: Some(meta),
            ..RenderedBoard::default()
        })
    }
}
