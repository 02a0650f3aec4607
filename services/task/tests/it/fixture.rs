//! The fixture of the task tests: the service, a team, and shorthands for its RPCs.

use std::sync::Arc;

use baton_errors::Reason;
use baton_proto::baton::task::v1::{
    AcceptTaskRequest, ArchiveTaskRequest, AssignTaskRequest, CancelTaskRequest, CompleteTaskRequest,
    CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, GetTimelineRequest, ListTasksRequest, PauseTaskRequest,
    ReassignTaskRequest, RejectTaskRequest, ReopenTaskRequest, RestoreTaskRequest, ResumeTaskRequest, SkipTaskRequest,
    StartTaskRequest, Task, TaskChange, TaskEvent, TaskFilter, TimelineEntry, UnskipTaskRequest, UpdateTaskRequest,
    board_service_client::BoardServiceClient, task_service_client::TaskServiceClient,
};
use baton_proto::{
    baton::{api::v1::Page, events::v1::Envelope},
    convert::timestamp,
};
use baton_runtime::Clock;
use baton_task::{Config, SPEC, start};
use baton_testkit::{Person, Team, TestContext};
use chrono::{DateTime, Utc};
use prost::Message;
use prost_types::FieldMask;
use tonic::{Request, Status, transport::Channel};
use uuid::Uuid;

pub(crate) type Tasks = TaskServiceClient<Channel>;
pub(crate) type RpcResult<T = Task> = Result<T, Status>;

