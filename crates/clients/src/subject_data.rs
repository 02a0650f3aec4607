//! What services store about people; for the privacy service.

use baton_errors::Result;
use baton_proto::baton::privacy::v1::{
    ApplyConsentsRequest, ApplyConsentsResponse, DataCategory, DescribeRequest, DescribeResponse, ExportRequest,
    ExportResponse, subject_data_service_client::SubjectDataServiceClient,
};
use tonic::{Streaming, transport::Channel};
use uuid::Uuid;

use crate::{Peer, ServiceTokens, Transport, tokens::request};

/// A service that has data of people. Clones share the connection.
#[derive(Debug, Clone)]
pub struct SubjectDataPeer<T = Channel> {
    peer: Peer<T>,
    tokens: ServiceTokens<T>,
}

impl<T: Transport> SubjectDataPeer<T> {
    /// The service behind this peer, called with the privacy service's own credentials.
    pub fn new(peer: Peer<T>, tokens: ServiceTokens<T>) -> Self {
        Self { peer, tokens }
    }

    /// The name of the service.
    pub fn name(&self) -> &'static str {
        self.peer.name()
    }

    /// The tables with data of people.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn describe(&self) -> Result<DescribeResponse> {
        let authorization = self.tokens.authorization(self.name()).await?;
        let response = self.peer.call(
            || request(&authorization, DescribeRequest {}),
            async |service, request| SubjectDataServiceClient::new(service).describe(request).await,
        );
        response.await
    }

    /// Applies changes of consents. See `SubjectDataService.ApplyConsents`.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn apply_consents(&self, message: ApplyConsentsRequest) -> Result<ApplyConsentsResponse> {
        let authorization = self.tokens.authorization(self.name()).await?;
        let response = self.peer.call(
            || request(&authorization, message.clone()),
            async |service, request| SubjectDataServiceClient::new(service).apply_consents(request).await,
        );
        response.await
    }

    /// Begins to stream the rows of a category about a person. An empty cursor begins; that of the last response continues.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn export(
        &self,
        user_id: Uuid,
        accounts: &[Uuid],
        category: DataCategory,
        cursor: &str,
    ) -> Result<Streaming<ExportResponse>> {
        let authorization = self.tokens.authorization(self.name()).await?;
        let message = ExportRequest {
            user_id: user_id.to_string(),
            category: category.into(),
            account_ids: accounts.iter().map(Uuid::to_string).collect(),
            cursor: cursor.to_owned(),
        };
        let response = self.peer.call(
            || request(&authorization, message.clone()),
            async |service, request| SubjectDataServiceClient::new(service).export(request).await,
        );
        response.await
    }
}
