//! Access RPCs: why a member may or may not use a permission, and who sees a task.

use baton_access::{matrix, principal};
use baton_errors::{Error, Result};
use baton_proto::baton::{
    task::v1::{
        AccessRelation, ExplainRequest, ExplainResponse, FilterViewersRequest, FilterViewersResponse, TaskRights,
        access_service_server::AccessService,
    },
    tenancy::v1::Role,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, lookup::get};
use crate::{
    convert::explain as convert,
    policy::{explain, visibility::Actor},
    task::fields::id,
};

#[tonic::async_trait]
impl AccessService for Rpc {
    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let principal = principal(&request)?;
        let message = request.get_ref();
        let permission = message.permission();
        let user_id: Uuid = message.user_id.parse().map_err(|_| Error::invalid("user_id", "must be a UUID"))?;
        let membership = self.members.describe(principal, user_id).await?;
        let task = match &message.task_id {
            Some(id) => {
                let mut tx = self.db.begin_read(principal.tenant()).await?;
                Some(get(&mut tx, Actor::of(principal), id).await?)
            }
            None => None,
        };
        let actor = Actor { id: user_id, membership: &membership };
        let verdict = explain::explain(actor, permission, task.as_ref())?;
        let relation = task.as_ref().map(|task| convert::to_relation(explain::relation(actor, task)));
        let least = matrix::least(permission).map_or(Role::Unspecified, |role| role.to_proto());
        Ok(Response::new(ExplainResponse {
            allowed: verdict.allowed,
            rule: convert::to_rule(verdict.rule).into(),
            relation: relation.unwrap_or(AccessRelation::Unspecified).into(),
            role: membership.role.to_proto().into(),
            least_role: least.into(),
            explanation: explain::description(verdict.rule).to_owned(),
            task_rights: task.map(|task| TaskRights {
                see: actor.can_see(&task),
                change: actor.can_change(&task).is_ok(),
                delete: actor.can_delete(&task).is_ok(),
                work: actor.can_work_on(&task).is_ok(),
            }),
        }))
    }

    async fn filter_viewers(
        &self,
        request: Request<FilterViewersRequest>,
    ) -> Result<Response<FilterViewersResponse>, Status> {
        let principal = principal(&request)?;
        let FilterViewersRequest { task_id, user_ids } = request.get_ref();
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, Actor::of(principal), task_id).await?;
        drop(tx);
        let wanted: Vec<Uuid> = user_ids.iter().map(|one| id(one, "user_ids")).collect::<Result<_>>()?;
        let people = wanted.iter().copied().chain([task.created_by]).chain(task.assigned_to);
        let members = self.members.by_ids(principal, people.collect()).await?;
        let viewers = wanted.into_iter().filter(|user_id| members.can_see(*user_id, &task));
        Ok(Response::new(FilterViewersResponse { user_ids: viewers.map(|user_id| user_id.to_string()).collect() }))
    }
}
