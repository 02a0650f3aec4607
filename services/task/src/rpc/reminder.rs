//! Reminder RPCs.

use baton_access::principal;
use baton_catalog::Payload;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::task::v1::{
        CreateReminderRequest, CreateReminderResponse, DeleteReminderRequest, DeleteReminderResponse,
        ListRemindersRequest, ListRemindersResponse, Reminder as ProtoReminder,
        reminder_service_server::ReminderService,
    },
    convert::timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};
use tonic::{Request, Response, Status};

use super::{
    Rpc,
    lookup::get,
    mutation::{Mutation, lock},
};
use crate::{
    convert::time,
    events::publish::schedule as events,
    policy::visibility::Actor,
    store::{self, reminder::Reminder},
    task::fields::id,
};

/// Maximum number of reminders of one member for one task.
const MAX_REMINDERS: i64 = 20;

#[tonic::async_trait]
impl ReminderService for Rpc {
    async fn create_reminder(
        &self,
        request: Request<CreateReminderRequest>,
    ) -> Result<Response<CreateReminderResponse>, Status> {
        let mutation = Mutation::of("CreateReminder", &request)?;
        let message = request.get_ref();
        let clock = self.db.clock();
        let mut tx = self.db.begin(mutation.principal().tenant()).await?;
        if let Some(response) = tx.replay::<ProtoReminder>(mutation.idempotency()).await? {
            return Ok(Response::new(CreateReminderResponse { reminder: Some(response) }));
        }
        // The lock serializes the count of reminders, and fixes the due time that the reminder refers to.
        let task = lock(&mut tx, &mutation, &message.task_id).await?;
        let remind_at = message.at.as_ref().map(|at| time(at, "at")).transpose()?;
        let fires_at = fires_at(remind_at, message.before_seconds, task.fields.due_at, clock.now())?;
        if store::reminder::count(&mut tx, task.id).await? >= MAX_REMINDERS {
            return Err(Error::from(Reason::ReminderLimit).with("limit", MAX_REMINDERS.to_string()).into());
        }
        let reminder = Reminder {
            id: clock.new_id(),
            task_id: task.id,
            remind_at,
            before_seconds: message.before_seconds,
            created_at: clock.now(),
            fires_at,
        };
        let goes_by = task.fields.due_at.filter(|_| remind_at.is_none());
        store::reminder::insert(&mut tx, &reminder, goes_by).await?;
        let (account_id, user_id) = (task.account_id, mutation.actor().id);
        tx.publish(events::reminder(Payload::ReminderCreated, account_id, reminder.id, task.id, user_id, false))
            .await?;
        let response = to_proto(reminder);
        tx.remember(mutation.idempotency(), &response).await?;
        tx.commit().await?;
        Ok(Response::new(CreateReminderResponse { reminder: Some(response) }))
    }

    async fn list_reminders(
        &self,
        request: Request<ListRemindersRequest>,
    ) -> Result<Response<ListRemindersResponse>, Status> {
        let principal = principal(&request)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, Actor::of(principal), &request.get_ref().task_id).await?;
        let reminders = store::reminder::list(&mut tx, task.id).await?;
        drop(tx);
        Ok(Response::new(ListRemindersResponse { reminders: reminders.into_iter().map(to_proto).collect() }))
    }

    async fn delete_reminder(
        &self,
        request: Request<DeleteReminderRequest>,
    ) -> Result<Response<DeleteReminderResponse>, Status> {
        let principal = principal(&request)?;
        let reminder_id = id(&request.get_ref().reminder_id, "reminder_id")?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let task_id = store::reminder::delete(&mut tx, reminder_id).await?;
        let task_id = task_id.ok_or_else(|| Error::from(Reason::ReminderNotFound))?;
        let (account_id, user_id) = (principal.account_id(), principal.user_id());
        tx.publish(events::reminder(Payload::ReminderDeleted, account_id, reminder_id, task_id, user_id, false))
            .await?;
        tx.commit().await?;
        Ok(Response::new(DeleteReminderResponse {}))
    }
}

/// The first time to fire; `None` while the task has no due time.
fn fires_at(
    at: Option<DateTime<Utc>>,
    before_seconds: Option<i32>,
    due_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    let (fires_at, field) = match (at, before_seconds) {
        (Some(at), None) => (Some(at), "at"),
        (None, Some(seconds)) => (due_at.map(|due| due - TimeDelta::seconds(seconds.into())), "before_seconds"),
        _ => return Err(Error::invalid("at", "must be given, or before_seconds, but not both")),
    };
    if fires_at.is_some_and(|at| at < now) {
        return Err(Error::invalid(field, "must not be in the past"));
    }
    Ok(fires_at)
}

fn to_proto(reminder: Reminder) -> ProtoReminder {
    ProtoReminder {
        id: reminder.id.to_string(),
        task_id: reminder.task_id.to_string(),
        at: reminder.remind_at.map(timestamp),
        before_seconds: reminder.before_seconds,
        fires_at: reminder.fires_at.map(timestamp),
        created_at: Some(timestamp(reminder.created_at)),
    }
}
