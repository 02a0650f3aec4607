//! Making an export: every service streams what it stores about the person, by its catalogue, into a ZIP archive.
//!
//! ```text
//! manifest.json     purposes, retention and recipients of all data, of every service
//! profile.json      the rows of a category, by service and table
//! tasks.json
//! ...
//! ```

mod archive;

use std::{sync::Arc, time::Duration};

use anyhow::anyhow;
use baton_catalog::Payload;
use baton_clients::SubjectDataPeer;
use baton_files::Files;
use baton_proto::baton::privacy::v1::{DescribeResponse, SubjectTable};
use baton_store::{
    Db,
    jobs::Job,
    personal_data::{CATEGORIES, PersonalData},
    subject_data::{Person, Subject, SubjectData},
};
use baton_vault::Vault;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use self::archive::Archive;
use super::members;
use crate::{
    consent::Proof,
    convert,
    request::{AVAILABLE_FOR, DataExport, EXPORT_TIMEOUT, PrivacyRequest, RequestState},
    store,
};

/// The job that makes an export.
pub(crate) const BUILD_JOB: &str = "privacy.export";
/// The job that makes an export of what an account has of a member. Not [`BUILD_JOB`], because the previous program version
/// would export everything of the person.
pub(crate) const BUILD_MEMBER_JOB: &str = "privacy.export_member";
/// Version of the archive's format.
const FORMAT: u32 = 1;
/// Attempts to continue the stream of a service that breaks off, before the job is tried again as a whole.
const MAX_ATTEMPTS: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Who sees the data of each category, besides the person.
const RECIPIENTS: [(&str, &str); 7] = [
    ("profile", "members of the accounts that you belong to"),
    ("tasks", "members of the account who may see the task, by its visibility and their role"),
    ("chats", "nobody"),
    ("analytics", "people who manage you, in the accounts that you belong to"),
    ("consents", "nobody"),
    ("activity", "owners and super managers of the accounts that you belong to"),
    ("settings", "nobody"),
];

/// The folder of exports in the object store.
pub(crate) const FOLDER: &str = "exports";

/// The key of a file in the object store.
pub(crate) fn file_key(file: Uuid) -> String {
    format!("{FOLDER}/{file}.zip")
}

/// Makes exports. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Builder {
    pub(crate) db: Db,
    pub(crate) files: Files,
    /// The other services.
    pub(crate) sources: Vec<SubjectDataPeer>,
    /// The catalogue of this service.
    pub(crate) own_data: Arc<PersonalData>,
    pub(crate) vault: Vault,
}

impl Builder {
    /// Runs the job. It begins anew when it was interrupted.
    pub(crate) async fn run(&self, job: Job) -> anyhow::Result<()> {
        let id: Uuid = job.payload()?;
        let Some(DataExport { request, categories, .. }) = store::export::pending(&self.db, id).await? else {
            return Ok(());
        };
        if self.db.clock().now() - request.requested_at > EXPORT_TIMEOUT {
            // Before the job would be dropped: a request does not stay open without anybody working on it.
            tracing::error!(request.id = %id, "an export was not ready after a day");
            self.end(request, RequestState::Failed, None).await?;
            return Ok(());
        }
        let subject =
            Subject { user_id: request.user_id, account_id: request.account.map(|account| account.account_id) };
        let archive = self.collect(subject, &categories).await?;
        // Another worker may make the same export, if this one was taken for dead: each has a file of its own, and the first
        // to end names it.
        let file = self.db.clock().new_id();
        self.files.put(&file_key(file), archive.file).await?;
        let until = self.db.clock().now() + AVAILABLE_FOR;
        if !self.end(request, RequestState::Ready, Some((file, &archive.sha256, until))).await? {
            // Another worker has made it, or the person was erased meanwhile.
            self.files.delete(&file_key(file)).await?;
        }
        Ok(())
    }

