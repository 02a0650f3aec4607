//! Integrity and retention: rows are never changed, duplicated or lost, and only old partitions are dropped.

use aws_lc_rs::hmac;
use baton_proto::{baton::events::v1::Envelope, convert::timestamp};
use baton_testkit::event;
use prost::Message;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};

use super::*;

/// ASVS 16.4.2: logs are protected from modification. No role of the service can change or delete a row, neither
/// through the table nor through a partition; but the system role can erase where a row came from.
#[tokio::test]
async fn no_role_can_change_or_delete_rows() {
    let fixture = Fixture::start().await;
    fixture.initial_rows().await;
    let partition: String = sqlx::query_scalar("select tableoid::regclass::text from tenancy.activity_logs limit 1")
        .fetch_one(&fixture.context.admin())
        .await
        .unwrap();
    assert!(partition.starts_with("tenancy._activity_logs_"), "{partition}");
    let database = fixture.context.database();
    for url in [database.app_url("tenancy"), database.system_url("tenancy")] {
        let mut conn = PgConnection::connect(&url).await.unwrap();
        let tenant = format!("set baton.account_id = '{}'", fixture.team.account_id);
        sqlx::raw_sql(AssertSqlSafe(tenant)).execute(&mut conn).await.unwrap();
        for statement in [
            "update tenancy.activity_logs set actor_id = null".to_owned(),
            "delete from tenancy.activity_logs".to_owned(),
            "truncate tenancy.activity_logs".to_owned(),
            "drop table tenancy.activity_logs".to_owned(),
            "update tenancy.activity_logs set address = '203.0.113.8'".to_owned(),
            "update tenancy.activity_logs set user_agent = 'curl/8', origin_salt = sha256('')".to_owned(),
            "update tenancy.activity_logs set origin_hash = sha256('')".to_owned(),
            "update tenancy.activity_logs set leaf_version = 1".to_owned(),
            "update tenancy.activity_logs set leaf_hash = sha256('')".to_owned(),
            "delete from tenancy.activity_heads".to_owned(),
            "truncate tenancy.activity_heads".to_owned(),
            "alter table tenancy.activity_logs disable row level security".to_owned(),
            "create rule away as on delete to tenancy.activity_logs do instead nothing".to_owned(),
            format!("select * from {partition}"),
            format!("insert into {partition} select * from tenancy.activity_logs"),
            format!("update {partition} set actor_id = null"),
            format!("delete from {partition}"),
            format!("drop table {partition}"),
            format!("alter table tenancy.activity_logs detach partition {partition}"),
        ] {
            let error = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut conn).await.expect_err(&statement);
            let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
            assert_eq!(code, "42501", "{statement}: {error}");
        }
    }
    // The serving role can neither erase nor lock.
    let mut conn = PgConnection::connect(&database.app_url("tenancy")).await.unwrap();
    for statement in [ERASE_ORIGIN, "select * from tenancy.activity_logs for update"] {
        let error = sqlx::raw_sql(statement).execute(&mut conn).await.expect_err(statement);
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        assert_eq!(code, "42501", "{statement}: {error}");
    }
    // The service may drop old partitions only.
    let mut conn = PgConnection::connect(&database.system_url("tenancy")).await.unwrap();
    for days in [29, 0, -1] {
        sqlx::query("select tenancy.keep_activity($1)").bind(days).execute(&mut conn).await.unwrap_err();
    }
    sqlx::query("select tenancy.keep_activity(30)").execute(&mut conn).await.unwrap();
    assert!(fixture.count("select count(*) from tenancy.activity_logs").await > 0);
    let mut conn = PgConnection::connect(&database.app_url("tenancy")).await.unwrap();
    sqlx::query("select tenancy.keep_activity(90)").execute(&mut conn).await.unwrap_err();
}

