//! Erasing a person everywhere: recorded in the ledger first, then restricted, erased, and counted afresh, service by service.
//! Every step may be repeated from the beginning.

use std::{sync::Arc, time::Duration};

use baton_catalog::Payload;
use baton_clients::SubjectDataPeer;
use baton_errors::Result;
use baton_files::Files;
use baton_ledger::Ledger;
use baton_proto::baton::privacy::v1::{
    DescribeResponse, RestrictRequest, RetentionRule, SubjectCount, SubjectTreatment,
};
use baton_runtime::Next;
use baton_service::Service;
use baton_store::{
    Db,
    jobs::Job,
    personal_data::PersonalData,
    restrictions,
    subject_data::{self, Subject},
};
use futures_util::future::join_all;
use tokio::{sync::OnceCell, time::timeout};
use uuid::Uuid;

use super::{export::file_key, members, pseudonyms::Names};
use crate::{
    convert::{self, treatment_name},
    erasure::{Erasure, Origin, RECOUNT_PAUSE},
    receipt::{Receipt, ReceiptKeys, ReceiptLine},
    request::{RequestState, Requester, tenant},
    store,
};

/// How long the answer to a request waits until every service has restricted the processing. The job does it otherwise.
const RESTRICT_TIMEOUT: Duration = Duration::from_secs(2);
/// Requests that a sweep takes on.
const BATCH: i64 = 100;

/// Erases people. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Eraser {
    db: Db,
    files: Files,
    names: Names,
    ledger: Ledger,
    keys: ReceiptKeys,
    /// The other services.
    sources: Vec<SubjectDataPeer>,
    own: Arc<OnceCell<subject_data::Erasure>>,
    own_data: Arc<PersonalData>,
}

impl Eraser {
    pub(crate) fn new(
        service: &Service,
        (files, names): (Files, Names),
        keys: ReceiptKeys,
        sources: Vec<SubjectDataPeer>,
        own_data: Arc<PersonalData>,
    ) -> Self {
        let (db, ledger) = (service.db(), service.ledger());
        Self { db, files, names, ledger, keys, sources, own: Arc::default(), own_data }
    }

    /// Begins the erasures whose grace period is over, and counts those whose time has come.
    pub(crate) async fn sweep(self) -> Result<Next> {
        let now = self.db.clock().now();
        let begun = store::erasure::begin_due(&self.db, now, BATCH).await?;
        let counted = store::erasure::count_due(&self.db, now, BATCH).await?;
        Ok(if begun.max(counted) == BATCH.unsigned_abs() { Next::Again } else { Next::Wait })
    }

    /// Runs [`RESTRICT_JOB`].
    pub(crate) async fn restrict(&self, job: Job) -> anyhow::Result<()> {
        Ok(self.tell_restriction(job.payload()?).await?)
    }

    /// Tells every service at once, and does not wait for those that are slow.
    pub(crate) async fn restrict_soon(&self, user_id: Uuid) {
        if let Ok(Err(error)) = timeout(RESTRICT_TIMEOUT, self.tell_restriction(user_id)).await {
            tracing::warn!(%error, "a service was not told of a restriction yet");
        }
    }

    async fn tell_restriction(&self, user_id: Uuid) -> Result<()> {
        // Nothing is written about somebody who was erased.
        let Some((restricted, epoch)) = store::erasure::restriction(&self.db, user_id).await? else { return Ok(()) };
        restrictions::set(&self.db, user_id, restricted, epoch).await?;
        let (user_id, ledger_entry_id) = (user_id.to_string(), String::new());
        let request = RestrictRequest { user_id, restricted, epoch, ledger_entry_id };
        self.tell_everywhere(request).await
    }

    /// Tells every other service, at once.
    async fn tell_everywhere(&self, request: RestrictRequest) -> Result<()> {
        let calls = self.sources.iter().map(|source| source.restrict(request.clone()));
        join_all(calls).await.into_iter().collect()
    }

