//! RPCs for other services acting on their own behalf.

use baton_access::service;
use baton_errors::{Error, Reason};
use baton_events::CONVERSATIONS_CHANNEL;
use baton_proto::baton::notification::v1::{
    PublishConversationUpdatesRequest, PublishConversationUpdatesResponse, internal_service_server::InternalService,
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::Rpc;

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
}