    /// Ends an export; `false` if it has ended already.
    async fn end(
        &self,
        request: PrivacyRequest,
        state: RequestState,
        file: Option<(Uuid, &[u8], DateTime<Utc>)>,
    ) -> anyhow::Result<bool> {
        let mut tx = self.db.begin(request.tenant()).await?;
        let has_ended = store::export::end(&mut tx, request.id, state, file, self.db.clock().now()).await?;
        if has_ended {
            let is_ready = state == RequestState::Ready;
            let PrivacyRequest { id, user_id, kind, .. } = request;
            tx.publish(match request.account {
                Some(account) => {
                    let payload = if is_ready { Payload::MemberRequestCompleted } else { Payload::MemberRequestFailed };
                    convert::member_event(payload, account, id, user_id, (kind, state))
                }
                None => {
                    let payload =
                        if is_ready { Payload::PrivacyRequestCompleted } else { Payload::PrivacyRequestFailed };
                    convert::event(payload, id, user_id, kind, state)
                }
            })
            .await?;
        }
        tx.commit().await?;
        Ok(has_ended)
    }

    /// Writes the archive.
    async fn collect(&self, subject: Subject, categories: &[String]) -> anyhow::Result<archive::Finished> {
        let archive = Archive::begin()?;
        let mut services = Vec::new();
        for source in &self.sources {
            services.push((source.name(), source.describe().await?));
        }
        services.push((crate::SPEC.name, baton_service::describe(&self.own_data)));
        let accounts = match subject.account_id {
            Some(account_id) => vec![account_id],
            None => self.accounts(subject.user_id).await?,
        };
        let manifest = manifest(subject, self.db.clock().now().to_rfc3339(), categories, &services);
        archive.file("manifest.json").await?;
        archive.text(serde_json::to_vec_pretty(&manifest)?).await?;
        let own = Arc::new(SubjectData::open(&self.db, &self.own_data).await?);
        for category in categories {
            archive.file(format!("{category}.json")).await?;
            archive.text(*b"[").await?;
            let mut writer = TableWriter { archive: &archive, table: None };
            for source in &self.sources {
                self.export(source, (subject, &accounts), category, &mut writer).await?;
            }
            if subject.account_id.is_none() {
                self.export_own(own.clone(), subject.user_id, category, &mut writer).await?;
            }
            writer.end().await?;
            archive.text(*b"]\n").await?;
        }
        archive.finish().await
    }

    /// The accounts whose member the person is, as tenancy exports their memberships.
    async fn accounts(&self, user_id: Uuid) -> anyhow::Result<Vec<Uuid>> {
        let memberships = members::memberships(&self.sources, Subject::everywhere(user_id)).await?;
        let active = memberships.into_iter().filter(|membership| membership.status == "active");
        Ok(active.map(|membership| membership.account_id).collect())
    }

    /// Writes what a service has in a category.
    async fn export(
        &self,
        source: &SubjectDataPeer,
        (subject, accounts): (Subject, &[Uuid]),
        category: &str,
        writer: &mut TableWriter<'_>,
    ) -> anyhow::Result<()> {
        let (mut cursor, mut attempts) = (String::new(), 0);
        loop {
            let broken = match source.export(subject, accounts, convert::category(category), &cursor).await {
                Ok(mut rows) => loop {
                    match rows.message().await {
                        Ok(Some(response)) => {
                            writer.rows(source.name(), &response.table, response.rows).await?;
                            (cursor, attempts) = (response.cursor, 0);
                        }
                        Ok(None) => return Ok(()),
                        Err(status) => break anyhow!(status),
                    }
                },
                Err(error) => error.into(),
            };
            attempts += 1;
            if attempts >= MAX_ATTEMPTS {
                return Err(broken.context(format!("{} does not export", source.name())));
            }
            sleep(RETRY_DELAY * 2u32.pow(attempts)).await;
        }
    }

    /// Writes what this service has in a category.
    async fn export_own(
        &self,
        data: Arc<SubjectData>,
        user_id: Uuid,
        category: &str,
        writer: &mut TableWriter<'_>,
    ) -> anyhow::Result<()> {
        let person = Person { user_id, accounts: Vec::new(), within: None };
        let mut rows = std::pin::pin!(data.export(self.db.clone(), person, category, "")?);
        while let Some(found) = rows.try_next().await? {
            writer.rows(crate::SPEC.name, &found.table, found.rows).await?;
        }
        if category == "consents" { self.export_proofs(user_id, writer).await } else { Ok(()) }
    }