    fn entry(&self, Subject { user_id, account_id }: Subject) -> baton_ledger::Erasure {
        baton_ledger::Erasure { user_id, account_id, recorded_at: self.db.clock().now() }
    }

    /// Goes on with erasures that the ledger has as begun, and that this database does not know since it was restored.
    ///
    /// # Errors
    /// UNAVAILABLE; those of the database.
    pub(crate) async fn adopt(&self) -> Result<()> {
        for (id, entry) in self.ledger.unfinished().await? {
            let now = self.db.clock().now();
            // Who had asked for it, only the lost rows said.
            let account = entry.account_id.map(|account_id| Requester { account_id, user_id: Uuid::nil() });
            let erasure = Erasure {
                request_id: id,
                user_id: entry.user_id,
                origin: Origin::Ledger,
                reason: String::new(),
                nonce: Uuid::new_v4(),
                requested_at: now,
                erase_at: now,
                account,
            };
            let mut tx = self.db.begin(tenant(account, entry.user_id)).await?;
            if !store::erasure::is_known(&mut tx, id).await? && store::erasure::insert(&mut tx, &erasure).await? {
                tracing::warn!(request.id = %id, "an erasure that had begun goes on after a restore");
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Runs [`ERASE_JOB`] and [`ERASE_MEMBER_JOB`].
    pub(crate) async fn erase(&self, job: Job) -> anyhow::Result<()> {
        let Some(erasure) = store::erasure::in_state(&self.db, job.payload()?, RequestState::Erasing).await? else {
            return Ok(());
        };
        if self.has_rejoined(&erasure).await? {
            return self.cancel(&erasure).await;
        }
        let (id, subject) = (erasure.request_id, erasure.subject());
        self.ledger.record_begun(id, &self.entry(subject)).await?;
        if subject.account_id.is_none() {
            self.tell_restriction(subject.user_id).await?;
        }
        if !store::receipt::has_counts(&self.db, id).await? {
            store::receipt::save_counts(&self.db, id, &self.count_everywhere(subject, None).await?).await?;
        }
        self.erase_everywhere(subject, None).await?;
        store::erasure::verify(&self.db, id, self.db.clock().now()).await?;
        Ok(())
    }

    /// Erases a person in every service, this one last.
    /// Services whose database knows `unless_known` are left out.
    pub(crate) async fn erase_everywhere(&self, subject: Subject, unless_known: Option<Uuid>) -> anyhow::Result<()> {
        if subject.account_id.is_none() {
            // First, so that whatever is sealed with the person's key is unreadable from now on, in backups, too.
            self.names.destroy(subject.user_id).await?;
        }
        for source in &self.sources {
            let mut cursor = String::new();
            loop {
                let response = source.erase(subject, &cursor, unless_known).await?;
                let Some(next) = response.cursor else { break };
                cursor = next;
            }
        }
        self.erase_own(subject).await
    }

    /// Erases a person in this service.
    async fn erase_own(&self, subject: Subject) -> anyhow::Result<()> {
        // An export that is being made is not wanted any more: whoever makes it deletes its file.
        store::export::end_all(&self.db, subject).await?;
        let files = store::export::files_of(&self.db, subject).await?;
        for &file in &files {
            self.files.delete(&file_key(file)).await?;
        }
        store::export::forget_files(&self.db, subject.user_id, &files).await?;
        if subject.account_id.is_some() {
            // The rows of this service are about people's own rights, besides the proof of what accounts have requested.
            return Ok(());
        }
        let own = self.own().await?;
        let mut cursor = Some(String::new());
        while let Some(at) = cursor {
            cursor = own.erase(&self.db, subject, &at).await?.cursor;
        }
        Ok(())
    }

    async fn own(&self) -> Result<&subject_data::Erasure> {
        self.own.get_or_try_init(|| subject_data::Erasure::open(&self.db, &self.own_data)).await
    }

    /// Counts what every service has of a person.
    /// Services whose database knows `unless_known` are left out.
    pub(crate) async fn count_everywhere(
        &self,
        subject: Subject,
        unless_known: Option<Uuid>,
    ) -> Result<Vec<(String, Vec<SubjectCount>)>> {
        let mut counts = Vec::new();
        for source in &self.sources {
            counts.push((source.name().to_owned(), source.recount(subject, unless_known).await?));
        }
        if subject.account_id.is_some() {
            return Ok(counts);
        }
        let own = self.own().await?.count_all(&self.db, subject).await?;
        counts.push((crate::SPEC.name.to_owned(), own.into_iter().map(baton_service::subject_count).collect()));
        Ok(counts)
    }

    /// Runs [`COUNT_JOB`] and [`COUNT_MEMBER_JOB`].
    pub(crate) async fn count(&self, job: Job) -> anyhow::Result<()> {
        let id: Uuid = job.payload()?;
        let Some((erasure, found_none_at)) = store::erasure::verifying(&self.db, id).await? else { return Ok(()) };
        if self.has_rejoined(&erasure).await? {
            return self.cancel(&erasure).await;
        }
        let counts = self.count_everywhere(erasure.subject(), None).await?;
        let now = self.db.clock().now();
        let remaining: i64 = counts.iter().flat_map(|(_, counts)| counts).map(remaining).sum();
        if remaining > 0 {
            // Written by what was under way, such as an event that arrived late.
            tracing::warn!(request.id = %id, remaining, "rows remain after an erasure; it is repeated");
            return Ok(store::erasure::erase_again(&self.db, id).await?);
        }
        let Some(found_none_at) = found_none_at else {
            // Every database knows it before the ledger says that they have to.
            self.know(id, erasure.user_id).await?;
            self.ledger.record_erasure(id, &self.entry(erasure.subject())).await?;
            return Ok(store::erasure::count_again(&self.db, id, now, now + RECOUNT_PAUSE).await?);
        };
        if now - found_none_at < RECOUNT_PAUSE {
            return Ok(store::erasure::count_again(&self.db, id, found_none_at, found_none_at + RECOUNT_PAUSE).await?);
        }
        self.complete(&erasure, counts).await
    }

    /// Whether somebody who is erased from an account belongs to it again: then what is there is theirs, and new.
    async fn has_rejoined(&self, erasure: &Erasure) -> Result<bool> {
        if erasure.account.is_none() {
            return Ok(false);
        }
        let memberships = members::memberships(&self.sources, erasure.subject()).await?;
        Ok(memberships.iter().any(|membership| membership.status == "active"))
    }

    /// Ends the erasure of a member who has rejoined.
    async fn cancel(&self, erasure: &Erasure) -> anyhow::Result<()> {
        let (id, user_id, now) = (erasure.request_id, erasure.user_id, self.db.clock().now());
        let mut tx = self.db.begin(tenant(erasure.account, user_id)).await?;
        if let Some(account) = erasure.account
            && store::erasure::cancel_of_member(&mut tx, id, now).await?
        {
            let kind_and_state = (erasure.kind(), RequestState::Canceled);
            tx.publish(convert::member_event(Payload::MemberRequestFailed, account, id, user_id, kind_and_state))
                .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Signs the receipts, and completes the request.
    async fn complete(&self, erasure: &Erasure, counts: Vec<(String, Vec<SubjectCount>)>) -> anyhow::Result<()> {
        let (id, user_id) = (erasure.request_id, erasure.user_id);
        if erasure.account.is_none() {
            // One that a call has made which was under way when the erasure began.
            self.names.destroy(user_id).await?;
        }
        let now = self.db.clock().now();
        let found = store::receipt::counts(&self.db, id).await?;
        let mut receipts = Vec::new();
        for (service, counts) in counts {
            let mut receipt = Receipt::new(id, erasure.subject(), service.clone(), now);
            for count in counts {
                let key = (service.clone(), count.table.clone(), count.subject.clone(), treatment_name(&count));
                receipt.tables.extend(line(count, found.get(&key).copied().unwrap_or_default()));
            }
            receipts.push((service, self.keys.sign(&receipt)?));
        }
        store::receipt::save_receipts(&self.db, id, &receipts).await?;
        let mut tx = self.db.begin(tenant(erasure.account, user_id)).await?;
        if store::erasure::complete(&mut tx, id, now).await? {
            let (kind, state) = (erasure.kind(), RequestState::Completed);
            let event = match erasure.account {
                Some(account) => {
                    convert::member_event(Payload::MemberRequestCompleted, account, id, user_id, (kind, state))
                }
                None => convert::event(Payload::PrivacyRequestCompleted, id, user_id, kind, state),
            };
            tx.publish(event).await?;
        }
        Ok(tx.commit().await?)
    }

    /// What this service stores about people.
    pub(crate) fn describe_own(&self) -> DescribeResponse {
        baton_service::describe(&self.own_data)
    }

    /// The oldest row of every rule of retention, of every service.
    pub(crate) async fn retention(&self) -> Result<Vec<RetentionRule>> {
        let reports = join_all(self.sources.iter().map(SubjectDataPeer::retention)).await;
        let mut rules: Vec<RetentionRule> = reports.into_iter().collect::<Result<Vec<_>>>()?.concat();
        rules.extend(baton_service::retention_rules(&self.db, &self.own_data).await?);
        Ok(rules)
    }

    /// The ledger.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Tells every service that its database knows an entry of the ledger, and nothing else about the person.
    pub(crate) async fn know(&self, entry: Uuid, user_id: Uuid) -> Result<()> {
        restrictions::know_ledger_entries(&self.db, &[entry]).await?;
        let (user_id, ledger_entry_id) = (user_id.to_string(), entry.to_string());
        let request = RestrictRequest { user_id, restricted: false, epoch: 1, ledger_entry_id };
        self.tell_everywhere(request).await
    }
}

/// Rows that should have been erased.
pub(crate) fn remaining(count: &SubjectCount) -> i64 {
    let erased = matches!(count.treatment(), SubjectTreatment::Delete | SubjectTreatment::Clear);
    if erased { count.rows } else { 0 }
}

/// The line of a receipt; `None` if nothing was found. `found` is what was there before.
fn line(count: SubjectCount, found: i64) -> Option<ReceiptLine> {
    let (remaining, treatment) = (remaining(&count), treatment_name(&count));
    let stays = !matches!(count.treatment(), SubjectTreatment::Delete | SubjectTreatment::Clear);
    let kept = if stays { count.rows } else { 0 };
    let found = found.max(count.rows);
    let erased = if stays { 0 } else { found - remaining };
    let SubjectCount { table, subject, reason, .. } = count;
    (found > 0).then_some(ReceiptLine { table, subject, treatment, found, erased, kept, remaining, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(treatment: SubjectTreatment, rows: i64) -> SubjectCount {
        let (table, subject) = ("notes".to_owned(), "author".to_owned());
        SubjectCount { table, subject, treatment: treatment.into(), rows, reason: String::new() }
    }

    #[test]
    fn a_line_adds_up() {
        let deleted = line(count(SubjectTreatment::Delete, 2), 10).unwrap();
        assert_eq!((deleted.found, deleted.erased, deleted.kept, deleted.remaining), (10, 8, 0, 2));
        let kept = line(count(SubjectTreatment::Keep, 7), 7).unwrap();
        assert_eq!((kept.found, kept.erased, kept.kept, kept.remaining), (7, 0, 7, 0));
        // Rows that came after the first count.
        let late = line(count(SubjectTreatment::Clear, 3), 1).unwrap();
        assert_eq!((late.found, late.erased, late.remaining), (3, 0, 3));
        assert_eq!(line(count(SubjectTreatment::Delete, 0), 0), None);
        assert_eq!(treatment_name(&count(SubjectTreatment::Expires, 0)), "expires");
    }
}
