//! RPCs for the caller's own notifications.

use baton_access::{Principal, principal};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::{
    api::v1::{Page as PageRequest, PageMeta},
    notification::v1::{
        self as proto, DeleteNotificationRequest, DeleteNotificationResponse, ListNotificationsRequest,
        ListNotificationsResponse, ListUnreadNotificationsRequest, ListUnreadNotificationsResponse,
        MarkAllNotificationsReadRequest, MarkAllNotificationsReadResponse, MarkNotificationReadRequest,
        MarkNotificationReadResponse, notification_service_server::NotificationService,
    },
};
use baton_store::Page;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{events::publish, store};

#[tonic::async_trait]
impl NotificationService for Rpc {
    async fn list_notifications(
        &self,
        request: Request<ListNotificationsRequest>,
    ) -> Result<Response<ListNotificationsResponse>, Status> {
        let (notifications, meta) = self.list(principal(&request)?, false, request.get_ref().page.as_ref()).await?;
        Ok(Response::new(ListNotificationsResponse { notifications, meta: Some(meta) }))
    }

    async fn list_unread_notifications(
        &self,
        request: Request<ListUnreadNotificationsRequest>,
    ) -> Result<Response<ListUnreadNotificationsResponse>, Status> {
        let (notifications, meta) = self.list(principal(&request)?, true, request.get_ref().page.as_ref()).await?;
        Ok(Response::new(ListUnreadNotificationsResponse { notifications, meta: Some(meta) }))
    }

    async fn mark_notification_read(
        &self,
        request: Request<MarkNotificationReadRequest>,
    ) -> Result<Response<MarkNotificationReadResponse>, Status> {
        let principal = principal(&request)?;
        let id = parse_id(&request.get_ref().id)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let marked = store::notification::mark_read(&mut tx, principal.user_id(), id, self.db.clock().now()).await?;
        let (notification, was_unread) = marked.ok_or_else(|| Error::from(Reason::NotificationNotFound))?;
        if was_unread {
            tx.publish(publish::notification_read(&notification)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(MarkNotificationReadResponse { notification: Some(notification.into()) }))
    }

    async fn mark_all_notifications_read(
        &self,
        request: Request<MarkAllNotificationsReadRequest>,
    ) -> Result<Response<MarkAllNotificationsReadResponse>, Status> {
        let principal = principal(&request)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let marked = store::notification::mark_all_read(&mut tx, principal.user_id(), self.db.clock().now()).await?;
        if marked > 0 {
            tx.publish(publish::notifications_read(principal.account_id(), principal.user_id())).await?;
        }
        tx.commit().await?;
        let updated_count = i32::try_from(marked).unwrap_or(i32::MAX);
        Ok(Response::new(MarkAllNotificationsReadResponse { updated_count }))
    }

    async fn delete_notification(
        &self,
        request: Request<DeleteNotificationRequest>,
    ) -> Result<Response<DeleteNotificationResponse>, Status> {
        let principal = principal(&request)?;
        let id = parse_id(&request.get_ref().id)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        if !store::notification::delete(&mut tx, principal.user_id(), id).await? {
            return Err(Error::from(Reason::NotificationNotFound).into());
        }
        tx.publish(publish::notification_deleted(principal.account_id(), principal.user_id(), id)).await?;
        tx.commit().await?;
        Ok(Response::new(DeleteNotificationResponse {}))
    }
}

impl Rpc {
    /// A page of the caller's notifications, newest first.
    async fn list(
        &self,
        principal: &Principal,
        unread: bool,
        page: Option<&PageRequest>,
    ) -> Result<(Vec<proto::Notification>, PageMeta)> {
        let list = ("notifications", unread);
        let page = Page::of(page, &list)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let (mut rows, total) = store::notification::list(&mut tx, principal.user_id(), unread, &page).await?;
        let meta = page.meta(&mut rows, total, &list, |row| (None, row.id));
        Ok((rows.into_iter().map(Into::into).collect(), meta))
    }
}

/// Parses an id. The codec has already validated its form.
fn parse_id(id: &str) -> Result<Uuid> {
    id.parse().map_err(|_| Error::invalid("id", "must be a UUID"))
}
