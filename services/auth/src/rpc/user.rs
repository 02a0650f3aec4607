//! The signed-in person.

use baton_access::caller;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::{GetMeRequest, GetMeResponse, user_service_server::UserService};
use baton_store::Tenant;
use tonic::{Request, Response, Status};

use super::Rpc;
use crate::store;

#[tonic::async_trait]
impl UserService for Rpc {
    async fn get_me(&self, request: Request<GetMeRequest>) -> Result<Response<GetMeResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let user = store::user::get(&mut tx, user_id).await?;
        let user = user.ok_or_else(|| Error::from(Reason::SessionClosed))?;
        Ok(Response::new(GetMeResponse { user: Some(user.into()) }))
    }
}
