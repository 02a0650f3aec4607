//! Tag RPCs.

use baton_access::principal;
use baton_errors::Result;
use baton_proto::baton::task::v1::{ListTagsRequest, ListTagsResponse, Tag, tag_service_server::TagService};
use baton_store::Page;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{policy::visibility::Actor, store};

#[tonic::async_trait]
impl TagService for Rpc {
    async fn list_tags(&self, request: Request<ListTagsRequest>) -> Result<Response<ListTagsResponse>, Status> {
        let principal = principal(&request)?;
        let ListTagsRequest { prefix, page } = request.get_ref();
        let page = Page::of(page.as_ref(), prefix)?;
        let actor = Actor::of(principal);
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let (tags, truncated) = store::tag::list_visible(&mut tx, actor, prefix).await?;
        // Few enough to page in memory.
        let total = tags.len() as i64;
        let after = page.after().and_then(|cursor| cursor.key.clone());
        let rest = tags.into_iter().filter(|tag| after.as_ref().is_none_or(|after| tag > after));
        let mut tags: Vec<String> = rest.skip(page.offset() as usize).take(page.limit() as usize).collect();
        let meta = page.meta(&mut tags, total, prefix, |tag| (Some(tag.clone()), Uuid::nil()));
        let counted = store::tag::count(&mut tx, actor, &tags).await?;
        drop(tx);
        let tag = |(name, task_count, has_older_tasks)| Tag { name, task_count, has_older_tasks };
        Ok(Response::new(ListTagsResponse {
            tags: counted.into_iter().map(tag).collect(),
            meta: Some(meta),
            truncated,
        }))
    }
}
