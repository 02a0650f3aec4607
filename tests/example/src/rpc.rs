//! The RPCs.

use baton_access::principal;
use baton_errors::{Error, Result};
use baton_proto::baton::example::v1::{
    ListGreetingsRequest, ListGreetingsResponse, WatchGreetingsRequest, WatchGreetingsResponse,
    example_service_server::ExampleService,
};
use baton_store::{Db, Page};
use futures_util::{StreamExt as _, stream::BoxStream};
use tokio::sync::broadcast;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{store, stream, visits};

/// The methods of the service.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    /// Accounts with a new greeting.
    pub(crate) news: broadcast::Sender<Uuid>,
}

#[tonic::async_trait]
impl ExampleService for Rpc {
    type WatchGreetingsStream = BoxStream<'static, Result<WatchGreetingsResponse, Status>>;

    async fn list_greetings(
        &self,
        request: Request<ListGreetingsRequest>,
    ) -> Result<Response<ListGreetingsResponse>, Status> {
        let page = Page::of(request.get_ref().page.as_ref(), &"greetings")?;
        let mut tx = self.db.begin_read(principal(&request)?.tenant()).await?;
        let (mut greetings, total) = store::list(&mut tx, &page).await?;
        let meta = page.meta(&mut greetings, total, &"greetings", |greeting| (None, greeting.id));
        drop(tx);
        visits::store(&self.db, principal(&request)?.tenant()).await?;
        let greetings = greetings.into_iter().map(Into::into).collect();
        Ok(Response::new(ListGreetingsResponse { greetings, meta: Some(meta) }))
    }

    async fn watch_greetings(
        &self,
        request: Request<WatchGreetingsRequest>,
    ) -> Result<Response<Self::WatchGreetingsStream>, Status> {
        let tenant = principal(&request)?.tenant();
        let after = request.get_ref().after.as_ref().map(|id| id.parse::<Uuid>());
        let after = after.transpose().map_err(|_| Error::invalid("after", "must be a UUID"))?.unwrap_or_default();
        Ok(Response::new(stream::greetings(&self.db, &self.news, tenant, after).boxed()))
    }
}
