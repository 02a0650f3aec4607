//! What is known when a rule is evaluated: the event, and the task as the rule's creator sees it.

use baton_access::Role;
use baton_clients::ActingCredentials;
use baton_conditions::{AssigneeFacts, Facts, Needs, Template, choice};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::{task::v1::Task, tenancy::v1::FoundMember};
use baton_rules::{Action, Definition, To, Verb};
use uuid::Uuid;

use crate::{
    clients::task::{Refusable, TaskClient},
    convert,
    plan::{self, Call, Situation},
};

/// The facts, and the task that they are about.
#[derive(Debug, Clone)]
pub(crate) struct TaskSnapshot {
    pub(crate) facts: Facts,
    pub(crate) task: Option<Task>,
}

/// The groups of facts that a rule reads: in its condition and in its texts.
pub(crate) fn needs(definition: &Definition) -> Needs {
    let sent = definition.actions.iter().flat_map(plan::sent_fields);
    let needs = sent.fold(definition.condition.needs(), |needs, field| needs | field.needs());
    let texts = definition.actions.iter().flat_map(plan::texts);
    let templates = texts.filter_map(|text| Template::parse(text, "").ok());
    templates.fold(needs, |needs, template| needs | template.needs())
}

/// Completes what the event says by what the person sees of the task; `None` if they do not see it. What the event says itself
/// is as of the event, the rest as of now.
///
/// # Errors
/// UNAVAILABLE, and those of ended rights.
pub(crate) async fn observe(
    tasks: &TaskClient,
    credentials: &ActingCredentials,
    mut facts: Facts,
    task_id: Option<Uuid>,
    needs: Needs,
) -> Result<Option<TaskSnapshot>> {
    let Some(task_id) = task_id else { return Ok(Some(TaskSnapshot { facts, task: None })) };
    let Some(task) = tasks.task(credentials, task_id).await? else { return Ok(None) };
    let mut now = convert::task::facts(&task);
    if needs.contains(Needs::WATCHERS) {
        now.watchers = Some(tasks.watchers(credentials, task_id).await?);
    }
    facts.task = facts.task.or(now);
    if needs.contains(Needs::PARENT) {
        let parent = match task.parent_task_id.as_deref().and_then(|id| id.parse::<Uuid>().ok()) {
            Some(parent_id) => tasks.task(credentials, parent_id).await?.map(|parent| (parent_id, parent)),
            None => None,
        };
        facts.parent = Some(match parent {
            None => None,
            Some((parent_id, parent)) => {
                let mut parent = convert::task::facts(&parent);
                if needs.of_parent().contains(Needs::WATCHERS) {
                    parent.watchers = Some(tasks.watchers(credentials, parent_id).await?);
                }
                Some(Box::new(parent))
            }
        });
    }
    if needs.contains(Needs::ASSIGNEE) {
        facts.assignee = match facts.task.assignee.flatten() {
            None => AssigneeFacts { role: Some(None), manager: Some(None) },
            Some(assignee) => assignee_facts(tasks.members(credentials, &[], &[assignee]).await?.first()),
        };
    }
    Ok(Some(TaskSnapshot { facts, task: Some(task) }))
}

/// What is known of an assignee; nothing but that there is none of this id, without a member.
pub(super) fn assignee_facts(member: Option<&FoundMember>) -> AssigneeFacts {
    let role = member.and_then(|member| Role::from_proto(member.role));
    AssigneeFacts {
        role: Some(role.and_then(|role| choice::Role::from_name(role.name()))),
        manager: Some(member.and_then(manager)),
    }
}

fn manager(member: &FoundMember) -> Option<Uuid> {
    member.above_ids.first().and_then(|id| id.parse().ok())
}

/// The calls that an action makes now.
///
/// # Errors
/// UNAVAILABLE, and those of ended rights.
pub(crate) async fn plan(
    tasks: &TaskClient,
    credentials: &ActingCredentials,
    action: &Action,
    (rule, now): (&str, chrono::DateTime<chrono::Utc>),
    observed: &TaskSnapshot,
) -> Result<Refusable<Vec<Call>>> {
    let people = match plan::recipients(action) {
        None => Vec::new(),
        Some(to) => match people(tasks, credentials, to, observed.task.as_ref()).await? {
            Ok(people) => people,
            Err(reason) => return Ok(Err(reason)),
        },
    };
    let people = match (&action.verb, &observed.task) {
        // Whoever does not see the task is not told of it.
        (Verb::Notify { .. }, Some(task)) if !people.is_empty() => {
            let task_id = task.id.parse().map_err(Error::internal)?;
            match tasks.viewers(credentials, task_id, &people).await? {
                Ok(people) => people,
                Err(reason) => return Ok(Err(reason)),
            }
        }
        _ => people,
    };
    let task = match &observed.task {
        None => None,
        Some(task) => Some(convert::task::now(task).ok_or_else(|| Error::internal("task returned a malformed task"))?),
    };
    Ok(plan::calls(action, &Situation { rule, facts: &observed.facts, task, people, now }))
}

/// The people whom an action concerns.
async fn people(
    tasks: &TaskClient,
    credentials: &ActingCredentials,
    to: &To,
    task: Option<&Task>,
) -> Result<Refusable<Vec<Uuid>>> {
    let id = |id: &str| id.parse::<Uuid>().ok();
    let assignee = task.and_then(|task| task.assigned_to.as_deref()).and_then(id);
    let task_id = task.and_then(|task| id(&task.id));
    Ok(Ok(match (to, task_id) {
        (To::Me, _) => vec![credentials.user_id],
        (To::Creator, _) => task.and_then(|task| id(&task.created_by)).into_iter().collect(),
        (To::Assignee, _) => assignee.into_iter().collect(),
        (To::Manager, _) => match assignee {
            None => Vec::new(),
            Some(assignee) => {
                tasks.members(credentials, &[], &[assignee]).await?.first().and_then(manager).into_iter().collect()
            }
        },
        (To::Watchers, Some(task_id)) => tasks.watchers(credentials, task_id).await?,
        (To::Suggested, Some(task_id)) => match tasks.suggestion(credentials, task_id).await? {
            Ok(best) => best.into_iter().collect(),
            Err(reason) => return Ok(Err(reason)),
        },
        (To::Watchers | To::Suggested, None) => return Ok(Err(Reason::TaskNotFound)),
        (To::Handle(handle), _) => {
            let found = tasks.members(credentials, std::slice::from_ref(handle), &[]).await?;
            found.iter().filter_map(|member| id(&member.user_id)).collect()
        }
    }))
}
