//! The three other users, and the bounds that must hold for them.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use baton_proto::baton::{
    auth::v1::{LoginRequest, LoginResponse},
    live::v1::{BoardKind, ChannelKind, WatchRequest, WatchResponse, live_service_client::LiveServiceClient},
    notification::v1::{ListNotificationsRequest, ListNotificationsResponse},
    task::v1::{
        CreateTaskRequest, CreateTaskResponse, GetTaskRequest, GetTaskResponse, ListTasksRequest, ListTasksResponse,
    },
    tenancy::v1::{GetAccountRequest, GetAccountResponse},
};
use baton_tests::{Call, GrpcWeb, Meter, PASSWORD, Person, Platform, eventually, grpc_web::Frame};
use futures_util::{SinkExt, StreamExt, future::join_all};
use prost::Message;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{connect_async, tungstenite};
use tonic::{Request, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;
use uuid::Uuid;

/// Timeout of a call.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(8);
/// Duration of the baseline before the attack.
const BASELINE_DURATION: Duration = Duration::from_secs(1);
/// Minimum number of calls per user and phase.
const MIN_CALLS: usize = 10;
/// Pause between two calls of a user: this is not a load test.
const CALL_INTERVAL: Duration = Duration::from_millis(15);
/// Interval of memory and log checks.
const MEMORY_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Maximum growth of memory during an attack, in MiB. It includes the pools and caches that the three users fill.
const MAX_MEMORY_MIB: u64 = 100;
/// Maximum log lines during an attack: one per call, not one per byte.
const MAX_LOG_LINES: usize = 2000;
/// Words that must never be printed: server faults, and connections in a wrong state.
const FAULTS: [&str; 4] = ["ERROR", "panicked", "already a transaction in progress", "read-only transaction"];

/// Three users in three accounts.
pub(super) struct Neighbours {
    all: Vec<Arc<Neighbour>>,
    live: Vec<Live>,
    meter: Meter,
}

struct Neighbour {
    person: Person,
    account_id: Uuid,
    grpc: Channel,
    web: GrpcWeb,
    /// Whether they also sign in repeatedly.
    signs_in: bool,
    /// The task created last.
    task: Mutex<String>,
}

/// Latencies and errors of the three users in a phase.
#[derive(Default)]
struct CallStats {
    took: Vec<Duration>,
    errors: Vec<String>,
}

impl Neighbours {
    /// Three users, each with an account and a live stream of its board: over gRPC, gRPC-Web and WebSocket.
    pub(super) async fn of(platform: &Platform) -> Self {
        Self::new(platform, false).await
    }

    /// Three users who also sign in repeatedly.
    pub(super) async fn who_sign_in(platform: &Platform) -> Self {
        Self::new(platform, true).await
    }

    async fn new(platform: &Platform, signs_in: bool) -> Self {
        let neighbour = async |name| {
            let person = platform.person(name).await;
            let account_id = person.create_account(name).await;
            let person = person.at(account_id);
            let task = Mutex::new(person.create_task("The first").await.to_string());
            let (grpc, web) = (platform.grpc(), platform.grpc_web());
            Arc::new(Neighbour { person, account_id, grpc, web, signs_in, task })
        };
        let all = join_all(["ada", "ben", "cleo"].map(neighbour)).await;
        let live = vec![
            Live::over_grpc(&all[0]).await,
            Live::over_grpc_web(&all[1]).await,
            Live::over_cable(platform, &all[2]).await,
        ];
        Self { all, live, meter: platform.meter() }
    }

    /// Lets the three work without and then during the attack. They must see no error, memory and log must stay within
    /// their bounds, and their live streams must stay open.
    pub(super) async fn undisturbed_by<T>(&self, attack: impl Future<Output = T>) -> T {
        let (baseline, ()) = self.work_during(sleep(BASELINE_DURATION)).await;
        assert!(baseline.errors.is_empty(), "before any attack: {:#?}", baseline.errors);

        let (memory, lines) = (self.meter.memory_kib(), self.meter.printed_lines());
        let attack = pin!(attack);
        let guarded = async {
            let mut peak = 0;
            let watch = async {
                loop {
                    let now = self.meter.memory_kib().unwrap_or_default();
                    peak = peak.max(now.saturating_sub(memory.unwrap_or_default()) / 1024);
                    assert!(peak <= MAX_MEMORY_MIB, "memory grew by {peak} MiB during the attack");
                    let printed = self.meter.printed_lines() - lines;
                    assert!(printed <= MAX_LOG_LINES, "{printed} lines were printed during the attack");
                    sleep(MEMORY_POLL_INTERVAL).await;
                }
            };
            let result = tokio::select! {
                result = attack => result,
                () = watch => unreachable!("it watches until the attack is over"),
            };
            (result, peak)
        };
        let (attacked, (result, peak)) = self.work_during(guarded).await;
        let printed: Vec<_> = self.meter.printed().split_off(lines);
        let faults: Vec<_> = printed.iter().filter(|line| FAULTS.iter().any(|fault| line.contains(fault))).collect();
        let printed = printed.len();
        eprintln!(
            "p99 {:?} in quiet and {:?} during the attack ({:.1} times); {} and {} calls; memory + {peak} MiB, \
             {printed} lines printed",
            baseline.p99(),
            attacked.p99(),
            attacked.p99().as_secs_f64() / baseline.p99().as_secs_f64(),
            baseline.took.len(),
            attacked.took.len(),
        );
        let (failed, some) = (attacked.errors.len(), attacked.errors.iter().take(5).collect::<Vec<_>>());
        let all = failed + attacked.took.len();
        let some_faults = &faults[..faults.len().min(5)];
        assert!(failed == 0, "{failed} of {all} calls of the others failed: {some:#?}\nfaults: {some_faults:#?}");
        assert!(faults.is_empty(), "{} lines report faults: {some_faults:#?}", faults.len());
        for (neighbour, live) in self.all.iter().zip(&self.live) {
            let task = neighbour.person.create_task("The last").await;
            live.shows(task).await;
        }
        result
    }

    async fn work_during<T>(&self, phase: impl Future<Output = T>) -> (CallStats, T) {
        let over = Arc::new(AtomicBool::new(false));
        let work: Vec<_> = self.all.iter().map(|one| tokio::spawn(Arc::clone(one).work(Arc::clone(&over)))).collect();
        let result = phase.await;
        over.store(true, Ordering::SeqCst);
        let mut all = CallStats::default();
        for seen in join_all(work).await {
            let seen = seen.expect("they do not panic");
            all.took.extend(seen.took);
            all.errors.extend(seen.errors);
        }
        (all, result)
    }
}

impl CallStats {
    fn p99(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get((took.len() * 99 / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// The protocols that a neighbour uses in turn.
#[derive(Debug, Clone, Copy)]
enum Dialect {
    Rest,
    Grpc,
    Web,
}

/// The actions that a neighbour performs in turn.
#[derive(Debug, Clone, Copy)]
enum Action {
    Create,
    Get,
    List,
    GetAccount,
    ListNotifications,
    SignIn,
}

impl Neighbour {
    async fn work(self: Arc<Self>, over: Arc<AtomicBool>) -> CallStats {
        let dialects = [Dialect::Rest, Dialect::Grpc, Dialect::Web];
        let usual = [Action::Create, Action::Get, Action::List, Action::GetAccount, Action::ListNotifications];
        let actions: &[Action] = if self.signs_in { &[Action::SignIn, Action::Create, Action::List] } else { &usual };
        let mut seen = CallStats::default();
        for n in 0.. {
            // The effect of a short attack may appear later.
            if over.load(Ordering::SeqCst) && (n >= MIN_CALLS || !seen.errors.is_empty()) {
                break;
            }
            let (dialect, action) = (dialects[n % dialects.len()], actions[n / dialects.len() % actions.len()]);
            let started = Instant::now();
            match timeout(CALL_TIMEOUT, self.act(dialect, action)).await {
                Ok(Ok(())) => seen.took.push(started.elapsed()),
                Ok(Err(error)) => seen.errors.push(format!("{action:?} over {dialect:?}: {error}")),
                Err(_) => seen.errors.push(format!("{action:?} over {dialect:?}: no answer within {CALL_TIMEOUT:?}")),
            }
            sleep(CALL_INTERVAL).await;
        }
        seen
    }

    async fn act(&self, dialect: Dialect, action: Action) -> Result<(), String> {
        let (task, account_id) = (self.task.lock().unwrap().clone(), self.account_id.to_string());
        match (dialect, action) {
            (Dialect::Rest, Action::Create) => {
                let created = self.rest(self.person.post("/v1/tasks", &json!({"title": "Over REST"}))).await?;
                self.created(created["id"].as_str().unwrap_or_default());
            }
            (Dialect::Rest, action) => {
                let path = match action {
                    Action::Create | Action::List => "/v1/tasks?per_page=10".to_owned(),
                    Action::Get => format!("/v1/tasks/{task}"),
                    Action::GetAccount => format!("/v1/accounts/{account_id}"),
                    Action::ListNotifications => "/v1/notifications".to_owned(),
                    Action::SignIn => {
                        let login = json!({"email": self.person.email, "password": PASSWORD});
                        self.rest(self.person.call(Method::POST, "/v1/auth/login").json(&login)).await?;
                        return Ok(());
                    }
                };
                self.rest(self.person.get(&path)).await?;
            }
            (dialect, Action::Create) => {
                let message = CreateTaskRequest { title: format!("Over {dialect:?}"), ..Default::default() };
                let response: CreateTaskResponse =
                    self.rpc(dialect, "baton.task.v1.TaskService/CreateTask", message).await?;
                self.created(&response.task.unwrap_or_default().id);
            }
            (dialect, Action::Get) => {
                let message = GetTaskRequest { id: task, as_of: None };
                self.rpc::<GetTaskResponse>(dialect, "baton.task.v1.TaskService/GetTask", message).await?;
            }
            (dialect, Action::List) => {
                let message = ListTasksRequest::default();
                self.rpc::<ListTasksResponse>(dialect, "baton.task.v1.TaskService/ListTasks", message).await?;
            }
            (dialect, Action::GetAccount) => {
                let message = GetAccountRequest { account_id };
                self.rpc::<GetAccountResponse>(dialect, "baton.tenancy.v1.AccountService/GetAccount", message).await?;
            }
            (dialect, Action::ListNotifications) => {
                let rpc = "baton.notification.v1.NotificationService/ListNotifications";
                self.rpc::<ListNotificationsResponse>(dialect, rpc, ListNotificationsRequest::default()).await?;
            }
            (dialect, Action::SignIn) => {
                let message = LoginRequest { email: self.person.email.clone(), password: PASSWORD.to_owned() };
                self.rpc::<LoginResponse>(dialect, "baton.auth.v1.AuthService/Login", message).await?;
            }
        }
        Ok(())
    }

    fn created(&self, id: &str) {
        id.clone_into(&mut self.task.lock().unwrap());
    }

    async fn rest(&self, call: Call) -> Result<Value, String> {
        let response = call.try_send().await.map_err(|error| format!("{error:?}"))?;
        if response.status == 200 { Ok(response.json()) } else { Err(format!("{} {}", response.status, response.text)) }
    }

    async fn rpc<A: Message + Default + 'static>(
        &self,
        dialect: Dialect,
        rpc: &str,
        message: impl Message + 'static,
    ) -> Result<A, String> {
        let path = format!("/{rpc}");
        let refused = |status: tonic::Status| format!("{:?} {}", status.code(), status.message());
        if let Dialect::Web = dialect {
            return self.web.call(Some((&self.person, self.account_id)), &path, &message).await.map_err(refused);
        }
        let mut client = Grpc::new(self.grpc.clone());
        client.ready().await.map_err(|error| format!("{error:?}"))?;
        let request: Request<_> = self.person.grpc(Some(self.account_id), message);
        let response = client.unary(request, path.parse().expect("a path"), ProstCodec::default()).await;
        response.map(tonic::Response::into_inner).map_err(refused)
    }
}

/// A live stream: the tasks that it showed, and why it ended.
#[derive(Clone, Default)]
struct Live(Arc<Mutex<(HashSet<String>, Option<String>)>>);

impl Live {
    fn record(&self, task_id: &str) {
        self.0.lock().unwrap().0.insert(task_id.to_owned());
    }

    fn ended(&self, why: String) {
        self.0.lock().unwrap().1 = Some(why);
    }

    /// Waits until the stream shows the task.
    async fn shows(&self, task: Uuid) {
        eventually("the stream shows the last task", || async {
            let live = self.0.lock().unwrap();
            assert!(live.1.is_none(), "a neighbour's stream ended: {:?}", live.1);
            live.0.contains(&task.to_string()).then_some(())
        })
        .await;
    }

    async fn over_grpc(neighbour: &Neighbour) -> Self {
        let live = Self::default();
        let mut channels = LiveServiceClient::new(neighbour.grpc.clone());
        let request = neighbour.person.grpc(Some(neighbour.account_id), account_board());
        let mut watch = channels.watch(request).await.expect("the watch begins").into_inner();
        watch.message().await.expect("the watch goes on").expect("the first message");
        let seen = live.clone();
        tokio::spawn(async move {
            loop {
                match watch.message().await {
                    Ok(Some(event)) => seen.record(event.message.unwrap_or_default().task_id()),
                    end => return seen.ended(format!("{end:?}")),
                }
            }
        });
        live
    }

    async fn over_grpc_web(neighbour: &Neighbour) -> Self {
        let live = Self::default();
        let caller = Some((&neighbour.person, neighbour.account_id));
        let watch = neighbour.web.open(caller, "/baton.live.v1.LiveService/Watch", &account_board()).await;
        let mut watch = watch.expect("the watch begins");
        watch.next().await.expect("the watch goes on").expect("the first message");
        let seen = live.clone();
        tokio::spawn(async move {
            loop {
                match watch.next().await {
                    Ok(Some(Frame::Message(event))) => {
                        let event = WatchResponse::decode(&*event).expect("an event");
                        seen.record(event.message.unwrap_or_default().task_id());
                    }
                    end => return seen.ended(format!("{end:?}")),
                }
            }
        });
        live
    }

    async fn over_cable(platform: &Platform, neighbour: &Neighbour) -> Self {
        let live = Self::default();
        let Neighbour { person, account_id, .. } = neighbour;
        let url = format!("ws://{}/cable?token={}&account_id={account_id}", platform.address(), person.token);
        let (mut socket, _) = connect_async(url).await.expect("the socket opens");
        let identifier = json!({"channel": "BoardChannel", "board_id": "account"}).to_string();
        let subscribe = json!({"command": "subscribe", "identifier": identifier}).to_string();
        socket.send(tungstenite::Message::text(subscribe)).await.expect("the socket is open");
        let (seen, started) = (live.clone(), Arc::new(tokio::sync::Notify::new()));
        let begins = Arc::clone(&started);
        tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                let message: Value =
                    message.to_text().ok().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
                match message["type"].as_str() {
                    Some("confirm_subscription") => begins.notify_one(),
                    Some("disconnect") => return seen.ended(message.to_string()),
                    _ => seen.record(message["message"]["task_id"].as_str().unwrap_or_default()),
                }
            }
            seen.ended("the socket closed".to_owned());
        });
        timeout(CALL_TIMEOUT, started.notified()).await.expect("the subscription is confirmed");
        live
    }
}

fn account_board() -> WatchRequest {
    WatchRequest { channel: ChannelKind::Board.into(), board: BoardKind::Account.into(), ..WatchRequest::default() }
}
