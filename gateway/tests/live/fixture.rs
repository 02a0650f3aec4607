//! The fixture: the gateway with real auth and tenancy, a fake task service, and WebSocket clients.

use std::{
    collections::HashMap,
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
use baton_errors::Reason;
use baton_events::{Streams, relay};
use baton_gateway::{Config, UpstreamConfig};
use baton_proto::{
    baton::{
        notification::v1::{NotificationEvent, NotificationType},
        task::v1::{
            Comment, GetCommentRequest, GetCommentResponse, GetTaskRequest, GetTaskResponse, Task, TaskEvent,
            TaskStatus, TaskVisibility,
        },
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
use tonic::{Status, server::UnaryService, transport::Channel};
use uuid::Uuid;

static PLATFORM_ONLY: Migrator = Migrator::DEFAULT;
pub(crate) const TIMEOUT: Duration = Duration::from_secs(15);

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
    /// Calls of auth and tenancy by the gateway.
    calls: Arc<AtomicUsize>,
}

/// A proxy to a service that counts the calls. Returns its URL.
async fn counted(service: Channel, calls: &Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let calls = Arc::clone(calls);
    let forward = move |request: http::Request<Body>| {
        calls.fetch_add(1, Ordering::AcqRel);
        let mut service = service.clone();
        async move {
            std::future::poll_fn(|cx| tower::Service::poll_ready(&mut service, cx)).await.unwrap();
            tower::Service::call(&mut service, request.map(tonic::body::Body::new)).await.unwrap()
        }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(forward)).await });
    url
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
        env.set("BATON_GATEWAY_SOCKET_DRAIN_SECONDS", "1");
        variables.iter().for_each(|&(name, value)| env.set(name, value));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let config = Config::from_env(&env).unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let services = [
            ("auth", counted(context.auth(), &calls).await),
            ("tenancy", counted(context.tenancy(), &calls).await),
            ("task", format!("http://{task_address}")),
            ("notification", "http://127.0.0.1:1".to_owned()),
            ("automation", "http://127.0.0.1:1".to_owned()),
            ("privacy", "http://127.0.0.1:1".to_owned()),
        ];
        let services = services.map(|(name, url)| UpstreamConfig {
            name,
            url,
            optional: ["notification", "automation", "privacy"].contains(&name),
        });
        let stop = shutdown.clone();
        tokio::spawn(async move { baton_gateway::start(config, &services, listener, Router::new(), stop).await });
        let streams = Streams::open(&Secret::new(context.redis_url())).unwrap();
        let task_db = context.db("task");
        tokio::spawn(relay::run(task_db.clone(), streams.clone(), context.shutdown().clone()));
        let team = context.team().await;
        Self { context, team, task_service, address, shutdown, streams, task_db, calls }
    }

    /// Calls of all services so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Acquire) + self.task_service.call_count()
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
        let task = self.task_service.task(task_id);
        let payload = TaskEvent {
            task_id: task_id.to_string(),
            version,
            status: TaskStatus::InProgress.into(),
            created_by: task.created_by,
            visibility: task.visibility,
            ..TaskEvent::default()
        };
        event(kind, self.team.account_id, task_id, &payload)
    }

    /// An event of an unassigned task that says who sees it.
    pub(crate) fn visible_event(&self, task_id: Uuid, created_by: &Person, visibility: TaskVisibility) -> Event {
        let payload = TaskEvent {
            task_id: task_id.to_string(),
            // Newer than what the service knows, and than the events of the tests.
            version: 100,
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

    /// Connects a person to the team's account with AnyCable's extended protocol, and receives the welcome.
    pub(crate) async fn connect_extended(&self, person: &Person) -> Socket {
        let mut request = self.request(&format!("?token={}&account_id={}", person.token, self.team.account_id));
        request.headers_mut().insert("sec-websocket-protocol", "actioncable-v1-ext-json".parse().unwrap());
        let (socket, answer) = connect_async(request).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "actioncable-v1-ext-json");
        let mut socket = Socket(socket);
        assert_eq!(socket.receive().await, json!({"type": "welcome"}));
        socket
    }

    /// Connects a socket without receiving a message.
    pub(crate) async fn open(&self, query: &str) -> Socket {
        let (socket, answer) = connect_async(self.request(query)).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "actioncable-v1-json");
        Socket(socket)
    }

    /// Connects a socket that is disconnected as unauthorized, before or after its welcome.
    pub(crate) async fn connect_unauthorized(&self, query: &str) {
        let mut socket = self.open(query).await;
        let message = socket.receive().await;
        if message["type"] == "welcome" {
            socket.expect_disconnect("unauthorized", false).await;
        } else {
            assert_eq!(message, json!({"type": "disconnect", "reason": "unauthorized", "reconnect": false}));
        }
    }

    /// Sends a GET request as this person.
    pub(crate) async fn get(&self, person: &Person, url: String) -> reqwest::Response {
        let request = reqwest::Client::new().get(url).bearer_auth(&person.token);
        request.header("x-account-id", self.team.account_id.to_string()).send().await.unwrap()
    }

    /// The reason of a problem.
    pub(crate) async fn reason(&self, response: reqwest::Response) -> String {
        response.json::<Value>().await.unwrap()["reason"].as_str().unwrap().to_owned()
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
        let receive = async {
            loop {
                let message = self.receive_any().await.expect("a message");
                if message["type"] != "ping" {
                    return message;
                }
            }
        };
        timeout(TIMEOUT, receive).await.expect("a message in time")
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

    /// Subscribes, and expects the confirmation. Returns the position.
    pub(crate) async fn subscribe(&mut self, identifier: &Value) -> String {
        let position = self.confirm(&identifier.to_string()).await;
        let resync = json!({"identifier": identifier.to_string(), "message": {"event": "resync"}});
        assert_eq!(self.receive().await, resync, "a subscription without a position begins with a resync");
        position
    }

    /// Sends the command, and expects its confirmation only. Returns the position.
    pub(crate) async fn confirm(&mut self, identifier: &str) -> String {
        self.command("subscribe", identifier).await;
        let mut confirmation = self.receive().await;
        let position = confirmation["position"].take();
        let expected = json!({"type": "confirm_subscription", "identifier": identifier, "position": null});
        assert_eq!(confirmation, expected);
        position.as_str().unwrap().to_owned()
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

/// A task service that shows a task to its creator, and to everyone if it is visible in the account.
#[derive(Clone, Default)]
pub(crate) struct FakeTaskService(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tasks: Mutex<HashMap<Uuid, Task>>,
    slow: AtomicBool,
    down: AtomicBool,
    calls: AtomicUsize,
}

impl FakeTaskService {
    /// Creates a task that this person may see, and the managers above them.
    pub(crate) fn create_visible_to(&self, person: &Person) -> Uuid {
        self.create(person, TaskVisibility::Private)
    }

    pub(crate) fn create(&self, person: &Person, visibility: TaskVisibility) -> Uuid {
        let id = Uuid::now_v7();
        let task = Task {
            id: id.to_string(),
            created_by: person.user_id.to_string(),
            visibility: visibility.into(),
            ..Task::default()
        };
        self.0.tasks.lock().unwrap().insert(id, task);
        id
    }

    /// The task; an empty one if there is none.
    fn task(&self, id: Uuid) -> Task {
        self.0.tasks.lock().unwrap().get(&id).cloned().unwrap_or_default()
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
        let router = Router::new()
            .route("/baton.task.v1.TaskService/GetTask", axum::routing::post(get_task))
            .route("/baton.task.v1.CommentService/GetComment", axum::routing::post(get_comment))
            .with_state(self);
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
        let task = self.0.task(request.get_ref().id.parse().unwrap());
        let seen = claims["sub"] == task.created_by.as_str() || task.visibility() == TaskVisibility::Account;
        ready(if seen {
            Ok(tonic::Response::new(GetTaskResponse { task: Some(task) }))
        } else {
            Err(baton_errors::Error::from(Reason::TaskNotFound).into())
        })
    }
}

async fn get_comment(
    State(tasks): State<FakeTaskService>,
    request: http::Request<Body>,
) -> http::Response<tonic::body::Body> {
    if tasks.0.slow.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let codec = ValidatingCodec::<GetCommentResponse, GetCommentRequest>::default();
    tonic::server::Grpc::new(codec).unary(GetComment(tasks), request).await
}

/// Every comment has its own id as its text.
struct GetComment(FakeTaskService);

impl UnaryService<GetCommentRequest> for GetComment {
    type Response = GetCommentResponse;
    type Future = Ready<Result<tonic::Response<GetCommentResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<GetCommentRequest>) -> Self::Future {
        let tasks = &self.0.0;
        tasks.calls.fetch_add(1, Ordering::AcqRel);
        if tasks.down.load(Ordering::Acquire) {
            return ready(Err(Status::unavailable("down")));
        }
        let body = request.into_inner().comment_id;
        ready(Ok(tonic::Response::new(GetCommentResponse { comment: Some(Comment { body, ..Comment::default() }) })))
    }
}
