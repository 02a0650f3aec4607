//! The task service, with the rights of a person.

use std::collections::HashMap;

use baton_clients::{ActingCredentials, Peer, is_access_revoked};
use baton_errors::{Error, Reason, Result, reason_of};
use baton_proto::{
    baton::{
        api::v1::Page,
        task::v1::{
            ChangeTasksRequest, CreateCommentRequest, CreateTaskRequest, FilterViewersRequest, GetTaskEventRequest,
            GetTaskRequest, ListStateTimesRequest, ListTaskHistoryRequest, ListTaskHistoryResponse, ListTasksRequest,
            ListWatchersRequest, SuggestAssigneesRequest, Task, TaskFilter, TaskHistoryEvent, TaskStateTimes,
            access_service_client::AccessServiceClient, assignment_service_client::AssignmentServiceClient,
            bulk_service_client::BulkServiceClient, comment_service_client::CommentServiceClient,
            task_service_client::TaskServiceClient, watcher_service_client::WatcherServiceClient,
        },
        tenancy::v1::{FindMembersRequest, FoundMember, member_service_client::MemberServiceClient},
    },
    convert::timestamp,
};
use chrono::{DateTime, Utc};
use tonic::{Code, Response, Status};
use uuid::Uuid;

/// Watchers of a page.
const WATCHER_PAGE: i32 = 100;
/// Watchers that a rule reads and notifies.
pub(crate) const MAX_WATCHERS: usize = 200;

/// What another service says to a request: its response, or the reason for which it refuses.
pub(crate) type Refusable<T> = Result<T, Reason>;

/// The task service, and tenancy for the people of its tasks. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct TaskClient {
    task: Peer,
    tenancy: Peer,
}

/// Tells refusals, which are answers, from failures: the end of the rights, and a service that does not answer.
fn answer<R>(response: Result<Response<R>, Status>) -> Result<Response<Refusable<R>>, Status> {
    match response {
        Ok(response) => Ok(response.map(Ok)),
        Err(status) => match reason_of(&status) {
            Some(reason) if !is_access_revoked(reason) && !is_outage(reason) => Ok(Response::new(Err(reason))),
            _ => Err(status),
        },
    }
}

/// Reasons that say nothing about the request: it is to be tried again. Among them are a call with the same key that is under way,
/// and a token that is not accepted at the moment.
fn is_outage(reason: Reason) -> bool {
    reason == Reason::Internal
        || matches!(reason.code(), Code::Aborted | Code::Unauthenticated)
        || matches!(reason.http_status(), 429 | 500..)
}

impl TaskClient {
    pub(crate) fn new(task: Peer, tenancy: Peer) -> Self {
        Self { task, tenancy }
    }

