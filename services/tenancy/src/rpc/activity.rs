//! RPCs for the activity log: lists, export, analytics.

use std::pin::Pin;

use baton_access::{Principal, principal, relation_policy::Relation};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::{
        api::v1::{Page as PageRequest, PageMeta},
        tenancy::v1::{
            ActivityFilter, ExportActivityLogsRequest, ExportActivityLogsResponse, GetAccountAnalyticsRequest,
            GetAccountAnalyticsResponse, ListActivityLogsRequest, ListActivityLogsResponse,
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

use super::{Rpc, parse_account_id};
use crate::{
    activity::{self, LogEntry},
    convert,
    store::{
        self,
        activity::{Cursor, Filter},
    },
};

/// Maximal number of rows of an export.
const MAX_EXPORT_ROWS: i64 = 100_000;
/// Rows per chunk of an export.
const EXPORT_BATCH: i64 = 1_000;

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
        let filter = self.parse_filter(principal, message.filter.as_ref())?;
        let (rows, meta) = self.list_entries(principal, &filter, message.page.as_ref()).await?;
        let activity_logs = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListActivityLogsResponse { activity_logs, meta: Some(meta) }))
    }

    async fn list_task_activity_logs(
        &self,
        request: Request<ListTaskActivityLogsRequest>,
    ) -> Result<Response<ListTaskActivityLogsResponse>, Status> {
        let principal = principal(&request)?;
        let message = request.get_ref();
        let task_id = convert::parse_id("task_id", &message.task_id)?;
        let filter = Filter {
            resource_type: Some("task".to_owned()),
            resource_id: Some(task_id),
            ..self.account_filter(principal)
        };
        let (rows, meta) = self.list_entries(principal, &filter, message.page.as_ref()).await?;
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
        let user_id = convert::parse_id("user_id", &message.user_id)?;
        let relation = activity::readable_relation(&principal.membership, principal.user_id(), user_id);
        let relation = relation.ok_or_else(|| Error::from(Reason::MemberNotFound))?;
        if relation == Relation::Other {
            let mut tx = self.db.begin_read(principal.tenant()).await?;
            if !store::activity::was_member(&mut tx, principal.account_id(), user_id).await? {
                return Err(Error::from(Reason::MemberNotFound).into());
            }
        }
        let filter = Filter { actor_id: Some(user_id), ..self.account_filter(principal) };
        let (rows, meta) = self.list_entries(principal, &filter, message.page.as_ref()).await?;
        let visible = |row: LogEntry| if relation == Relation::Report { row.without_origin() } else { row };
        let activity_logs = rows.into_iter().map(|row| visible(row).into()).collect();
        Ok(Response::new(ListUserActivityLogsResponse { activity_logs, meta: Some(meta) }))
    }

    async fn export_activity_logs(
        &self,
        request: Request<ExportActivityLogsRequest>,
    ) -> Result<Response<Self::ExportActivityLogsStream>, Status> {
        let principal = principal(&request)?.clone();
        let message = request.get_ref();
        let filter = self.parse_filter(&principal, message.filter.as_ref())?;
        let (format, account_id) = (convert::export_format(message.format), principal.account_id());
        let mut tx = self.db.begin_list(principal.tenant()).await?;
        let (count, last) = store::activity::count_and_last_seq(&mut tx, &filter).await?;
        drop(tx);
        if count > MAX_EXPORT_ROWS {
            return Err(Error::from(Reason::ExportTooLarge).with("limit", MAX_EXPORT_ROWS.to_string()).into());
        }
        let chunk = |content_type: &str, data: Vec<u8>| {
            let body = HttpBody { content_type: content_type.to_owned(), data, extensions: Vec::new() };
            ExportActivityLogsResponse { body: Some(body) }
        };
        let head = stream::once(async move { Ok(chunk(format.content_type(), format.header())) });
        // Each chunk has its own transaction: a slow client holds none open.
        let rest = stream::try_unfold((self.clone(), None), move |(rpc, after)| {
            let (filter, tenant) = (filter.clone(), principal.tenant());
            async move {
                let mut tx = rpc.db.begin_list(tenant).await?;
                let rows = store::activity::list_range(&mut tx, &filter, after, last, EXPORT_BATCH).await?;
                drop(tx);
                let Some(newest) = rows.last() else { return Ok(None) };
                let after = Some(newest.cursor());
                Ok::<_, Status>(Some((chunk("", format.encode(&rows)?), (rpc, after))))
            }
        });
        let mut response = Response::new(head.chain(rest).boxed());
        let name = format.file_name(account_id, self.db.clock().now().date_naive());
        let disposition = format!("attachment; filename=\"{name}\"").parse().map_err(Error::internal)?;
        response.metadata_mut().insert("content-disposition", disposition);
        Ok(response)
    }

    async fn get_account_analytics(
        &self,
        request: Request<GetAccountAnalyticsRequest>,
    ) -> Result<Response<GetAccountAnalyticsResponse>, Status> {
        let principal = principal(&request)?;
        parse_account_id(principal, &request.get_ref().account_id)?;
        let analytics = self.analytics(principal).await?;
        Ok(Response::new(GetAccountAnalyticsResponse { analytics: Some(analytics) }))
    }
}

