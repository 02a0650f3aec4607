//! RPCs for other services acting on their own behalf.

use baton_access::service;
use baton_errors::{Error, Reason};
use baton_events::CONVERSATIONS_CHANNEL;
use baton_proto::baton::notification::v1::{
    PublishConversationUpdatesRequest, PublishConversationUpdatesResponse, TellRequest, TellResponse,
    internal_service_server::InternalService,
};
use baton_store::Tenant;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    events::publish::notification_created, notification::Notification, notification_type::NotificationType, store,
};

#[tonic::async_trait]
impl InternalService for Rpc {
    async fn publish_conversation_updates(
        &self,
        request: Request<PublishConversationUpdatesRequest>,
    ) -> Result<Response<PublishConversationUpdatesResponse>, Status> {
        let name = service(&request)?.name.clone();
        let published = self.streams.publish_ephemeral(CONVERSATIONS_CHANNEL, &request.get_ref().encode_to_vec()).await;
        published.map_err(|error| {
            tracing::warn!(%error, service = name, "cannot publish updates of a conversation");
            Error::from(Reason::Unavailable)
        })?;
        Ok(Response::new(PublishConversationUpdatesResponse {}))
    }

    async fn tell(&self, request: Request<TellRequest>) -> Result<Response<TellResponse>, Status> {
        let caller = service(&request)?.name.clone();
        let TellRequest { account_id, user_ids, task_id, text, key, actor_id } = request.into_inner();
        let invalid = |field| Error::invalid(field, "must be a UUID");
        let account_id: Uuid = account_id.parse().map_err(|_| invalid("account_id"))?;
        let key = own_key(&caller, account_id, key.parse().map_err(|_| invalid("key"))?);
        let mut recipients: Vec<Uuid> = user_ids.iter().filter_map(|id| id.parse().ok()).collect();
        recipients.retain(|&user_id| !self.restrictions.contains(user_id));
        let actor_id: Option<Uuid> = actor_id.parse().ok();
        let mut tx = self.db.begin(Tenant { account_id, user_id: actor_id.unwrap_or_default() }).await?;
        // The inbox counts the key as handled, whoever was told: a repetition with other people tells nobody.
        if tx.handle_once(&[key]).await?.is_empty() {
            return Ok(Response::new(TellResponse {}));
        }
        let clock = tx.db().clock().clone();
        let message = |user_id| Notification {
            id: clock.new_id(),
            account_id,
            user_id,
            kind: NotificationType::Message,
            task_id: task_id.parse().ok(),
            actor_id,
            read_at: None,
            created_at: clock.now(),
            text: Some(text.clone()),
        };
        let messages: Vec<Notification> = recipients.into_iter().map(message).collect();
        let added = store::notification::add(&mut tx, key, &messages).await?;
        tx.publish_all(messages.iter().filter(|it| added.contains(&it.id)).map(notification_created)).await?;
        tx.commit().await?;
        Ok(Response::new(TellResponse {}))
    }
}

/// The key of a message in the inbox, where ids of events are: another service's same key, and an event's id as a key, are
/// other keys.
fn own_key(service: &str, account_id: Uuid, key: Uuid) -> Uuid {
    let parts = [service.as_bytes(), b"/", account_id.as_bytes(), key.as_bytes()];
    let hash: [u8; 32] = Sha256::digest(parts.concat()).into();
    Uuid::from_u128(u128::from_be_bytes(std::array::from_fn(|index| hash[index])))
}
