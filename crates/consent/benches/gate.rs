//! What the consent gate costs those who store: `cargo bench -p baton-consent`.
//!
//! Five writers store events of a thousand people, one in a transaction, in turns without the gate and with it.

#![allow(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark talks to people")]

use std::time::{Duration, Instant};

use baton_consent::{Change, Known, apply};
use baton_store::{Db, Tenant};
use baton_testkit::database::Database;
use sqlx::{Connection as _, PgConnection, migrate::Migrator};
use tokio::task::JoinSet;
use uuid::Uuid;

static PLATFORM_ONLY: Migrator = Migrator::DEFAULT;
const SCHEMA: &str = "task";
const WRITERS: usize = 5;
const PEOPLE: usize = 1_000;
const TURN: Duration = Duration::from_secs(10);
const TURNS: usize = 4;

/// Events per second of all writers.
async fn turn(db: &Db, people: &[Uuid], statement: &'static str) -> f64 {
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (db, people) = (db.clone(), people.to_vec());
        writers.spawn(async move {
            let mut stored = 0_u64;
            for person in people.into_iter().cycle().skip(writer * PEOPLE / WRITERS) {
                if begun.elapsed() > TURN {
                    break;
                }
                let mut tx = db.begin(Tenant::user(person)).await.unwrap();
                let done = sqlx::query(statement).bind(person).execute(tx.connection()).await.unwrap();
                assert_eq!(done.rows_affected(), 1);
                tx.commit().await.unwrap();
                stored += 1;
            }
            stored
        });
    }
    let stored: u64 = writers.join_all().await.into_iter().sum();
    stored as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let database = Database::create(&[(SCHEMA, &PLATFORM_ONLY)]).await;
    let db = database.open(SCHEMA);
    let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
    sqlx::raw_sql(
        "create table task.seen (user_id uuid not null, at timestamptz not null default clock_timestamp());
         grant select, insert on task.seen to baton_task",
    )
    .execute(&mut admin)
    .await
    .unwrap();
    let people: Vec<Uuid> = (0..PEOPLE).map(|_| Uuid::now_v7()).collect();
    apply(&db, &["analytics"], Vec::new(), Known::default()).await.unwrap();
    for (at, people) in people.chunks(500).enumerate() {
        let now = db.clock().now();
        let changes = people.iter().enumerate().map(|(n, &user_id)| Change {
            user_id,
            purpose: "analytics".to_owned(),
            given: true,
            epoch: i64::try_from(at * 500 + n + 1).unwrap(),
            answered_at: now,
            withdrawn_epoch: 0,
        });
        apply(&db, &["analytics"], changes, Known::default()).await.unwrap();
    }
    // The privacy service says every two seconds that nothing is missing.
    let contact = db.clone();
    tokio::spawn(async move {
        let all = i64::try_from(PEOPLE).unwrap();
        loop {
            let known = Known { after: 0, through: all, complete: true };
            apply(&contact, &["analytics"], Vec::new(), known).await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let plain = "insert into task.seen (user_id) values ($1)";
    let gated = "insert into task.seen (user_id) select $1 where task.consent_admits($1, 'analytics')";
    let (mut without, mut with) = (0.0, 0.0);
    for n in 1..=TURNS {
        let (a, b) = (turn(&db, &people, plain).await, turn(&db, &people, gated).await);
        println!("turn {n}: {a:.0} events/s without, {b:.0} events/s with the gate");
        (without, with) = (without + a, with + b);
    }
    println!("with the gate {:.1} % of the rate without it", 100.0 * with / without);
}
