//! What the service stores about people, by its catalogue: served to the privacy service.

use std::sync::Arc;

use baton_access::service;
use baton_consent::{Change, Known};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::privacy::v1::{
        ApplyConsentsRequest, ApplyConsentsResponse, ConsentChange, DataCategory, DescribeRequest, DescribeResponse,
        EraseRequest, EraseResponse, ExportRequest, ExportResponse, MemberSubject, RecountRequest, RecountResponse,
        ReportRetentionRequest, ReportRetentionResponse, RestrictRequest, RestrictResponse, RetentionRule,
        SubjectColumn, SubjectCount, SubjectTable, SubjectTreatment, subject_data_service_server::SubjectDataService,
    },
    convert::{datetime, timestamp},
};
use baton_runtime::Next;
use baton_store::{
    Db,
    personal_data::{Class, Erase, PersonalData},
    restrictions,
    retention::{self, Oldest, Rule},
    subject_data::{Count, Erasure, Person, Subject, SubjectData, Treatment},
};
use futures_util::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream::BoxStream};
use tokio::sync::OnceCell;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// The only service that may call.
const CALLER: &str = "privacy";
/// The cursor with which an erasure goes on after the service's own work.
const ROWS_CURSOR: &str = "rows";

/// Work of a service before the rows of a person are erased: what no catalogue describes. It is repeated as long as it says so.
pub(crate) type BeforeErasure = Arc<dyn Fn(Subject) -> BoxFuture<'static, anyhow::Result<Next>> + Send + Sync>;

/// The methods. Clones share their state.
#[derive(Clone)]
pub(crate) struct Rpc {
    db: Db,
    data: Arc<PersonalData>,
    /// Those with consent that the service collects data for.
    purposes: &'static [&'static str],
    /// Prepared with the first export: the service may start before its database.
    exports: Arc<OnceCell<Arc<SubjectData>>>,
    /// Prepared with the first erasure.
    erasure: Arc<OnceCell<Erasure>>,
    before_erasure: Option<BeforeErasure>,
}

impl Rpc {
    pub(crate) fn new(
        db: Db,
        data: Arc<PersonalData>,
        purposes: &'static [&'static str],
        before_erasure: Option<BeforeErasure>,
    ) -> Self {
        Self { db, data, purposes, exports: Arc::default(), erasure: Arc::default(), before_erasure }
    }

    /// Whether the database knows this entry of the ledger; empty for none.
    async fn knows(&self, entry: &str) -> Result<bool> {
        if entry.is_empty() {
            return Ok(false);
        }
        let entry = entry.parse().map_err(|_| Error::invalid("unless_known_entry_id", "must be a UUID"))?;
        Ok(restrictions::unknown_ledger_entries(&self.db, &[entry]).await?.is_empty())
    }

    async fn erasure(&self) -> Result<&Erasure> {
        self.erasure.get_or_try_init(|| Erasure::open(&self.db, &self.data)).await
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
        let Subject { user_id, account_id: within } = subject(&request.user_id, request.member.as_ref())?;
        let accounts = request.account_ids.iter().map(|id| id.parse()).collect::<Result<_, _>>();
        let accounts = accounts.map_err(|_| Error::invalid("account_ids", "must be UUIDs"))?;
        let person = Person { user_id, accounts, within };
        let category = request.category().as_str_name().trim_start_matches("DATA_CATEGORY_").to_lowercase();
        let exports = self
            .exports
            .get_or_try_init(|| async { Ok::<_, Error>(Arc::new(SubjectData::open(&self.db, &self.data).await?)) });
        let rows = Arc::clone(exports.await?).export(self.db.clone(), person, &category, &request.cursor)?;
        let responses = rows.map_ok(|rows| ExportResponse { table: rows.table, rows: rows.rows, cursor: rows.cursor });
        Ok(Response::new(responses.map_err(Status::from).boxed()))
    }

    async fn restrict(&self, request: Request<RestrictRequest>) -> Result<Response<RestrictResponse>, Status> {
        require_privacy(&request)?;
        let RestrictRequest { user_id, restricted, epoch, ledger_entry_id } = request.into_inner();
        let user_id = parse_user_id(&user_id)?;
        if ledger_entry_id.is_empty() {
            restrictions::set(&self.db, user_id, restricted, epoch).await?;
        } else {
            let entry = ledger_entry_id.parse().map_err(|_| Error::invalid("ledger_entry_id", "must be a UUID"))?;
            restrictions::know_ledger_entries(&self.db, &[entry]).await?;
        }
        Ok(Response::new(RestrictResponse {}))
    }

    async fn erase(&self, request: Request<EraseRequest>) -> Result<Response<EraseResponse>, Status> {
        require_privacy(&request)?;
        let EraseRequest { user_id, cursor, member, unless_known_entry_id } = request.into_inner();
        let subject = subject(&user_id, member.as_ref())?;
        if self.knows(&unless_known_entry_id).await? {
            return Ok(Response::new(EraseResponse { cursor: None, rows: 0 }));
        }
        if let (Some(before), "") = (&self.before_erasure, cursor.as_str()) {
            // The cause may quote data of the person.
            let next = before(subject).await.map_err(|error| Error::internal(format!("{error:#}")))?;
            let cursor = if next == Next::Again { "" } else { ROWS_CURSOR };
            return Ok(Response::new(EraseResponse { cursor: Some(cursor.to_owned()), rows: 0 }));
        }
        let cursor = if cursor == ROWS_CURSOR { "" } else { &cursor };
        let progress = self.erasure().await?.erase(&self.db, subject, cursor).await?;
        Ok(Response::new(EraseResponse { cursor: progress.cursor, rows: progress.rows }))
    }

    async fn report_retention(
        &self,
        request: Request<ReportRetentionRequest>,
    ) -> Result<Response<ReportRetentionResponse>, Status> {
        require_privacy(&request)?;
        let rules = retention_rules(&self.db, &self.data).await?;
        Ok(Response::new(ReportRetentionResponse { rules }))
    }

    async fn recount(&self, request: Request<RecountRequest>) -> Result<Response<RecountResponse>, Status> {
        require_privacy(&request)?;
        let RecountRequest { user_id, cursor, member, unless_known_entry_id } = request.into_inner();
        let subject = subject(&user_id, member.as_ref())?;
        if self.knows(&unless_known_entry_id).await? {
            return Ok(Response::new(RecountResponse { counts: Vec::new(), cursor: None }));
        }
        let from = usize::try_from(cursor).unwrap_or(usize::MAX);
        let (counts, next) = self.erasure().await?.count(&self.db, subject, from).await?;
        let cursor = next.and_then(|next| u32::try_from(next).ok());
        Ok(Response::new(RecountResponse { counts: counts.into_iter().map(subject_count).collect(), cursor }))
    }
}

