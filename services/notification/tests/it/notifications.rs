//! Listing, marking as read, and deleting notifications.

use baton_errors::Reason;
use baton_proto::baton::{
    api::v1::Page,
    notification::v1::{
        DeleteNotificationRequest, ListNotificationsRequest, ListUnreadNotificationsRequest,
        MarkAllNotificationsReadRequest, MarkNotificationReadRequest, Notification,
    },
};
use baton_testkit::{Person, reason};
use uuid::Uuid;

use crate::fixture::Fixture;

async fn list_unread(fixture: &Fixture, person: &Person) -> Vec<Notification> {
    let request = person.call(fixture.team.account_id, ListUnreadNotificationsRequest { page: None });
    let response = fixture.client.clone().list_unread_notifications(request).await.unwrap().into_inner();
    assert_eq!(response.meta.unwrap().total_count as usize, response.notifications.len());
    response.notifications
}

#[tokio::test]
async fn marking_as_read_is_idempotent_and_keeps_the_first_time() {
    let fixture = Fixture::start().await;
    let (account_id, user) = (fixture.team.account_id, &fixture.team.user_a1);
    for _ in 0..3 {
        fixture.assign(&fixture.team.manager_a, user).await;
    }
    let notifications = fixture.wait_for_notifications(user, 3).await;
    let mut client = fixture.client.clone();

    let mark = || user.call(account_id, MarkNotificationReadRequest { id: notifications[1].id.clone() });
    let first = client.mark_notification_read(mark()).await.unwrap().into_inner().notification.unwrap();
    assert!(first.read_at.is_some());
    let again = client.mark_notification_read(mark()).await.unwrap().into_inner().notification.unwrap();
    assert_eq!(first, again);
    let left: Vec<String> = list_unread(&fixture, user).await.into_iter().map(|notification| notification.id).collect();
    assert_eq!(left, [notifications[0].id.clone(), notifications[2].id.clone()]);

    let all = || user.call(account_id, MarkAllNotificationsReadRequest {});
    assert_eq!(client.mark_all_notifications_read(all()).await.unwrap().into_inner().updated_count, 2);
    assert_eq!(client.mark_all_notifications_read(all()).await.unwrap().into_inner().updated_count, 0);
    assert!(list_unread(&fixture, user).await.is_empty());
    let listed = fixture.list(user, account_id).await;
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[1], first, "marking all keeps the first read time");
    // Three created, one marked, the rest marked together. Repeated calls publish nothing.
    assert_eq!(fixture.count("select count(*) from notification.outbox").await, 3 + 1 + 1);
}

#[tokio::test]
async fn a_deleted_notification_cannot_be_read_or_deleted_again() {
    let fixture = Fixture::start().await;
    let (account_id, user) = (fixture.team.account_id, &fixture.team.user_a1);
    fixture.assign(&fixture.team.manager_a, user).await;
    let id = fixture.wait_for_notifications(user, 1).await.remove(0).id;
    let mut client = fixture.client.clone();
    let delete = || user.call(account_id, DeleteNotificationRequest { id: id.clone() });
    client.delete_notification(delete()).await.unwrap();
    assert_eq!(fixture.count("select count(*) from notification.outbox").await, 1 + 1);
    assert!(fixture.list(user, account_id).await.is_empty());
    let status = client.delete_notification(delete()).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::NotificationNotFound));
    let mark = user.call(account_id, MarkNotificationReadRequest { id });
    let status = client.mark_notification_read(mark).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::NotificationNotFound));
}

#[tokio::test]
async fn lists_are_paged_by_number_or_by_a_stable_token() {
    let fixture = Fixture::start().await;
    let (account_id, user) = (fixture.team.account_id, &fixture.team.user_a1);
    for _ in 0..5 {
        fixture.assign(&fixture.team.manager_a, user).await;
    }
    let all: Vec<String> =
        fixture.wait_for_notifications(user, 5).await.into_iter().map(|notification| notification.id).collect();
    let list = async |page: Page| {
        let request = user.call(account_id, ListNotificationsRequest { page: Some(page) });
        let response = fixture.client.clone().list_notifications(request).await?.into_inner();
        let ids: Vec<String> = response.notifications.into_iter().map(|notification| notification.id).collect();
        Ok::<_, tonic::Status>((ids, response.meta.unwrap()))
    };

    let (ids, meta) = list(Page { page: 2, per_page: 2, ..Page::default() }).await.unwrap();
    assert_eq!(ids, all[2..4]);
    assert_eq!((meta.total_count, meta.page, meta.per_page, meta.total_pages), (5, 2, 2, 3));
    let (ids, meta) = list(Page { page: 9, per_page: 2, ..Page::default() }).await.unwrap();
    assert!(ids.is_empty() && meta.next_page_token.is_empty());

    let (ids, meta) = list(Page { per_page: 2, ..Page::default() }).await.unwrap();
    assert_eq!(ids, all[..2]);
    // A new notification does not shift the following page.
    fixture.assign(&fixture.team.manager_a, user).await;
    fixture.wait_for_notifications(user, 6).await;
    let (ids, meta) = list(Page { per_page: 2, page_token: meta.next_page_token, ..Page::default() }).await.unwrap();
    assert_eq!(ids, all[2..4]);
    let token = meta.next_page_token;
    let (ids, meta) = list(Page { per_page: 2, page_token: token.clone(), ..Page::default() }).await.unwrap();
    assert_eq!(ids, all[4..]);
    assert_eq!(meta.next_page_token, "");

    let page = Some(Page { page_token: token, ..Page::default() });
    let request = user.call(account_id, ListUnreadNotificationsRequest { page });
    let status = fixture.client.clone().list_unread_notifications(request).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::PageTokenInvalid), "a token of another list");
    let status = list(Page { per_page: 101, ..Page::default() }).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::ValidationFailed));
    let mark = user.call(account_id, MarkNotificationReadRequest { id: "1".to_owned() });
    let status = fixture.client.clone().mark_notification_read(mark).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::ValidationFailed));
    assert!(Uuid::parse_str(&all[0]).is_ok());
}
