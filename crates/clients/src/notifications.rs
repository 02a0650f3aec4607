//! The notification service: messages to members.

use baton_errors::Result;
use baton_proto::baton::notification::v1::{TellRequest, internal_service_client::InternalServiceClient};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::{Peer, ServiceTokens, Transport};

/// Recipients of one call.
const MAX_RECIPIENTS: usize = 200;

/// The notification service. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Notifications<T = Channel> {
    peer: Peer<T>,
    tokens: ServiceTokens<T>,
}

/// A message to members of an account.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// The account.
    pub account_id: Uuid,
    /// The recipients: members who may see the task.
    pub user_ids: &'a [Uuid],
    /// The task that it is about.
    pub task_id: Option<Uuid>,
    /// The text, at most 500 characters.
    pub text: &'a str,
    /// The person for whom the service acts; `None` when it acts on its own behalf.
    pub actor_id: Option<Uuid>,
}

impl<T: Transport> Notifications<T> {
    /// The notification service as a peer, called with the service's own credentials.
    pub fn new(peer: Peer<T>, tokens: ServiceTokens<T>) -> Self {
        Self { peer, tokens }
    }

    /// Sends a message, to the first 200 recipients. Repeating it with the same key sends nothing.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn tell(&self, message: Message<'_>, key: Uuid) -> Result<()> {
        let message = TellRequest {
            account_id: message.account_id.to_string(),
            user_ids: message.user_ids.iter().take(MAX_RECIPIENTS).map(Uuid::to_string).collect(),
            task_id: message.task_id.map(|id| id.to_string()).unwrap_or_default(),
            text: message.text.to_owned(),
            key: key.to_string(),
            actor_id: message.actor_id.map(|id| id.to_string()).unwrap_or_default(),
        };
        let authorization = self.tokens.authorization("notification").await?;
        let response = self.peer.call(
            || crate::tokens::request(&authorization, message.clone()),
            async |notification, request| InternalServiceClient::new(notification).tell(request).await,
        );
        response.await.map(drop)
    }
}
