//! Execution RPCs.

use baton_access::principal;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::automation::v1::{
        ListExecutionsRequest, ListExecutionsResponse, ListTaskExecutionsRequest, ListTaskExecutionsResponse,
        RetryExecutionRequest, RetryExecutionResponse, execution_service_server::ExecutionService,
    },
    convert::datetime,
};
use baton_store::{Idempotency, Page};
use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{AUDIENCE, Rpc, actor, require_task_rights, rule_id};
use crate::{
    application::dispatch::{self, Run},
    convert::execution as convert,
    store::{self, execution::Filter},
};

#[tonic::async_trait]
impl ExecutionService for Rpc {
    async fn list_executions(
        &self,
        request: Request<ListExecutionsRequest>,
    ) -> Result<Response<ListExecutionsResponse>, Status> {
        let principal = principal(&request)?;
        let message = request.get_ref();
        let rule_id = rule_id(&message.automation_id)?;
        let filter = Filter {
            status: convert::to_status(message.status()),
            from: time(message.from.as_ref(), "from")?,
            to: time(message.to.as_ref(), "to")?,
        };
        let list = (rule_id, message.status, filter.from, filter.to);
        let page = Page::of(message.page.as_ref(), &list)?;
        let mut tx = self.db.begin_list(principal.tenant()).await?;
        actor(principal).sees(store::rule::get(&mut tx, rule_id).await?)?;
        let (mut executions, total) = store::execution::list(&mut tx, rule_id, filter, &page).await?;
        let ids: Vec<Uuid> = executions.iter().map(|execution| execution.id).collect();
        let deliveries = store::webhook::of_executions(&mut tx, &ids).await?;
        drop(tx);
        let meta = page.meta(&mut executions, total, &list, |execution| (None, execution.id));
        let executions = convert::executions(executions, &deliveries);
        Ok(Response::new(ListExecutionsResponse { executions, meta: Some(meta) }))
    }

    async fn retry_execution(
        &self,
        request: Request<RetryExecutionRequest>,
    ) -> Result<Response<RetryExecutionResponse>, Status> {
        let call = Idempotency::of("RetryExecution", request.metadata(), request.get_ref())?;
        let principal = principal(&request)?;
        let (actor, account_id) = (actor(principal), principal.account_id());
        let RetryExecutionRequest { automation_id, execution_id } = request.get_ref();
        let rule_id = rule_id(automation_id)?;
        let not_found = || Error::from(Reason::ExecutionNotFound);
        let execution_id: Uuid = execution_id.parse().map_err(|_| not_found())?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(response) = tx.replay(&call).await? {
            return Ok(Response::new(response));
        }
        let rule = actor.sees(store::rule::lock(&mut tx, rule_id).await?)?;
        actor.owns(&rule)?;
        require_task_rights(principal)?;
        let execution = store::execution::lock(&mut tx, rule_id, execution_id).await?;
        let mut execution = execution.ok_or_else(not_found)?;
        if !execution.is_repeatable() || !rule.enabled || rule.terms_version != execution.terms_version {
            return Err(Error::from(Reason::ExecutionNotRetryable).into());
        }
        let now = self.db.clock().now();
        execution.repeat(now);
        store::execution::repeat(&mut tx, &execution).await?;
        let run = Run::new(account_id, rule_id, execution.occurrence.clone(), now);
        let waited = rule.terms.definition("").is_ok_and(|definition| definition.trigger.waits());
        dispatch::enqueue(&mut tx, &[Run { repetition: execution.repetitions, waited, ..run }]).await?;
        let response = RetryExecutionResponse { execution: Some(convert::execution(execution)) };
        tx.remember(&call, &response).await?;
        tx.commit().await?;
        Ok(Response::new(response))
    }

    async fn list_task_executions(
        &self,
        request: Request<ListTaskExecutionsRequest>,
    ) -> Result<Response<ListTaskExecutionsResponse>, Status> {
        let principal = principal(&request)?;
        let actor = actor(principal);
        let message = request.get_ref();
        let not_found = || Error::from(Reason::TaskNotFound);
        let task_id: Uuid = message.task_id.parse().map_err(|_| not_found())?;
        let page = Page::of(message.page.as_ref(), &task_id)?;
        let account_id = principal.account_id();
        let credentials = self.delegations.credentials_of_caller(&principal.caller, account_id, AUDIENCE).await?;
        self.tasks.task(&credentials, task_id).await?.ok_or_else(not_found)?;
        let created_by = (!actor.manages).then_some(actor.user_id);
        let mut tx = self.db.begin_list(principal.tenant()).await?;
        let (mut executions, total) = store::execution::list_of_task(&mut tx, task_id, created_by, &page).await?;
        let ids: Vec<Uuid> = executions.iter().map(|execution| execution.id).collect();
        let deliveries = store::webhook::of_executions(&mut tx, &ids).await?;
        drop(tx);
        let meta = page.meta(&mut executions, total, &task_id, |execution| (None, execution.id));
        let executions = convert::executions(executions, &deliveries);
        Ok(Response::new(ListTaskExecutionsResponse { executions, meta: Some(meta) }))
    }
}

fn time(time: Option<&Timestamp>, field: &str) -> Result<Option<DateTime<Utc>>> {
    let parse = |time| datetime(time).ok_or_else(|| Error::invalid(field, "must be a time"));
    time.map(parse).transpose()
}
