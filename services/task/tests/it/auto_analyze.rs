//! Statistics of fast-growing tables.

use baton_testkit::eventually;

use crate::fixture::Fixture;

/// Statements are planned once per connection, so a plan made for an empty table must not persist.
#[tokio::test]
async fn grown_table_is_analyzed_within_seconds() {
    let fixture = Fixture::new().await;
    let admin = fixture.context.admin();
    let grow = "insert into task.usage select gen_random_uuid(), gen_random_uuid(), 0 from generate_series(1, 1000)";
    sqlx::query(grow).execute(&admin).await.unwrap();
    let known = "select reltuples::integer from pg_class where oid = 'task.usage'::regclass";
    eventually(async || {
        let known: i32 = sqlx::query_scalar(known).fetch_one(&admin).await.unwrap();
        (known == 1000).then_some(())
    })
    .await;
}