    /// A task that the person sees.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn task(&self, credentials: &ActingCredentials, id: Uuid) -> Result<Option<Task>> {
        self.get(credentials, GetTaskRequest { id: id.to_string(), as_of: None }).await
    }

    /// A task that the person sees, as it was at this time.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn task_as_of(
        &self,
        credentials: &ActingCredentials,
        id: Uuid,
        time: DateTime<Utc>,
    ) -> Result<Option<Task>> {
        self.get(credentials, GetTaskRequest { id: id.to_string(), as_of: Some(timestamp(time)) }).await
    }

    async fn get(&self, credentials: &ActingCredentials, message: GetTaskRequest) -> Result<Option<Task>> {
        let response = self.task.call(
            || credentials.request(message.clone()),
            async |task, request| answer(TaskServiceClient::new(task).get_task(request).await),
        );
        match response.await? {
            Ok(response) => Ok(response.task),
            Err(Reason::TaskNotFound) => Ok(None),
            Err(reason) => Err(reason.into()),
        }
    }

    /// A page of up to 100 of the tasks that the person sees, and the token of the next page.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn list(
        &self,
        credentials: &ActingCredentials,
        filter: TaskFilter,
        page_token: String,
    ) -> Result<(Vec<Task>, String)> {
        let page = Page { per_page: 100, page_token, ..Page::default() };
        let message = ListTasksRequest { filter: Some(filter), page: Some(page) };
        let response = self.task.call(
            || credentials.request(message.clone()),
            async |task, request| answer(TaskServiceClient::new(task).list_tasks(request).await),
        );
        let response = response.await?.map_err(Error::from)?;
        Ok((response.tasks, response.meta.unwrap_or_default().next_page_token))
    }

    /// A page of what happened to the tasks that the person sees.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn history(
        &self,
        credentials: &ActingCredentials,
        message: &ListTaskHistoryRequest,
    ) -> Result<ListTaskHistoryResponse> {
        let response = self.task.call(
            || credentials.request(message.clone()),
            async |task, request| answer(TaskServiceClient::new(task).list_task_history(request).await),
        );
        response.await?.map_err(Error::from)
    }

    /// Since when tasks have been in their states, by task; those that the person does not see are left out.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn state_times(
        &self,
        credentials: &ActingCredentials,
        task_ids: Vec<String>,
    ) -> Result<HashMap<String, TaskStateTimes>> {
        let message = ListStateTimesRequest { task_ids };
        let response = self.task.call(
            || credentials.request(message.clone()),
            async |task, request| answer(TaskServiceClient::new(task).list_state_times(request).await),
        );
        let times = response.await?.map_err(Error::from)?.tasks;
        Ok(times.into_iter().map(|times| (times.task_id.clone(), times)).collect())
    }

    /// An event of a task that the person sees, with the task before and after it.
    ///
    /// # Errors
    /// TASK_NOT_FOUND, UNAVAILABLE, and those of ended rights.
    pub(crate) async fn event(&self, credentials: &ActingCredentials, id: Uuid) -> Result<TaskHistoryEvent> {
        let message = GetTaskEventRequest { id: id.to_string() };
        let response = self.task.call(
            || credentials.request(message.clone()),
            async |task, request| answer(TaskServiceClient::new(task).get_task_event(request).await),
        );
        let event = response.await?.map_err(Error::from)?.event;
        event.ok_or_else(|| Error::internal("task returned no event"))
    }

    /// Those of the members who see the task.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn viewers(
        &self,
        credentials: &ActingCredentials,
        task_id: Uuid,
        user_ids: &[Uuid],
    ) -> Result<Refusable<Vec<Uuid>>> {
        let message = FilterViewersRequest {
            task_id: task_id.to_string(),
            user_ids: user_ids.iter().map(Uuid::to_string).collect(),
        };
        let response = self.task.call(
            || credentials.request(message.clone()),
            async |task, request| answer(AccessServiceClient::new(task).filter_viewers(request).await),
        );
        Ok(response.await?.map(|response| response.user_ids.iter().filter_map(|id| id.parse().ok()).collect()))
    }

    /// The watchers of a task, at most [`MAX_WATCHERS`].
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn watchers(&self, credentials: &ActingCredentials, task_id: Uuid) -> Result<Vec<Uuid>> {
        let mut watchers = Vec::new();
        let mut page = Page { per_page: WATCHER_PAGE, ..Page::default() };
        loop {
            let message = ListWatchersRequest { task_id: task_id.to_string(), page: Some(page.clone()) };
            let response = self.task.call(
                || credentials.request(message.clone()),
                async |task, request| answer(WatcherServiceClient::new(task).list_watchers(request).await),
            );
            let Ok(response) = response.await? else { return Ok(watchers) };
            watchers.extend(response.watchers.iter().filter_map(|watcher| watcher.user_id.parse::<Uuid>().ok()));
            page.page_token = response.meta.unwrap_or_default().next_page_token;
            if page.page_token.is_empty() || watchers.len() >= MAX_WATCHERS {
                watchers.truncate(MAX_WATCHERS);
                return Ok(watchers);
            }
        }
    }

    /// The best suggestion of an assignee.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn suggestion(
        &self,
        credentials: &ActingCredentials,
        task_id: Uuid,
    ) -> Result<Refusable<Option<Uuid>>> {
        let message = SuggestAssigneesRequest { id: task_id.to_string(), limit: Some(1) };
        let response = self.task.call(
            || credentials.request(message.clone()),
            async |task, request| answer(AssignmentServiceClient::new(task).suggest_assignees(request).await),
        );
        Ok(response.await?.map(|response| response.suggestions.first().and_then(|best| best.user_id.parse().ok())))
    }

    /// Those of the people who are members of the account.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn member_ids(
        &self,
        credentials: &ActingCredentials,
        user_ids: &[Uuid],
    ) -> Result<Refusable<Vec<Uuid>>> {
        let members = self.members(credentials, &[], user_ids).await?;
        Ok(Ok(members.iter().filter_map(|member| member.user_id.parse().ok()).collect()))
    }

    /// The members with these handles or user ids.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn members(
        &self,
        credentials: &ActingCredentials,
        handles: &[String],
        user_ids: &[Uuid],
    ) -> Result<Vec<FoundMember>> {
        let user_ids = user_ids.iter().map(Uuid::to_string).collect();
        let message = FindMembersRequest { handles: handles.to_vec(), user_ids };
        let response = self.tenancy.call(
            || credentials.request(message.clone()),
            async |tenancy, request| answer(MemberServiceClient::new(tenancy).find_members(request).await),
        );
        Ok(response.await?.map(|response| response.members).unwrap_or_default())
    }

    /// Changes one task, or only says whether it could. Repeating it with the same key changes nothing.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn change(
        &self,
        credentials: &ActingCredentials,
        message: &ChangeTasksRequest,
        key: Uuid,
    ) -> Result<Refusable<()>> {
        let response = self.task.call(
            || credentials.change(message.clone(), key),
            async |task, request| answer(BulkServiceClient::new(task).change_tasks(request).await),
        );
        let response = match response.await? {
            Ok(response) => response,
            Err(reason) => return Ok(Err(reason)),
        };
        let reason = response.results.into_iter().next().and_then(|result| result.reason);
        Ok(match reason {
            None => Ok(()),
            Some(name) => {
                Err(Reason::from_name(&name).ok_or_else(|| Error::internal("task returned an unknown reason"))?)
            }
        })
    }

    /// Comments on a task. Repeating it with the same key adds nothing.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn comment(
        &self,
        credentials: &ActingCredentials,
        task_id: Uuid,
        body: &str,
        key: Uuid,
    ) -> Result<Refusable<()>> {
        let message = CreateCommentRequest { task_id: task_id.to_string(), body: body.to_owned(), parent_id: None };
        let response = self.task.call(
            || credentials.change(message.clone(), key),
            async |task, request| answer(CommentServiceClient::new(task).create_comment(request).await),
        );
        Ok(response.await?.map(drop))
    }

    /// Creates a task. Repeating it with the same key creates nothing.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of ended rights.
    pub(crate) async fn create(
        &self,
        credentials: &ActingCredentials,
        message: &CreateTaskRequest,
        key: Uuid,
    ) -> Result<Refusable<Option<Uuid>>> {
        let response = self.task.call(
            || credentials.change(message.clone(), key),
            async |task, request| answer(TaskServiceClient::new(task).create_task(request).await),
        );
        Ok(response.await?.map(|response| response.task.and_then(|task| task.id.parse().ok())))
    }
}
