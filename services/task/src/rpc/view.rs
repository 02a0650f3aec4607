//! Saved view RPCs.

use baton_access::{Principal, principal};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::task::v1::{
    CreateViewRequest, CreateViewResponse, DeleteViewRequest, DeleteViewResponse, GetViewRequest, GetViewResponse,
    ListViewsRequest, ListViewsResponse, UpdateViewRequest, UpdateViewResponse, view_service_server::ViewService,
};
use baton_store::{Idempotency, Page, Preconditions};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    convert::{board::layout_kind, filter::template, saved_view as convert},
    events::publish::saved_view as events,
    policy::visibility::Actor,
    query::saved_view::View,
    store,
    task::fields::{self, id},
};

#[tonic::async_trait]
impl ViewService for Rpc {
    async fn create_view(&self, request: Request<CreateViewRequest>) -> Result<Response<CreateViewResponse>, Status> {
        let idempotency = Idempotency::of("CreateView", request.metadata(), request.get_ref())?;
        let principal = principal(&request)?.clone();
        let new = request.into_inner();
        let now = self.db.clock().now();
        let mut view = View {
            id: self.db.clock().new_id(),
            account_id: principal.account_id(),
            owner_id: principal.user_id(),
            name: fields::required(new.name.clone(), "name")?,
            source: convert::source(new.source(), "source")?,
            user_id: new.user_id.as_deref().map(|user| id(user, "user_id")).transpose()?,
            layout: layout_kind(new.layout()),
            visibility: convert::visibility(new.visibility()),
            filter: template(new.filter.unwrap_or_default())?,
            position: 0,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        view.check("")?;
        let reachable = self.can_save(&principal, &view).await;
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(response) = tx.replay(&idempotency).await? {
            return Ok(Response::new(response));
        }
        // Propagate this error only after the idempotency check, so that a retry still gets its first response.
        reachable?;
        view.position = store::saved_view::next_position(&mut tx).await?;
        store::saved_view::insert(&mut tx, &view).await?;
        tx.publish(events::created(&view)).await?;
        let response = CreateViewResponse { view: Some(convert::view(view)) };
        tx.remember(&idempotency, &response).await?;
        tx.commit().await?;
        Ok(Response::new(response))
    }

    async fn get_view(&self, request: Request<GetViewRequest>) -> Result<Response<GetViewResponse>, Status> {
        let principal = principal(&request)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let view = store::saved_view::get(&mut tx, parse_id(&request.get_ref().id)?).await?;
        drop(tx);
        let view = visible(view, Actor::of(principal))?;
        Ok(Response::new(GetViewResponse { view: Some(convert::view(view)) }))
    }

    async fn list_views(&self, request: Request<ListViewsRequest>) -> Result<Response<ListViewsResponse>, Status> {
        let principal = principal(&request)?;
        let page = Page::of(request.get_ref().page.as_ref(), &"views")?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let (mut views, total) = store::saved_view::list(&mut tx, &page).await?;
        drop(tx);
        let reader = principal.user_id();
        let meta = page.meta(&mut views, total, &"views", |view| (Some(store::saved_view::key(view, reader)), view.id));
        let views = views.into_iter().map(convert::view).collect();
        Ok(Response::new(ListViewsResponse { views, meta: Some(meta) }))
    }

    async fn update_view(&self, request: Request<UpdateViewRequest>) -> Result<Response<UpdateViewResponse>, Status> {
        let expected = Preconditions::of(request.metadata())?;
        let principal = principal(&request)?.clone();
        let actor = Actor::of(&principal);
        let UpdateViewRequest { id, view: new, update_mask } = request.into_inner();
        let (mask, new) = (update_mask.unwrap_or_default().paths, new.unwrap_or_default());
        // Read before a transaction begins: no transaction waits for another service.
        let reachable = match &new.user_id {
            Some(user) if mask.iter().any(|path| path == "user_id") => {
                self.can_see_board_of(&principal, fields::id(user, "view.user_id")?).await
            }
            _ => Ok(()),
        };
        let mut tx = self.db.begin(principal.tenant()).await?;
        let before = visible(store::saved_view::lock(&mut tx, parse_id(&id)?).await?, actor)?;
        before.can_be_changed_by(actor)?;
        expected.check(before.version)?;
        reachable?;
        let mut after = before.clone();
        convert::change(&mut after, &mask, &new)?;
        if after != before {
            (after.version, after.updated_at) = (before.version + 1, self.db.clock().now());
            store::saved_view::save(&mut tx, &after).await?;
            tx.publish(events::updated(&after)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(UpdateViewResponse { view: Some(convert::view(after)) }))
    }

    async fn delete_view(&self, request: Request<DeleteViewRequest>) -> Result<Response<DeleteViewResponse>, Status> {
        let expected = Preconditions::of(request.metadata())?;
        let principal = principal(&request)?;
        let actor = Actor::of(principal);
        let mut tx = self.db.begin(principal.tenant()).await?;
        let view = visible(store::saved_view::lock(&mut tx, parse_id(&request.get_ref().id)?).await?, actor)?;
        view.can_be_changed_by(actor)?;
        expected.check(view.version)?;
        store::saved_view::delete(&mut tx, &view).await?;
        tx.publish(events::deleted(&view)).await?;
        tx.commit().await?;
        Ok(Response::new(DeleteViewResponse {}))
    }
}

impl Rpc {
    /// Checks that the caller may see the board that the view shows.
    async fn can_save(&self, principal: &Principal, view: &View) -> Result<()> {
        match view.user_id {
            Some(person) => self.can_see_board_of(principal, person).await,
            None => Ok(()),
        }
    }
}

/// An invisible view is indistinguishable from a missing one.
fn visible(view: Option<View>, actor: Actor<'_>) -> Result<View> {
    view.filter(|view| view.is_visible_to(actor)).ok_or_else(|| Reason::ViewNotFound.into())
}

fn parse_id(id: &str) -> Result<Uuid> {
    id.parse().map_err(|_| Error::from(Reason::ViewNotFound))
}
