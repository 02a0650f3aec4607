//! The gate on a real Postgres, as the roles of a service.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

use std::time::Duration;

use baton_consent::{Change, Known, WITHDRAWN_JOB, Withdrawn, apply};
use baton_store::{Db, Tenant};
use baton_testkit::database::Database;
use proptest::{prelude::*, test_runner::TestRunner};
use sqlx::{Connection, PgConnection, migrate::Migrator};
use tokio::{task::JoinSet, time::sleep};
use uuid::Uuid;

static PLATFORM_ONLY: Migrator = Migrator::DEFAULT;
const SCHEMA: &str = "task";

struct Collector {
    db: Db,
    database: Database,
}

impl Collector {
    async fn start() -> Self {
        let database = Database::create(&[(SCHEMA, &PLATFORM_ONLY)]).await;
        let collector = Self { db: database.open(SCHEMA), database };
        collector
            .admin("create table task.seen (user_id uuid not null, at timestamptz not null default clock_timestamp())")
            .await;
        collector.admin("grant select, insert on task.seen to baton_task").await;
        // The first call says which purposes there are, and the next ones count.
        collector.apply_all([], Known::default()).await;
        collector
    }

    async fn admin(&self, sql: &'static str) {
        let mut conn = PgConnection::connect(&self.database.admin_url()).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
    }

    /// Stores an event, after some work in its transaction. Returns whether it was stored.
    async fn store(&self, user_id: Uuid, work: Duration) -> bool {
        let mut tx = self.db.begin(Tenant::user(user_id)).await.unwrap();
        let stored =
            sqlx::query("insert into task.seen (user_id) select $1 where task.consent_admits($1, 'analytics')")
                .bind(user_id)
                .execute(tx.connection())
                .await
                .unwrap();
        sleep(work).await;
        tx.commit().await.unwrap();
        stored.rows_affected() == 1
    }

    async fn stored(&self, user_id: Uuid) -> i64 {
        let count = sqlx::query_scalar("select count(*) from task.seen where user_id = $1").bind(user_id);
        count.fetch_one(self.db.app()).await.unwrap()
    }

    async fn apply(&self, user_id: Uuid, given: bool, epoch: i64) {
        self.apply_all([change(user_id, given, epoch)], COMPLETE).await;
    }

    async fn apply_all<const N: usize>(&self, changes: [Change; N], known: Known) -> i64 {
        apply(&self.db, &PURPOSES, changes, known).await.unwrap()
    }

    /// The jobs that delete what was collected.
    async fn deletions(&self) -> Vec<Withdrawn> {
        let payloads: Vec<serde_json::Value> =
            sqlx::query_scalar("select payload from task.jobs where kind = $1 order by id")
                .bind(WITHDRAWN_JOB)
                .fetch_all(self.db.system())
                .await
                .unwrap();
        payloads.into_iter().map(|payload| serde_json::from_value(payload).unwrap()).collect()
    }
}

const PURPOSES: [&str; 1] = ["analytics"];
const COMPLETE: Known = Known { after: 0, through: 0, complete: true };

/// A change; withdrawals have their own epoch.
fn change(user_id: Uuid, given: bool, epoch: i64) -> Change {
    let withdrawn_epoch = if given { 0 } else { epoch };
    Change { user_id, purpose: "analytics".to_owned(), given, epoch, answered_at: chrono::Utc::now(), withdrawn_epoch }
}

#[tokio::test]
async fn nothing_is_stored_without_consent_and_contact() {
    let collector = Collector::start().await;
    let (ann, ben) = (Uuid::now_v7(), Uuid::now_v7());
    assert!(!collector.store(ann, Duration::ZERO).await, "nobody was asked");
    collector.apply(ann, true, 5).await;
    assert!(collector.store(ann, Duration::ZERO).await);
    assert!(!collector.store(ben, Duration::ZERO).await, "another person");
    // An older change, which comes late, has no effect.
    collector.apply(ann, false, 4).await;
    assert!(collector.store(ann, Duration::ZERO).await);
    collector.admin("update task.consent_contact set at = now() - interval '11 seconds'").await;
    assert!(!collector.store(ann, Duration::ZERO).await, "a withdrawal may be under way");
    collector.apply_all([change(ben, true, 5)], Known { complete: false, ..COMPLETE }).await;
    assert!(!collector.store(ann, Duration::ZERO).await, "a call that is not the last one does not open the gate");
    collector.apply_all([], COMPLETE).await;
    assert!(collector.store(ann, Duration::ZERO).await, "in contact again");
    collector.apply(ann, false, 6).await;
    assert!(!collector.store(ann, Duration::ZERO).await);
    assert_eq!(collector.deletions().await.len(), 1, "one withdrawal had an effect");
    // Of changes that come together the last counts, whatever their order.
    let changes = [change(ben, false, 9), change(ben, true, 10), change(ben, false, 8)];
    collector.apply_all(changes, COMPLETE).await;
    assert!(collector.store(ben, Duration::ZERO).await);
}

