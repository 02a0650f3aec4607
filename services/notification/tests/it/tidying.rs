//! People read and tidy what they were told.

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

use crate::stage::Stage;

async fn unread(stage: &Stage, person: &Person) -> Vec<Notification> {
    let request = person.call(stage.team.account_id, ListUnreadNotificationsRequest { page: None });
    let answer = stage.client.clone().list_unread_notifications(request).await.unwrap().into_inner();
    assert_eq!(answer.meta.unwrap().total_count as usize, answer.notifications.len());
    answer.notifications
}

#[tokio::test]
async fn reading_marks_once_and_keeps_the_first_time() {
    let stage = Stage::set().await;
    let (account_id, user) = (stage.team.account_id, &stage.team.user_a1);
    for _ in 0..3 {
        stage.assign(&stage.team.manager_a, user).await;
    }
    let told = stage.told(user, 3).await;
    let mut client = stage.client.clone();

    let mark = || user.call(account_id, MarkNotificationReadRequest { id: told[1].id.clone() });
    let first = client.mark_notification_read(mark()).await.unwrap().into_inner().notification.unwrap();
    assert!(first.read_at.is_some());
    let again = client.mark_notification_read(mark()).await.unwrap().into_inner().notification.unwrap();
    assert_eq!(first, again);
    let left: Vec<String> = unread(&stage, user).await.into_iter().map(|notification| notification.id).collect();
    assert_eq!(left, [told[0].id.clone(), told[2].id.clone()]);

    let all = || user.call(account_id, MarkAllNotificationsReadRequest {});
    assert_eq!(client.mark_all_notifications_read(all()).await.unwrap().into_inner().updated_count, 2);
    assert_eq!(client.mark_all_notifications_read(all()).await.unwrap().into_inner().updated_count, 0);
    assert!(unread(&stage, user).await.is_empty());
    let listed = stage.list(user, account_id).await;
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[1], first, "marking all left the one that was read alone");
    // Three were made, one was read, the rest together; repetitions changed nothing and so told nothing.
    assert_eq!(stage.count("select count(*) from notification.outbox").await, 3 + 1 + 1);
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_cannot_be_read_or_deleted_again() {
    let stage = Stage::set().await;
    let (account_id, user) = (stage.team.account_id, &stage.team.user_a1);
    stage.assign(&stage.team.manager_a, user).await;
    let id = stage.told(user, 1).await.remove(0).id;
    let mut client = stage.client.clone();
    let delete = || user.call(account_id, DeleteNotificationRequest { id: id.clone() });
    client.delete_notification(delete()).await.unwrap();
    assert_eq!(stage.count("select count(*) from notification.outbox").await, 1 + 1);
    assert!(stage.list(user, account_id).await.is_empty());
    let status = client.delete_notification(delete()).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::NotificationNotFound));
    let mark = user.call(account_id, MarkNotificationReadRequest { id });
    let status = client.mark_notification_read(mark).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::NotificationNotFound));
}

#[tokio::test]
async fn lists_are_read_by_page_number_or_on_from_a_token_that_holds_still() {
    let stage = Stage::set().await;
    let (account_id, user) = (stage.team.account_id, &stage.team.user_a1);
    for _ in 0..5 {
        stage.assign(&stage.team.manager_a, user).await;
    }
    let told: Vec<String> = stage.told(user, 5).await.into_iter().map(|notification| notification.id).collect();
    let list = async |page: Page| {
        let request = user.call(account_id, ListNotificationsRequest { page: Some(page) });
        let answer = stage.client.clone().list_notifications(request).await?.into_inner();
        let ids: Vec<String> = answer.notifications.into_iter().map(|notification| notification.id).collect();
        Ok::<_, tonic::Status>((ids, answer.meta.unwrap()))
    };

    let (ids, meta) = list(Page { page: 2, per_page: 2, ..Page::default() }).await.unwrap();
    assert_eq!(ids, told[2..4]);
    assert_eq!((meta.total_count, meta.page, meta.per_page, meta.total_pages), (5, 2, 2, 3));
    let (ids, meta) = list(Page { page: 9, per_page: 2, ..Page::default() }).await.unwrap();
    assert!(ids.is_empty() && meta.next_page_token.is_empty());

    let (ids, meta) = list(Page { per_page: 2, ..Page::default() }).await.unwrap();
    assert_eq!(ids, told[..2]);
    // What comes meanwhile does not move the rest.
    stage.assign(&stage.team.manager_a, user).await;
    stage.told(user, 6).await;
    let (ids, meta) = list(Page { per_page: 2, page_token: meta.next_page_token, ..Page::default() }).await.unwrap();
    assert_eq!(ids, told[2..4]);
    let token = meta.next_page_token;
    let (ids, meta) = list(Page { per_page: 2, page_token: token.clone(), ..Page::default() }).await.unwrap();
    assert_eq!(ids, told[4..]);
    assert_eq!(meta.next_page_token, "");

    let page = Some(Page { page_token: token, ..Page::default() });
    let request = user.call(account_id, ListUnreadNotificationsRequest { page });
    let status = stage.client.clone().list_unread_notifications(request).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::PageTokenInvalid), "a token of another list");
    let status = list(Page { per_page: 101, ..Page::default() }).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::ValidationFailed));
    let mark = user.call(account_id, MarkNotificationReadRequest { id: "1".to_owned() });
    let status = stage.client.clone().mark_notification_read(mark).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::ValidationFailed));
    assert!(Uuid::parse_str(&told[0]).is_ok());
}
