//! The fixture: the gateway with real auth and tenancy, a fake task service, and WebSocket clients.

use std::{
    collections::HashSet,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::State, http};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_events::{Streams, relay};
use baton_gateway::{Config, UpstreamConfig};
use baton_proto::{
    baton::{
        notification::v1::{NotificationEvent, NotificationType},
        task::v1::{GetTaskRequest, GetTaskResponse, TaskEvent, TaskStatus, TaskVisibility},
    },
    codec::ValidatingCodec,
};
use baton_runtime::{Secret, Shutdown};
use baton_store::{Db, Event, Tenant};
use baton_testkit::{Person, Team, TestContext, event};
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};
use tonic::{Status, server::UnaryService};
use uuid::Uuid;

static PLATFORM_ONLY: Migrator = Migrator::DEFAULT;
const TIMEOUT: Duration = Duration::from_secs(15);

/// The allowed origin.
pub(crate) const ORIGIN: &str = "https://app.example.com";

pub(crate) struct Fixture {
    pub(crate) context: TestContext,
    pub(crate) team: Team,
    pub(crate) task_service: FakeTaskService,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) streams: Streams,
    task_db: Db,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts the gateway with these variables.
    pub(crate) async fn start_with(variables: &[(&str, &str)]) -> Self {
        let context = TestContext::start(&[("task", &PLATFORM_ONLY)]).await;
        let task_service = FakeTaskService::default();
        let task_address = task_service.clone().serve().await;
        let mut env = context.env();
        env.set("BATON_GATEWAY_CORS_ORIGINS", ORIGIN);
        variables.iter().for_each(|&(name, value)| env.set(name, value));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let config = Config::from_env(&env).unwrap();
        let url = |name: &str| env.get(name).unwrap().to_owned();
        let services = [
            ("auth", url("BATON_AUTH_URL")),
            ("tenancy", url("BATON_TENANCY_URL")),
            ("task", format!("http://{task_address}")),
            ("notification", "http://127.0.0.1:1".to_owned()),
        ];
        let services = services.map(|(name, url)| UpstreamConfig { name, url, optional: name == "notification" });
        let stop = shutdown.clone();
        tokio::spawn(async move { baton_gateway::start(config, &services, listener, Router::new(), stop).await });
        let streams = Streams::open(&Secret::new(context.redis_url())).unwrap();
        let task_db = context.db("task");
        tokio::spawn(relay::run(task_db.clone(), streams.clone(), context.shutdown().clone()));
        let team = context.team().await;
        Self { context, team, task_service, address, shutdown, streams, task_db }
    }

    /// Publishes events of the team's account.
    pub(crate) async fn publish(&self, events: impl IntoIterator<Item = Event>) {
        let tenant = Tenant { account_id: self.team.account_id, user_id: self.team.manager_a.user_id };
        let mut tx = self.task_db.begin(tenant).await.unwrap();
        tx.publish_all(events).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// An event of a task.
    pub(crate) fn task_event(&self, kind: &'static str, task_id: Uuid, version: i32) -> Event {
        let payload = TaskEvent {
            task_id: task_id.to_string(),
            version,
            status: TaskStatus::InProgress.into(),
            assigned_to: self.team.user_a1.user_id.to_string(),
            ..TaskEvent::default()
        };
        event(kind, self.team.account_id, task_id, &payload)
    }

    /// An event of an unassigned task that says who sees it.
    pub(crate) fn visible_event(&self, task_id: Uuid, created_by: &Person, visibility: TaskVisibility) -> Event {
        let payload = TaskEvent {
            task_id: task_id.to_string(),
            status: TaskStatus::InProgress.into(),
            created_by: created_by.user_id.to_string(),
            visibility: visibility.into(),
            ..TaskEvent::default()
        };
        event("task.updated", self.team.account_id, task_id, &payload)
    }

    /// A notification and its event.
    pub(crate) fn notification(&self, account_id: Uuid, reader: &Person) -> (Uuid, Event) {
        let id = Uuid::now_v7();
        let payload = NotificationEvent {
            notification_id: id.to_string(),
            user_id: reader.user_id.to_string(),
            r#type: NotificationType::TaskAssigned.into(),
            task_id: String::new(),
        };
        (id, event("notification.created", account_id, id, &payload))
    }

    /// Runs SQL that changes one row, without row-level security.
    pub(crate) async fn sql(&self, sql: &'static str, id: Uuid) {
        assert_eq!(sqlx::query(sql).bind(id).execute(&self.context.admin()).await.unwrap().rows_affected(), 1);
    }

    /// The person's token with another expiry, signed with auth's key.
    pub(crate) async fn token_expiring_in(&self, person: &Person, seconds: i64) -> String {
        let mut claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(person.token.split('.').nth(1).unwrap()).unwrap()).unwrap();
        claims["exp"] = json!(chrono::Utc::now().timestamp() + seconds);
        let (kid, key) = self.context.signing_key().await;
        let header = Header { kid: Some(kid), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &EncodingKey::from_ed_der(&key)).unwrap()
    }

    /// A connect request, whose headers may be changed.
    pub(crate) fn request(&self, query: &str) -> http::Request<()> {
        let mut request = format!("ws://{}/cable{query}", self.address).into_client_request().unwrap();
        let offered = "actioncable-v1-json, actioncable-unsupported".parse().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", offered);
        request
    }

    /// Connects a socket without receiving a message.
    pub(crate) async fn open(&self, query: &str) -> Socket {
        let (socket, answer) = connect_async(self.request(query)).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "actioncable-v1-json");
        Socket(socket)
    }

    /// Expects that connecting is refused, and returns status and reason.
    pub(crate) async fn connect_refused(&self, query: &str) -> (u16, String) {
        let Err(Error::Http(answer)) = connect_async(self.request(query)).await else { panic!("connected") };
        let problem: Value = serde_json::from_slice(answer.body().as_ref().unwrap()).unwrap();
        (answer.status().as_u16(), problem["reason"].as_str().unwrap().to_owned())
    }

    /// Uses up the account's requests of the current hour.
    pub(crate) async fn use_up_requests(&self, account_id: Uuid) {
        let key = baton_access::limits::requests_key(account_id);
        let mut redis = self.streams.connection();
        let _: () =
            redis::cmd("SET").arg(key).arg(1_000_000).arg("EX").arg(3600).query_async(&mut redis).await.unwrap();
    }

    /// Connects a person to the team's account, and receives the welcome.
    pub(crate) async fn connect(&self, person: &Person) -> Socket {
        let mut socket = self.open(&format!("?token={}&account_id={}", person.token, self.team.account_id)).await;
        assert_eq!(socket.receive().await, json!({"type": "welcome"}));
        socket
    }
}