impl Rpc {
    /// A page of the log, newest first.
    async fn list_entries(
        &self,
        principal: &Principal,
        filter: &Filter,
        page: Option<&PageRequest>,
    ) -> Result<(Vec<LogEntry>, PageMeta)> {
        // The retention limit moves with time, so it is not part of the list's identity.
        let list = Filter { retained_since: chrono::DateTime::UNIX_EPOCH, ..filter.clone() };
        let page = Page::of(page, &list)?;
        let before = page.after().map(|cursor| parse_cursor(cursor.key.as_deref().unwrap_or_default())).transpose()?;
        let mut tx = self.db.begin_list(principal.tenant()).await?;
        let total = store::activity::count(&mut tx, filter).await?;
        let mut rows = store::activity::list(&mut tx, filter, before, page.limit(), page.offset()).await?;
        let key = |row: &LogEntry| {
            let (time, seq) = row.cursor();
            (Some(format!("{} {seq}", time.timestamp_micros())), row.activity.id)
        };
        let meta = page.meta(&mut rows, total, &list, key);
        Ok((rows, meta))
    }

    /// A filter for the whole log of the principal's account, within retention.
    fn account_filter(&self, principal: &Principal) -> Filter {
        let retained_since = self.db.clock().now() - self.activity_retention;
        Filter { account_id: principal.account_id(), retained_since, ..Filter::default() }
    }

    /// Parses the filter of a request.
    fn parse_filter(&self, principal: &Principal, filter: Option<&ActivityFilter>) -> Result<Filter> {
        let ActivityFilter { actor, action, resource_type, from, to } = filter.cloned().unwrap_or_default();
        let time = |field: &'static str, time: Option<Timestamp>| {
            let parse = |time| datetime(&time).ok_or_else(|| Error::invalid(field, "must be a valid timestamp"));
            time.map(parse).transpose()
        };
        Ok(Filter {
            actor_id: match actor.as_deref() {
                Some("me") => Some(principal.user_id()),
                Some(text) => Some(convert::parse_id("filter.actor", text)?),
                None => None,
            },
            action,
            resource_type,
            from: time("filter.from", from)?,
            to: time("filter.to", to)?,
            ..self.account_filter(principal)
        })
    }
}

/// Parses the sort key of a page token. Clients can forge tokens, so times outside the range of Postgres are refused.
fn parse_cursor(key: &str) -> Result<Cursor> {
    let parse = |key: &str| {
        let (micros, seq) = key.split_once(' ')?;
        let time = chrono::DateTime::from_timestamp_micros(micros.parse().ok()?)?;
        Some((time, seq.parse().ok()?)).filter(|(time, _)| *time >= chrono::DateTime::UNIX_EPOCH)
    };
    parse(key).ok_or_else(|| Reason::PageTokenInvalid.into())
}