#[tokio::test]
async fn withdrawal_that_was_overtaken_by_a_new_consent_still_deletes() {
    let collector = Collector::start().await;
    let ann = Uuid::now_v7();
    collector.apply(ann, true, 1).await;
    let again = Change { withdrawn_epoch: 2, ..change(ann, true, 3) };
    collector.apply_all([again.clone()], COMPLETE).await;
    let [deletion] = &collector.deletions().await[..] else { panic!("one deletion") };
    assert_eq!(deletion.before().timestamp_micros(), again.answered_at.timestamp_micros(), "not what came after");
    collector.apply_all([again], COMPLETE).await;
    assert_eq!(collector.deletions().await.len(), 1, "once");
    assert!(collector.store(ann, Duration::ZERO).await);
}

#[tokio::test]
async fn service_that_knows_less_than_assumed_says_so() {
    let collector = Collector::start().await;
    let ann = Uuid::now_v7();
    let known = Known { after: 0, through: 7, complete: true };
    assert_eq!(collector.apply_all([change(ann, true, 7)], known).await, 7);
    assert_eq!(collector.apply_all([], Known { through: 3, ..known }).await, 7, "what is known stays known");
    // A database that was restored knows less: nothing is taken for known, and the gate is not opened.
    collector.admin("update task.consent_contact set through = 4, at = '-infinity'").await;
    assert_eq!(collector.apply_all([], Known { after: 7, through: 9, complete: true }).await, 4);
    assert!(!collector.store(ann, Duration::ZERO).await);
    assert_eq!(collector.apply_all([], Known { after: 4, through: 9, complete: true }).await, 9);
    assert!(collector.store(ann, Duration::ZERO).await);
    // Another purpose: everything has to be told again.
    let purposes = ["analytics", "research"];
    let other = apply(&collector.db, &purposes, [], Known { after: 9, through: 9, complete: true }).await.unwrap();
    assert_eq!(other, 0);
}

#[tokio::test]
async fn queued_events_are_not_stored_after_the_withdrawal() {
    let collector = Collector::start().await;
    let ann = Uuid::now_v7();
    collector.apply(ann, true, 1).await;
    // What was queued before is released after.
    let queued = vec![ann; 10_000];
    collector.apply(ann, false, 2).await;
    let mut tx = collector.db.begin(Tenant::user(ann)).await.unwrap();
    let stored = sqlx::query(
        "insert into task.seen (user_id)
         select queued from unnest($1::uuid[]) queued where task.consent_admits(queued, 'analytics')",
    )
    .bind(queued)
    .execute(tx.connection())
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!((stored.rows_affected(), collector.stored(ann).await), (0, 0));
}

/// Stores and withdrawals in whatever order: when a withdrawal returns, the number of what is stored is final.
#[test]
fn no_interleaving_stores_after_a_withdrawal() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let collector = runtime.block_on(Collector::start());
    // Each event begins and works for some milliseconds; so does the withdrawal.
    let times = (prop::collection::vec((0u64..8, 0u64..6), 1..8), 0u64..10);
    let mut runner = TestRunner::new(ProptestConfig { cases: 40, ..ProptestConfig::default() });
    let run = |(events, withdrawal): (Vec<(u64, u64)>, u64)| {
        runtime.block_on(async {
            let ann = Uuid::now_v7();
            collector.apply(ann, true, 1).await;
            let collector = &collector;
            let (mut stored, mut at_withdrawal) = (JoinSet::new(), 0);
            for (start, work) in events {
                let db = collector.db.clone();
                stored.spawn(async move {
                    sleep(Duration::from_millis(start)).await;
                    let mut tx = db.begin(Tenant::user(ann)).await.unwrap();
                    sqlx::query("insert into task.seen (user_id) select $1 where task.consent_admits($1, 'analytics')")
                        .bind(ann)
                        .execute(tx.connection())
                        .await
                        .unwrap();
                    sleep(Duration::from_millis(work)).await;
                    tx.commit().await.unwrap();
                });
            }
            sleep(Duration::from_millis(withdrawal)).await;
            collector.apply(ann, false, 2).await;
            at_withdrawal += collector.stored(ann).await;
            while let Some(ended) = stored.join_next().await {
                ended.unwrap();
            }
            assert_eq!(collector.stored(ann).await, at_withdrawal, "stored after the withdrawal had returned");
        });
        Ok(())
    };
    runner.run(&times, run).unwrap();
}