/// A WebSocket client.
pub(crate) struct Socket(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }

    pub(crate) async fn command(&mut self, command: &str, identifier: &str) {
        self.send(json!({"command": command, "identifier": identifier}).to_string()).await;
    }

    /// Receives the next message that is not a ping.
    pub(crate) async fn receive(&mut self) -> Value {
        loop {
            let message = timeout(TIMEOUT, self.receive_any()).await.expect("a message in time").expect("a message");
            if message["type"] != "ping" {
                return message;
            }
        }
    }

    /// Receives the next message, pings included; `None` if the socket is closed.
    pub(crate) async fn receive_any(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::Io(_) | Error::Protocol(_)) => {
                    return None;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Returns the code of the close frame.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            match timeout(TIMEOUT, self.0.next()).await.expect("closed in time")? {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Subscribes, and expects the confirmation.
    pub(crate) async fn subscribe(&mut self, identifier: &Value) {
        let identifier = identifier.to_string();
        self.command("subscribe", &identifier).await;
        assert_eq!(self.receive().await, json!({"type": "confirm_subscription", "identifier": identifier}));
    }

    /// Receives the next message of a subscription.
    pub(crate) async fn next_message(&mut self, identifier: &Value) -> Value {
        let mut message = self.receive().await;
        assert_eq!(message["identifier"], identifier.to_string(), "{message}");
        message["message"].take()
    }

    /// Expects a disconnect message and the end of the connection.
    pub(crate) async fn expect_disconnect(&mut self, reason: &str, reconnect: bool) {
        assert_eq!(self.receive().await, json!({"type": "disconnect", "reason": reason, "reconnect": reconnect}));
        assert_eq!(timeout(TIMEOUT, self.receive_any()).await.expect("closed in time"), None);
    }
}

pub(crate) fn notification_identifier() -> Value {
    json!({"channel": "NotificationChannel"})
}

pub(crate) fn task_identifier(task_id: Uuid) -> Value {
    json!({"channel": "TaskChannel", "task_id": task_id})
}

/// A task service that only knows which person may see which task.
#[derive(Clone, Default)]
pub(crate) struct FakeTaskService(Arc<Inner>);

#[derive(Default)]
struct Inner {
    seen: Mutex<HashSet<(Uuid, Uuid)>>,
    slow: AtomicBool,
    down: AtomicBool,
    calls: AtomicUsize,
}

impl FakeTaskService {
    /// Creates a task that this person may see.
    pub(crate) fn create_visible_to(&self, person: &Person) -> Uuid {
        let task_id = Uuid::now_v7();
        self.0.seen.lock().unwrap().insert((person.user_id, task_id));
        task_id
    }

    pub(crate) fn show(&self, task_id: Uuid, person: &Person) {
        self.0.seen.lock().unwrap().insert((person.user_id, task_id));
    }

    pub(crate) fn hide(&self, task_id: Uuid) {
        self.0.seen.lock().unwrap().retain(|&(_, seen)| seen != task_id);
    }

    pub(crate) fn set_slow(&self, slow: bool) {
        self.0.slow.store(slow, Ordering::Release);
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::Release);
    }

    /// Returns the number of calls.
    pub(crate) fn call_count(&self) -> usize {
        self.0.calls.load(Ordering::Acquire)
    }

    async fn serve(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router =
            Router::new().route("/baton.task.v1.TaskService/GetTask", axum::routing::post(get_task)).with_state(self);
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }
}

async fn get_task(
    State(tasks): State<FakeTaskService>,
    request: http::Request<Body>,
) -> http::Response<tonic::body::Body> {
    if tasks.0.slow.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let codec = ValidatingCodec::<GetTaskResponse, GetTaskRequest>::default();
    tonic::server::Grpc::new(codec).unary(GetTask(tasks), request).await
}

struct GetTask(FakeTaskService);

impl UnaryService<GetTaskRequest> for GetTask {
    type Response = GetTaskResponse;
    type Future = Ready<Result<tonic::Response<GetTaskResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<GetTaskRequest>) -> Self::Future {
        let tasks = &self.0.0;
        tasks.calls.fetch_add(1, Ordering::AcqRel);
        if tasks.down.load(Ordering::Acquire) {
            return ready(Err(Status::unavailable("down")));
        }
        assert!(request.metadata().contains_key("x-account-id"));
        let token = request.metadata().get("authorization").unwrap().to_str().unwrap();
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        let caller = claims["sub"].as_str().unwrap().parse().unwrap();
        let seen = tasks.seen.lock().unwrap().contains(&(caller, request.get_ref().id.parse().unwrap()));
        let answer = tonic::Response::new(GetTaskResponse::default());
        ready(if seen { Ok(answer) } else { Err(Status::not_found("no such task")) })
    }
}
