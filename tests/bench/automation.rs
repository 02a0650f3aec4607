//! Automation: how fast rules take in events, run and fire timers, and what a neighbour notices.
//!
//! ```sh
//! cargo build --release -p baton && BATON_BIN=target/release/baton cargo bench -p baton-tests --bench automation
//! ```
//!
//! Lines, chosen by a part of their name in `BATON_BENCH_ONLY`:
//!
//! - `intake`: a backlog of events through the consumers of notification and of automation, one after the other. The account has
//!   100 rules on the event, one of which runs. Then the executions of that rule, one `set_field` each, beside updates by the
//!   same caller.
//! - `latency`: from an event to its effect, at 50 executions a second.
//! - `timers`: 100,000 timers that are due at once, with two instances.
//! - `backtest`: a backtest of 99,000 events.
//! - `neighbour`: an account's updates, alone, beside an account that changes tasks, and beside one whose rules run in rings.
//!
//! Driver, services, Postgres (`fsync` off, as in tests) and Redis share the machine. `BATON_BENCH_SECONDS` (10) is the time of a line,
//! `BATON_BENCH_EVENTS` (4,000) the number of events of the backlog.

#![allow(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for the terminal")]

mod driver;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use baton_proto::baton::task::v1::{
    TaskChange, TaskPriority, UpdateTaskRequest, task_service_client::TaskServiceClient,
};
use baton_tests::{Person, Platform, Services, Team};
use driver::{measure, measure_every, setting, settle, wanted};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sqlx::PgPool;
use tonic::transport::Endpoint;
use uuid::Uuid;

const LIMITS: [(&str, &str); 1] = [(
    "BATON_TENANCY_TIER_LIMITS",
    "free.users=1000,free.open_tasks_per_user=unlimited,free.api_requests_per_hour=unlimited,\
     free.automations=unlimited,free.automation_executions_per_hour=unlimited",
)];
/// Rules of the account, in `intake`.
const RULES: usize = 100;
/// Rules that a person may have.
const PER_PERSON: usize = 20;
/// Workers of a process of automation; as many callers update tasks.
const WORKERS: u64 = 8;
const TIMERS: i32 = 100_000;
/// Tasks and changes of each, in `backtest`.
const PAST: (usize, usize) = (1_000, 98);

struct Baton {
    platform: Platform,
    services: Services,
    team: Team,
    /// Members of the account with no rules yet.
    people: Vec<Person>,
    neighbour: Person,
    database: PgPool,
}

impl Baton {
    async fn start() -> Self {
        let mut platform = Platform::start_with(&LIMITS).await;
        let team = platform.team().await;
        let mut people = Vec::new();
        for _ in 0..RULES / PER_PERSON {
            let person = platform.person("member").await;
            platform.join(team.account_id, &team.owner, &person, "super_manager", None).await;
            people.push(person.at(team.account_id));
        }
        let neighbour = platform.person("neighbour").await;
        let account_id = neighbour.create_account("Next door").await;
        platform.sigterm();
        platform.wait_for_exit().await;
        let services = Services::start(&platform, &LIMITS).await;
        let database = PgPool::connect(platform.database_url()).await.unwrap();
        Self { platform, services, team, people, neighbour: neighbour.at(account_id), database }
    }

    async fn number(&self, select: &'static str) -> f64 {
        sqlx::query_scalar(select).fetch_one(&self.database).await.unwrap()
    }

