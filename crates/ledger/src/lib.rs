//! The ledger of erasures and withdrawals of consent, kept beside the backups of the databases.
//!
//! A backup still has whoever was erased after it was made. So each erasure is recorded here before it begins, as a small
//! file of ids and a time that is never changed:
//!
//! ```text
//! begun/<id>.json             {"user_id": "...", "recorded_at": "..."}
//! erasures/<id>.json          {"user_id": "...", "recorded_at": "..."}
//! member_begun/<id>.json      {"user_id": "...", "account_id": "...", "recorded_at": "..."}
//! member_erasures/<id>.json   {"user_id": "...", "account_id": "...", "recorded_at": "..."}
//! withdrawals/<id>.json       {"user_id": "...", "purpose": "analytics", "recorded_at": "..."}
//! ```
//!
//! An erasure is `begun` before it begins, and among the `erasures` once every service has erased the person and its database
//! knows the entry. A database that does not know an entry of `erasures` is older than the ledger: its service is not ready
//! until `baton privacy replay` has repeated what the entry records. One that was only begun keeps nobody from being ready; the
//! privacy service goes on with it, also when its own database was restored. Those of members from one account have folders of
//! their own: a program that does not know them must not take them for erasures from everywhere.

use baton_errors::{Error, Reason, Result};
use baton_files::{Bucket, BucketConfig};
use baton_runtime::Secret;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions, path::Path};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;
use uuid::Uuid;

/// The folders of the kinds of entries.
const BEGUN: &str = "begun";
const ERASURES: &str = "erasures";
const MEMBER_BEGUN: &str = "member_begun";
const MEMBER_ERASURES: &str = "member_erasures";
const WITHDRAWALS: &str = "withdrawals";

baton_runtime::config! {
    /// Where the ledger is.
    pub struct LedgerConfig {
        /// The ledger of erasures, beside the backups and apart from the databases: `s3://bucket/folder`, or `file:///folder`
        /// on a single machine (`baton up`).
        pub url: Url = "BATON_LEDGER_URL";
        /// URL of the S3-compatible server, `https://host`. AWS when absent.
        pub endpoint: Option<Url> = "BATON_LEDGER_ENDPOINT";
        /// The bucket's region.
        pub region: String = "BATON_LEDGER_REGION", default "us-east-1";
        /// Id of the access key; when absent, the role of the machine (AWS) is used.
        pub access_key: Option<Secret> = "BATON_LEDGER_ACCESS_KEY";
        /// Secret of the access key.
        pub secret_key: Option<Secret> = "BATON_LEDGER_SECRET_KEY";
    }
}

/// The ledger. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Ledger(Bucket);

/// An erasure that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Whom it erases.
    pub user_id: Uuid,
    /// The account from which they are erased; absent if it is from everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<Uuid>,
    /// When it began.
    pub recorded_at: DateTime<Utc>,
}

/// A consent that was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// Whose consent.
    pub user_id: Uuid,
    /// To which purpose.
    pub purpose: String,
    /// When it was withdrawn.
    pub recorded_at: DateTime<Utc>,
}

impl Ledger {
    /// Opens the ledger. It is not accessed before its first use.
    ///
    /// # Errors
    /// If the configuration is invalid, or the folder cannot be created.
    pub fn open(config: &LedgerConfig) -> anyhow::Result<Self> {
        Ok(Self(Bucket::open(BucketConfig {
            variables: "BATON_LEDGER",
            url: &config.url,
            endpoint: config.endpoint.as_ref(),
            region: &config.region,
            access_key: config.access_key.as_ref(),
            secret_key: config.secret_key.as_ref(),
        })?))
    }