#[tokio::test]
async fn only_partitions_beyond_retention_are_dropped() {
    let fixture = Fixture::start().await;
    fixture.initial_rows().await;
    let admin = fixture.context.admin();
    // Partitions of weeks that ended 60 and 100 days ago.
    for days in [60, 100] {
        let week = format!(
            "do $$ declare starts timestamptz := date_trunc('week', now() - interval '{days} days', 'UTC') - interval '7 days';
             begin
               execute format('create table tenancy.%I partition of tenancy.activity_logs for values from (%L) to (%L)',
                              '_activity_logs_' || to_char(starts at time zone 'UTC', 'YYYYMMDD'), starts, starts + interval '7 days');
               insert into tenancy.activity_logs (account_id, seq, recorded_at, id, occurred_at, action, resource_type,
                                                  resource_id, changed_fields, details, leaf_hash)
               values ('{}', -{days}, starts, gen_random_uuid(), starts, 'task.created', 'task', gen_random_uuid(), '{{}}', '{{}}', sha256(''));
             end $$",
            fixture.team.account_id
        );
        sqlx::raw_sql(AssertSqlSafe(week)).execute(&admin).await.unwrap();
    }
    // The older one still exists, but is not shown.
    let rows = fixture.log(2).await;
    assert!(rows.iter().any(|row| row.sequence == -60) && rows.iter().all(|row| row.sequence != -100));
    let mut conn = PgConnection::connect(&fixture.context.database().system_url("tenancy")).await.unwrap();
    let keep = async |conn: &mut PgConnection, days: i32| -> i32 {
        sqlx::query_scalar("select tenancy.keep_activity($1)").bind(days).fetch_one(conn).await.unwrap()
    };
    assert_eq!(keep(&mut conn, 120).await, 0);
    assert_eq!(keep(&mut conn, 90).await, 1);
    assert_eq!(keep(&mut conn, 90).await, 0);
    assert_eq!(fixture.count("select count(*) from tenancy.activity_logs where seq = -100").await, 0);
    assert_eq!(fixture.count("select count(*) from tenancy.activity_logs where seq = -60").await, 1);
    // Partitions for the coming weeks exist.
    let weeks = "select count(*) from pg_inherits where inhparent = 'tenancy.activity_logs'::regclass";
    assert_eq!(fixture.count(weeks).await, 5 + 1);
}

#[tokio::test]
async fn data_loss_in_redis_leaves_no_gaps_and_no_duplicates() {
    let fixture = Fixture::start().await;
    let (team, initial) = (&fixture.team, fixture.initial_rows().await);
    let other = fixture.context.person("other").await;
    let other_account = fixture.context.account(&other).await;
    let publish = async |account_id: Uuid, count: usize| {
        let events = (0..count).map(|_| {
            let task_id = Uuid::now_v7();
            event("task.created", account_id, task_id, &TaskEvent::default())
        });
        let mut tx = fixture.task.begin(Tenant { account_id, user_id: team.owner.user_id }).await.unwrap();
        tx.publish_all(events).await.unwrap();
        tx.commit().await.unwrap();
    };
    publish(team.account_id, 60).await;
    publish(other_account, 60).await;
    // The relays find their stream markers gone and republish everything, processed events included.
    redis::cmd("FLUSHALL").query_async::<()>(&mut fixture.streams.connection()).await.unwrap();
    publish(team.account_id, 30).await;
    publish(other_account, 30).await;
    let of_tasks = "select count(*) from tenancy.activity_logs where action = 'task.created'";
    eventually(async || Some(fixture.count(of_tasks).await).filter(|&count| count >= 180)).await;
    assert_eq!(fixture.count(of_tasks).await, 180);
    assert!(fixture.log(initial + 90).await.len() >= initial + 90);
    for violation in [
        "select count(*) from (select account_id from tenancy.activity_logs group by account_id
                               having count(*) <> max(seq) or min(seq) <> 1 or count(distinct seq) <> count(*)) gaps",
        "select count(*) from (select id from tenancy.activity_logs group by id having count(*) > 1) doubles",
        "select count(*) from tenancy.activity_heads h
         where last_seq <> (select max(seq) from tenancy.activity_logs l where l.account_id = h.account_id)",
        "select count(*) from (select recorded_at < lag(recorded_at) over (partition by account_id order by seq) as back
                               from tenancy.activity_logs) times where back",
        "select count(*) from tenancy.dead_letters",
    ] {
        assert_eq!(fixture.count(violation).await, 0, "{violation}");
    }
}