/// The service with a team and a fixed clock. Clones share them.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) context: Arc<TestContext>,
    pub(crate) team: Team,
    pub(crate) clock: Clock,
    channel: Channel,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let context = TestContext::start(&[SPEC.schema()]).await;
        let clock = Clock::fixed(Clock::system().now());
        let config = Config::from_env(&SPEC, &context.env()).unwrap();
        let channel = context.spawn(|listener, shutdown| start(config, clock.clone(), listener, shutdown)).await;
        let team = context.team().await;
        Self { context: Arc::new(context), team, clock, channel }
    }

    /// Starts another instance of the service on the same database.
    pub(crate) async fn start_instance(&self) {
        let config = Config::from_env(&SPEC, &self.context.env()).unwrap();
        self.context.spawn(|listener, shutdown| start(config, self.clock.clone(), listener, shutdown)).await;
    }

    /// The same service with the team of another account.
    pub(crate) async fn other_account(&self) -> Self {
        Self { team: self.context.team().await, ..self.clone() }
    }

    pub(crate) fn tasks(&self) -> Tasks {
        TaskServiceClient::new(self.channel.clone())
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn boards(&self) -> BoardServiceClient<Channel> {
        BoardServiceClient::new(self.channel.clone())
    }

    pub(crate) fn call<T>(&self, actor: &Person, message: T) -> Request<T> {
        actor.call(self.team.account_id, message)
    }

    pub(crate) async fn create(&self, actor: &Person, request: CreateTaskRequest) -> RpcResult {
        let response = self.tasks().create_task(self.call(actor, request)).await?;
        Ok(response.into_inner().task.unwrap())
    }

    pub(crate) async fn get(&self, actor: &Person, id: &str) -> RpcResult {
        let request = self.call(actor, GetTaskRequest { id: id.to_owned(), as_of: None });
        Ok(self.tasks().get_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn update(&self, actor: &Person, id: &str, mask: &[&str], change: TaskChange) -> RpcResult {
        let request = self.call(actor, update_request(id, mask, change));
        Ok(self.tasks().update_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn delete(&self, actor: &Person, id: &str) -> RpcResult<()> {
        self.tasks().delete_task(self.call(actor, DeleteTaskRequest { id: id.to_owned() })).await?;
        Ok(())
    }

    pub(crate) async fn start(&self, actor: &Person, id: &str) -> RpcResult {
        let request = self.call(actor, StartTaskRequest { id: id.to_owned() });
        Ok(self.tasks().start_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn pause(&self, actor: &Person, id: &str, reason: &str) -> RpcResult {
        let request = self.call(actor, PauseTaskRequest { id: id.to_owned(), reason: reason.to_owned() });
        Ok(self.tasks().pause_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn resume(&self, actor: &Person, id: &str) -> RpcResult {
        let request = self.call(actor, ResumeTaskRequest { id: id.to_owned() });
        Ok(self.tasks().resume_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn complete(&self, actor: &Person, id: &str) -> RpcResult {
        let request = self.call(actor, CompleteTaskRequest { id: id.to_owned() });
        Ok(self.tasks().complete_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn assign(&self, actor: &Person, id: &str, to: Uuid) -> RpcResult {
        let request = self.call(actor, AssignTaskRequest { id: id.to_owned(), assigned_to: to.to_string() });
        Ok(self.tasks().assign_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn reassign(&self, actor: &Person, id: &str, to: Uuid) -> RpcResult {
        let request = self.call(actor, ReassignTaskRequest { id: id.to_owned(), assigned_to: to.to_string() });
        Ok(self.tasks().reassign_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn accept(&self, actor: &Person, id: &str) -> RpcResult {
        let request = self.call(actor, AcceptTaskRequest { id: id.to_owned() });
        Ok(self.tasks().accept_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn reject(&self, actor: &Person, id: &str, reason: Option<&str>) -> RpcResult {
        let request = self.call(actor, RejectTaskRequest { id: id.to_owned(), reason: reason.map(str::to_owned) });
        Ok(self.tasks().reject_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn cancel(&self, actor: &Person, id: &str, reason: Option<&str>) -> RpcResult {
        let request = self.call(actor, CancelTaskRequest { id: id.to_owned(), reason: reason.map(str::to_owned) });
        Ok(self.tasks().cancel_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn archive(&self, actor: &Person, id: &str) -> RpcResult {
        let request = self.call(actor, ArchiveTaskRequest { id: id.to_owned() });
        Ok(self.tasks().archive_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn reopen(&self, actor: &Person, id: &str, reason: Option<&str>) -> RpcResult {
        let request = self.call(actor, ReopenTaskRequest { id: id.to_owned(), reason: reason.map(str::to_owned) });
        Ok(self.tasks().reopen_task(request).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn restore(&self, actor: &Person, id: &str) -> RpcResult {
        let request = self.call(actor, RestoreTaskRequest { id: id.to_owned() });
        Ok(self.tasks().restore_task(request).await?.into_inner().task.unwrap())
    }

    /// Skips an occurrence of the task's series; without `at`, the task's own.
    pub(crate) async fn skip(&self, actor: &Person, id: &str, at: Option<DateTime<Utc>>) -> RpcResult {
        let request = SkipTaskRequest { id: id.to_owned(), occurrence_at: at.map(timestamp), reason: None };
        Ok(self.tasks().skip_task(self.call(actor, request)).await?.into_inner().task.unwrap())
    }

    pub(crate) async fn unskip(&self, actor: &Person, id: &str, at: DateTime<Utc>) -> RpcResult {
        let request = UnskipTaskRequest { id: id.to_owned(), occurrence_at: Some(timestamp(at)) };
        Ok(self.tasks().unskip_task(self.call(actor, request)).await?.into_inner().task.unwrap())
    }

    /// Returns the task as of this time.
    pub(crate) async fn as_of(&self, actor: &Person, id: &str, time: DateTime<Utc>) -> RpcResult {
        let request = self.call(actor, GetTaskRequest { id: id.to_owned(), as_of: Some(timestamp(time)) });
        Ok(self.tasks().get_task(request).await?.into_inner().task.unwrap())
    }

    /// Returns the ids of all tasks that match the filter, in order.
    pub(crate) async fn list(&self, actor: &Person, filter: TaskFilter) -> RpcResult<Vec<String>> {
        let page = Page { per_page: 100, ..Default::default() };
        let request = self.call(actor, ListTasksRequest { filter: Some(filter), page: Some(page) });
        let response = self.tasks().list_tasks(request).await?.into_inner();
        assert_eq!(response.meta.unwrap().total_count as usize, response.tasks.len());
        Ok(response.tasks.into_iter().map(|task| task.id).collect())
    }

    pub(crate) async fn timeline(&self, actor: &Person, id: &str) -> RpcResult<Vec<TimelineEntry>> {
        let page = Page { per_page: 100, ..Default::default() };
        let request = self.call(actor, GetTimelineRequest { id: id.to_owned(), page: Some(page) });
        Ok(self.tasks().get_timeline(request).await?.into_inner().events)
    }

    /// Returns types and payloads of the account's events whose types have this prefix, in publication order.
    pub(crate) async fn published<M: prost::Name + Default>(&self, kind: &str) -> Vec<(String, M)> {
        let rows: Vec<Vec<u8>> =
            sqlx::query_scalar("select envelope from task.outbox where account_id = $1 order by position")
                .bind(self.team.account_id)
                .fetch_all(&self.context.admin())
                .await
                .unwrap();
        let envelopes = rows.iter().map(|row| Envelope::decode(row.as_slice()).unwrap());
        envelopes
            .filter(|envelope| envelope.r#type.starts_with(kind))
            .map(|envelope| (envelope.r#type, envelope.payload.unwrap().to_msg().unwrap()))
            .collect()
    }

    /// Returns types and payloads of the events about a task, in publication order.
    pub(crate) async fn events(&self, id: &str) -> Vec<(String, TaskEvent)> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from task.outbox order by position")
            .fetch_all(&self.context.admin())
            .await
            .unwrap();
        let envelopes = rows.iter().map(|row| Envelope::decode(row.as_slice()).unwrap());
        envelopes
            .filter(|envelope| envelope.subject_id == id)
            .map(|envelope| (envelope.r#type, envelope.payload.unwrap().to_msg().unwrap()))
            .collect()
    }
}

pub(crate) fn new_task(title: &str) -> CreateTaskRequest {
    CreateTaskRequest { title: title.to_owned(), ..Default::default() }
}

pub(crate) fn new_task_for(title: &str, person: &Person) -> CreateTaskRequest {
    CreateTaskRequest { assigned_to: Some(person.user_id.to_string()), ..new_task(title) }
}

pub(crate) fn update_request(id: &str, mask: &[&str], change: TaskChange) -> UpdateTaskRequest {
    let mask = FieldMask { paths: mask.iter().map(|&path| path.to_owned()).collect() };
    UpdateTaskRequest { id: id.to_owned(), task: Some(change), update_mask: Some(mask) }
}

pub(crate) fn title_change(title: &str) -> TaskChange {
    TaskChange { title: title.to_owned(), ..Default::default() }
}

/// Adds a header to a request.
pub(crate) fn with_header<T>(mut request: Request<T>, header: &'static str, value: &str) -> Request<T> {
    request.metadata_mut().insert(header, value.parse().unwrap());
    request
}

/// Returns the reason of a refused call.
pub(crate) fn error_reason<T: std::fmt::Debug>(response: RpcResult<T>) -> Reason {
    let status = response.expect_err("a refused call");
    baton_testkit::reason(&status).unwrap_or_else(|| panic!("no reason in {status:?}"))
}

/// Returns the field that a validation error names.
pub(crate) fn invalid_field<T: std::fmt::Debug>(response: RpcResult<T>) -> String {
    let status = response.expect_err("a refused call");
    assert_eq!(baton_testkit::reason(&status), Some(Reason::ValidationFailed), "{status:?}");
    let details = tonic_types::StatusExt::get_details_bad_request(&status).expect("field violations");
    details.field_violations[0].field.clone()
}
