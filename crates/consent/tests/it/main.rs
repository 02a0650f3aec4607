//! The gate on a real Postgres, as the roles of a service.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

use std::time::Duration;

use baton_consent::{Change, WITHDRAWN_JOB, apply};
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
        let change = Change { user_id, purpose: "analytics".to_owned(), given, epoch };
        apply(&self.db, [change], 0).await.unwrap();
    }
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
    assert_eq!(apply(&collector.db, [], 7).await.unwrap(), 7);
    assert_eq!(apply(&collector.db, [], 3).await.unwrap(), 7, "what is known stays known");
    assert!(collector.store(ann, Duration::ZERO).await, "in contact again");
    collector.apply(ann, false, 6).await;
    assert!(!collector.store(ann, Duration::ZERO).await);
    let jobs: i64 = sqlx::query_scalar("select count(*) from task.jobs where kind = $1")
        .bind(WITHDRAWN_JOB)
        .fetch_one(collector.db.system())
        .await
        .unwrap();
    assert_eq!(jobs, 1, "one withdrawal had an effect");
    // Of changes that come together the last counts, whatever their order.
    let change = |given, epoch| Change { user_id: ben, purpose: "analytics".to_owned(), given, epoch };
    apply(&collector.db, [change(false, 9), change(true, 10), change(false, 8)], 0).await.unwrap();
    assert!(collector.store(ben, Duration::ZERO).await);
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
