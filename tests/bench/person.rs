//! The export and the erasure of a person with 100,000 rows in the account of the benchmark, beside another caller.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use baton_embedded::Postgres;
use baton_tests::{Person, Platform, Team, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::{task::JoinHandle, time::sleep};

/// Time between two reads of the other caller.
const READ_INTERVAL: Duration = Duration::from_millis(20);
/// How long the other caller reads alone.
const ALONE: Duration = Duration::from_secs(20);
/// Rows of the person: reminders and notifications, which are deleted, and comments, which stay.
const ROWS: &str = "
    alter table task.comments disable trigger user;
    insert into task.comments (id, account_id, task_id, author_id, body, created_at)
    select gen_random_uuid(), account_id, id, :user, 'A comment on ' || title, created_at
    from task.tasks where account_id = :account order by id limit 40000;
    alter table task.comments enable trigger user;
    insert into task.reminders (id, account_id, task_id, user_id, remind_at, created_at)
    select gen_random_uuid(), account_id, id, :user, now() + interval '1 year', now()
    from task.tasks where account_id = :account order by id limit 30000;
    insert into notification.notifications (id, account_id, user_id, type, task_id, actor_id, source_event_id, created_at)
    select gen_random_uuid(), account_id, :user, 'task_assigned', id, created_by, gen_random_uuid(), created_at
    from task.tasks where account_id = :account order by id limit 30000;
    analyze task.comments, task.reminders, notification.notifications;";

/// Somebody who reads while the work goes on.
struct Other {
    stop: Arc<AtomicBool>,
    reads: JoinHandle<Vec<Duration>>,
    memory_kib: u64,
    begun: Instant,
}

impl Other {
    fn begin(owner: &Person) -> Self {
        let (owner, stop) = (owner.clone(), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&stop);
        let reads = tokio::spawn(async move {
            let mut took = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let begun = Instant::now();
                assert_eq!(owner.get("/v1/tasks?status=pending").send().await.status, 200);
                took.push(begun.elapsed());
                sleep(READ_INTERVAL).await;
            }
            took
        });
        Self { stop, reads, memory_kib: 0, begun: Instant::now() }
    }

    /// Notes how much memory the platform uses at most.
    fn look(&mut self, platform: &Platform) {
        self.memory_kib = self.memory_kib.max(platform.memory_kib().unwrap_or_default());
    }

    /// Prints how long the work took, and what the other caller noticed; returns their p95 in milliseconds.
    async fn end(self, name: &str) -> f64 {
        let took = self.begun.elapsed().as_secs_f64();
        self.stop.store(true, Ordering::Relaxed);
        let mut reads = self.reads.await.unwrap();
        reads.sort_unstable();
        let at = |share: f64| reads[((reads.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        let (p50, p95, memory) = (at(0.5), at(0.95), self.memory_kib / 1024);
        println!("| {name:<22} | {took:>7.1} | {p50:>8.2} | {p95:>8.2} | {memory:>11} |");
        p95
    }
}

/// Prints a table of the export and the erasure.
pub(crate) async fn measure(platform: &Platform, postgres: &Postgres, team: &Team) {
    let url = postgres.url("postgres", Postgres::SUPERUSER);
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let rows = ROWS.replace(":user", &format!("'{}'::uuid", team.user.id));
    let rows = rows.replace(":account", &format!("'{}'::uuid", team.account_id));
    sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut conn).await.unwrap();
    println!("\n| person of 100,000 rows | seconds | read p50 | read p95 | MiB at most |");
    println!("|------------------------|--------:|---------:|---------:|------------:|");

    let mut other = Other::begin(&team.owner);
    sleep(ALONE).await;
    other.look(platform);
    let alone = other.end("nothing").await;

    let mut other = Other::begin(&team.owner);
    let export = team.user.post("/v1/privacy/data-export", &json!({})).ok().await;
    let path = format!("/v1/privacy/data-export/{}", export["export_id"].as_str().unwrap());
    while team.user.get(&path).ok().await["status"] == "processing" {
        other.look(platform);
        sleep(Duration::from_millis(200)).await;
    }
    let exported = other.end("export").await;

    let request = request_erasure(platform, &team.user).await;
    let due = "update privacy.erasures set erase_at = now()";
    sqlx::query(due).execute(&mut conn).await.unwrap();
    let token = json!({"cancellation_token": request["cancellation_token"]});
    let mut other = Other::begin(&team.owner);
    while platform.rest().post("/v1/privacy/delete-account/status", &token).ok().await["state"] != "verifying" {
        other.look(platform);
        sleep(Duration::from_millis(200)).await;
    }
    let erased = other.end("erasure").await;
    println!(
        "\np95 of the other caller: {:.2} times beside the export, {:.2} times beside the erasure",
        exported / alone,
        erased / alone
    );
}

async fn request_erasure(platform: &Platform, person: &Person) -> Value {
    person.post("/v1/privacy/delete-account/verification", &json!({})).ok().await;
    let mailbox = format!("/dev/mailbox?to={}", person.email);
    let code = eventually("a mail with a code", || async {
        let mails = platform.rest().get(&mailbox).ok().await;
        mails["messages"].as_array().unwrap().iter().find_map(|mail| {
            let (_, code) = mail["text"].as_str()?.split_once("Your code: ")?;
            code.get(..8).map(str::to_owned)
        })
    });
    let request = json!({"verification_code": code.await});
    person.call(Method::DELETE, "/v1/privacy/delete-account").json(&request).ok().await
}
