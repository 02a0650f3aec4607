//! The notifications of a deleted account are deleted.

use baton_proto::baton::tenancy::v1::AccountEvent;
use baton_testkit::{event, eventually};

use crate::fixture::Fixture;

#[tokio::test]
async fn account_deletion_deletes_its_notifications_and_no_others() {
    let fixture = Fixture::start().await;
    let (account_id, user) = (fixture.team.account_id, &fixture.team.user_a1);
    let admin = fixture.context.admin();
    fixture.assign(&fixture.team.manager_a, user).await;
    fixture.wait_for_notifications(user, 1).await;
    // More than one batch, and one notification of another account.
    sqlx::query(
        "insert into notification.notifications (id, account_id, user_id, type, source_event_id, created_at)
         select gen_random_uuid(), case when n = 0 then gen_random_uuid() else $1 end, $2, 'invited',
                gen_random_uuid(), now() from generate_series(0, 2300) n",
    )
    .bind(account_id)
    .bind(user.user_id)
    .execute(&admin)
    .await
    .unwrap();
    let published = fixture.count("select count(*) from notification.outbox").await;

    for attempt in 1..=2 {
        // A redelivered event finds nothing to delete.
        let deleted = event("account.deleted", account_id, account_id, &AccountEvent::default());
        fixture.publish(&fixture.team.owner, [deleted]).await;
        // Other events may arrive meanwhile.
        let handled = "select count(*) from notification.inbox where event_id in
                           (select id from task.outbox where position('account.deleted'::bytea in envelope) > 0)";
        eventually(async || {
            let handled = fixture.count(handled).await == attempt;
            let jobs = fixture.count("select count(*) from notification.jobs").await;
            (handled && jobs == 0).then_some(())
        })
        .await;
        assert_eq!(
            fixture.count("select count(*) from notification.notifications").await,
            1,
            "the one of another account"
        );
    }
    assert_eq!(fixture.count("select count(*) from notification.outbox").await, published, "no event per notification");
}
