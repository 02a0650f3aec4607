//! RPCs for the caller's sessions and their history.

use baton_access::{Caller, FRESH_FOR, caller};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::auth::v1::{
        ListAuthEventsRequest, ListAuthEventsResponse, ListSessionsRequest, ListSessionsResponse,
        ReauthenticateRequest, ReauthenticateResponse, RevokeAllSessionsRequest, RevokeAllSessionsResponse,
        RevokeSessionRequest, RevokeSessionResponse, session_service_server::SessionService,
    },
    convert::timestamp,
};
use baton_store::{Page, Tenant};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{application::sessions, auth_event::AuthEventKind, convert, events::publish, store};

#[tonic::async_trait]
impl SessionService for Rpc {
    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let (caller, list) = (caller(&request)?, "sessions");
        let page = Page::of(request.get_ref().page.as_ref(), &list)?;
        let mut tx = self.db.begin_read(Tenant::user(caller.user_id)).await?;
        let (mut rows, total) = store::session::list(&mut tx, caller.user_id, self.db.clock().now(), &page).await?;
        let meta = page.meta(&mut rows, total, &list, |row| (None, row.id));
        let sessions = rows.into_iter().map(|row| convert::session(row, caller.session_id)).collect();
        Ok(Response::new(ListSessionsResponse { sessions, meta: Some(meta) }))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let id: Uuid = request.get_ref().id.parse().map_err(|_| Error::invalid("id", "must be a UUID"))?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if store::session::get(&mut tx, id, user_id).await?.is_none() {
            return Err(Error::from(Reason::SessionNotFound).into());
        }
        if store::session::close(&mut tx, id, "revoked", self.db.clock().now()).await? {
            tx.publish(publish::session_closed(user_id, id)).await?;
            store::auth_event::insert(&mut tx, user_id, AuthEventKind::SessionRevoked, Some(id)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(RevokeSessionResponse {}))
    }

    async fn revoke_all_sessions(
        &self,
        request: Request<RevokeAllSessionsRequest>,
    ) -> Result<Response<RevokeAllSessionsResponse>, Status> {
        let caller = caller(&request)?;
        let except = (!request.get_ref().include_current).then_some(caller.session_id);
        let mut tx = self.db.begin(Tenant::user(caller.user_id)).await?;
        let closed = sessions::close_all(&mut tx, caller.user_id, except, "revoked").await?;
        if closed > 0 {
            let kind = AuthEventKind::SessionRevoked;
            store::auth_event::insert(&mut tx, caller.user_id, kind, Some(caller.session_id)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(RevokeAllSessionsResponse { revoked_count: i32::try_from(closed).unwrap_or(i32::MAX) }))
    }

    async fn reauthenticate(
        &self,
        request: Request<ReauthenticateRequest>,
    ) -> Result<Response<ReauthenticateResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let call = self.idempotency("SessionService/Reauthenticate", request.metadata(), request.get_ref())?;
        let ReauthenticateRequest { password, code } = request.into_inner();
        let password_verified = self.verify_password(user_id, password).await?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let factor = store::mfa::lock(&mut tx, user_id).await?.filter(|factor| factor.secret.is_some());
        // The first call has used up the code.
        if let Some(response) = self.recall(&mut tx, &call).await? {
            return Ok(Response::new(response));
        }
        if let Some(factor) = factor {
            tx = self.require_proof(tx, &factor, session_id, code, password_verified).await?;
        } else if !password_verified {
            return Err(Error::from(Reason::ProofRequired).into());
        }
        if let Some(response) = self.replay(&mut tx, &call).await? {
            return Ok(Response::new(response));
        }
        let now = self.db.clock().now();
        if !store::session::record_proof(&mut tx, session_id, user_id, now).await? {
            return Err(Error::from(Reason::SessionClosed).into());
        }
        store::auth_event::insert(&mut tx, user_id, AuthEventKind::Reauthenticated, Some(session_id)).await?;
        let response = ReauthenticateResponse { fresh_until: Some(timestamp(now + FRESH_FOR)) };
        self.remember(&mut tx, &call, &response).await?;
        tx.commit().await?;
        Ok(Response::new(response))
    }

    async fn list_auth_events(
        &self,
        request: Request<ListAuthEventsRequest>,
    ) -> Result<Response<ListAuthEventsResponse>, Status> {
        let (user_id, list) = (caller(&request)?.user_id, "auth_events");
        let page = Page::of(request.get_ref().page.as_ref(), &list)?;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let (mut rows, total) = store::auth_event::list(&mut tx, user_id, &page).await?;
        let meta = page.meta(&mut rows, total, &list, |row| (None, row.id));
        let events = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListAuthEventsResponse { events, meta: Some(meta) }))
    }
}
