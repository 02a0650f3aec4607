//! What the platform keeps for a while: events in the streams, and those that could not be handled.

use baton_proto::baton::events::v1::Envelope;
use baton_store::{
    personal_data::PersonalData,
    retention::{self, Rule},
};
use baton_testkit::eventually;
use prost::Message as _;
use uuid::Uuid;

use crate::fixture::Fixture;

#[tokio::test]
async fn events_leave_the_streams_after_three_days() {
    let fixture = Fixture::start().await;
    // A stream that nothing was published to takes entries of the past.
    let mut stream = String::new();
    for partition in 0..8 {
        let key = format!("baton:{{events-{partition}}}");
        let length: i64 = redis::cmd("XLEN").arg(&key).query_async(&mut fixture.streams.connection()).await.unwrap();
        if length == 0 {
            stream = key;
        }
    }
    assert!(!stream.is_empty(), "no stream is empty");
    let id = |days: i64| format!("{}-1", (chrono::Utc::now() - chrono::TimeDelta::days(days)).timestamp_millis());
    let (old, recent) = (id(4), id(2));
    for id in [&old, &recent] {
        // An event of a type that no service knows.
        let event =
            Envelope { id: Uuid::now_v7().to_string(), r#type: "test.happened".to_owned(), ..Envelope::default() };
        fixture.redis(redis::cmd("XADD").arg(&stream).arg(id).arg("e").arg(event.encode_to_vec())).await;
    }
    let entries = async || -> Vec<(String, Vec<Vec<u8>>)> {
        let range = redis::cmd("XRANGE").arg(&stream).arg("-").arg("+").to_owned();
        range.query_async(&mut fixture.streams.connection()).await.unwrap()
    };
    eventually(async || (!entries().await.iter().any(|(id, _)| *id == old)).then_some(())).await;
    assert!(entries().await.iter().any(|(id, _)| *id == recent), "what is younger stays");
}

#[tokio::test]
async fn dead_letters_are_deleted_after_thirty_days() {
    let fixture = Fixture::start().await;
    let (old, recent) = (Uuid::now_v7(), Uuid::now_v7());
    for (id, days) in [(old, 31), (recent, 29)] {
        sqlx::query(
            "insert into notification.dead_letters (event_id, envelope, error, failed_at)
             values ($1, '', 'INTERNAL', now() - make_interval(days => $2))",
        )
        .bind(id)
        .bind(days)
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    }
    let rules = Rule::all(&PersonalData::parse(baton_notification::SPEC.personal_data).unwrap()).unwrap();
    let letters =
        |report: Vec<retention::Oldest>| report.into_iter().find(|line| line.rule.table == "dead_letters").unwrap();
    let db = fixture.context.db("notification");
    assert!(letters(retention::report(&db, &rules).await.unwrap()).is_overdue);
    retention::sweep(db.clone(), &rules).await.unwrap();
    let after = letters(retention::report(&db, &rules).await.unwrap());
    assert!(!after.is_overdue && after.oldest.is_some(), "{after:?}");
    let left: Vec<Uuid> = sqlx::query_scalar("select event_id from notification.dead_letters")
        .fetch_all(&fixture.context.admin())
        .await
        .unwrap();
    assert_eq!(left, [recent]);
    sqlx::query("delete from notification.dead_letters").execute(&fixture.context.admin()).await.unwrap();
}
