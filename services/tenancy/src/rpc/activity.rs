//! What happened in an account, and figures from it.

use std::pin::Pin;

use baton_access::{Principal, principal, relation_policy::Relation};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::{
        api::v1::{Page as PageRequest, PageMeta},
        tenancy::v1::{
            self as proto, ActivityFilter, ExportActivityLogsRequest, ExportActivityLogsResponse,
            GetAccountAnalyticsRequest, GetAccountAnalyticsResponse, ListActivityLogsRequest, ListActivityLogsResponse,
            ListTaskActivityLogsRequest, ListTaskActivityLogsResponse, ListUserActivityLogsRequest,
            ListUserActivityLogsResponse, activity_service_server::ActivityService,
        },
    },
    convert::datetime,
    google::api::HttpBody,
};
use baton_store::Page;
use futures_util::{Stream, StreamExt as _, stream};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::{Rpc, account_of};
use crate::{
    activity::{self, Logged},
    convert,
    export::Format,
    store::{
        self,
        activity::{Cursor, Filter},
    },
};

/// Rows that an export has at most.
const LARGEST_EXPORT: i64 = 100_000;
/// Rows of a piece of it.
const PIECE: i64 = 1_000;

#[tonic::async_trait]
impl ActivityService for Rpc {
    type ExportActivityLogsStream =
        Pin<Box<dyn Stream<Item = Result<ExportActivityLogsResponse, Status>> + Send + 'static>>;

    async fn list_activity_logs(
        &self,
        request: Request<ListActivityLogsRequest>,
    ) -> Result<Response<ListActivityLogsResponse>, Status> {
        let principal = principal(&request)?;
        let message = request.get_ref();
        let filter = self.narrowed(principal, message.filter.as_ref())?;
        let (rows, meta) = self.log(principal, &filter, message.page.as_ref()).await?;
        let activity_logs = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListActivityLogsResponse { activity_logs, meta: Some(meta) }))
    }

    async fn list_task_activity_logs(
        &self,
        request: Request<ListTaskActivityLogsRequest>,
    ) -> Result<Response<ListTaskActivityLogsResponse>, Status> {
        let principal = principal(&request)?;
        let message = request.get_ref();
        let task_id = convert::id("task_id", &message.task_id)?;
        let filter =
            Filter { resource_type: Some("task".to_owned()), resource_id: Some(task_id), ..self.whole_log(principal) };
        let (rows, meta) = self.log(principal, &filter, message.page.as_ref()).await?;
        if meta.total_count == 0 {
            return Err(Error::from(Reason::TaskNotFound).into());
        }
        let activity_logs = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListTaskActivityLogsResponse { activity_logs, meta: Some(meta) }))
    }

    async fn list_user_activity_logs(
        &self,
        request: Request<ListUserActivityLogsRequest>,
    ) -> Result<Response<ListUserActivityLogsResponse>, Status> {
        let principal = principal(&request)?;
        let message = request.get_ref();
        let person = convert::id("user_id", &message.user_id)?;
        let relation = activity::reach(&principal.membership, principal.user_id(), person);
        let relation = relation.ok_or_else(|| Error::from(Reason::MemberNotFound))?;
        if relation == Relation::Other {
            let mut tx = self.db.begin_read(principal.tenant()).await?;
            if !store::activity::was_member(&mut tx, principal.account_id(), person).await? {
                return Err(Error::from(Reason::MemberNotFound).into());
            }
        }
        let filter = Filter { actor_id: Some(person), ..self.whole_log(principal) };
        let (rows, meta) = self.log(principal, &filter, message.page.as_ref()).await?;
        let shown = |row: Logged| if relation == Relation::Report { row.without_origin() } else { row };
        let activity_logs = rows.into_iter().map(|row| shown(row).into()).collect();
        Ok(Response::new(ListUserActivityLogsResponse { activity_logs, meta: Some(meta) }))
    }

    async fn export_activity_logs(
        &self,
        request: Request<ExportActivityLogsRequest>,
    ) -> Result<Response<Self::ExportActivityLogsStream>, Status> {
        let principal = principal(&request)?.clone();
        let message = request.get_ref();
        let filter = self.narrowed(&principal, message.filter.as_ref())?;
        let (format, account_id) = (Format::of(message.format), principal.account_id());
        let mut tx = self.db.begin_list(principal.tenant()).await?;
        let (count, last) = store::activity::extent(&mut tx, &filter).await?;
        drop(tx);
        if count > LARGEST_EXPORT {
            return Err(Error::from(Reason::ExportTooLarge).with("limit", LARGEST_EXPORT.to_string()).into());
        }
        let piece = |content_type: &str, data: Vec<u8>| {
            let body = HttpBody { content_type: content_type.to_owned(), data, extensions: Vec::new() };
            ExportActivityLogsResponse { body: Some(body) }
        };
        let head = stream::once(async move { Ok(piece(format.content_type(), format.head())) });
        // Each piece is a transaction of its own: a client that reads slowly holds none.
        let rest = stream::try_unfold((self.clone(), None), move |(rpc, after)| {
            let (filter, tenant) = (filter.clone(), principal.tenant());
            async move {
                let mut tx = rpc.db.begin_list(tenant).await?;
                let rows = store::activity::stretch(&mut tx, &filter, after, last, PIECE).await?;
                drop(tx);
                let Some(newest) = rows.last() else { return Ok(None) };
                let after = Some(newest.cursor());
                Ok::<_, Status>(Some((piece("", format.rows(&rows)?), (rpc, after))))
            }
        });
        let mut answer = Response::new(head.chain(rest).boxed());
        let name = format.file_name(account_id, self.db.clock().now().date_naive());
        let disposition = format!("attachment; filename=\"{name}\"").parse().map_err(Error::internal)?;
        answer.metadata_mut().insert("content-disposition", disposition);
        Ok(answer)
    }

    async fn get_account_analytics(
        &self,
        request: Request<GetAccountAnalyticsRequest>,
    ) -> Result<Response<GetAccountAnalyticsResponse>, Status> {
        let principal = principal(&request)?;
        account_of(principal, &request.get_ref().account_id)?;
        let analytics = self.analytics(principal).await?;
        Ok(Response::new(GetAccountAnalyticsResponse { analytics: Some(analytics) }))
    }
}