    /// Polls until a query returns this number.
    async fn until(&self, what: &str, select: &'static str, expected: f64) {
        let deadline = Instant::now() + Duration::from_secs(300);
        while self.number(select).await < expected {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn delete_rules(&self) {
        sqlx::query("delete from automation.rules").execute(&self.database).await.unwrap();
        // The index of an account's rules is kept until it changes.
        let rule = self.rule(&self.people[0], "task_archived", json!({}), json!({"type": "archive"})).await;
        self.people[0].delete(&format!("/v1/automations/{}", rule["id"].as_str().unwrap())).ok().await;
    }

    async fn rule(&self, person: &Person, trigger: &str, conditions: Value, action: Value) -> Value {
        let rule =
            json!({"name": "A rule", "trigger_type": trigger, "trigger_conditions": conditions, "actions": [action]});
        person.post("/v1/automations", &rule).ok().await
    }

    /// Creates tasks as fast as the machine can.
    async fn create(&self, count: usize, new: &Value) -> Vec<String> {
        let create = (0..count).map(|_| async { self.team.owner.post("/v1/tasks", new).ok().await });
        let created: Vec<Value> = stream::iter(create).buffer_unordered(16).collect().await;
        created.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// Events through the consumers, and executions beside updates.
async fn intake(baton: &mut Baton) {
    let events = setting("BATON_BENCH_EVENTS", 4_000) as usize;
    for nth in 0..RULES {
        let person = &baton.people[nth / PER_PERSON];
        // All look at the event; the first one's condition holds.
        let (priority, seconds) = if nth == 0 { ("high", 60) } else { ("low", nth) };
        let conditions = json!({"all": [
            {"field": "priority", "op": "eq", "value": priority},
            {"field": "estimated_seconds", "op": "gte", "value": seconds},
        ]});
        let action = json!({"type": "set_field", "field": "priority", "value": "urgent"});
        baton.rule(person, "task_assigned", conditions, action).await;
    }
    baton.services.kill_9("automation");
    baton.services.kill_9("notification");
    let before = baton.number("select count(*)::float8 from task.outbox").await;
    let new =
        json!({"title": "Work", "priority": "high", "estimated_seconds": 3600, "assigned_to": baton.team.user.id});
    let ids = baton.create(events, &new).await;
    let published = baton.number("select count(*)::float8 from task.outbox").await - before;
    settle().await;
    let mut rates = Vec::new();
    for (service, taken_in, took) in [
        (
            "notification",
            "select count(*)::float8 from notification.notifications where type = 'task_assigned'",
            "select extract(epoch from max(handled_at) - min(handled_at))::float8 from notification.inbox
             where handled_at > now() - interval '5 minutes'",
        ),
        (
            "automation",
            "select (select count(*) from automation.jobs where kind = 'automation.run')::float8
                    + (select count(*) from automation.executions)::float8",
            "select extract(epoch from max(handled_at) - min(handled_at))::float8 from automation.inbox
             where handled_at > now() - interval '5 minutes'",
        ),
    ] {
        baton.services.start_one(if service == "notification" { "notification" } else { "automation" });
        baton.until(service, taken_in, events as f64).await;
        let rate = published / baton.number(took).await;
        println!("| {service} takes in | {rate:.0} events/s |");
        rates.push(rate);
    }
    println!("| automation / notification | {:.0} % |", 100.0 * rates[1] / rates[0]);
    let ended = "select count(*)::float8 from automation.executions where ended_at is not null";
    baton.until("the executions", ended, events as f64).await;
    let took = "select extract(epoch from max(ended_at) - min(started_at))::float8 from automation.executions";
    let executions = events as f64 / baton.number(took).await;

    let url = baton.services.variable("BATON_TASK_URL").to_owned();
    let tasks = TaskServiceClient::new(Endpoint::from_shared(url).unwrap().connect_lazy());
    let (caller, account) = (baton.people[0].clone(), baton.team.account_id);
    let updates = measure(WORKERS, setting("BATON_BENCH_SECONDS", 10), move |n| {
        let priority = if (n / ids.len()).is_multiple_of(2) { TaskPriority::High } else { TaskPriority::Urgent };
        let message = UpdateTaskRequest {
            id: ids[n % ids.len()].clone(),
            task: Some(TaskChange { priority: priority.into(), ..TaskChange::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["priority".to_owned()] }),
        };
        let (request, mut tasks) = (caller.grpc(Some(account), message), tasks.clone());
        async move { drop(tasks.update_task(request).await.expect("updated")) }
    });
    let updates = updates.await.rate();
    println!("| executions of one set_field | {executions:.0}/s |");
    println!("| updates by the same caller, {WORKERS} at a time | {updates:.0}/s |");
    println!("| executions / updates | {:.0} % |", 100.0 * executions / updates);
    baton.delete_rules().await;
}

async fn latency(baton: &Baton) {
    let action = json!({"type": "set_field", "field": "priority", "value": "urgent"});
    let rule = baton.rule(&baton.people[0], "task_created", json!({"priority": "low"}), action).await;
    let (owner, seconds) = (baton.team.owner.clone(), setting("BATON_BENCH_SECONDS", 10));
    let created = measure_every(Duration::from_secs(1), 50, seconds, move |_| {
        let call = owner.post("/v1/tasks", &json!({"title": "Soon", "priority": "low"}));
        async move { assert_eq!(call.send().await.status, 200) }
    });
    created.await;
    settle().await;
    let effects = sqlx::query_as::<_, (i64, f64, f64)>(
        "select count(*), percentile_cont(0.5) within group (order by took), percentile_cont(0.95) within group (order by took)
         from (select extract(epoch from effect.occurred_at - t.created_at)::float8 * 1000 as took
               from task.tasks t join task.task_events effect on effect.task_id = t.id and effect.via is not null
               where t.title = 'Soon') effects",
    );
    let (count, p50, p95) = effects.fetch_one(&baton.database).await.unwrap();
    let tasks = baton.number("select count(*)::float8 from task.tasks where title = 'Soon'").await;
    println!("| event to effect, 50 a second: {count} of {tasks} | p50 {p50:.0} ms, p95 {p95:.0} ms |");
    baton.people[0].delete(&format!("/v1/automations/{}", rule["id"].as_str().unwrap())).ok().await;
}

async fn timers(baton: &mut Baton) {
    let mut rules: Vec<Uuid> = Vec::new();
    for nth in 0..50 {
        let person = &baton.people[nth / PER_PERSON];
        let rule = baton.rule(person, "task_paused", json!({"for_seconds": 60}), json!({"type": "archive"})).await;
        rules.push(rule["id"].as_str().unwrap().parse().unwrap());
    }
    baton.services.start_another("automation", "automation-2");
    settle().await;
    let jobs = "select n_tup_ins::float8 from pg_stat_user_tables where schemaname = 'automation' and relname = 'jobs'";
    let before = baton.number(jobs).await;
    // Each of a task of its own. Their work ends at once, because the rules were not enabled then.
    sqlx::query(
        "insert into automation.timers (id, account_id, rule_id, task_id, kind, status, since, fires_at, try_at, occurrence)
         select gen_random_uuid(), $1, $2[1 + nth % 50], task_id, 'status', 'paused', at - interval '60 seconds', at, at,
                jsonb_build_object('event_id', gen_random_uuid(), 'kind', 'task.paused', 'occurred_at', at - interval '60 seconds',
                    'actor', null, 'task_id', task_id, 'changed_fields', '[]'::jsonb, 'late', false, 'depth', 0, 'rule_id', null,
                    'task', jsonb_build_object('version', 3, 'status', 'paused', 'previous_status', 'in_progress',
                        'priority', 'high', 'visibility', 'private', 'creator', gen_random_uuid(), 'assignee', null,
                        'due_at', null, 'estimated_seconds', null, 'started_at', null))
         from (select nth, gen_random_uuid() as task_id, now() + interval '20 seconds' + nth * interval '10 microseconds' as at
               from generate_series(1, $3) nth) timers",
    )
    .bind(baton.team.account_id)
    .bind(&rules)
    .bind(TIMERS)
    .execute(&baton.database)
    .await
    .unwrap();
    let fired = "select count(*)::float8 from automation.timers where fired_at is not null";
    baton.until("all timers", fired, TIMERS.into()).await;
    let took = "select extract(epoch from max(fired_at) - min(fires_at))::float8 from automation.timers";
    let rate = f64::from(TIMERS) / baton.number(took).await;
    println!("| {TIMERS} timers due in one second, two instances | {rate:.0}/s |");
    settle().await;
    println!("| jobs that they enqueued | {:.0} |", baton.number(jobs).await - before);
    baton.services.kill_9("automation-2");
    sqlx::query("delete from automation.jobs").execute(&baton.database).await.unwrap();
    baton.delete_rules().await;
}

async fn backtest(baton: &Baton) {
    let (tasks, rounds) = PAST;
    let person = &baton.people[0];
    let from = baton.number("select extract(epoch from now())::float8").await;
    let ids = baton.create(tasks, &json!({"title": "Long ago", "visibility": "account"})).await;
    for round in 0..rounds {
        let priority = if round % 2 == 0 { "high" } else { "low" };
        let update = json!({"action": "update", "task_ids": ids, "task": {"priority": priority}});
        let updated = baton.team.owner.post("/v1/tasks/bulk", &update).ok().await;
        assert_eq!(updated["failed"], 0, "{updated}");
    }
    settle().await;
    let time = |seconds: f64| chrono::DateTime::from_timestamp(seconds as i64, 0).unwrap().to_rfc3339();
    let to = baton.number("select extract(epoch from now())::float8").await;
    let conditions = json!({"fields": ["priority"], "priority": "low"});
    let rule = json!({"name": "A rule", "trigger_type": "task_updated", "trigger_conditions": conditions, "actions": [{"type": "archive"}]});
    let request = json!({"automation": rule, "from": time(from), "to": time(to)});
    let begun = Instant::now();
    let found = person.post("/v1/automations/backtest", &request).ok().await;
    println!(
        "| backtest of {} events: {} matches | {:.1} s |",
        found["events"],
        found["matches"],
        begun.elapsed().as_secs_f64()
    );
}

/// Rings of one to six rules, in an account that keeps them busy.
async fn neighbour(baton: &Baton) {
    let neighbour = &baton.neighbour;
    let own = neighbour.create_task("Next door").await;
    let (busy, seconds) = (&baton.team.owner, setting("BATON_BENCH_SECONDS", 10));
    let ids = baton.create(200, &json!({"title": "Elsewhere", "visibility": "account"})).await;
    let update = async |name: &str, beside: bool| {
        let nth = AtomicUsize::new(0);
        let keep_busy = async {
            if !beside {
                return std::future::pending().await;
            }
            let mut ticks = tokio::time::interval(Duration::from_millis(25));
            loop {
                ticks.tick().await;
                let nth = nth.fetch_add(1, Ordering::Relaxed);
                let (id, ring) = (&ids[nth % ids.len()], 1 + nth % 6);
                let change = json!({"title": format!("Ring {ring} step 0")});
                busy.patch(&format!("/v1/tasks/{id}"), &change).send().await;
            }
        };
        let (person, path) = (neighbour.clone(), format!("/v1/tasks/{own}"));
        let measured = measure_every(Duration::from_secs(1), 50, seconds, move |n| {
            let call = person.patch(&path, &json!({"title": format!("Title {n}")}));
            async move { assert_eq!(call.send().await.status, 200) }
        });
        let times = tokio::select! {
            times = measured => times,
            () = keep_busy => return,
        };
        println!("| neighbour's updates, 50/s, {name} | {} |", times.columns());
    };
    update("alone", false).await;
    update("beside 40 updates a second", true).await;
    for length in 1..=6 {
        for step in 0..length {
            let title = |step: usize| format!("Ring {length} step {}", step % length);
            let next = json!({"type": "set_field", "field": "title", "value": title(step + 1)});
            let conditions = json!({"fields": ["title"], "title": title(step)});
            baton.rule(&baton.people[length % 5], "task_updated", conditions, next).await;
        }
    }
    update("beside the same and rings of rules", true).await;
    let runs = baton
        .number("select count(*)::float8 from automation.executions where started_at > now() - interval '20 seconds'");
    println!("| executions in the last 20 seconds | {} |", runs.await);
    baton.delete_rules().await;
}

#[tokio::main]
async fn main() {
    let mut baton = Baton::start().await;
    println!("{} cores", std::thread::available_parallelism().map_or(0, usize::from));
    println!("| automation | |");
    println!("|---|---|");
    if wanted("intake") {
        intake(&mut baton).await;
    }
    if wanted("latency") {
        latency(&baton).await;
    }
    if wanted("neighbour") {
        neighbour(&baton).await;
    }
    if wanted("backtest") {
        backtest(&baton).await;
    }
    if wanted("timers") {
        timers(&mut baton).await;
    }
    let Baton { platform, services, database, .. } = baton;
    database.close().await;
    drop(services);
    drop(platform);
}
