//! Thousands of calls canceled midway: their resources are released in a consistent state.

use std::{sync::Mutex, time::Duration};

use baton_embedded::{Options, Postgres, PostgresBinaries};
use baton_proto::baton::task::v1::{
    CreateTaskRequest, GetMyBoardRequest, ListTasksRequest, SearchTasksRequest,
    board_service_client::BoardServiceClient, search_service_client::SearchServiceClient,
    task_service_client::TaskServiceClient,
};
use baton_tests::{Person, Platform, eventually};
use futures_util::{StreamExt, future::join_all, stream};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::timeout;
use tonic::{Code, transport::Channel};
use uuid::Uuid;

use super::{attacker::Attacker, neighbours::Neighbours};

const CALLS: usize = 4000;
const CONCURRENCY: usize = 24;
/// Calls are canceled at a random moment before this.
const MAX_CANCEL_DELAY: Duration = Duration::from_millis(20);
/// Small, so that a leaked or inconsistent connection is noticed soon.
const POOL_SIZE: usize = 4;

/// One call of the attacker that is canceled midway.
struct Call<'a> {
    attacker: &'a Attacker,
    grpc: Channel,
    /// Idempotency keys of the tasks to create.
    keys: &'a Mutex<Vec<String>>,
    number: usize,
}

impl Call<'_> {
    /// Starts the call and drops it.
    async fn start_and_drop(self) {
        let moment = MAX_CANCEL_DELAY.mul_f64(rand::random());
        match self.number % 4 {
            0 => drop(timeout(moment, self.over_rest()).await),
            1 => drop(timeout(moment, self.over_grpc(None)).await),
            // The client sends a deadline, and the platform cancels the call.
            2 => self.over_grpc(Some(moment)).await,
            _ => drop(timeout(moment, self.over_grpc_web()).await),
        }
    }

    fn kind(&self) -> usize {
        self.number / 4 % 4
    }

    async fn over_rest(&self) {
        let person = &self.attacker.person;
        let call = match self.kind() {
            0 => person.get("/v1/tasks?per_page=50"),
            1 => person.get("/v1/boards/my-board"),
            2 => person.get("/v1/tasks/search?q=large"),
            _ => {
                let key = Uuid::new_v4().to_string();
                self.keys.lock().unwrap().push(key.clone());
                create(person, &key)
            }
        };
        drop(call.try_send().await);
    }

    async fn over_grpc(&self, deadline: Option<Duration>) {
        let (person, account_id) = (&self.attacker.person, Some(self.attacker.account_id));
        macro_rules! request {
            ($message:expr) => {{
                let mut request = person.grpc(account_id, $message);
                deadline.into_iter().for_each(|deadline| request.set_timeout(deadline));
                request
            }};
        }
        let grpc = self.grpc.clone();
        let status = match self.kind() {
            0 => TaskServiceClient::new(grpc).list_tasks(request!(ListTasksRequest::default())).await.err(),
            1 => BoardServiceClient::new(grpc).get_my_board(request!(GetMyBoardRequest::default())).await.err(),
            2 => {
                let search = SearchTasksRequest { q: "large".to_owned(), ..SearchTasksRequest::default() };
                SearchServiceClient::new(grpc).search_tasks(request!(search)).await.err()
            }
            _ => {
                let create = CreateTaskRequest { title: "Hung up".to_owned(), ..CreateTaskRequest::default() };
                TaskServiceClient::new(grpc).create_task(request!(create)).await.err()
            }
        };
        // Responses in time must be correct. Errors with a source come from the client's transport: the platform may
        // close a connection with so many resets.
        if let Some(status) = status.filter(|status| std::error::Error::source(status).is_none()) {
            assert_ne!(status.code(), Code::Internal, "{status:?}");
        }
    }

    async fn over_grpc_web(&self) {
        let caller = Some((&self.attacker.person, self.attacker.account_id));
        let web = &self.attacker.web;
        match self.kind() {
            0 => drop(web.open(caller, "/baton.task.v1.TaskService/ListTasks", &ListTasksRequest::default()).await),
            1 => drop(web.open(caller, "/baton.task.v1.BoardService/GetMyBoard", &GetMyBoardRequest::default()).await),
            _ => {
                let create = CreateTaskRequest { title: "Hung up".to_owned(), ..CreateTaskRequest::default() };
                drop(web.open(caller, "/baton.task.v1.TaskService/CreateTask", &create).await);
            }
        }
    }
}