#[tokio::test]
async fn a_duplicate_event_is_logged_once() {
    let fixture = Fixture::start().await;
    let initial = fixture.initial_rows().await;
    let id = Uuid::now_v7();
    let envelope = Envelope {
        id: id.to_string(),
        r#type: "task.created".to_owned(),
        account_id: fixture.team.account_id.to_string(),
        subject_id: Uuid::now_v7().to_string(),
        occurred_at: Some(timestamp(chrono::Utc::now())),
        ..Envelope::default()
    };
    // Added atomically, so that they are read in one batch.
    let mut both = redis::pipe();
    both.atomic();
    for _ in 0..2 {
        both.cmd("XADD").arg("baton:{events-0}").arg("*").arg("e").arg(envelope.encode_to_vec());
    }
    both.query_async::<()>(&mut fixture.streams.connection()).await.unwrap();
    fixture.log(initial + 1).await;
    let rows: i64 = sqlx::query_scalar("select count(*) from tenancy.activity_logs where id = $1")
        .bind(id)
        .fetch_one(&fixture.context.admin())
        .await
        .unwrap();
    assert_eq!(rows, 1);
}

const ERASE_ORIGIN: &str = "update tenancy.activity_logs set address = null, user_agent = null, origin_salt = null";

/// A text after its length.
fn text(text: Option<&str>) -> Vec<u8> {
    let text = text.unwrap_or_default();
    [&(text.len() as u64).to_be_bytes(), text.as_bytes()].concat()
}

/// Address and user agent of a row, encoded.
fn origin_of(row: &PgRow) -> Vec<u8> {
    [text(row.get("address")), text(row.get("user_agent"))].concat()
}

/// Whether the columns that hold a row's origin agree.
fn is_origin_intact(row: &PgRow) -> bool {
    let (salt, hash): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get("origin_salt"), row.get("origin_hash"));
    match (row.get::<i16, _>("leaf_version"), salt, hash) {
        (1, None, None) => true,
        (2, Some(salt), Some(hash)) => {
            let message = [b"baton activity origin 2\n".to_vec(), origin_of(row)].concat();
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salt), &message).as_ref() == hash
        }
        (2, None, Some(_)) => origin_of(row) == [0; 16],
        _ => false,
    }
}

/// Computes the hash independently of the implementation: RFC 6962, section 2.1, over the fields in order.
fn computed_leaf_hash(row: &PgRow) -> Vec<u8> {
    let version: i16 = row.get("leaf_version");
    let mut bytes = format!("\0baton activity {version}\n").into_bytes();
    let id = |name: &str| row.get::<Option<Uuid>, _>(name).unwrap_or_default().into_bytes();
    let time = |name: &str| row.get::<chrono::DateTime<chrono::Utc>, _>(name).timestamp_micros().to_be_bytes();
    bytes.extend(id("account_id"));
    bytes.extend(row.get::<i64, _>("seq").to_be_bytes());
    bytes.extend(time("recorded_at"));
    bytes.extend(id("id"));
    bytes.extend(time("occurred_at"));
    bytes.extend(id("actor_id"));
    bytes.extend(text(row.get("action")));
    bytes.extend(text(row.get("resource_type")));
    bytes.extend(id("resource_id"));
    let changed: Vec<String> = row.get("changed_fields");
    bytes.extend((changed.len() as u64).to_be_bytes());
    changed.iter().for_each(|name| bytes.extend(text(Some(name))));
    let details: std::collections::BTreeMap<String, String> = serde_json::from_value(row.get("details")).unwrap();
    bytes.extend((details.len() as u64).to_be_bytes());
    for (name, value) in &details {
        bytes.extend(text(Some(name)));
        bytes.extend(text(Some(value)));
    }
    bytes.extend(if version == 1 { origin_of(row) } else { row.get("origin_hash") });
    bytes.extend(text(row.get("request_id")));
    Sha256::digest(&bytes).to_vec()
}