    /// Records an erasure that is about to begin; an entry that is there already stays as it is.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn record_begun(&self, id: Uuid, erasure: &Erasure) -> Result<()> {
        self.record(if erasure.account_id.is_none() { BEGUN } else { MEMBER_BEGUN }, id, erasure).await
    }

    /// Erasures that have begun and that not every service has done, in their order.
    ///
    /// # Errors
    /// UNAVAILABLE; INTERNAL if an entry cannot be read.
    pub async fn unfinished(&self) -> Result<Vec<(Uuid, Erasure)>> {
        let done = self.erasures().await?;
        let mut unfinished = Vec::new();
        for kind in [BEGUN, MEMBER_BEGUN] {
            for id in self.list(kind, None).await? {
                // The list is in order.
                if done.binary_search(&id).is_err() {
                    unfinished.push((id, self.read(kind, id).await?));
                }
            }
        }
        Ok(unfinished)
    }

    /// Records an erasure that every service has done and knows; an entry that is there already stays as it is.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn record_erasure(&self, id: Uuid, erasure: &Erasure) -> Result<()> {
        self.record(if erasure.account_id.is_none() { ERASURES } else { MEMBER_ERASURES }, id, erasure).await
    }

    /// Records a withdrawal; an entry that is there already stays as it is.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn record_withdrawal(&self, id: Uuid, withdrawal: &Withdrawal) -> Result<()> {
        self.record(WITHDRAWALS, id, withdrawal).await
    }

    /// The ids of all erasures, in their order.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn erasures(&self) -> Result<Vec<Uuid>> {
        let mut ids = self.list(ERASURES, None).await?;
        ids.extend(self.list(MEMBER_ERASURES, None).await?);
        ids.sort_unstable();
        Ok(ids)
    }

    /// The ids of the withdrawals after this one, in their order.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn withdrawals_after(&self, id: Uuid) -> Result<Vec<Uuid>> {
        self.list(WITHDRAWALS, Some(id)).await
    }

    /// An erasure.
    ///
    /// # Errors
    /// UNAVAILABLE; INTERNAL if the entry cannot be read.
    pub async fn erasure(&self, id: Uuid) -> Result<Erasure> {
        let path = self.path(ERASURES, id);
        let is_member = matches!(self.0.store.head(&path).await, Err(object_store::Error::NotFound { .. }));
        self.read(if is_member { MEMBER_ERASURES } else { ERASURES }, id).await
    }

    /// A withdrawal.
    ///
    /// # Errors
    /// UNAVAILABLE; INTERNAL if the entry cannot be read.
    pub async fn withdrawal(&self, id: Uuid) -> Result<Withdrawal> {
        self.read(WITHDRAWALS, id).await
    }

    async fn record(&self, kind: &str, id: Uuid, entry: &impl Serialize) -> Result<()> {
        let text = Bytes::from(serde_json::to_vec(entry).map_err(Error::internal)?);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.0.store.put_opts(&self.path(kind, id), text.into(), options).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn list(&self, kind: &str, after: Option<Uuid>) -> Result<Vec<Uuid>> {
        let folder = self.0.path(kind);
        let found = match after {
            Some(after) => self.0.store.list_with_offset(Some(&folder), &self.path(kind, after)),
            None => self.0.store.list(Some(&folder)),
        };
        let found: Vec<_> = found.try_collect().await.map_err(unavailable)?;
        let id = |name: &str| name.strip_suffix(".json")?.parse().ok();
        let mut ids: Vec<Uuid> = found.iter().filter_map(|entry| id(entry.location.filename()?)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    async fn read<T: DeserializeOwned>(&self, kind: &str, id: Uuid) -> Result<T> {
        let found = self.0.store.get(&self.path(kind, id)).await.map_err(unavailable)?;
        let text = found.bytes().await.map_err(unavailable)?;
        serde_json::from_slice(&text).map_err(|error| Error::internal(format!("entry {id} of the ledger: {error}")))
    }

    fn path(&self, kind: &str, id: Uuid) -> Path {
        self.0.path(&format!("{kind}/{id}.json"))
    }
}

fn unavailable(error: object_store::Error) -> Error {
    Error::from(Reason::Unavailable).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(folder: &std::path::Path) -> Ledger {
        let url = Url::from_directory_path(folder.join("ledger")).unwrap();
        let region = "us-east-1".to_owned();
        Ledger::open(&LedgerConfig { url, endpoint: None, region, access_key: None, secret_key: None }).unwrap()
    }

    #[tokio::test]
    async fn entries_are_kept_in_order_and_never_change() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        assert!(ledger.erasures().await.unwrap().is_empty());
        let ids: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
        let recorded_at = DateTime::from_timestamp_micros(1_800_000_000_000_000).unwrap();
        let entry = Erasure { user_id: Uuid::now_v7(), account_id: None, recorded_at };
        for &id in ids.iter().rev() {
            ledger.record_erasure(id, &entry).await.unwrap();
        }
        // What a second attempt would record is not what happened.
        ledger.record_erasure(ids[2], &Erasure { user_id: Uuid::nil(), account_id: None, recorded_at }).await.unwrap();
        assert_eq!(ledger.erasures().await.unwrap(), ids);
        assert_eq!(ledger.erasure(ids[2]).await.unwrap(), entry);
        assert_eq!(ledger.erasure(Uuid::nil()).await.unwrap_err().reason(), Reason::Unavailable);

        let begun = Uuid::now_v7();
        ledger.record_begun(begun, &entry).await.unwrap();
        ledger.record_begun(ids[0], &entry).await.unwrap();
        assert_eq!(ledger.unfinished().await.unwrap(), [(begun, entry.clone())]);
        assert_eq!(ledger.erasures().await.unwrap(), ids, "it is none yet");

        let member = Erasure { account_id: Some(Uuid::now_v7()), ..entry.clone() };
        let of_member = Uuid::now_v7();
        ledger.record_begun(of_member, &member).await.unwrap();
        assert!(ledger.unfinished().await.unwrap().contains(&(of_member, member.clone())));
        ledger.record_erasure(of_member, &member).await.unwrap();
        assert_eq!(ledger.erasure(of_member).await.unwrap(), member);
        assert_eq!(ledger.erasures().await.unwrap().last(), Some(&of_member));
        assert!(!folder.path().join(format!("ledger/erasures/{of_member}.json")).exists());

        let withdrawal = Withdrawal { user_id: entry.user_id, purpose: "analytics".to_owned(), recorded_at };
        for &id in &ids {
            ledger.record_withdrawal(id, &withdrawal).await.unwrap();
        }
        assert_eq!(ledger.withdrawals_after(ids[2]).await.unwrap(), ids[3..]);
        assert_eq!(ledger.withdrawal(ids[0]).await.unwrap(), withdrawal);
    }
}
