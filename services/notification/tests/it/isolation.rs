//! Notifications are isolated per user and account.

use baton_errors::Reason;
use baton_proto::baton::notification::v1::{
    DeleteNotificationRequest, ListNotificationsRequest, MarkAllNotificationsReadRequest, MarkNotificationReadRequest,
};
use baton_store::Tenant;
use baton_testkit::{Person, reason};
use sqlx::Row;
use uuid::Uuid;

use crate::fixture::Fixture;

#[tokio::test]
async fn other_users_find_nothing_in_any_account() {
    let fixture = Fixture::start().await;
    let other = fixture.context.team().await;
    let (account_id, user) = (fixture.team.account_id, &fixture.team.user_a1);
    fixture.assign(&fixture.team.manager_a, user).await;
    let notifications = fixture.wait_for_notifications(user, 1).await;

    let outsiders: [(&Person, Uuid); 3] =
        [(&fixture.team.owner, account_id), (&fixture.team.user_a2, account_id), (&other.owner, other.account_id)];
    for (outsider, account_id) in outsiders {
        let mut client = fixture.client.clone();
        assert!(fixture.list(outsider, account_id).await.is_empty());
        for id in [notifications[0].id.clone(), Uuid::now_v7().to_string()] {
            let mark = outsider.call(account_id, MarkNotificationReadRequest { id: id.clone() });
            let marked = client.mark_notification_read(mark).await.unwrap_err();
            let delete = outsider.call(account_id, DeleteNotificationRequest { id });
            let deleted = client.delete_notification(delete).await.unwrap_err();
            assert_eq!(reason(&marked), Some(Reason::NotificationNotFound));
            assert_eq!(reason(&deleted), Some(Reason::NotificationNotFound));
        }
        let all = outsider.call(account_id, MarkAllNotificationsReadRequest {});
        assert_eq!(client.mark_all_notifications_read(all).await.unwrap().into_inner().updated_count, 0);
    }
    // The same user in another account: notifications stay in their account.
    fixture.context.join(other.account_id, user, baton_access::Role::User, None).await;
    assert!(fixture.list(user, other.account_id).await.is_empty());
    // Not a member, and without a token.
    let request = other.owner.call(account_id, ListNotificationsRequest { page: None });
    let status = fixture.client.clone().list_notifications(request).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::NotAMember));
    let status = fixture.client.clone().list_notifications(ListNotificationsRequest { page: None }).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::TokenMissing));

    assert_eq!(fixture.list(user, account_id).await, notifications);
}

#[tokio::test]
async fn row_level_security_alone_isolates_accounts() {
    let fixture = Fixture::start().await;
    let other = fixture.context.team().await;
    let account_id = fixture.team.account_id;
    fixture.assign(&fixture.team.manager_a, &fixture.team.user_a1).await;
    fixture.wait_for_notifications(&fixture.team.user_a1, 1).await;

    let db = fixture.context.db(baton_notification::SPEC.name);
    let visible = async |tenant: Tenant| -> i64 {
        let mut tx = db.begin(tenant).await.unwrap();
        sqlx::query("select count(*) from notification.notifications").fetch_one(tx.connection()).await.unwrap().get(0)
    };
    assert_eq!(visible(Tenant::account(account_id)).await, 1);
    assert_eq!(visible(Tenant::account(other.account_id)).await, 0);
    assert_eq!(visible(Tenant::NONE).await, 0);
    let without_tenant: i64 =
        sqlx::query("select count(*) from notification.notifications").fetch_one(db.app()).await.unwrap().get(0);
    assert_eq!(without_tenant, 0);

    let mut tx = db.begin(Tenant::account(other.account_id)).await.unwrap();
    for change in ["update notification.notifications set read_at = now()", "delete from notification.notifications"] {
        assert_eq!(sqlx::query(change).execute(tx.connection()).await.unwrap().rows_affected(), 0);
    }
    let inserted = sqlx::query(
        "insert into notification.notifications (id, account_id, user_id, type, source_event_id, created_at)
         values ($1, $2, $1, 'invited', $1, now())",
    )
    .bind(Uuid::now_v7())
    .bind(account_id)
    .execute(tx.connection())
    .await;
    assert!(inserted.unwrap_err().to_string().contains("row-level security"));
}
