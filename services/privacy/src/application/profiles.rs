//! Anonymous profiles of people who have consented to research.

use std::collections::HashMap;

use baton_anonymization::k_anonymity::{self, Anonymized, Outliers, Profile, anonymize, country_of_timezone};
use baton_clients::{Auth, ServiceTokens, Tenancy};
use baton_errors::{Error, Reason, Result};
use baton_proto::convert::datetime;
use baton_store::Db;
use uuid::Uuid;

use super::pseudonyms::Names;
use crate::store;

/// The purpose of the profiles.
const PURPOSE: &str = "research";
/// People of a response.
const MAX_PEOPLE: usize = 10_000;
/// People of a call to another service.
const BATCH: usize = 500;

/// Makes anonymous profiles. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Profiles {
    pub(crate) db: Db,
    pub(crate) auth: Auth,
    pub(crate) tenancy: Tenancy,
    pub(crate) tokens: ServiceTokens,
    pub(crate) names: Names,
}

impl Profiles {
    /// The profiles.
    ///
    /// # Errors
    /// NOT_ANONYMOUS, EXPORT_TOO_LARGE, UNAVAILABLE.
    pub(crate) async fn collect(&self) -> Result<Anonymized> {
        let people = store::consent::people_of(&self.db, PURPOSE, MAX_PEOPLE + 1).await?;
        if people.len() > MAX_PEOPLE {
            return Err(Error::from(Reason::ExportTooLarge).with("limit", MAX_PEOPLE.to_string()));
        }
        // Nobody can link the pseudonyms of two responses.
        let release = format!("{PURPOSE} profiles {}", self.db.clock().new_id());
        let mut profiles = Vec::with_capacity(people.len());
        for people in people.chunks(BATCH) {
            profiles.extend(self.batch(people, &release).await?);
        }
        anonymize(&profiles, Outliers::Dropped).map_err(|error| match error {
            k_anonymity::Error::NotAnonymous { .. } => Reason::NotAnonymous.into(),
            k_anonymity::Error::DuplicateId => Error::internal(error),
        })
    }

    async fn batch(&self, people: &[Uuid], release: &str) -> Result<Vec<Profile>> {
        let (found, standings) =
            tokio::try_join!(self.auth.profiles(&self.tokens, people), self.tenancy.standings(&self.tokens, people))?;
        let standings: HashMap<String, (String, String)> =
            standings.into_iter().map(|standing| (standing.user_id, (standing.tier, standing.role))).collect();
        let ids: Vec<Uuid> = found.iter().filter_map(|profile| profile.id.parse().ok()).collect();
        let names = self.names.one_way(release, &ids)?;
        let profiles = found.into_iter().zip(names).map(|(profile, id)| {
            let created_at = profile.created_at.as_ref().and_then(datetime);
            let created_at = created_at.ok_or_else(|| Error::internal("auth returned a malformed profile"))?;
            let (tier, role) = standings.get(&profile.id).cloned().unzip();
            Ok(Profile {
                id,
                created_at: created_at.date_naive(),
                tier: tier.unwrap_or_else(|| "free".to_owned()),
                company_domain: (!profile.email_domain.is_empty()).then_some(profile.email_domain),
                role,
                country: country_of_timezone(&profile.timezone).map(str::to_owned),
            })
        });
        profiles.collect()
    }
}
