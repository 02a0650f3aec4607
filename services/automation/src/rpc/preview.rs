//! Tests of rules.

use baton_access::Principal;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::automation::v1::{ActionPreview, ConditionVerdict, TestAutomationRequest, TestAutomationResponse},
    convert::to_struct,
};
use serde_json::json;

use super::{AUDIENCE, Rpc};
use crate::{
    application::preview::{self, On},
    clients::memberships::may_call_urls,
    convert::execution::status,
    webhook,
};

/// Tests a rule on a task or an event.
///
/// # Errors
/// VALIDATION_FAILED, AUTOMATION_NOT_FOUND, TASK_NOT_FOUND, UNAVAILABLE.
pub(super) async fn run(
    rpc: &Rpc,
    principal: &Principal,
    request: &TestAutomationRequest,
) -> Result<TestAutomationResponse> {
    let TestAutomationRequest { automation, automation_id, task_id, event_id } = request;
    let (rule, path) = rpc.rule_of(principal, (automation.as_ref(), automation_id.as_deref())).await?;
    let definition = rule.terms.definition(path)?;
    webhook::check_urls(&rule.terms.actions, &rpc.allowed_networks, path)?;
    let has_task = definition.trigger.has_task();
    let id = |id: &String| id.parse().map_err(|_| Error::from(Reason::TaskNotFound));
    let on = match (task_id, event_id) {
        (None, Some(event_id)) if has_task => On::Event(id(event_id)?),
        (task_id, None) if has_task == task_id.is_some() => On::Now(task_id.as_ref().map(id).transpose()?),
        _ => {
            let problem = "or `event_id` must be given if the trigger is about tasks, and only then";
            return Err(Error::invalid("task_id", problem));
        }
    };
    let account_id = principal.account_id();
    let credentials = rpc.delegations.credentials_of_caller(&principal.caller, account_id, AUDIENCE).await?;
    let now = rpc.db.clock().now();
    let found =
        preview::preview(&rpc.tasks, &credentials, (&rule, &definition, may_call_urls(principal.role())), on, now)
            .await?;
    let conditions = found.conditions.into_iter().map(|leaf| {
        let values = json!({"expected": leaf.value, "actual": leaf.actual});
        ConditionVerdict {
            path: leaf.path,
            field: leaf.field,
            op: leaf.op.name().to_owned(),
            held: leaf.held == Some(true),
            values: values.as_object().cloned().map(to_struct),
        }
    });
    let actions = found.actions.into_iter().map(|(outcome, description)| ActionPreview {
        r#type: outcome.kind,
        outcome: status(outcome.outcome).into(),
        reason: outcome.reason,
        description,
    });
    Ok(TestAutomationResponse {
        matches: found.matches,
        conditions: conditions.collect(),
        actions: actions.collect(),
        sentence: definition.sentence(),
    })
}