    /// Writes what proves the person's answers, in clear.
    async fn export_proofs(&self, user_id: Uuid, writer: &mut TableWriter<'_>) -> anyhow::Result<()> {
        let Some(key) = self.vault.existing_key(user_id).await? else { return Ok(()) };
        let mut after = Uuid::nil();
        loop {
            let sealed = store::consent::sealed_evidence(&self.db, user_id, after).await?;
            let Some((last, _)) = sealed.last() else { return Ok(()) };
            after = *last;
            let rows = sealed.iter().map(|(id, sealed)| {
                // After the vault was lost, nobody can open what was sealed before.
                let proof = key.open(&Proof::context(*id), sealed).ok();
                let proof = proof.and_then(|proof| serde_json::from_slice::<Proof>(&proof).ok());
                if proof.is_none() {
                    tracing::warn!(answer.id = %id, "the evidence of a consent cannot be opened");
                }
                json!({"id": id, "proof": proof}).to_string()
            });
            writer.rows(crate::SPEC.name, "consents.evidence", rows.collect()).await?;
        }
    }
}

/// Writes `{"service", "table", "rows"}` objects. The rows of a table come one after the other.
struct TableWriter<'a> {
    archive: &'a Archive,
    table: Option<(String, String)>,
}

impl TableWriter<'_> {
    async fn rows(&mut self, service: &str, table: &str, rows: Vec<String>) -> anyhow::Result<()> {
        let this = (service.to_owned(), table.to_owned());
        let is_same = self.table.as_ref() == Some(&this);
        let mut text = String::new();
        if !is_same {
            text += if self.table.is_some() { "\n]},\n" } else { "\n" };
            text += &format!(r#"{{"service": {}, "table": {}, "rows": ["#, json!(service), json!(table));
            self.table = Some(this);
        }
        for (n, row) in rows.iter().enumerate() {
            text += if n > 0 || is_same { ",\n  " } else { "\n  " };
            text += row;
        }
        self.archive.text(text).await
    }

    async fn end(self) -> anyhow::Result<()> {
        if self.table.is_some() { self.archive.text(*b"\n]}\n").await } else { Ok(()) }
    }
}

fn manifest(subject: Subject, at: String, categories: &[String], services: &[(&str, DescribeResponse)]) -> Value {
    let tables = |category: &str| {
        let of_category = move |table: &&SubjectTable| table.category() == convert::category(category);
        let tables = services.iter().flat_map(|(service, described)| {
            described.tables.iter().filter(of_category).map(move |table| {
                let exported = table.columns.iter().filter(|column| column.exported);
                let columns: serde_json::Map<String, Value> = exported
                    .map(|column| (column.name.clone(), json!({"about": column.subject, "purpose": column.purpose})))
                    .collect();
                json!({"service": service, "table": table.name, "kept": table.retention, "columns": columns})
            })
        });
        tables.collect::<Vec<_>>()
    };
    let described = CATEGORIES.iter().filter(|name| categories.iter().any(|category| category == *name));
    let described: serde_json::Map<String, Value> = described
        .map(|&name| {
            let recipients = RECIPIENTS.iter().find(|(category, _)| *category == name).map(|(_, who)| who);
            (name.to_owned(), json!({"recipients": recipients, "tables": tables(name)}))
        })
        .collect();
    json!({
        "format": FORMAT,
        "created_at": at,
        "user_id": subject.user_id,
        // The account, if these are its data of a member.
        "account_id": subject.account_id,
        "categories": described,
        // No service derives anything about people at present.
        "inferences": [],
        "note": "Every column that is about you and is exported is listed with its purpose. Other people are named by \
                 their ids. Secrets, such as password hashes, are left out.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_names_its_recipients() {
        assert!(CATEGORIES.iter().eq(RECIPIENTS.iter().map(|(category, _)| category)));
        assert!(CATEGORIES.iter().all(|name| convert::category(name) as i32 > 0));
    }
}
