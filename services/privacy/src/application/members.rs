//! Memberships of people in accounts, as tenancy exports them: also those that have ended.

use baton_clients::SubjectDataPeer;
use baton_errors::{Error, Reason, Result};
use baton_store::subject_data::Subject;
use serde::Deserialize;
use uuid::Uuid;

use crate::convert;

/// A membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) account_id: Uuid,
    /// `active`, `invited` or `left`.
    pub(crate) status: String,
}

/// What is read of an exported row.
#[derive(Deserialize)]
struct Row {
    account_id: Option<Uuid>,
    user_id: Option<Uuid>,
    status: Option<String>,
}

/// The memberships of a person, everywhere or in one account.
///
/// # Errors
/// UNAVAILABLE.
pub(crate) async fn memberships(sources: &[SubjectDataPeer], subject: Subject) -> Result<Vec<Membership>> {
    let tenancy = sources.iter().find(|source| source.name() == "tenancy");
    let tenancy = tenancy.ok_or_else(|| Error::internal("tenancy is no source"))?;
    let mut responses = tenancy.export(subject, &[], convert::category("profile"), "").await?;
    let mut memberships = Vec::new();
    let unavailable = |status: tonic::Status| Error::from(Reason::Unavailable).with_source(status);
    while let Some(response) = responses.message().await.map_err(unavailable)? {
        for row in response.rows.iter().filter(|_| response.table == "memberships") {
            let row: Row = serde_json::from_str(row).map_err(Error::internal)?;
            // The memberships of those whom they manage or have invited are exported, too, without their state.
            if row.user_id == Some(subject.user_id) {
                let membership = row.account_id.zip(row.status);
                memberships.extend(membership.map(|(account_id, status)| Membership { account_id, status }));
            }
        }
    }
    Ok(memberships)
}