/// Whether a row is as it was added, or its origin was erased since.
fn is_intact(row: &PgRow) -> bool {
    is_origin_intact(row) && row.get::<Vec<u8>, _>("leaf_hash") == computed_leaf_hash(row)
}

/// A team whose log has a row with an origin, and the rows.
async fn log_with_origin() -> (Fixture, Vec<PgRow>) {
    let fixture = Fixture::start().await;
    let initial = fixture.initial_rows().await;
    fixture.publish(&fixture.team.user_a1, "task.created", Uuid::now_v7(), origin()).await;
    fixture.log(initial + 1).await;
    let rows = rows(&fixture).await;
    assert!(rows.iter().any(|row| row.get::<Option<&str>, _>("address") == Some("203.0.113.7")));
    (fixture, rows)
}

async fn rows(fixture: &Fixture) -> Vec<PgRow> {
    let sql = "select * from tenancy.activity_logs order by account_id, seq";
    sqlx::query(sql).fetch_all(&fixture.context.admin()).await.unwrap()
}

#[tokio::test]
async fn the_leaf_hash_matches_the_stored_row() {
    let (_fixture, rows) = log_with_origin().await;
    for row in &rows {
        assert_eq!(row.get::<i16, _>("leaf_version"), 2);
        assert_eq!(row.get::<Option<Vec<u8>>, _>("origin_salt").unwrap().len(), 32);
        assert!(is_intact(row), "seq {}", row.get::<i64, _>("seq"));
    }
    let salts: std::collections::HashSet<Vec<u8>> = rows.iter().map(|row| row.get("origin_salt")).collect();
    assert_eq!(salts.len(), rows.len(), "every row has its own salt");
}

#[tokio::test]
async fn the_leaf_hash_is_valid_after_the_origin_was_erased() {
    let (fixture, before) = log_with_origin().await;
    let actor_id = fixture.team.user_a1.user_id;
    let is_theirs = |row: &&PgRow| row.get::<Option<Uuid>, _>("actor_id") == Some(actor_id);
    let mut conn = PgConnection::connect(&fixture.context.database().system_url("tenancy")).await.unwrap();
    let erase = AssertSqlSafe(format!("{ERASE_ORIGIN} where actor_id = $1"));
    let erased = sqlx::query(erase).bind(actor_id).execute(&mut conn).await.unwrap().rows_affected();
    assert!(erased >= 1 && erased as usize >= before.iter().filter(is_theirs).count(), "{erased}");
    let after = rows(&fixture).await;
    for row in after.iter().filter(is_theirs) {
        for column in ["address", "user_agent"] {
            assert_eq!(row.get::<Option<&str>, _>(column), None);
        }
        assert_eq!(row.get::<Option<Vec<u8>>, _>("origin_salt"), None);
        assert!(row.get::<Option<Vec<u8>>, _>("origin_hash").is_some());
    }
    assert!(after.iter().all(is_intact));
    let leaf_hash = |row: &PgRow| (row.get::<Uuid, _>("id"), row.get::<Vec<u8>, _>("leaf_hash"));
    let leaf_hashes: Vec<_> = after.iter().map(leaf_hash).collect();
    assert!(before.iter().all(|row| leaf_hashes.contains(&leaf_hash(row))), "no leaf hash changes");
    // The API shows the row without an origin.
    let shown = fixture.log(before.len()).await;
    let shown: Vec<_> = shown.iter().filter(|row| row.actor_id.as_deref() == Some(&*actor_id.to_string())).collect();
    assert!(!shown.is_empty() && shown.iter().all(|row| row.address.is_none() && row.user_agent.is_none()));
}

