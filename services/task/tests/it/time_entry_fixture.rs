//! Shorthands for the time entry RPCs.

use baton_proto::{
    baton::{
        api::v1::Page,
        events::v1::Envelope,
        task::v1::{
            CreateTimeEntryRequest, DeleteTimeEntryRequest, GetTimeReportRequest, GetTimesheetRequest,
            GetTimesheetResponse, ListTimeCorrectionsRequest, ListTimeEntriesRequest, TimeCorrection, TimeEntry,
            TimeEntryChange, TimeEntryEvent, TimeEntryKind, TimeReport, UpdateTimeEntryRequest,
            time_entry_service_client::TimeEntryServiceClient,
        },
    },
    convert::timestamp,
};
use baton_testkit::Person;
use chrono::{DateTime, TimeDelta, Utc};
use prost::Message;
use prost_types::FieldMask;
use tonic::transport::Channel;

use crate::fixture::{Fixture, RpcResult};

const ALL: Page = Page { page: 1, per_page: 100, page_token: String::new() };

impl Fixture {
    pub(crate) fn times(&self) -> TimeEntryServiceClient<Channel> {
        TimeEntryServiceClient::new(self.channel())
    }

    /// The time this many minutes from now; negative is the past.
    pub(crate) fn minute(&self, minutes: i64) -> DateTime<Utc> {
        self.clock.now() + TimeDelta::minutes(minutes)
    }

    pub(crate) async fn enter(&self, actor: &Person, request: CreateTimeEntryRequest) -> RpcResult<TimeEntry> {
        Ok(self.times().create_time_entry(self.call(actor, request)).await?.into_inner().time_entry.unwrap())
    }

    pub(crate) async fn correct(&self, actor: &Person, request: UpdateTimeEntryRequest) -> RpcResult<TimeEntry> {
        Ok(self.times().update_time_entry(self.call(actor, request)).await?.into_inner().time_entry.unwrap())
    }

    pub(crate) async fn take_out(&self, actor: &Person, time_entry_id: &str) -> RpcResult<()> {
        let request = DeleteTimeEntryRequest { time_entry_id: time_entry_id.to_owned() };
        self.times().delete_time_entry(self.call(actor, request)).await?;
        Ok(())
    }

    /// Returns a task's entries, oldest first.
    pub(crate) async fn entries(&self, actor: &Person, task_id: &str) -> RpcResult<Vec<TimeEntry>> {
        let request = ListTimeEntriesRequest { task_id: task_id.to_owned(), page: Some(ALL) };
        let response = self.times().list_time_entries(self.call(actor, request)).await?.into_inner();
        assert_eq!(response.meta.unwrap().total_count as usize, response.time_entries.len());
        Ok(response.time_entries.into_iter().rev().collect())
    }

    pub(crate) async fn corrections(&self, actor: &Person, task_id: &str) -> RpcResult<Vec<TimeCorrection>> {
        let request = ListTimeCorrectionsRequest { task_id: task_id.to_owned(), page: Some(ALL) };
        Ok(self.times().list_time_corrections(self.call(actor, request)).await?.into_inner().corrections)
    }

    pub(crate) async fn report(&self, actor: &Person, task_id: &str) -> RpcResult<TimeReport> {
        let request = GetTimeReportRequest { task_id: task_id.to_owned() };
        Ok(self.times().get_time_report(self.call(actor, request)).await?.into_inner().report.unwrap())
    }

    pub(crate) async fn sheet(&self, actor: &Person, request: GetTimesheetRequest) -> RpcResult<GetTimesheetResponse> {
        Ok(self.times().get_timesheet(self.call(actor, request)).await?.into_inner())
    }

    /// Returns types and payloads of the events about a time entry.
    pub(crate) async fn time_events(&self, id: &str) -> Vec<(String, TimeEntryEvent)> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from task.outbox order by position")
            .fetch_all(&self.context.admin())
            .await
            .unwrap();
        let envelopes = rows.iter().map(|row| Envelope::decode(row.as_slice()).unwrap());
        let about = envelopes.filter(|envelope| envelope.subject_id == id);
        about.map(|envelope| (envelope.r#type, envelope.payload.unwrap().to_msg().unwrap())).collect()
    }
}

pub(crate) fn worked(task_id: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> CreateTimeEntryRequest {
    CreateTimeEntryRequest {
        task_id: task_id.to_owned(),
        started_at: Some(timestamp(from)),
        ended_at: Some(timestamp(to)),
        ..Default::default()
    }
}

pub(crate) fn change(id: &str, mask: &[&str], new: TimeEntryChange) -> UpdateTimeEntryRequest {
    UpdateTimeEntryRequest {
        time_entry_id: id.to_owned(),
        time_entry: Some(new),
        update_mask: Some(FieldMask { paths: mask.iter().map(|&path| path.to_owned()).collect() }),
    }
}

pub(crate) fn from_to(from: DateTime<Utc>, to: DateTime<Utc>) -> TimeEntryChange {
    TimeEntryChange { started_at: Some(timestamp(from)), ended_at: Some(timestamp(to)), note: String::new() }
}

/// Kind, user and seconds of each entry.
pub(crate) fn intervals(entries: &[TimeEntry]) -> Vec<(TimeEntryKind, &str, i32)> {
    entries.iter().map(|entry| (entry.kind(), entry.user_id.as_str(), entry.seconds)).collect()
}
