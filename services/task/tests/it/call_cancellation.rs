//! Canceled calls return their database connections clean.

use std::time::Duration;

use baton_store::{Db, Tenant};
use baton_testkit::TestContext;
use futures_util::future::join_all;
use tokio::time::timeout;
use uuid::Uuid;

/// Begins a read and is dropped before, during or after the begin.
async fn read_and_drop(db: &Db, tenant: Tenant, micros: u64) {
    let read = async {
        let mut tx = db.begin_read(tenant).await.unwrap();
        sqlx::query("select 1").execute(tx.connection()).await.unwrap();
    };
    let _ = timeout(Duration::from_micros(micros), read).await;
}

/// Writes as another caller.
async fn write(db: &Db, tenant: Tenant) {
    let mut tx = db.begin(tenant).await.unwrap();
    tx.enqueue("nothing", &"x").await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn canceled_begin_fails_no_other_write() {
    let context = TestContext::start(&[baton_task::SPEC.schema()]).await;
    let db = context.db(baton_task::SPEC.name);
    let [gone, other] = [1, 2].map(|n| Tenant::account(Uuid::from_u128(n)));
    for round in 0..60 {
        let gone = (0..8).map(|n| read_and_drop(&db, gone, round * 20 + n * 7));
        let others = (0..4).map(|_| write(&db, other));
        tokio::join!(join_all(gone), join_all(others));
    }
    let written: i64 = sqlx::query_scalar("select count(*) from task.jobs").fetch_one(&context.admin()).await.unwrap();
    assert_eq!(written, 60 * 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn canceled_commit_is_atomic() {
    let context = TestContext::start(&[baton_task::SPEC.schema()]).await;
    let db = context.db(baton_task::SPEC.name);
    let tenant = Tenant::account(Uuid::from_u128(1));
    for round in 0..200 {
        let _ = timeout(Duration::from_micros(round * 15), write(&db, tenant)).await;
    }
    // Afterwards no pooled connection is inside a transaction.
    join_all((0..20).map(|_| write(&db, tenant))).await;
    let open: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity
         where datname = current_database() and application_name = 'task' and state like 'idle in transaction%'",
    )
    .fetch_one(&context.admin())
    .await
    .unwrap();
    assert_eq!(open, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_cannot_exhaust_the_connection_pool() {
    let context = TestContext::start(&[baton_task::SPEC.schema()]).await;
    let db = context.db(baton_task::SPEC.name);
    let [greedy, other] = [1, 2].map(|n| Tenant::account(Uuid::from_u128(n)));
    // More transactions than connections, each kept open.
    let mut held = Vec::new();
    while let Ok(Ok(tx)) = timeout(Duration::from_millis(500), db.begin(greedy)).await {
        held.push(tx);
    }
    assert!(!held.is_empty());
    write(&db, other).await;
    held.pop();
    write(&db, greedy).await;
}
