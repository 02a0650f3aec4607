//! Nobody sees, reads or deletes what is another's.

use baton_errors::Reason;
use baton_proto::baton::notification::v1::{
    DeleteNotificationRequest, ListNotificationsRequest, MarkAllNotificationsReadRequest, MarkNotificationReadRequest,
};
use baton_store::Tenant;
use baton_testkit::{Person, reason};
use sqlx::Row;
use uuid::Uuid;

use crate::stage::Stage;

#[tokio::test]
async fn others_of_the_account_and_of_other_accounts_find_nothing() {
    let stage = Stage::set().await;
    let other = stage.world.team().await;
    let (account_id, user) = (stage.team.account_id, &stage.team.user_a1);
    stage.assign(&stage.team.manager_a, user).await;
    let told = stage.told(user, 1).await;

    let strangers: [(&Person, Uuid); 3] =
        [(&stage.team.owner, account_id), (&stage.team.user_a2, account_id), (&other.owner, other.account_id)];
    for (stranger, account_id) in strangers {
        let mut client = stage.client.clone();
        assert!(stage.list(stranger, account_id).await.is_empty());
        for id in [told[0].id.clone(), Uuid::now_v7().to_string()] {
            let mark = stranger.call(account_id, MarkNotificationReadRequest { id: id.clone() });
            let marked = client.mark_notification_read(mark).await.unwrap_err();
            let delete = stranger.call(account_id, DeleteNotificationRequest { id });
            let deleted = client.delete_notification(delete).await.unwrap_err();
            assert_eq!(reason(&marked), Some(Reason::NotificationNotFound));
            assert_eq!(reason(&deleted), Some(Reason::NotificationNotFound));
        }
        let all = stranger.call(account_id, MarkAllNotificationsReadRequest {});
        assert_eq!(client.mark_all_notifications_read(all).await.unwrap().into_inner().updated_count, 0);
    }
    // The same person in another account of theirs: what was told them in the first stays there.
    stage.world.join(other.account_id, user, baton_access::Role::User, None).await;
    assert!(stage.list(user, other.account_id).await.is_empty());
    // Not a member, signed out, or nobody at all.
    let request = other.owner.call(account_id, ListNotificationsRequest { page: None });
    let status = stage.client.clone().list_notifications(request).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::NotAMember));
    let status = stage.client.clone().list_notifications(ListNotificationsRequest { page: None }).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::TokenMissing));

    assert_eq!(stage.list(user, account_id).await, told);
}

#[tokio::test]
async fn row_level_security_alone_hides_other_accounts() {
    let stage = Stage::set().await;
    let other = stage.world.team().await;
    let account_id = stage.team.account_id;
    stage.assign(&stage.team.manager_a, &stage.team.user_a1).await;
    stage.told(&stage.team.user_a1, 1).await;

    let db = stage.world.db(baton_notification::SCHEMA);
    let visible = async |tenant: Tenant| -> i64 {
        let mut tx = db.begin(tenant).await.unwrap();
        sqlx::query("select count(*) from notification.notifications").fetch_one(&mut *tx).await.unwrap().get(0)
    };
    assert_eq!(visible(Tenant::account(account_id)).await, 1);
    assert_eq!(visible(Tenant::account(other.account_id)).await, 0);
    assert_eq!(visible(Tenant::NONE).await, 0);
    let without: i64 =
        sqlx::query("select count(*) from notification.notifications").fetch_one(db.app()).await.unwrap().get(0);
    assert_eq!(without, 0);

    let mut tx = db.begin(Tenant::account(other.account_id)).await.unwrap();
    for change in ["update notification.notifications set read_at = now()", "delete from notification.notifications"] {
        assert_eq!(sqlx::query(change).execute(&mut *tx).await.unwrap().rows_affected(), 0);
    }
    let planted = sqlx::query(
        "insert into notification.notifications (id, account_id, user_id, type, source_event_id, created_at)
         values ($1, $2, $1, 'invited', $1, now())",
    )
    .bind(Uuid::now_v7())
    .bind(account_id)
    .execute(&mut *tx)
    .await;
    assert!(planted.unwrap_err().to_string().contains("row-level security"));
}