#[tokio::test]
async fn a_changed_origin_fails_verification() {
    let (fixture, rows) = log_with_origin().await;
    assert!(rows.iter().all(is_intact));
    for change in [
        "address = '203.0.113.8'",
        "address = null",
        "user_agent = 'curl/8'",
        "origin_salt = sha256('')",
        "origin_hash = sha256('')",
        // Erased with another hash.
        "address = null, user_agent = null, origin_salt = null, origin_hash = sha256('')",
        // As if an older program had added it.
        "leaf_version = 1, origin_salt = null, origin_hash = null",
    ] {
        let mut tx = fixture.context.admin().begin().await.unwrap();
        let sql = format!("update tenancy.activity_logs set {change} where address = '203.0.113.7' returning *");
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *tx).await.unwrap();
        assert!(!is_intact(&row), "{change}");
        tx.rollback().await.unwrap();
    }
}

/// During a roll-out, the previous program version adds rows too. It names none of the columns of version 2. An
/// independent program has computed the hash.
#[tokio::test]
async fn a_row_of_the_previous_program_version_keeps_its_leaf_hash() {
    let fixture = Fixture::start().await;
    let mut tx = fixture.context.admin().begin().await.unwrap();
    let partition = "create table tenancy._activity_logs_20010101 partition of tenancy.activity_logs
                     for values from ('2001-01-01 00:00Z') to ('2001-01-08 00:00Z')";
    sqlx::raw_sql(partition).execute(&mut *tx).await.unwrap();
    let id = |id: u128| Uuid::from_u128(id);
    let add = "insert into tenancy.activity_logs
                   (account_id, seq, recorded_at, id, occurred_at, actor_id, action, resource_type, resource_id,
                    changed_fields, details, address, user_agent, request_id, leaf_hash)
               values ($1, 7, '2001-01-02 03:04:05.000006Z', $2, '2001-01-02 03:04:05.000006Z', $3, 'task.assigned',
                       'task', $4, '{title}', jsonb_build_object('to', 'me'), '203.0.113.7', 'curl/8', 'r1',
                       decode('2899551cb77237358e1eb657ed952101bb6139a8c29ec5c173e277ea33bdba53', 'hex'))
               returning *";
    let add = sqlx::query(add).bind(id(1)).bind(id(9)).bind(id(3)).bind(id(2));
    let row = add.fetch_one(&mut *tx).await.unwrap();
    assert_eq!(row.get::<i16, _>("leaf_version"), 1);
    assert!(is_intact(&row));
    let erase = AssertSqlSafe(format!("{ERASE_ORIGIN} where account_id = $1 returning *"));
    let erased = sqlx::query(erase).bind(id(1)).fetch_one(&mut *tx).await.unwrap();
    assert!(!is_intact(&erased), "version 1 has address and user agent in its encoding");
}

#[tokio::test]
async fn columns_that_contradict_the_leaf_version_are_refused() {
    let (fixture, _) = log_with_origin().await;
    for change in [
        "leaf_version = 0",
        "leaf_version = 1",
        "leaf_version = 1, origin_salt = null",
        "leaf_version = 1, origin_hash = null",
        "leaf_version = 3",
        "origin_hash = null",
        "origin_hash = decode('00', 'hex')",
        "origin_salt = decode('00', 'hex')",
        "origin_salt = null",
        "origin_salt = null, address = null",
        "origin_salt = null, user_agent = null",
        "origin_salt = null, origin_hash = null, address = null, user_agent = null",
    ] {
        let sql = format!("update tenancy.activity_logs set {change} where address = '203.0.113.7'");
        let error = sqlx::query(AssertSqlSafe(sql)).execute(&fixture.context.admin()).await.expect_err(change);
        let constraint = error.as_database_error().and_then(|error| error.constraint());
        assert_eq!(constraint, Some("activity_logs_leaf_version"), "{change}: {error}");
    }
}
