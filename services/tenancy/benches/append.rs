//! What the Merkle tree costs those who append to the activity log: `cargo bench -p baton-tenancy --bench append`.
//!
//! Eight writers append to eight accounts, a hundred rows at a time, as the event consumer does. In turns without a tree and
//! with one, which the real service builds meanwhile.

#![allow(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark talks to people")]

use std::time::{Duration, Instant};

use baton_testkit::TestContext;
use futures_util::future::join_all;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

const WRITERS: usize = 8;
const ROWS: i64 = 100;
const TURN: Duration = Duration::from_secs(15);
const TURNS: usize = 3;

const HEAD: &str = "insert into tenancy.activity_heads as head (account_id, last_seq) values ($1, $2)
    on conflict (account_id) do update set last_seq = head.last_seq + $2 returning last_seq";
const INSERT: &str = "insert into tenancy.activity_logs
        (account_id, seq, recorded_at, id, occurred_at, actor_id, action, resource_type, resource_id, changed_fields, details,
         address, user_agent, request_id, leaf_version, origin_salt, origin_hash, leaf_hash)
    select $1, $2 + n, clock_timestamp(), gen_random_uuid(), now(), $1, 'task.updated', 'task', gen_random_uuid(),
           array['title'], '{\"assigned_to\": \"01990000-0000-7000-8000-000000000000\"}', '203.0.113.7', 'curl/8',
           gen_random_uuid()::text, 2, sha256($1::text::bytea), sha256($1::text::bytea), sha256(gen_random_uuid()::text::bytea)
    from generate_series(1, $3) n";

/// Rows per second of all writers.
async fn turn(context: &TestContext, with_tree: bool) -> f64 {
    let begun = Instant::now();
    let url = context.database().admin_url();
    let writers = (0..WRITERS).map(|_| async {
        let mut conn = PgConnection::connect(&url).await.unwrap();
        let (account, mut rows) = (Uuid::new_v4(), 0);
        if !with_tree {
            // As if the tree had every row already.
            let ahead = "insert into tenancy.activity_heads (account_id, last_seq, checkpointed_seq) values ($1, 0, 1e15::bigint)";
            sqlx::query(ahead).bind(account).execute(&mut conn).await.unwrap();
        }
        while begun.elapsed() < TURN {
            let mut tx = conn.begin().await.unwrap();
            let last: i64 = sqlx::query_scalar(HEAD).bind(account).bind(ROWS).fetch_one(&mut *tx).await.unwrap();
            sqlx::query(INSERT).bind(account).bind(last - ROWS).bind(ROWS).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
            rows += ROWS;
        }
        rows
    });
    let rows: i64 = join_all(writers).await.into_iter().sum();
    rows as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let context = TestContext::start(&[]).await;
    let admin = context.admin();
    let (mut without, mut with) = (0.0, 0.0);
    for n in 1..=TURNS {
        sqlx::query("drop index if exists tenancy.activity_heads_to_checkpoint").execute(&admin).await.unwrap();
        let plain = turn(&context, false).await;
        let index = "create index activity_heads_to_checkpoint on tenancy.activity_heads (account_id)
                     where last_seq > checkpointed_seq";
        sqlx::query(index).execute(&admin).await.unwrap();
        let tree = turn(&context, true).await;
        println!("turn {n}: {plain:.0} rows/s without, {tree:.0} rows/s with the tree");
        (without, with) = (without + plain, with + tree);
    }
    let leaves: i64 = sqlx::query_scalar("select coalesce(sum(size), 0)::bigint from tenancy.audit_trees")
        .fetch_one(&admin)
        .await
        .unwrap();
    println!("{leaves} rows are in trees; with the tree {:.1} % of the rate without it", 100.0 * with / without);
}
