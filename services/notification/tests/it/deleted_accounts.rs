//! Accounts end, and what their members were told with them.

use baton_proto::baton::tenancy::v1::AccountEvent;
use baton_store::Event;
use baton_testkit::eventually;

use crate::stage::Stage;

#[tokio::test]
async fn all_that_a_deleted_accounts_members_were_told_goes_and_nothing_of_others() {
    let stage = Stage::set().await;
    let (account_id, user) = (stage.team.account_id, &stage.team.user_a1);
    let admin = stage.world.admin();
    stage.assign(&stage.team.manager_a, user).await;
    stage.told(user, 1).await;
    // More than go at once, and one of another account's.
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
    let published = stage.count("select count(*) from notification.outbox").await;

    for times in 1..=2 {
        // The second time finds nothing more to do.
        let ended = Event::new("account.deleted", account_id, account_id, &AccountEvent::default());
        stage.publish(&stage.team.owner, [ended]).await;
        // Other events may come meanwhile.
        let handled = "select count(*) from notification.inbox where event_id in
                           (select id from task.outbox where position('account.deleted'::bytea in envelope) > 0)";
        eventually(async || {
            let handled = stage.count(handled).await == times;
            let jobs = stage.count("select count(*) from notification.jobs").await;
            (handled && jobs == 0).then_some(())
        })
        .await;
        assert_eq!(stage.count("select count(*) from notification.notifications").await, 1, "another account's");
    }
    assert_eq!(stage.count("select count(*) from notification.outbox").await, published, "nobody is told of each");
}
