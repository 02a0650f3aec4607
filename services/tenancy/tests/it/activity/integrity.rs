//! Integrity and retention: rows are never changed, duplicated or lost, and only old partitions are dropped.

use baton_proto::{baton::events::v1::Envelope, convert::timestamp};
use baton_testkit::event;
use prost::Message;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::*;

/// ASVS 16.4.2: logs are protected from modification. No role of the service can change or delete a row, neither
/// through the table nor through a partition.
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
            "select * from tenancy.activity_logs for update".to_owned(),
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

/// Computes the hash independently of the implementation: RFC 6962, section 2.1, over the fields in order.
#[tokio::test]
async fn the_leaf_hash_matches_the_stored_row() {
    let fixture = Fixture::start().await;
    let initial = fixture.initial_rows().await;
    fixture.publish(&fixture.team.user_a1, "task.created", Uuid::now_v7(), origin()).await;
    fixture.log(initial + 1).await;
    let rows = sqlx::query("select * from tenancy.activity_logs").fetch_all(&fixture.context.admin()).await.unwrap();
    assert!(rows.len() > initial);
    for row in rows {
        let mut bytes = b"\0baton activity 1\n".to_vec();
        let id = |name: &str| row.get::<Option<Uuid>, _>(name).unwrap_or_default().into_bytes();
        let time = |name: &str| row.get::<chrono::DateTime<chrono::Utc>, _>(name).timestamp_micros().to_be_bytes();
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        };
        bytes.extend(id("account_id"));
        bytes.extend(row.get::<i64, _>("seq").to_be_bytes());
        bytes.extend(time("recorded_at"));
        bytes.extend(id("id"));
        bytes.extend(time("occurred_at"));
        bytes.extend(id("actor_id"));
        text(&mut bytes, row.get("action"));
        text(&mut bytes, row.get("resource_type"));
        bytes.extend(id("resource_id"));
        let changed: Vec<String> = row.get("changed_fields");
        bytes.extend((changed.len() as u64).to_be_bytes());
        changed.iter().for_each(|name| text(&mut bytes, name));
        let details: std::collections::BTreeMap<String, String> = serde_json::from_value(row.get("details")).unwrap();
        bytes.extend((details.len() as u64).to_be_bytes());
        for (name, value) in &details {
            text(&mut bytes, name);
            text(&mut bytes, value);
        }
        for name in ["address", "user_agent", "request_id"] {
            text(&mut bytes, row.get::<Option<&str>, _>(name).unwrap_or_default());
        }
        assert_eq!(row.get::<Vec<u8>, _>("leaf_hash"), Sha256::digest(&bytes).to_vec());
    }
}