fn parse_user_id(text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| Error::invalid("user_id", "must be a UUID"))
}

fn subject(user_id: &str, member: Option<&MemberSubject>) -> Result<Subject> {
    let Some(member) = member else { return Ok(Subject::everywhere(parse_user_id(user_id)?)) };
    if !user_id.is_empty() {
        return Err(Error::invalid("user_id", "must be empty with a member"));
    }
    let account_id = member.account_id.parse().map_err(|_| Error::invalid("member.account_id", "must be a UUID"))?;
    Ok(Subject { user_id: parse_user_id(&member.user_id)?, account_id: Some(account_id) })
}

/// The oldest row of every rule of retention of a service.
///
/// # Errors
/// Those of the database.
pub async fn retention_rules(db: &Db, data: &PersonalData) -> Result<Vec<RetentionRule>> {
    let report = retention::report(db, &Rule::all(data)?).await?;
    let rule = |Oldest { rule: Rule { table, column, days, .. }, oldest, is_overdue }| RetentionRule {
        service: db.schema().to_owned(),
        table,
        column,
        days,
        oldest: oldest.map(timestamp),
        is_overdue,
    };
    Ok(report.into_iter().map(rule).collect())
}

/// A count in the contract.
pub fn subject_count(count: Count) -> SubjectCount {
    let Count { table, subject, treatment, rows, reason } = count;
    let treatment = match treatment {
        Treatment::Delete => SubjectTreatment::Delete,
        Treatment::Clear => SubjectTreatment::Clear,
        Treatment::Keep => SubjectTreatment::Keep,
        Treatment::Expires => SubjectTreatment::Expires,
    };
    SubjectCount { table, subject, treatment: treatment.into(), rows, reason }
}

/// A change of the contract.
fn change(change: ConsentChange) -> Result<Change> {
    let ConsentChange { user_id, purpose, given, epoch, answered_at, withdrawn_epoch } = change;
    let user_id = parse_user_id(&user_id)?;
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
        retention: table.retention.in_words(),
        columns: table
            .columns
            .iter()
            .filter(|(_, line)| line.class != Class::None)
            .map(|(name, line)| SubjectColumn {
                name: name.clone(),
                subject: line.subject.clone().unwrap_or_default(),
                purpose: line.why.clone().unwrap_or_default(),
                exported: line.is_exported(),
                erasure: line.erase.map_or(SubjectTreatment::Unspecified, treatment).into(),
            })
            .collect(),
    });
    DescribeResponse { tables: tables.collect() }
}

fn treatment(erase: Erase) -> SubjectTreatment {
    match erase {
        Erase::Delete => SubjectTreatment::Delete,
        Erase::Clear => SubjectTreatment::Clear,
        Erase::Keep => SubjectTreatment::Keep,
        Erase::Expires => SubjectTreatment::Expires,
    }
}

/// # Errors
/// SERVICE_ONLY for every other service.
fn require_privacy<T>(request: &Request<T>) -> Result<()> {
    if service(request)?.name == CALLER { Ok(()) } else { Err(Reason::ServiceOnly.into()) }
}

fn category(name: &str) -> DataCategory {
    DataCategory::from_str_name(&format!("DATA_CATEGORY_{}", name.to_uppercase())).unwrap_or_default()
}