impl Rpc {
    /// A page of the log, newest first.
    async fn log(
        &self,
        principal: &Principal,
        filter: &Filter,
        page: Option<&PageRequest>,
    ) -> Result<(Vec<Logged>, PageMeta)> {
        // Rows leave the log while it is read: that makes no other list of it.
        let list = Filter { kept_since: chrono::DateTime::UNIX_EPOCH, ..filter.clone() };
        let page = Page::of(page, &list)?;
        let before = page.after().map(|cursor| cursor_of(cursor.key.as_deref().unwrap_or_default())).transpose()?;
        let mut tx = self.db.begin_list(principal.tenant()).await?;
        let total = store::activity::count(&mut tx, filter).await?;
        let mut rows = store::activity::list(&mut tx, filter, before, page.limit(), page.offset()).await?;
        let key = |row: &Logged| {
            let (time, seq) = row.cursor();
            (Some(format!("{} {seq}", time.timestamp_micros())), row.activity.id)
        };
        let meta = page.meta(&mut rows, total, &list, key);
        Ok((rows, meta))
    }

    /// All that the log of the principal's account has.
    fn whole_log(&self, principal: &Principal) -> Filter {
        let kept_since = self.db.clock().now() - self.activity_kept;
        Filter { account_id: principal.account_id(), kept_since, ..Filter::default() }
    }

    /// What the request asks for of it.
    fn narrowed(&self, principal: &Principal, filter: Option<&ActivityFilter>) -> Result<Filter> {
        let ActivityFilter { actor, action, resource_type, from, to } = filter.cloned().unwrap_or_default();
        let time = |field: &'static str, time: Option<Timestamp>| {
            let parse = |time| datetime(&time).ok_or_else(|| Error::invalid(field, "is out of range"));
            time.map(parse).transpose()
        };
        Ok(Filter {
            actor_id: match actor.as_deref() {
                Some("me") => Some(principal.user_id()),
                Some(text) => Some(convert::id("filter.actor", text)?),
                None => None,
            },
            action,
            resource_type,
            from: time("filter.from", from)?,
            to: time("filter.to", to)?,
            ..self.whole_log(principal)
        })
    }
}

/// Where a page token goes on. Callers can make tokens up: what Postgres cannot compare with is refused here.
fn cursor_of(key: &str) -> Result<Cursor> {
    let parse = |key: &str| {
        let (micros, seq) = key.split_once(' ')?;
        let time = chrono::DateTime::from_timestamp_micros(micros.parse().ok()?)?;
        Some((time, seq.parse().ok()?)).filter(|(time, _)| *time >= chrono::DateTime::UNIX_EPOCH)
    };
    parse(key).ok_or_else(|| Reason::PageTokenInvalid.into())
}

impl From<Logged> for proto::ActivityLog {
    fn from(row: Logged) -> Self {
        let details = row.activity.details.into_iter().map(|(name, value)| (name, value.into())).collect();
        Self {
            id: row.activity.id.to_string(),
            account_id: row.activity.account_id.to_string(),
            // One account would have to do something sixty times a second for a year.
            sequence: i32::try_from(row.place.seq).unwrap_or(i32::MAX),
            actor_id: row.activity.actor_id.map(|id| id.to_string()),
            action: row.activity.action,
            resource_type: row.activity.resource_type,
            resource_id: row.activity.resource_id.to_string(),
            changed_fields: row.activity.changed_fields,
            details: Some(baton_proto::convert::to_struct(details)),
            address: row.activity.address,
            user_agent: row.activity.user_agent,
            request_id: row.activity.request_id,
            occurred_at: Some(baton_proto::convert::timestamp(row.activity.occurred_at)),
            leaf_hash: crate::export::hex(&row.leaf_hash),
        }
    }
}
