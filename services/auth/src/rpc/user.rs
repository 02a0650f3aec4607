//! RPCs for the signed-in user.

use baton_access::{Caller, caller};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::auth::v1::{
        DeactivateRequest, DeactivateResponse, GetMeRequest, GetMeResponse, ReactivateRequest, ReactivateResponse,
        UpdateMeRequest, UpdateMeResponse, user_service_server::UserService,
    },
    convert::timestamp,
};
use baton_store::{Preconditions, Tenant};
use chrono::TimeDelta;
use tonic::{Request, Response, Status};

use super::Rpc;
use crate::{
    application::{delegation, sessions},
    auth_event::AuthEventKind,
    convert, emails,
    events::publish,
    store::{self, email_link::LinkPurpose},
    user::User,
};

/// How long a deactivation can be undone.
const REACTIVATION_WINDOW: TimeDelta = TimeDelta::days(30);
/// Lifetime of a link that reactivates a user.
const REACTIVATION_LINK_TTL: TimeDelta = TimeDelta::hours(1);
/// Minimum time between two such links.
const REACTIVATION_LINK_INTERVAL: TimeDelta = TimeDelta::minutes(5);

#[tonic::async_trait]
impl UserService for Rpc {
    async fn get_me(&self, request: Request<GetMeRequest>) -> Result<Response<GetMeResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let user = store::user::get(&mut tx, user_id).await?;
        let user = user.ok_or_else(|| Error::from(Reason::SessionClosed))?;
        Ok(Response::new(GetMeResponse { user: Some(user.into()) }))
    }

    async fn update_me(&self, request: Request<UpdateMeRequest>) -> Result<Response<UpdateMeResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let expected = Preconditions::of(request.metadata())?;
        let UpdateMeRequest { user: new, update_mask } = request.into_inner();
        let mask = update_mask.unwrap_or_default().paths;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let before = store::user::lock(&mut tx, user_id).await?;
        let before = before.ok_or_else(|| Error::from(Reason::SessionClosed))?;
        expected.check(before.version)?;
        let mut after = before.clone();
        convert::merge_user(&mut after, &mask, new.unwrap_or_default())?;
        if after != before {
            (after.version, after.updated_at) = (before.version + 1, self.db.clock().now());
            store::user::save_profile(&mut tx, &after).await?;
            tx.publish(publish::user_updated(user_id)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(UpdateMeResponse { user: Some(after.into()) }))
    }

    async fn deactivate(&self, request: Request<DeactivateRequest>) -> Result<Response<DeactivateResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        self.require_password(user_id, request.into_inner().password).await?;
        let now = self.db.clock().now();
        let until = now + REACTIVATION_WINDOW;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if !store::user::deactivate(&mut tx, user_id, now, until).await? {
            // A concurrent call has deactivated the user and closed this session.
            return Err(Error::from(Reason::SessionClosed).into());
        }
        store::email_link::delete_all(&mut tx, user_id).await?;
        sessions::close_all(&mut tx, user_id, None, "deactivated").await?;
        delegation::end_all(&mut tx, user_id).await?;
        tx.publish(publish::user_deactivated(user_id)).await?;
        tx.enqueue(emails::DEACTIVATED, &emails::ToUser { user_id }).await?;
        store::auth_event::insert(&mut tx, user_id, AuthEventKind::Deactivated, Some(session_id)).await?;
        tx.commit().await?;
        Ok(Response::new(DeactivateResponse { data_retention_date: Some(timestamp(until)) }))
    }

    async fn reactivate(&self, request: Request<ReactivateRequest>) -> Result<Response<ReactivateResponse>, Status> {
        let token = request.into_inner().token;
        let invalid = || Error::from(Reason::LinkInvalid);
        let purpose = LinkPurpose::Reactivation;
        let [user_id, nonce] = self.mailed_tokens.open(purpose.name(), &token).ok_or_else(invalid)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        store::email_link::consume(&mut tx, user_id, purpose, nonce, now).await?.ok_or_else(invalid)?;
        if !store::user::reactivate(&mut tx, user_id, now).await? {
            return Err(invalid().into());
        }
        tx.publish(publish::user_reactivated(user_id)).await?;
        store::auth_event::insert(&mut tx, user_id, AuthEventKind::Reactivated, None).await?;
        tx.commit().await?;
        Ok(Response::new(ReactivateResponse {}))
    }
}

impl Rpc {
    /// Refuses a deactivated user after the first factor. While the deactivation can be undone, the reactivation link
    /// is mailed, unless one was sent within the interval.
    ///
    /// # Errors
    /// USER_DEACTIVATED; CREDENTIALS_INVALID after the window.
    pub(crate) async fn reject_deactivated(&self, user: &User) -> Result<()> {
        if user.deactivated_at.is_none() {
            return Ok(());
        }
        let now = self.db.clock().now();
        if user.data_retention_date.is_none_or(|until| until <= now) {
            return Err(Reason::CredentialsInvalid.into());
        }
        let mut tx = self.db.begin(Tenant::user(user.id)).await?;
        let (purpose, expires_at) = (LinkPurpose::Reactivation, now + REACTIVATION_LINK_TTL);
        if store::email_link::replace_unless_valid(
            &mut tx,
            user.id,
            purpose,
            None,
            expires_at,
            expires_at - REACTIVATION_LINK_INTERVAL,
        )
        .await?
        {
            tx.enqueue(emails::REACTIVATION, &emails::ToUser { user_id: user.id }).await?;
        }
        tx.commit().await?;
        Err(Reason::UserDeactivated.into())
    }
}
