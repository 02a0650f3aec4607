//! A world with the service in it, and a task service to play.

use baton_events::{Streams, relay};
use baton_notification::{Config, MIGRATIONS, SCHEMA, start};
use baton_proto::baton::{
    api::v1::Page,
    notification::v1::{
        ListNotificationsRequest, Notification, notification_service_client::NotificationServiceClient,
    },
    task::v1::TaskEvent,
};
use baton_runtime::{Clock, Secret, Shutdown};
use baton_store::{Db, Event, Tenant};
use baton_testkit::{Person, Team, TestContext, eventually};
use sqlx::migrate::Migrator;
use tonic::transport::Channel;
use uuid::Uuid;

static PLATFORM_ONLY: Migrator = Migrator::DEFAULT;

pub(crate) type Client = NotificationServiceClient<Channel>;

pub(crate) struct Stage {
    pub(crate) world: TestContext,
    pub(crate) team: Team,
    pub(crate) client: Client,
    pub(crate) task: Db,
    pub(crate) streams: Streams,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let world = TestContext::start(&[(SCHEMA, &MIGRATIONS), ("task", &PLATFORM_ONLY)]).await;
        let channel = world
            .spawn(|listener, shutdown| {
                start(Config::from_env(&world.env()).unwrap(), Clock::system(), listener, shutdown)
            })
            .await;
        let streams = Streams::open(&Secret::new(world.redis_url())).unwrap();
        let task = world.db("task");
        tokio::spawn(relay::run(task.clone(), streams.clone(), world.shutdown().clone()));
        let team = world.team().await;
        Self { world, team, client: NotificationServiceClient::new(channel), task, streams }
    }

    /// Another instance of the service; it stops when told to, and says when it has.
    pub(crate) async fn another_instance(&self) -> (Shutdown, tokio::task::JoinHandle<anyhow::Result<()>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown = Shutdown::new();
        let config = Config::from_env(&self.world.env()).unwrap();
        let running = tokio::spawn(start(config, Clock::system(), listener, shutdown.clone()));
        (shutdown, running)
    }

    /// Commits events that somebody of the team caused.
    pub(crate) async fn publish(&self, actor: &Person, events: impl IntoIterator<Item = Event>) {
        let tenant = Tenant { account_id: self.team.account_id, user_id: actor.user_id };
        let mut tx = self.task.begin(tenant).await.unwrap();
        tx.publish_all(events).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// An event about a task of the team.
    pub(crate) fn event(&self, kind: &'static str, task: TaskEvent) -> Event {
        Event::new(kind, self.team.account_id, task.task_id.parse().unwrap(), &task)
    }

    /// A manager hands a new task to a user. Answers the task.
    pub(crate) async fn assign(&self, manager: &Person, user: &Person) -> Uuid {
        let task_id = Uuid::now_v7();
        self.publish(manager, [self.event("task.assigned", assigned(task_id, manager, user))]).await;
        task_id
    }

    /// The first hundred notifications of a person in an account, newest first.
    pub(crate) async fn list(&self, person: &Person, account_id: Uuid) -> Vec<Notification> {
        let page = Some(Page { per_page: 100, ..Page::default() });
        let request = person.call(account_id, ListNotificationsRequest { page });
        self.client.clone().list_notifications(request).await.unwrap().into_inner().notifications
    }

    /// Waits until a person of the team has so many notifications.
    pub(crate) async fn told(&self, person: &Person, count: usize) -> Vec<Notification> {
        eventually(async || {
            Some(self.list(person, self.team.account_id).await).filter(|notifications| notifications.len() >= count)
        })
        .await
    }

    /// Waits until the service has handled everything that was committed so far.
    pub(crate) async fn settled(&self) {
        // An account's events are handled in order, so what follows them is handled after them.
        let before = self.list(&self.team.user_b1, self.team.account_id).await.len();
        self.assign(&self.team.manager_b, &self.team.user_b1).await;
        self.told(&self.team.user_b1, before + 1).await;
    }

    /// A number that the database answers, past all row-level security.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.world.admin()).await.unwrap()
    }

    pub(crate) async fn redis(&self, command: &redis::Cmd) {
        command.query_async::<()>(&mut self.streams.connection()).await.unwrap();
    }
}

/// What an assignment says.
pub(crate) fn assigned(task_id: Uuid, by: &Person, to: &Person) -> TaskEvent {
    TaskEvent {
        task_id: task_id.to_string(),
        created_by: by.user_id.to_string(),
        assigned_to: to.user_id.to_string(),
        ..TaskEvent::default()
    }
}
