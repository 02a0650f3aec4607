//! Trees on a real Postgres, as the system role of a service.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_audit::{Batch, LogKeys, Reader};
use baton_merkle::{Checkpoint, Frontier, Hash, leaf_hash, verify_consistency, verify_inclusion};
use baton_runtime::Secret;
use baton_store::Db;
use baton_testkit::database::Database;
use proptest::{prelude::*, test_runner::TestRunner};
use sqlx::{Connection as _, PgConnection, migrate::Migrator};
use uuid::Uuid;

static PLATFORM_ONLY: Migrator = Migrator::DEFAULT;
const SCHEMA: &str = "task";

fn keys() -> LogKeys {
    LogKeys::new("test/log", &Secret::new(STANDARD.encode([5; 32]))).unwrap()
}

fn leaves(log: Uuid, count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(format!("{log} {n}").as_bytes())).collect()
}

async fn append(db: &Db, batch: BTreeMap<Uuid, Vec<Hash>>) {
    let now = db.clock().now();
    let logs: Vec<Uuid> = batch.keys().copied().collect();
    let mut locked = Batch::lock(db, &logs, now).await.unwrap();
    let appended = locked.append(batch, &keys(), now).await.unwrap();
    assert_eq!(appended.into_iter().collect::<Vec<_>>(), logs);
    locked.commit().await.unwrap();
}

#[tokio::test]
async fn trees_grow_in_any_pieces_and_prove_every_leaf() {
    let database = Database::create(&[(SCHEMA, &PLATFORM_ONLY)]).await;
    let db = database.open(SCHEMA);
    let reader = Reader::new(db.clone());
    let runtime = tokio::runtime::Handle::current();
    let pieces = prop::collection::vec(0usize..700, 1..6);
    tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
        let test = |(pieces, at): (Vec<usize>, prop::sample::Index)| {
            runtime.block_on(async {
                let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
                let size: usize = pieces.iter().sum();
                let (of_one, of_two) = (leaves(one, size as u64), leaves(two, size as u64));
                let mut done = 0;
                for piece in pieces {
                    let next = done..done + piece;
                    append(&db, BTreeMap::from([(one, of_one[next.clone()].to_vec()), (two, of_two[next].to_vec())]))
                        .await;
                    done += piece;
                }
                for (log, leaves) in [(one, &of_one), (two, &of_two)] {
                    let Some(tree) = reader.tree(log).await.unwrap() else {
                        prop_assert_eq!(size, 0);
                        continue;
                    };
                    let mut expected = Frontier::default();
                    let _: Vec<_> = expected.append(leaves.iter().copied());
                    let verifiers: Vec<_> = keys().verifiers().cloned().collect();
                    let signed = Checkpoint::open(&tree.checkpoint, &keys().origin(log), &verifiers).unwrap();
                    prop_assert_eq!((signed.size(), signed.root()), (size as u64, expected.root()));
                    prop_assert_eq!(&reader.leaves(log, 0, 10_000).await.unwrap(), leaves);
                    let index = at.index(size);
                    prop_assert_eq!(
                        reader.leaves(log, index as u64, 3).await.unwrap(),
                        &leaves[index..size.min(index + 3)]
                    );
                    let size = size as u64;
                    let proof = reader.inclusion(log, index as u64, size).await.unwrap();
                    prop_assert_eq!(proof.root, signed.root());
                    verify_inclusion(leaves[index], index as u64, size, &proof.hashes, proof.root).unwrap();
                    let old = index as u64 + 1;
                    let before = reader.frontier(log, old).await.unwrap();
                    let proof = reader.consistency(log, old, size).await.unwrap();
                    verify_consistency(old, before.root(), size, signed.root(), &proof.hashes).unwrap();
                }
                Ok(())
            })
        };
        runner.run(&(pieces, any::<prop::sample::Index>()), test).unwrap();
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn one_process_at_a_time_adds_to_a_tree() {
    let database = Database::create(&[(SCHEMA, &PLATFORM_ONLY)]).await;
    let db = database.open(SCHEMA);
    let (log, other) = (Uuid::new_v4(), Uuid::new_v4());
    let now = db.clock().now();
    append(&db, BTreeMap::from([(log, leaves(log, 3)), (other, leaves(other, 1))])).await;
    let mut first = Batch::lock(&db, &[log], now).await.unwrap();
    let second = Batch::lock(&db, &[log, other], now).await.unwrap();
    assert_eq!(second.sizes().collect::<Vec<_>>(), [(other, 1)], "the locked one is left out");
    drop(second);
    first.append(BTreeMap::from([(log, leaves(log, 2))]), &keys(), now).await.unwrap();
    drop(first);
    let reader = Reader::new(db.clone());
    assert_eq!(reader.tree(log).await.unwrap().unwrap().size, 3, "what is not committed is nothing");
    assert!(reader.inclusion(log, 3, 3).await.is_err() && reader.consistency(log, 4, 3).await.is_err());
    assert_eq!(reader.tree(Uuid::new_v4()).await.unwrap(), None);
}

#[tokio::test]
async fn a_damaged_tile_is_noticed_and_nobody_deletes_one() {
    let database = Database::create(&[(SCHEMA, &PLATFORM_ONLY)]).await;
    let db = database.open(SCHEMA);
    let (log, other) = (Uuid::new_v4(), Uuid::new_v4());
    append(&db, BTreeMap::from([(log, leaves(log, 300))])).await;
    let delete = sqlx::query("delete from task.audit_tiles").execute(db.system()).await;
    assert!(delete.unwrap_err().to_string().contains("permission denied"));
    let read = sqlx::query("select from task.audit_tiles").execute(db.app()).await;
    assert!(read.unwrap_err().to_string().contains("permission denied"));
    let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
    sqlx::query("update task.audit_tiles set hashes = substr(hashes, 33) where level = 0 and index = 1")
        .execute(&mut admin)
        .await
        .unwrap();
    let now = db.clock().now();
    let mut batch = Batch::lock(&db, &[log, other], now).await.unwrap();
    let both = BTreeMap::from([(log, leaves(log, 1)), (other, leaves(other, 1))]);
    assert_eq!(batch.append(both, &keys(), now).await.unwrap(), [other].into(), "it does not stop the others");
    batch.commit().await.unwrap();
    let reader = Reader::new(db.clone());
    assert_eq!(reader.tree(log).await.unwrap().unwrap().size, 300);
    sqlx::query("update task.audit_trees set frontier = '' where log_id = $1")
        .bind(other)
        .execute(&mut admin)
        .await
        .unwrap();
    assert_eq!(Batch::lock(&db, &[log, other], now).await.unwrap().sizes().count(), 1, "nor does a damaged tree");
}
