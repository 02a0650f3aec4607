//! What the service stores about people, by its catalogue: served to the privacy service.

use std::sync::Arc;

use baton_access::service;
use baton_consent::{Change, Known};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::privacy::v1::{
        ApplyConsentsRequest, ApplyConsentsResponse, ConsentChange, DataCategory, DescribeRequest, DescribeResponse,
        ExportRequest, ExportResponse, SubjectColumn, SubjectTable, subject_data_service_server::SubjectDataService,
    },
    convert::datetime,
};
use baton_store::{
    Db,
    personal_data::{Class, PersonalData, Retention},
    subject_data::{Person, SubjectData},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use tokio::sync::OnceCell;
use tonic::{Request, Response, Status};

/// The only service that may call.
const CALLER: &str = "privacy";

/// The methods. Clones share their state.
#[derive(Clone)]
pub(crate) struct Rpc {
    db: Db,
    data: Arc<PersonalData>,
    /// Those with consent that the service collects data for.
    purposes: &'static [&'static str],
    /// Prepared with the first export: the service may start before its database.
    exports: Arc<OnceCell<Arc<SubjectData>>>,
}

impl Rpc {
    pub(crate) fn new(db: Db, data: Arc<PersonalData>, purposes: &'static [&'static str]) -> Self {
        Self { db, data, purposes, exports: Arc::default() }
    }
}

#[tonic::async_trait]
impl SubjectDataService for Rpc {
    type ExportStream = BoxStream<'static, Result<ExportResponse, Status>>;

    async fn describe(&self, request: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        require_privacy(&request)?;
        Ok(Response::new(describe(&self.data)))
    }

    async fn apply_consents(
        &self,
        request: Request<ApplyConsentsRequest>,
    ) -> Result<Response<ApplyConsentsResponse>, Status> {
        require_privacy(&request)?;
        let ApplyConsentsRequest { changes, through, after, complete } = request.into_inner();
        if self.purposes.is_empty() {
            return Ok(Response::new(ApplyConsentsResponse { purposes: Vec::new(), through }));
        }
        let changes = changes.into_iter().map(change).collect::<Result<Vec<_>>>()?;
        let known = Known { after, through, complete };
        let through = baton_consent::apply(&self.db, self.purposes, changes, known).await?;
        let purposes = self.purposes.iter().map(|&purpose| purpose.to_owned()).collect();
        Ok(Response::new(ApplyConsentsResponse { purposes, through }))
    }

    async fn export(&self, request: Request<ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        require_privacy(&request)?;
        let request = request.into_inner();
        let user_id = request.user_id.parse().map_err(|_| Error::invalid("user_id", "must be a UUID"))?;
        let accounts = request.account_ids.iter().map(|id| id.parse()).collect::<Result<_, _>>();
        let accounts = accounts.map_err(|_| Error::invalid("account_ids", "must be UUIDs"))?;
        let person = Person { user_id, accounts };
        let category = request.category().as_str_name().trim_start_matches("DATA_CATEGORY_").to_lowercase();
        let exports = self
            .exports
            .get_or_try_init(|| async { Ok::<_, Error>(Arc::new(SubjectData::open(&self.db, &self.data).await?)) });
        let rows = Arc::clone(exports.await?).export(self.db.clone(), person, &category, &request.cursor)?;
        let responses = rows.map_ok(|rows| ExportResponse { table: rows.table, rows: rows.rows, cursor: rows.cursor });
        Ok(Response::new(responses.map_err(Status::from).boxed()))
    }
}

/// A change of the contract.
fn change(change: ConsentChange) -> Result<Change> {
    let ConsentChange { user_id, purpose, given, epoch, answered_at, withdrawn_epoch } = change;
    let user_id = user_id.parse().map_err(|_| Error::invalid("user_id", "must be a UUID"))?;
    let answered_at = answered_at.and_then(|at| datetime(&at));
    let answered_at = answered_at.ok_or_else(|| Error::invalid("answered_at", "must be a time"))?;
    Ok(Change { user_id, purpose, given, epoch, answered_at, withdrawn_epoch })
}

/// The tables with data of people, as the catalogue describes them.
pub fn describe(data: &PersonalData) -> DescribeResponse {
    let about_people = data.tables.iter().filter(|(_, table)| !table.subjects.is_empty());
    let tables = about_people.map(|(name, table)| SubjectTable {
        name: name.clone(),
        category: table.category.as_deref().map_or(DataCategory::Unspecified, category).into(),
        retention: retention(&table.retention),
        columns: table
            .columns
            .iter()
            .filter(|(_, line)| line.class != Class::None)
            .map(|(name, line)| SubjectColumn {
                name: name.clone(),
                subject: line.subject.clone().unwrap_or_default(),
                purpose: line.why.clone().unwrap_or_default(),
                exported: line.is_exported(),
            })
            .collect(),
    });
    DescribeResponse { tables: tables.collect() }
}

/// # Errors
/// SERVICE_ONLY for every other service.
fn require_privacy<T>(request: &Request<T>) -> Result<()> {
    if service(request)?.name == CALLER { Ok(()) } else { Err(Reason::ServiceOnly.into()) }
}

fn category(name: &str) -> DataCategory {
    DataCategory::from_str_name(&format!("DATA_CATEGORY_{}", name.to_uppercase())).unwrap_or_default()
}

/// How long rows are kept, in words.
fn retention(Retention { until, days, note, .. }: &Retention) -> String {
    let days = days.map(|days| format!(", and {days} days longer")).unwrap_or_default();
    let note = note.as_ref().map(|note| format!(". {note}")).unwrap_or_default();
    format!("until {until}{days}{note}")
}
