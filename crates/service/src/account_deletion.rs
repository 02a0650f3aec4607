//! The deletion of accounts: the service's rows of an account follow the account.

use std::sync::Arc;

use async_trait::async_trait;
use baton_catalog::EventType;
use baton_errors::Result;
use baton_events::{Delivery, Handler};
use baton_proto::baton::events::v1::Envelope;
use baton_store::{
    Db, Tx,
    jobs::Job,
    personal_data::{PersonalData, delete_account},
};
use futures_util::future::BoxFuture;
use uuid::Uuid;

/// The job that deletes the rows of an account.
pub(crate) const JOB: &str = "account.clear";

/// Work of the service before the rows of an account are deleted.
pub(crate) type BeforeDeletion = Arc<dyn Fn(Uuid) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// Handles `account.deleted`, and gives all events to the service's own handler.
pub(crate) struct AccountDeletion<H> {
    pub(crate) handler: H,
    pub(crate) has_tenant_tables: bool,
}

impl<H> AccountDeletion<H> {
    /// Enqueues the deletion: the rows may be too many for one transaction, and the role that handles events must not
    /// delete them.
    async fn enqueue(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        if self.has_tenant_tables && EventType::of(event) == Some(EventType::AccountDeleted) {
            tx.enqueue(JOB, &tx.tenant().account_id).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl<H: Handler> Handler for AccountDeletion<H> {
    fn handles(&self, kind: Option<EventType>) -> bool {
        self.has_tenant_tables && kind == Some(EventType::AccountDeleted) || self.handler.handles(kind)
    }

    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        self.enqueue(tx, event).await?;
        if self.handler.handles(EventType::of(event)) { self.handler.handle(tx, event).await } else { Ok(()) }
    }

    async fn handle_all(&self, tx: &mut Tx, deliveries: &[&Delivery]) -> Result<()> {
        for delivery in deliveries {
            self.enqueue(tx, &delivery.event).await?;
        }
        let handled: Vec<&Delivery> = deliveries
            .iter()
            .copied()
            .filter(|delivery| self.handler.handles(EventType::of(&delivery.event)))
            .collect();
        if handled.is_empty() { Ok(()) } else { self.handler.handle_all(tx, &handled).await }
    }
}

/// The handler of a service that handles no events of its own.
pub(crate) struct Nothing;

#[async_trait]
impl Handler for Nothing {
    fn handles(&self, _: Option<EventType>) -> bool {
        false
    }

    async fn handle(&self, _: &mut Tx, _: &Envelope) -> Result<()> {
        Ok(())
    }
}

/// Runs the job. Each batch commits by itself, so a job that runs again continues where the last one stopped.
pub(crate) async fn run(
    db: Db,
    data: Arc<PersonalData>,
    before: Option<BeforeDeletion>,
    job: Job,
) -> anyhow::Result<()> {
    let account_id: Uuid = job.payload()?;
    if let Some(before) = before {
        before(account_id).await?;
    }
    delete_account(&db, &data, account_id).await
}
