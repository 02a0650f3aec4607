//! RPCs for the operator's policies and subprocessors.

use baton_access::caller;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::privacy::v1::{
        AcceptPolicyRequest, AcceptPolicyResponse, ListPoliciesRequest, ListPoliciesResponse, ListSubprocessorsRequest,
        ListSubprocessorsResponse, Policy as ProtoPolicy, policy_service_server::PolicyService,
    },
    convert::timestamp,
};
use baton_store::Tenant;
use tonic::{Request, Response, Status};

use super::Rpc;
use crate::{
    convert::{hexadecimal, subprocessor},
    policy::{self, POLICIES, Policy},
    purpose::hash,
    store::{self, policy::Acceptance},
};

#[tonic::async_trait]
impl PolicyService for Rpc {
    async fn list_policies(
        &self,
        request: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let accepted = store::policy::accepted(&mut tx, user_id).await?;
        let policies = POLICIES.iter().map(|policy| message(policy, &accepted)).collect();
        Ok(Response::new(ListPoliciesResponse { policies }))
    }

    async fn accept_policy(
        &self,
        request: Request<AcceptPolicyRequest>,
    ) -> Result<Response<AcceptPolicyResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let AcceptPolicyRequest { id, version } = request.into_inner();
        let policy = policy::find(&id).ok_or_else(|| Error::from(Reason::PolicyUnknown))?;
        if version != policy.version {
            return Err(Error::from(Reason::NoticeOutdated).into());
        }
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let accepted = (version, hash(policy.text));
        store::policy::accept(&mut tx, user_id, policy.id, (accepted.0, &accepted.1), self.db.clock().now()).await?;
        let accepted = store::policy::accepted(&mut tx, user_id).await?;
        tx.commit().await?;
        Ok(Response::new(AcceptPolicyResponse { policy: Some(message(policy, &accepted)) }))
    }

    async fn list_subprocessors(
        &self,
        _: Request<ListSubprocessorsRequest>,
    ) -> Result<Response<ListSubprocessorsResponse>, Status> {
        let subprocessors = self.subprocessors.iter().cloned().map(subprocessor);
        Ok(Response::new(ListSubprocessorsResponse { subprocessors: subprocessors.collect() }))
    }
}

fn message(policy: &Policy, accepted: &[Acceptance]) -> ProtoPolicy {
    let accepted = accepted.iter().find(|acceptance| acceptance.policy == policy.id);
    ProtoPolicy {
        id: policy.id.to_owned(),
        title: policy.title.to_owned(),
        version: policy.version,
        sha256: hexadecimal(&hash(policy.text)),
        text: policy.text.to_owned(),
        is_accepted: accepted.is_some_and(|acceptance| acceptance.version >= policy.valid_since),
        accepted_version: accepted.map(|acceptance| acceptance.version),
        accepted_at: accepted.map(|acceptance| timestamp(acceptance.accepted_at)),
    }
}
