//! The RPC.

use baton_access::principal;
use baton_proto::baton::example::v1::{
    ListGreetingsRequest, ListGreetingsResponse, example_service_server::ExampleService,
};
use baton_store::{Db, Page};
use tonic::{Request, Response, Status};

use crate::store;

/// The methods of the service.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
}

#[tonic::async_trait]
impl ExampleService for Rpc {
    async fn list_greetings(
        &self,
        request: Request<ListGreetingsRequest>,
    ) -> Result<Response<ListGreetingsResponse>, Status> {
        let page = Page::of(request.get_ref().page.as_ref(), &"greetings")?;
        let mut tx = self.db.begin_read(principal(&request)?.tenant()).await?;
        let (mut greetings, total) = store::list(&mut tx, &page).await?;
        let meta = page.meta(&mut greetings, total, &"greetings", |greeting| (None, greeting.id));
        let greetings = greetings.into_iter().map(Into::into).collect();
        Ok(Response::new(ListGreetingsResponse { greetings, meta: Some(meta) }))
    }
}
