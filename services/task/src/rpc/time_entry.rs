//! Time entry RPCs.

use baton_access::principal;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::task::v1::{
    CreateTimeEntryRequest, CreateTimeEntryResponse, DeleteTimeEntryRequest, DeleteTimeEntryResponse,
    GetTimeReportRequest, GetTimeReportResponse, GetTimesheetRequest, GetTimesheetResponse, ListTimeCorrectionsRequest,
    ListTimeCorrectionsResponse, ListTimeEntriesRequest, ListTimeEntriesResponse, TimeEntry as ProtoTimeEntry,
    UpdateTimeEntryRequest, UpdateTimeEntryResponse, time_entry_service_server::TimeEntryService,
};
use baton_store::{Page, Preconditions, Tx};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Rpc,
    lookup::get,
    mutation::{Mutation, lock},
};
use crate::{
    application::writer::UnitOfWork,
    convert::{self, time},
    events::publish::time_entry_event,
    policy::visibility::Actor,
    store::{
        self,
        time_entry::{MAX_TIME, MIN_TIME, key},
    },
    task::{
        Task,
        change::{AccountPolicy, AppliedChange},
        event_kind::EventKind,
        fields::id,
        time_entry::{Adjustment, EntrySource, Interval, IntervalKind, TimeEntry, clamp_seconds},
    },
};

#[tonic::async_trait]
impl TimeEntryService for Rpc {
    async fn list_time_entries(
        &self,
        request: Request<ListTimeEntriesRequest>,
    ) -> Result<Response<ListTimeEntriesResponse>, Status> {
        let principal = principal(&request)?;
        let ListTimeEntriesRequest { task_id, page } = request.get_ref();
        let page = Page::of(page.as_ref(), task_id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, Actor::of(principal), task_id).await?;
        let (mut entries, total) = store::time_entry::of_task(&mut tx, task.id, &page).await?;
        drop(tx);
        let meta = page.meta(&mut entries, total, task_id, key);
        Ok(Response::new(ListTimeEntriesResponse { time_entries: self.to_proto(entries), meta: Some(meta) }))
    }

    async fn create_time_entry(
        &self,
        request: Request<CreateTimeEntryRequest>,
    ) -> Result<Response<CreateTimeEntryResponse>, Status> {
        let mutation = Mutation::of("CreateTimeEntry", &request)?;
        let message = request.get_ref();
        let person = match &message.user_id {
            Some(user_id) => id(user_id, "user_id")?,
            None => mutation.actor().id,
        };
        // Checks that the person is a member below the caller. Propagate the error only after the idempotency check.
        let member = self.members.describe(mutation.principal(), person).await;
        let mut tx = self.db.begin(mutation.principal().tenant()).await?;
        if let Some(response) = tx.replay::<ProtoTimeEntry>(mutation.idempotency()).await? {
            return Ok(Response::new(CreateTimeEntryResponse { time_entry: Some(response) }));
        }
        let task = lock(&mut tx, &mutation, &message.task_id).await?;
        member?;
        mutation.actor().can_enter_time(&task, person)?;
        let (clock, now) = (self.db.clock(), self.db.clock().now());
        let span = Interval {
            started_at: time(&message.started_at.unwrap_or_default(), "started_at")?,
            ended_at: time(&message.ended_at.unwrap_or_default(), "ended_at")?,
        };
        let span = span.validated("ended_at", now)?;
        let entry = TimeEntry {
            id: clock.new_id(),
            task_id: task.id,
            user_id: person,
            kind: IntervalKind::Working,
            source: EntrySource::Manual,
            started_at: span.started_at,
            ended_at: Some(span.ended_at),
            note: message.note.clone(),
            created_by: mutation.actor().id,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        store::time_entry::insert(&mut tx, &entry).await?;
        apply_correction(&mut tx, task, &entry, Adjustment::created(span)).await?;
        let response = convert::time_entry::time_entry(entry, now);
        tx.remember(mutation.idempotency(), &response).await?;
        tx.commit().await?;
        Ok(Response::new(CreateTimeEntryResponse { time_entry: Some(response) }))
    }

    async fn update_time_entry(
        &self,
        request: Request<UpdateTimeEntryRequest>,
    ) -> Result<Response<UpdateTimeEntryResponse>, Status> {
        let principal = principal(&request)?;
        let expected = Preconditions::of(request.metadata())?;
        let UpdateTimeEntryRequest { time_entry_id, time_entry, update_mask } = request.get_ref();
        let mask = update_mask.as_ref().map(|mask| mask.paths.as_slice()).unwrap_or_default();
        let new = time_entry.clone().unwrap_or_default();
        let mut tx = self.db.begin(principal.tenant()).await?;
        let (task, before) = lock_entry(&mut tx, Actor::of(principal), time_entry_id, &expected).await?;
        let (old, now) = (before.correctable()?, self.db.clock().now());
        if mask.is_empty() {
            return Err(Error::invalid("update_mask", "must name a field").into());
        }
        let (mut after, mut span) = (before.clone(), old);
        for path in mask {
            let given =
                |at: Option<_>, field| time(&at.ok_or_else(|| Error::invalid(field, "must not be empty"))?, field);
            match path.as_str() {
                "started_at" => span.started_at = given(new.started_at, "time_entry.started_at")?,
                "ended_at" => span.ended_at = given(new.ended_at, "time_entry.ended_at")?,
                "note" => after.note = new.note.clone(),
                _ => return Err(Error::invalid("update_mask", "must name fields of an interval").into()),
            }
        }
        if span != old {
            span = span.validated("time_entry.ended_at", now)?;
            (after.started_at, after.ended_at) = (span.started_at, Some(span.ended_at));
        }
        if after != before {
            (after.version, after.updated_at) = (before.version + 1, now);
            store::time_entry::save(&mut tx, &after).await?;
            if span == old {
                tx.publish(time_entry_event(&task, &after, None)).await?;
            } else {
                apply_correction(&mut tx, task, &after, Adjustment::updated(old, span)).await?;
            }
        }
        tx.commit().await?;
        let response = convert::time_entry::time_entry(after, now);
        Ok(Response::new(UpdateTimeEntryResponse { time_entry: Some(response) }))
    }

    async fn delete_time_entry(
        &self,
        request: Request<DeleteTimeEntryRequest>,
    ) -> Result<Response<DeleteTimeEntryResponse>, Status> {
        let principal = principal(&request)?;
        let expected = Preconditions::of(request.metadata())?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let time_entry_id = &request.get_ref().time_entry_id;
        let (task, entry) = lock_entry(&mut tx, Actor::of(principal), time_entry_id, &expected).await?;
        let old = entry.correctable()?;
        store::time_entry::delete(&mut tx, entry.id).await?;
        apply_correction(&mut tx, task, &entry, Adjustment::deleted(old)).await?;
        tx.commit().await?;
        Ok(Response::new(DeleteTimeEntryResponse {}))
    }

    async fn list_time_corrections(
        &self,
        request: Request<ListTimeCorrectionsRequest>,
    ) -> Result<Response<ListTimeCorrectionsResponse>, Status> {
        let principal = principal(&request)?;
        let ListTimeCorrectionsRequest { task_id, page } = request.get_ref();
        let page = Page::of(page.as_ref(), task_id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, Actor::of(principal), task_id).await?;
        let (mut corrections, total) = store::time_entry::corrections(&mut tx, task.id, &page).await?;
        drop(tx);
        let meta = page
            .meta(&mut corrections, total, task_id, |(version, correction)| (Some(version.to_string()), correction.id));
        let corrections =
            corrections.into_iter().map(|(_, correction)| convert::time_entry::correction(correction)).collect();
        Ok(Response::new(ListTimeCorrectionsResponse { corrections, meta: Some(meta) }))
    }

    async fn get_time_report(
        &self,
        request: Request<GetTimeReportRequest>,
    ) -> Result<Response<GetTimeReportResponse>, Status> {
        let principal = principal(&request)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, Actor::of(principal), &request.get_ref().task_id).await?;
        let totals = store::time_entry::totals(&mut tx, task.id, now).await?;
        drop(tx);
        Ok(Response::new(GetTimeReportResponse { report: Some(convert::time_entry::report(&task, totals, now)) }))
    }

