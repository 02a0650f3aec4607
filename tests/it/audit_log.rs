//! The activity log is proved by signed checkpoints, and verified without a server.

use std::process::Output;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_tests::{Person, Platform, baton_binary, eventually};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;

/// The checkpoint, once it covers this many rows.
async fn checkpoint(person: &Person, size: i64) -> Value {
    eventually("a checkpoint", || async {
        let response = person.get("/v1/activity-logs/checkpoint").send().await;
        let checkpoint = (response.status == 200).then(|| response.json())?;
        (checkpoint["size"].as_i64()? >= size).then_some(checkpoint)
    })
    .await
}

/// The size and the root of a note's checkpoint.
fn size_and_root(checkpoint: &Value) -> (u64, Vec<u8>) {
    let lines: Vec<&str> = checkpoint["note"].as_str().unwrap().lines().collect();
    assert_eq!(lines[0], checkpoint["origin"]);
    (lines[1].parse().unwrap(), STANDARD.decode(lines[2]).unwrap())
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn node(left: &[u8], right: &[u8]) -> Vec<u8> {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().to_vec()
}

/// The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2).
pub(crate) fn root_of(leaf: Vec<u8>, index: u64, size: u64, proof: &[Vec<u8>]) -> Vec<u8> {
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    assert_eq!(last, 0, "the proof is too short");
    hash
}

async fn verify(file: &str, key: Option<&str>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.ndjson");
    std::fs::write(&path, file).unwrap();
    let mut command = Command::from(baton_binary());
    command.args(["audit", "verify"]).arg(&path);
    if let Some(key) = key {
        command.args(["--key", key]);
    }
    command.output().await.unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn checkpoints_prove_the_log_and_a_changed_row_is_named() {
    let platform = Platform::start().await;
    let (team, other) = (platform.team().await, platform.team().await);
    for n in 0..20 {
        team.user.create_task(&format!("Task {n}")).await;
    }
    let owner = &team.owner;
    let first = checkpoint(owner, 20).await;
    let (first_size, _) = size_and_root(&first);

    // A row is in the tree.
    let rows = owner.get("/v1/activity-logs?per_page=100").ok().await;
    let row = &rows["activity_logs"].as_array().unwrap().iter().find(|row| row["sequence"] == 7).unwrap().clone();
    let proof = owner.get("/v1/activity-logs/proof?sequence=7").ok().await;
    let (size, root) = size_and_root(&proof["checkpoint"]);
    let hashes: Vec<Vec<u8>> =
        proof["hashes"].as_array().unwrap().iter().map(|it| unhex(it.as_str().unwrap())).collect();
    assert_eq!(root_of(unhex(row["leaf_hash"].as_str().unwrap()), 6, size, &hashes), root);
    assert_eq!(unhex(proof["root"].as_str().unwrap()), root);
    for wrong in
        ["sequence=0", "sequence=100000", "sequence=7&size=3", "size=3", "sequence=1&from_size=1", "from_size=99999"]
    {
        owner.get(&format!("/v1/activity-logs/proof?{wrong}")).refused(400, "VALIDATION_FAILED").await;
    }

    // The log only grew.
    for n in 0..5 {
        team.user.create_task(&format!("More {n}")).await;
    }
    let second = checkpoint(owner, i64::try_from(first_size).unwrap() + 5).await;
    let growth = owner.get(&format!("/v1/activity-logs/proof?from_size={first_size}")).ok().await;
    assert!(growth["size"].as_i64() >= second["size"].as_i64() && !growth["hashes"].as_array().unwrap().is_empty());

    // Each account has its own log, for those who may read it.
    assert_ne!(checkpoint(&other.owner, 1).await["origin"], first["origin"]);
    for path in ["checkpoint", "proof?sequence=1", "audit"] {
        let path = format!("/v1/activity-logs/{path}");
        team.user.get(&path).refused(403, "PERMISSION_MISSING").await;
    }

    // The whole file is verified without a server, also after addresses were erased and the first rows were deleted.
    let file = || async { owner.get("/v1/activity-logs/audit").send().await.text };
    let key = first["keys"][0].as_str().unwrap().to_owned();
    let text = file().await;
    assert!(!text.contains("127.0.0.1"), "addresses are not in it");
    let verified = verify(&text, Some(&key)).await;
    assert!(verified.status.success() && printed(&verified).contains("they are as they were logged"), "{verified:?}");
    let mut admin = PgConnection::connect(platform.database_url()).await.unwrap();
    let account = team.account_id;
    let erase =
        "update tenancy.activity_logs set address = null, user_agent = null, origin_salt = null where account_id = $1";
    sqlx::query(erase).bind(account).execute(&mut admin).await.unwrap();
    let delete = "delete from tenancy.activity_logs where account_id = $1 and seq <= 6";
    sqlx::query(delete).bind(account).execute(&mut admin).await.unwrap();
    let text = file().await;
    let verified = verify(&text, Some(&key)).await;
    assert!(
        verified.status.success() && printed(&verified).contains("Rows before 7 are not in the file"),
        "{verified:?}"
    );
    let proof = owner.get("/v1/activity-logs/proof?sequence=7").ok().await;
    let (size, root) = size_and_root(&proof["checkpoint"]);
    let hashes: Vec<Vec<u8>> =
        proof["hashes"].as_array().unwrap().iter().map(|it| unhex(it.as_str().unwrap())).collect();
    assert_eq!(
        root_of(unhex(row["leaf_hash"].as_str().unwrap()), 6, size, &hashes),
        root,
        "its neighbours' hashes stay"
    );

    // Somebody with all rights to the database changes a bit of a row, or its hash.
    let flips = [
        (11, "update tenancy.activity_logs set action = overlay(action placing chr(ascii(action) # 1) from 1 for 1)"),
        (13, "update tenancy.activity_logs set leaf_hash = set_bit(leaf_hash, 100, 1 - get_bit(leaf_hash, 100))"),
        (15, "update tenancy.activity_logs set origin_hash = set_bit(origin_hash, 3, 1 - get_bit(origin_hash, 3))"),
        (17, "update tenancy.activity_logs set occurred_at = occurred_at + interval '1 microsecond'"),
    ];
    for (row, flip) in flips {
        let mut tx = admin.begin().await.unwrap();
        let statement = format!("{flip} where account_id = $1 and seq = {row}");
        let changed = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(account).execute(&mut *tx).await.unwrap();
        assert_eq!(changed.rows_affected(), 1);
        tx.commit().await.unwrap();
        let found = verify(&file().await, Some(&key)).await;
        assert!(!found.status.success() && printed(&found).contains(&format!("row {row} was changed")), "{found:?}");
        // It is put back, for the next one.
        if row == 17 {
            continue;
        }
        let undo = sqlx::query(sqlx::AssertSqlSafe(format!("{flip} where account_id = $1 and seq = {row}")));
        undo.bind(account).execute(&mut admin).await.unwrap();
        assert!(verify(&file().await, Some(&key)).await.status.success());
    }
}
