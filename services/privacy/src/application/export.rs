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
    Db, Tenant,
    jobs::Job,
    personal_data::{CATEGORIES, PersonalData},
    subject_data::{Person, SubjectData},
};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use self::archive::Archive;
use crate::{
    convert,
    request::{AVAILABLE_FOR, EXPORT_TIMEOUT, RequestState},
    store,
};

/// The job that makes an export.
pub(crate) const BUILD_JOB: &str = "privacy.export";
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
}

impl Builder {
    /// Runs the job. It begins anew when it was interrupted.
    pub(crate) async fn run(&self, job: Job) -> anyhow::Result<()> {
        let id: Uuid = job.payload()?;
        let Some((user_id, requested_at, categories)) = store::export::pending(&self.db, id).await? else {
            return Ok(());
        };
        if self.db.clock().now() - requested_at > EXPORT_TIMEOUT {
            // Before the job would be dropped: a request does not stay open without anybody working on it.
            tracing::error!(request.id = %id, "an export was not ready after a day");
            return self.end(id, user_id, RequestState::Failed, None).await;
        }
        let archive = self.collect(user_id, &categories).await?;
        // Another worker may make the same export, if this one was taken for dead: each has a file of its own, and the first
        // to end names it.
        let file = self.db.clock().new_id();
        self.files.put(&file_key(file), archive.file).await?;
        let until = self.db.clock().now() + AVAILABLE_FOR;
        self.end(id, user_id, RequestState::Ready, Some((file, &archive.sha256, until))).await
    }

    async fn end(
        &self,
        id: Uuid,
        user_id: Uuid,
        state: RequestState,
        file: Option<(Uuid, &[u8], DateTime<Utc>)>,
    ) -> anyhow::Result<()> {
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if store::export::end(&mut tx, id, state, file, self.db.clock().now()).await? {
            let payload = if state == RequestState::Ready {
                Payload::PrivacyRequestCompleted
            } else {
                Payload::PrivacyRequestFailed
            };
            tx.publish(convert::event(payload, id, user_id, state)).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Writes the archive.
    async fn collect(&self, user_id: Uuid, categories: &[String]) -> anyhow::Result<archive::Finished> {
        let archive = Archive::begin()?;
        let mut services = Vec::new();
        for source in &self.sources {
            services.push((source.name(), source.describe().await?));
        }
        services.push((crate::SPEC.name, baton_service::describe(&self.own_data)));
        let accounts = self.accounts(user_id).await?;
        let manifest = manifest(user_id, self.db.clock().now().to_rfc3339(), categories, &services);
        archive.file("manifest.json").await?;
        archive.text(serde_json::to_vec_pretty(&manifest)?).await?;
        let own = Arc::new(SubjectData::open(&self.db, &self.own_data).await?);
        for category in categories {
            archive.file(format!("{category}.json")).await?;
            archive.text(*b"[").await?;
            let mut writer = TableWriter { archive: &archive, table: None };
            for source in &self.sources {
                self.export(source, (user_id, &accounts), category, &mut writer).await?;
            }
            self.export_own(own.clone(), user_id, category, &mut writer).await?;
            writer.end().await?;
            archive.text(*b"]\n").await?;
        }
        archive.finish().await
    }

    /// The accounts whose member the person is, as tenancy exports their memberships.
    async fn accounts(&self, user_id: Uuid) -> anyhow::Result<Vec<Uuid>> {
        let tenancy = self.sources.iter().find(|source| source.name() == "tenancy");
        let tenancy = tenancy.ok_or_else(|| anyhow!("tenancy is no source"))?;
        let mut responses = tenancy.export(user_id, &[], convert::category("profile"), "").await?;
        let mut accounts = Vec::new();
        while let Some(response) = responses.message().await? {
            for row in response.rows.iter().filter(|_| response.table == "memberships") {
                let row: Membership = serde_json::from_str(row)?;
                // The memberships of those whom they manage or have invited are exported, too, without their state.
                if row.user_id == Some(user_id) && row.status.as_deref() == Some("active") {
                    accounts.extend(row.account_id);
                }
            }
        }
        Ok(accounts)
    }

    /// Writes what a service has in a category.
    async fn export(
        &self,
        source: &SubjectDataPeer,
        (user_id, accounts): (Uuid, &[Uuid]),
        category: &str,
        writer: &mut TableWriter<'_>,
    ) -> anyhow::Result<()> {
        let (mut cursor, mut attempts) = (String::new(), 0);
        loop {
            let broken = match source.export(user_id, accounts, convert::category(category), &cursor).await {
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
        let person = Person { user_id, accounts: Vec::new() };
        let mut rows = std::pin::pin!(data.export(self.db.clone(), person, category, "")?);
        while let Some(found) = rows.try_next().await? {
            writer.rows(crate::SPEC.name, &found.table, found.rows).await?;
        }
        Ok(())
    }
}

/// What is read of an exported membership.
#[derive(Deserialize)]
struct Membership {
    account_id: Option<Uuid>,
    user_id: Option<Uuid>,
    status: Option<String>,
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

fn manifest(user_id: Uuid, at: String, categories: &[String], services: &[(&str, DescribeResponse)]) -> Value {
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
        "user_id": user_id,
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