fn create(person: &Person, key: &str) -> baton_tests::Call {
    person.post("/v1/tasks", &json!({"title": format!("Task {key}")})).header("idempotency-key", key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_thousand_canceled_calls_break_no_other_call_and_leak_nothing() {
    // A separate Postgres server, so that its log contains only this test.
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("postgres");
    let postgres = Postgres::start(&PostgresBinaries::find().unwrap(), &data, Options::throw_away()).await.unwrap();
    let url = postgres.url("postgres", Postgres::SUPERUSER);
    let pool = POOL_SIZE.to_string();
    let services = ["AUTH", "TENANCY", "TASK", "NOTIFICATION"].map(|name| format!("BATON_{name}_DATABASE_CONNECTIONS"));
    let mut variables = vec![("BATON_DATABASE_URL", &*url)];
    variables.extend(services.iter().map(|name| (&**name, &*pool)));
    let platform = Platform::start_with(&variables).await;
    let attacker = Attacker::of(&platform).await;
    attacker.create_large_tasks(20).await;
    let neighbours = Neighbours::of(&platform).await;

    let keys = Mutex::new(Vec::new());
    let channels: Vec<_> = (0..4).map(|_| platform.grpc()).collect();
    let call = |number: usize| {
        let grpc = channels[number % channels.len()].clone();
        Call { attacker: &attacker, grpc, keys: &keys, number }.start_and_drop()
    };
    neighbours.undisturbed_by(stream::iter(0..CALLS).map(call).buffer_unordered(CONCURRENCY).collect::<()>()).await;

    // No connection is leaked or left in a transaction.
    let behind = PgPool::connect(&url).await.unwrap();
    eventually("no connection is in a transaction", || async {
        let open = "select count(*) from pg_stat_activity where state like 'idle in transaction%'";
        let open: i64 = sqlx::query_scalar(open).fetch_one(&behind).await.unwrap();
        (open == 0).then_some(())
    })
    .await;
    behind.close().await;
    for _ in 0..5 {
        let calls = (0..4 * POOL_SIZE).map(|n| {
            let person = &attacker.person;
            let call = if n % 2 == 0 { create(person, &Uuid::new_v4().to_string()) } else { person.get("/v1/tasks") };
            timeout(Duration::from_secs(5), call.send())
        });
        for response in join_all(calls).await {
            let response = response.expect("a connection is free");
            assert_eq!(response.status, 200, "{}", response.text);
        }
    }
    // Each canceled create is retried with its key: it returns the task, and only one exists.
    let keys = keys.into_inner().unwrap();
    assert!(keys.len() > 100, "{} keys", keys.len());
    let again = |key: String| {
        let person = attacker.person.clone();
        async move {
            let task = eventually("the key is free again", || async {
                let response = create(&person, &key).send().await;
                assert!([200, 409].contains(&response.status), "{}", response.text);
                (response.status == 200).then(|| response.json())
            })
            .await;
            let found = person.get(&format!("/v1/tasks/{}", task["id"].as_str().unwrap())).ok().await;
            assert_eq!(found["title"], format!("Task {key}"));
            task["id"].as_str().unwrap().to_owned()
        }
    };
    let tasks: Vec<_> = stream::iter(keys.clone()).map(again).buffer_unordered(8).collect().await;
    let mut listed = 0;
    for page in 1.. {
        let list = attacker.person.get(&format!("/v1/tasks?per_page=100&page={page}")).ok().await;
        let list = list["tasks"].as_array().unwrap().clone();
        if list.is_empty() {
            break;
        }
        let of_keys = |task: &&serde_json::Value| keys.iter().any(|key| task["title"] == format!("Task {key}"));
        listed += list.iter().filter(of_keys).count();
    }
    assert_eq!(listed, tasks.len(), "a key created more than one task");

    let log = std::fs::read_to_string(data.join("log")).unwrap();
    let bad = ["WARNING:", "read-only transaction", "current transaction is aborted", "PANIC:"];
    let faulty_lines: Vec<_> = log.lines().filter(|line| bad.iter().any(|bad| line.contains(bad))).collect();
    assert!(
        faulty_lines.is_empty(),
        "{} lines in the log of Postgres: {:#?}",
        faulty_lines.len(),
        &faulty_lines[..faulty_lines.len().min(10)]
    );
    drop(platform);
    postgres.stop().await;
}
