//! The fixture: the services, a team, and shorthands for their RPCs.

use std::collections::BTreeMap;

use baton_automation::{SPEC, start};
use baton_catalog::EventType;
use baton_proto::{
    baton::{
        api::v1::Page,
        automation::v1::{
            Automation, AutomationChange, CreateAutomationRequest, Execution, ExecutionStatus, ListExecutionsRequest,
            ToggleAutomationRequest, TriggerType as Trigger, UpdateAutomationRequest,
            automation_service_client::AutomationServiceClient, execution_service_client::ExecutionServiceClient,
        },
        events::v1::Envelope,
        notification::v1::{
            ListNotificationsRequest, Notification, NotificationType,
            notification_service_client::NotificationServiceClient,
        },
        task::v1::{
            AssignTaskRequest, CreateTaskRequest, GetTaskRequest, GetTimelineRequest, PauseTaskRequest,
            ReassignTaskRequest, StartTaskRequest, Task, TaskChange, TaskPriority, TimelineEntry, UpdateTaskRequest,
            task_service_client::TaskServiceClient,
        },
        tenancy::v1::{AcceptInvitationRequest, InviteMemberRequest, Role, member_service_client::MemberServiceClient},
    },
    convert::to_struct,
};
use baton_rules::TriggerType;
use baton_runtime::{Clock, Env, Shutdown};
use baton_testkit::{Person, Team, TestContext, eventually};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

