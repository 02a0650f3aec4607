//! What services store about people; for the privacy service.

use baton_errors::Result;
use baton_proto::baton::privacy::v1::{
    ApplyConsentsRequest, ApplyConsentsResponse, DataCategory, DescribeRequest, DescribeResponse, EraseRequest,
    EraseResponse, ExportRequest, ExportResponse, MemberSubject, RecountRequest, ReportRetentionRequest,
    RestrictRequest, RetentionRule, SubjectCount, subject_data_service_client::SubjectDataServiceClient,
};
use baton_store::subject_data::Subject;
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

    /// Restricts the processing of a person's data, or ends that. See `SubjectDataService.Restrict`.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn restrict(&self, message: RestrictRequest) -> Result<()> {
        let authorization = self.tokens.authorization(self.name()).await?;
        let response = self.peer.call(
            || request(&authorization, message.clone()),
            async |service, request| SubjectDataServiceClient::new(service).restrict(request).await,
        );
        response.await.map(drop)
    }

    /// Erases the next rows of a person, everywhere or in one account; nothing, if the service knows the entry of the ledger. See
    /// `SubjectDataService.Erase`.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn erase(&self, subject: Subject, cursor: &str, unless_known: Option<Uuid>) -> Result<EraseResponse> {
        let authorization = self.tokens.authorization(self.name()).await?;
        let (user_id, member) = names(subject);
        let unless_known_entry_id = unless_known.map(|entry| entry.to_string()).unwrap_or_default();
        let message = EraseRequest { user_id, member, cursor: cursor.to_owned(), unless_known_entry_id };
        let response = self.peer.call(
            || request(&authorization, message.clone()),
            async |service, request| SubjectDataServiceClient::new(service).erase(request).await,
        );
        response.await
    }

    /// The oldest row of every rule of retention.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn retention(&self) -> Result<Vec<RetentionRule>> {
        let authorization = self.tokens.authorization(self.name()).await?;
        let response = self.peer.call(
            || request(&authorization, ReportRetentionRequest {}),
            async |service, request| SubjectDataServiceClient::new(service).report_retention(request).await,
        );
        Ok(response.await?.rules)
    }

    /// Counts afresh what the service has of a person, everywhere or in one account; nothing, if the service knows the entry of
    /// the ledger.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn recount(&self, subject: Subject, unless_known: Option<Uuid>) -> Result<Vec<SubjectCount>> {
        let (mut counts, mut next) = (Vec::new(), Some(0));
        while let Some(cursor) = next {
            let authorization = self.tokens.authorization(self.name()).await?;
            let (user_id, member) = names(subject);
            let unless_known_entry_id = unless_known.map(|entry| entry.to_string()).unwrap_or_default();
            let message = RecountRequest { user_id, member, cursor, unless_known_entry_id };
            let response = self.peer.call(
                || request(&authorization, message.clone()),
                async |service, request| SubjectDataServiceClient::new(service).recount(request).await,
            );
            let response = response.await?;
            counts.extend(response.counts);
            next = response.cursor;
        }
        Ok(counts)
    }

    /// Begins to stream the rows of a category about a person, everywhere or in one account. An empty cursor begins; that of
    /// the last response continues. `accounts` are those whose member they are.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn export(
        &self,
        subject: Subject,
        accounts: &[Uuid],
        category: DataCategory,
        cursor: &str,
    ) -> Result<Streaming<ExportResponse>> {
        let authorization = self.tokens.authorization(self.name()).await?;
        let (user_id, member) = names(subject);
        let message = ExportRequest {
            user_id,
            member,
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

/// A member is named in a field of their own: a service of the previous version refuses the call, and does not take it for one
/// about everything of the person.
fn names(subject: Subject) -> (String, Option<MemberSubject>) {
    let user_id = subject.user_id.to_string();
    match subject.account_id {
        Some(account_id) => (String::new(), Some(MemberSubject { user_id, account_id: account_id.to_string() })),
        None => (user_id, None),
    }
}
