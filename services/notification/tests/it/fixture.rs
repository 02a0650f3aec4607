//! The per-test fixture: the service, a team, and a stand-in for the task service.

use baton_events::{Streams, relay};
use baton_notification::{Config, SPEC, start};
use baton_proto::baton::{
    api::v1::Page,
    notification::v1::{
        ListNotificationsRequest, Notification, notification_service_client::NotificationServiceClient,
    },
    task::v1::TaskEvent,
};
use baton_runtime::{Clock, Secret, Shutdown};
use baton_store::{Db, Event, Tenant};
use baton_testkit::{Person, Team, TestContext, event, eventually};
use sqlx::migrate::Migrator;
use tonic::transport::Channel;
use uuid::Uuid;

static PLATFORM_ONLY: Migrator = Migrator::DEFAULT;

pub(crate) type Client = NotificationServiceClient<Channel>;

pub(crate) struct Fixture {
    pub(crate) context: TestContext,
    pub(crate) team: Team,
    pub(crate) channel: Channel,
    pub(crate) client: Client,
    pub(crate) task: Db,
    pub(crate) streams: Streams,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let context = TestContext::start(&[SPEC.schema(), ("task", &PLATFORM_ONLY)]).await;
        let channel = context
            .spawn(|listener, shutdown| {
                start(Config::from_env(&SPEC, &context.env()).unwrap(), Clock::system(), listener, shutdown)
            })
            .await;
        let streams = Streams::open(&Secret::new(context.redis_url())).unwrap();
        let task = context.db("task");
        tokio::spawn(relay::run(task.clone(), streams.clone(), context.shutdown().clone()));
        let team = context.team().await;
        Self { context, team, client: NotificationServiceClient::new(channel.clone()), channel, task, streams }
    }

    /// Starts another instance of the service. Returns its shutdown handle and its task.
    pub(crate) async fn another_instance(&self) -> (Shutdown, tokio::task::JoinHandle<anyhow::Result<()>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown = Shutdown::new();
        let config = Config::from_env(&SPEC, &self.context.env()).unwrap();
        let task = tokio::spawn(start(config, Clock::system(), listener, shutdown.clone()));
        (shutdown, task)
    }

    /// Commits events of the task service with `actor` as their cause.
    pub(crate) async fn publish(&self, actor: &Person, events: impl IntoIterator<Item = Event>) {
        let tenant = Tenant { account_id: self.team.account_id, user_id: actor.user_id };
        let mut tx = self.task.begin(tenant).await.unwrap();
        tx.publish_all(events).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// An event about a task of the team's account.
    pub(crate) fn event(&self, kind: &'static str, task: TaskEvent) -> Event {
        event(kind, self.team.account_id, task.task_id.parse().unwrap(), &task)
    }

    /// Publishes the assignment of a new task. Returns the task's id.
    pub(crate) async fn assign(&self, manager: &Person, user: &Person) -> Uuid {
        let task_id = Uuid::now_v7();
        self.publish(manager, [self.event("task.assigned", task_event(task_id, manager, user))]).await;
        task_id
    }

    /// The newest hundred notifications of a person in an account, newest first.
    pub(crate) async fn list(&self, person: &Person, account_id: Uuid) -> Vec<Notification> {
        let page = Some(Page { per_page: 100, ..Page::default() });
        let request = person.call(account_id, ListNotificationsRequest { page });
        self.client.clone().list_notifications(request).await.unwrap().into_inner().notifications
    }

    /// Waits until a member of the team has at least `count` notifications.
    pub(crate) async fn wait_for_notifications(&self, person: &Person, count: usize) -> Vec<Notification> {
        eventually(async || {
            Some(self.list(person, self.team.account_id).await).filter(|notifications| notifications.len() >= count)
        })
        .await
    }

    /// Waits until the service has processed all events committed so far.
    pub(crate) async fn wait_until_processed(&self) {
        // Events of one account are processed in order, so a later event is processed after them.
        let before = self.list(&self.team.user_b1, self.team.account_id).await.len();
        self.assign(&self.team.manager_b, &self.team.user_b1).await;
        self.wait_for_notifications(&self.team.user_b1, before + 1).await;
    }

    /// The result of a count query, as a role that bypasses row-level security.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.context.admin()).await.unwrap()
    }

    /// Runs a Redis command.
    pub(crate) async fn redis(&self, command: &redis::Cmd) {
        command.query_async::<()>(&mut self.streams.connection()).await.unwrap();
    }
}

/// The payload of an assignment.
pub(crate) fn task_event(task_id: Uuid, by: &Person, to: &Person) -> TaskEvent {
    TaskEvent {
        task_id: task_id.to_string(),
        created_by: by.user_id.to_string(),
        assigned_to: to.user_id.to_string(),
        ..TaskEvent::default()
    }
}