/// The services with a team.
pub(crate) struct Fixture {
    pub(crate) context: TestContext,
    pub(crate) team: Team,
    pub(crate) env: Env,
    /// The clock of task and automation.
    pub(crate) clock: Clock,
    channels: BTreeMap<&'static str, Channel>,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_at(Clock::system()).await
    }

    /// Starts the services with this clock of task and automation.
    pub(crate) async fn start_at(clock: Clock) -> Self {
        let mut fixture = Self::start_without_notification(clock).await;
        fixture.start_notification(listener().await).await;
        fixture.start_instance().await;
        fixture
    }

    /// Starts the services that the automation service needs, without notification and itself.
    pub(crate) async fn start_without_notification(clock: Clock) -> Self {
        let schemas = [SPEC.schema(), baton_task::SPEC.schema(), baton_notification::SPEC.schema()];
        let context = TestContext::start(&schemas).await;
        let (env, team) = (context.env(), context.team().await);
        let mut fixture = Self { env, team, context, clock: clock.clone(), channels: BTreeMap::new() };
        let env = fixture.env.clone();
        fixture.spawn("task", listener().await, |listener, shutdown| {
            let config = baton_task::Config::from_env(&baton_task::SPEC, &env).unwrap();
            baton_task::start(config, clock, listener, shutdown)
        });
        fixture
    }

    pub(crate) async fn start_notification(&mut self, listener: TcpListener) {
        let env = self.env.clone();
        self.spawn("notification", listener, |listener, shutdown| {
            let config = baton_notification::Config::from_env(&baton_notification::SPEC, &env).unwrap();
            baton_notification::start(config, Clock::system(), listener, shutdown)
        });
    }

    /// Starts an instance of the automation service.
    pub(crate) async fn start_instance(&mut self) {
        let (env, clock) = (self.env.clone(), self.clock.clone());
        self.spawn("automation", listener().await, |listener, shutdown| {
            start(baton_automation::Config::from_env(&SPEC, &env).unwrap(), clock, listener, shutdown)
        });
    }

    fn spawn<F, Fut>(&mut self, name: &'static str, listener: TcpListener, start: F)
    where
        F: FnOnce(TcpListener, Shutdown) -> Fut,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = start(listener, self.context.shutdown().clone());
        tokio::spawn(async move { service.await.unwrap() });
        self.channels.insert(name, Endpoint::from_shared(url.clone()).unwrap().connect_lazy());
        self.env.set(format!("BATON_{}_URL", name.to_uppercase()), url);
    }

    pub(crate) fn rules(&self) -> AutomationServiceClient<Channel> {
        AutomationServiceClient::new(self.channels["automation"].clone())
    }

    pub(crate) fn executions(&self) -> ExecutionServiceClient<Channel> {
        ExecutionServiceClient::new(self.channels["automation"].clone())
    }

    pub(crate) fn tasks(&self) -> TaskServiceClient<Channel> {
        TaskServiceClient::new(self.channels["task"].clone())
    }

    pub(crate) fn task_channel(&self) -> Channel {
        self.channels["task"].clone()
    }

    pub(crate) fn call<T>(&self, person: &Person, message: T) -> Request<T> {
        person.call(self.team.account_id, message)
    }

    /// Creates a rule.
    pub(crate) async fn try_rule(&self, person: &Person, new: CreateAutomationRequest) -> Result<Automation, Status> {
        let response = self.rules().create_automation(self.call(person, new)).await?;
        Ok(response.into_inner().automation.unwrap())
    }

    /// Creates a rule with one action per value.
    pub(crate) async fn rule(
        &self,
        person: &Person,
        trigger: Trigger,
        conditions: Value,
        actions: &[Value],
    ) -> Automation {
        self.try_rule(person, new_rule(trigger, conditions, actions)).await.unwrap()
    }

    pub(crate) async fn toggle(&self, person: &Person, rule: &Automation, enabled: bool) -> Result<Automation, Status> {
        let message = ToggleAutomationRequest { id: rule.id.clone(), enabled: Some(enabled) };
        Ok(self.rules().toggle_automation(self.call(person, message)).await?.into_inner().automation.unwrap())
    }

    /// The executions of a rule, newest first.
    pub(crate) async fn history(&self, person: &Person, rule: &Automation) -> Vec<Execution> {
        let page = Some(Page { per_page: 100, ..Default::default() });
        let message = ListExecutionsRequest { automation_id: rule.id.clone(), page, ..Default::default() };
        self.executions().list_executions(self.call(person, message)).await.unwrap().into_inner().executions
    }

    /// Waits until a rule has so many executions and all have ended; returns them, newest first.
    pub(crate) async fn ended(&self, person: &Person, rule: &Automation, count: usize) -> Vec<Execution> {
        eventually(|| async {
            let executions = self.history(person, rule).await;
            let over = executions.len() >= count && executions.iter().all(|it| it.ended_at.is_some());
            over.then_some(executions)
        })
        .await
    }

    pub(crate) async fn create(&self, person: &Person, title: &str) -> Task {
        self.create_with(person, CreateTaskRequest { title: title.to_owned(), ..Default::default() }).await
    }

    pub(crate) async fn create_with(&self, person: &Person, new: CreateTaskRequest) -> Task {
        self.tasks().create_task(self.call(person, new)).await.unwrap().into_inner().task.unwrap()
    }

    pub(crate) async fn get(&self, person: &Person, id: &str) -> Task {
        let message = GetTaskRequest { id: id.to_owned(), as_of: None };
        self.tasks().get_task(self.call(person, message)).await.unwrap().into_inner().task.unwrap()
    }

    /// Starts and pauses a task of the person's own.
    pub(crate) async fn pause(&self, person: &Person, id: &str) {
        self.tasks().start_task(self.call(person, StartTaskRequest { id: id.to_owned() })).await.unwrap();
        let message = PauseTaskRequest { id: id.to_owned(), reason: "Lunch".to_owned() };
        self.tasks().pause_task(self.call(person, message)).await.unwrap();
    }

    /// Makes an event that rules with the trigger `task_updated` run on.
    pub(crate) async fn touch(&self, person: &Person, id: &str, title: &str) {
        let task = TaskChange { title: title.to_owned(), ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["title".to_owned()] });
        let message = UpdateTaskRequest { id: id.to_owned(), task: Some(task), update_mask };
        self.tasks().update_task(self.call(person, message)).await.unwrap();
    }

    /// Assigns a task to somebody, for the first time or again.
    pub(crate) async fn assign(&self, person: &Person, id: &str, to: &Person, again: bool) {
        let (id, assigned_to) = (id.to_owned(), to.user_id.to_string());
        if again {
            self.tasks().reassign_task(self.call(person, ReassignTaskRequest { id, assigned_to })).await.unwrap();
        } else {
            self.tasks().assign_task(self.call(person, AssignTaskRequest { id, assigned_to })).await.unwrap();
        }
    }

    /// Changes a rule's name.
    pub(crate) async fn rename(&self, person: &Person, rule: &Automation, name: &str) {
        let change = AutomationChange { name: name.to_owned(), ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["name".to_owned()] });
        let message = UpdateAutomationRequest { id: rule.id.clone(), automation: Some(change), update_mask };
        self.rules().update_automation(self.call(person, message)).await.unwrap();
    }

    /// Pauses a task that is in progress.
    pub(crate) async fn pause_again(&self, person: &Person, id: &str) {
        let message = PauseTaskRequest { id: id.to_owned(), reason: "Lunch".to_owned() };
        self.tasks().pause_task(self.call(person, message)).await.unwrap();
    }

    /// Changes the priority by hand.
    pub(crate) async fn set_priority(&self, person: &Person, id: &str, priority: TaskPriority) {
        let task = TaskChange { priority: priority.into(), ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["priority".to_owned()] });
        let message = UpdateTaskRequest { id: id.to_owned(), task: Some(task), update_mask };
        self.tasks().update_task(self.call(person, message)).await.unwrap();
    }

    /// Changes priority and tags by hand.
    pub(crate) async fn set_priority_and_tag(&self, person: &Person, id: &str) {
        let task =
            TaskChange { priority: TaskPriority::High.into(), tags: vec!["by hand".to_owned()], ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["priority".to_owned(), "tags".to_owned()] });
        let message = UpdateTaskRequest { id: id.to_owned(), task: Some(task), update_mask };
        self.tasks().update_task(self.call(person, message)).await.unwrap();
    }

    pub(crate) async fn timeline(&self, person: &Person, id: &str) -> Vec<TimelineEntry> {
        let message = GetTimelineRequest { id: id.to_owned(), ..Default::default() };
        self.tasks().get_timeline(self.call(person, message)).await.unwrap().into_inner().events
    }

    /// The texts of the messages that a person has been sent, newest first.
    pub(crate) async fn messages(&self, person: &Person) -> Vec<Notification> {
        let client = NotificationServiceClient::new(self.channels["notification"].clone());
        let request = self.call(person, ListNotificationsRequest::default());
        let listed = client.clone().list_notifications(request).await.unwrap().into_inner().notifications;
        listed.into_iter().filter(|one| one.r#type() == NotificationType::Message).collect()
    }

    /// Waits until the events of tasks so far were taken in, and no work is left.
    pub(crate) async fn settle(&self) {
        eventually(|| async {
            // One snapshot: a job that ends in between may have caused events.
            let mut tx = self.context.admin().begin().await.unwrap();
            sqlx::query("set transaction isolation level repeatable read").execute(&mut *tx).await.unwrap();
            let published: Vec<Vec<u8>> =
                sqlx::query_scalar("select envelope from task.outbox").fetch_all(&mut *tx).await.unwrap();
            let taken_in: Vec<Uuid> =
                sqlx::query_scalar("select event_id from automation.inbox").fetch_all(&mut *tx).await.unwrap();
            let jobs: i64 =
                sqlx::query_scalar("select (select count(*) from automation.jobs where due_at <= $1) + (select count(*) from automation.timers where fired_at is null and try_at <= $1) + (select count(*) from task.timers where fired_at is null and try_at <= $1)").bind(self.clock.now()).fetch_one(&mut *tx).await.unwrap();
            let events = published.iter().map(|envelope| Envelope::decode(envelope.as_slice()).unwrap());
            let handled =
                events.filter(|event| EventType::of(event).is_some_and(|kind| !TriggerType::of_event(kind).is_empty()));
            let mut handled = handled.map(|event| event.id.parse::<Uuid>().unwrap());
            (jobs == 0 && handled.all(|id| taken_in.contains(&id))).then_some(())
        })
        .await;
    }

    /// Gives a member a handle.
    pub(crate) async fn set_handle(&self, person: &Person, handle: &str) {
        let update = sqlx::query("update tenancy.memberships set handle = $2 where user_id = $1");
        update.bind(person.user_id).bind(handle).execute(&self.context.admin()).await.unwrap();
    }

    /// A new user, who joins by an invitation of the owner.
    pub(crate) async fn join_by_invitation(&self, name: &str) -> Person {
        let person = self.context.person(name).await;
        let mut members = MemberServiceClient::new(self.context.tenancy());
        let invite = InviteMemberRequest {
            account_id: self.team.account_id.to_string(),
            email: person.email.clone(),
            role: Role::User.into(),
            manager_id: Some(self.team.manager_a.user_id.to_string()),
        };
        let invited = members.invite_member(self.call(&self.team.owner, invite)).await.unwrap().into_inner();
        let ids = [self.team.account_id, invited.member.unwrap().id.parse().unwrap()];
        let token = self.context.invitation_tokens().issue("invitation", ids);
        members.accept_invitation(person.call_without_account(AcceptInvitationRequest { token })).await.unwrap();
        person
    }

    /// The values of one column.
    pub(crate) async fn all<T>(&self, select: &'static str) -> Vec<T>
    where
        for<'r> T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(select).fetch_all(&self.context.admin()).await.unwrap()
    }
}

/// A free port.
pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A rule with one action per value.
pub(crate) fn new_rule(trigger: Trigger, conditions: Value, actions: &[Value]) -> CreateAutomationRequest {
    let object = |value: &Value| to_struct(value.as_object().unwrap().clone());
    CreateAutomationRequest {
        name: "A rule".to_owned(),
        description: String::new(),
        trigger_type: trigger.into(),
        trigger_conditions: Some(object(&conditions)),
        actions: actions.iter().map(object).collect(),
        enabled: None,
        timezone: None,
    }
}

/// A rule that archives completed tasks.
pub(crate) fn archiving() -> CreateAutomationRequest {
    new_rule(Trigger::TaskCompleted, json!({}), &[json!({"type": "archive"})])
}

/// Outcomes and reasons of an execution's actions.
pub(crate) fn outcomes(execution: &Execution) -> Vec<(ExecutionStatus, Option<&str>)> {
    execution.actions.iter().map(|action| (action.outcome(), action.reason.as_deref())).collect()
}
