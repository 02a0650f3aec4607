//! Skipping occurrences of a series.

use baton_access::Principal;
use baton_errors::{Reason, Result};
use baton_proto::baton::task::v1 as proto;
use chrono::{DateTime, Utc};

use super::{
    Rpc,
    mutation::{Mutation, lock},
};
use crate::{
    application::writer::UnitOfWork,
    convert,
    schedule::series::Instance,
    store,
    task::{Task, change::AppliedChange, event_kind::EventKind},
    watchers::Audience,
};

impl Rpc {
    /// Applies `rule` to the last task of a series in one transaction. A repeated call returns its first response.
    /// Creating the next task locks this one too, so both are serialized.
    pub(super) async fn change_series(
        &self,
        mutation: &Mutation<'_>,
        id: &str,
        reason: Option<&str>,
        audience: Result<Audience>,
        rule: impl FnOnce(&mut Task, &Instance, DateTime<Utc>) -> Result<EventKind> + Send,
    ) -> Result<proto::Task> {
        let mut tx = self.db.begin(mutation.principal().tenant()).await?;
        if let Some(response) = tx.replay(mutation.idempotency()).await? {
            return Ok(response);
        }
        let before = lock(&mut tx, mutation, id).await?;
        mutation.actor().can_change(&before)?;
        let instance = store::series::instance_of(&mut tx, before.id).await?.ok_or(Reason::TaskNotRecurring)?;
        if store::series::has_next(&mut tx, &instance).await? {
            return Err(Reason::TaskNotRecurring.into());
        }
        let mut after = before.clone();
        let kind = rule(&mut after, &instance, self.db.clock().now())?;
        let changed = AppliedChange { before, after, kind, reason: reason.map(str::to_owned) };
        let work = UnitOfWork::change(vec![changed], mutation.policy());
        let task = work.notifying(&audience?).write_one(&mut tx).await?;
        let task = convert::task(task, self.db.clock().now());
        tx.remember(mutation.idempotency(), &task).await?;
        tx.commit().await?;
        Ok(task)
    }

    /// Watchers to notify if the task is canceled.
    pub(super) async fn audience_of(&self, principal: &Principal, id: &str) -> Result<Audience> {
        match id.parse() {
            Ok(id) => self.audience(principal, &[id]).await,
            Err(_) => Ok(Audience::default()),
        }
    }
}