    async fn get_timesheet(
        &self,
        request: Request<GetTimesheetRequest>,
    ) -> Result<Response<GetTimesheetResponse>, Status> {
        let principal = principal(&request)?;
        let GetTimesheetRequest { user_id, from, to, page } = request.get_ref();
        let person = match user_id {
            Some(user_id) => id(user_id, "user_id")?,
            None => principal.user_id(),
        };
        self.members.describe(principal, person).await?;
        let from = from.map_or(Ok(MIN_TIME), |at| time(&at, "from"))?;
        let to = to.map_or(Ok(MAX_TIME), |at| time(&at, "to"))?;
        if to < from {
            return Err(Error::invalid("to", "must not be before from").into());
        }
        let list = (person, from, to);
        let page = Page::of(page.as_ref(), &list)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let mut timesheet = store::time_entry::of_person(&mut tx, person, (from, to), &page, now).await?;
        drop(tx);
        let meta = page.meta(&mut timesheet.entries, timesheet.count, &list, key);
        Ok(Response::new(GetTimesheetResponse {
            time_entries: self.to_proto(timesheet.entries),
            working_seconds: clamp_seconds(timesheet.working_seconds),
            meta: Some(meta),
        }))
    }
}

impl Rpc {
    fn to_proto(&self, entries: Vec<TimeEntry>) -> Vec<ProtoTimeEntry> {
        let now = self.db.clock().now();
        entries.into_iter().map(|entry| convert::time_entry::time_entry(entry, now)).collect()
    }
}

/// A working interval that the caller may correct, in the expected version, and its locked task. Every writer locks the
/// task first, so the interval is stable too.
async fn lock_entry(tx: &mut Tx, actor: Actor<'_>, id: &str, expected: &Preconditions) -> Result<(Task, TimeEntry)> {
    let absent = || Error::from(Reason::TimeEntryNotFound);
    let id: Uuid = id.parse().map_err(|_| absent())?;
    let found = store::time_entry::get(tx, id).await?.ok_or_else(absent)?;
    let task = store::task::lock(tx, found.task_id).await?.filter(|task| actor.can_see(task)).ok_or_else(absent)?;
    let entry = store::time_entry::get(tx, id).await?.ok_or_else(absent)?;
    actor.can_correct_time(&task, entry.user_id)?;
    expected.check(entry.version)?;
    Ok((task, entry))
}

/// Applies a correction to the task, appends it to the timeline and publishes it.
async fn apply_correction(tx: &mut Tx, before: Task, entry: &TimeEntry, adjustment: Adjustment) -> Result<()> {
    let mut after = before.clone();
    after.correct_time(adjustment);
    let changed = AppliedChange { before, after, kind: EventKind::TimeCorrected, reason: None };
    let after = UnitOfWork::change(vec![changed], AccountPolicy::default()).write_one(tx).await?;
    store::time_entry::insert_correction(tx, &after, entry, adjustment).await?;
    tx.publish(time_entry_event(&after, entry, Some(adjustment.action))).await
}
