//! RPCs for the data processing agreement.

use baton_access::principal;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::{
        access::v1::Permission,
        tenancy::v1::{
            AcceptDpaRequest, AcceptDpaResponse, Dpa, GetDpaRequest, GetDpaResponse, dpa_service_server::DpaService,
        },
    },
    convert::timestamp,
};
use tonic::{Request, Response, Status};

use super::{Rpc, account::require_permission, parse_account_id};
use crate::{
    dpa::{self, Acceptance},
    events::publish,
    export::to_hex,
    store,
};

#[tonic::async_trait]
impl DpaService for Rpc {
    async fn get_dpa(&self, request: Request<GetDpaRequest>) -> Result<Response<GetDpaResponse>, Status> {
        let principal = principal(&request)?;
        let account_id = parse_account_id(principal, &request.get_ref().account_id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let account = store::account::get(&mut tx, account_id).await?;
        let account = account.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
        let accepted = store::dpa::last(&mut tx, account_id).await?;
        Ok(Response::new(GetDpaResponse { dpa: Some(message(dpa::is_required(account.subscription_tier), accepted)) }))
    }

    async fn accept_dpa(&self, request: Request<AcceptDpaRequest>) -> Result<Response<AcceptDpaResponse>, Status> {
        let principal = principal(&request)?.clone();
        let AcceptDpaRequest { account_id, version, sha256 } = request.into_inner();
        let account_id = parse_account_id(&principal, &account_id)?;
        if version != dpa::VERSION || sha256 != to_hex(&dpa::hash()) {
            return Err(Error::from(Reason::NoticeOutdated).into());
        }
        let mut tx = self.db.begin(principal.tenant()).await?;
        let account = store::account::lock(&mut tx, account_id).await?;
        let account = account.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
        require_permission(&mut tx, &principal, Permission::AccountLifecycle).await?;
        let (user_id, now) = (principal.user_id(), self.db.clock().now());
        if store::dpa::accept(&mut tx, account_id, user_id, (version, dpa::hash()), now).await? {
            tx.publish(publish::dpa_accepted(account_id, version)).await?;
        }
        let accepted = store::dpa::last(&mut tx, account_id).await?;
        tx.commit().await?;
        let dpa = message(dpa::is_required(account.subscription_tier), accepted);
        Ok(Response::new(AcceptDpaResponse { dpa: Some(dpa) }))
    }
}

fn message(is_required: bool, accepted: Option<Acceptance>) -> Dpa {
    Dpa {
        version: dpa::VERSION,
        sha256: to_hex(&dpa::hash()),
        text: dpa::TEXT.to_owned(),
        is_required,
        accepted_version: accepted.as_ref().map(|accepted| accepted.version),
        accepted_by: accepted.as_ref().map(|accepted| accepted.accepted_by.to_string()),
        accepted_at: accepted.map(|accepted| timestamp(accepted.accepted_at)),
    }
}
