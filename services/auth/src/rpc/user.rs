//! The signed-in person.

use baton_access::{Caller, caller};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::auth::v1::{
        AuthEventKind, DeactivateRequest, DeactivateResponse, GetMeRequest, GetMeResponse, ReactivateRequest,
        ReactivateResponse, UpdateMeRequest, UpdateMeResponse, user_service_server::UserService,
    },
    convert::timestamp,
};
use baton_store::{Preconditions, Tenant};
use chrono::TimeDelta;
use tonic::{Request, Response, Status};

use super::Rpc;
use crate::{
    events, mails, sessions,
    store::{self, link::Purpose, user::User},
};

/// How long a deactivation can be taken back.
const GRACE: TimeDelta = TimeDelta::days(30);
/// How long a link that does so works.
const REACTIVATION_LINK: TimeDelta = TimeDelta::hours(1);
/// How old the newest such link has to be before another is mailed.
const BETWEEN_LINKS: TimeDelta = TimeDelta::minutes(5);

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
        after.change(&mask, new.unwrap_or_default())?;
        if after != before {
            (after.version, after.updated_at) = (before.version + 1, self.db.clock().now());
            store::user::save_profile(&mut tx, &after).await?;
            tx.publish(events::user_updated(user_id)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(UpdateMeResponse { user: Some(after.into()) }))
    }

    async fn deactivate(&self, request: Request<DeactivateRequest>) -> Result<Response<DeactivateResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        self.prove_password(user_id, request.into_inner().password).await?;
        let now = self.db.clock().now();
        let until = now + GRACE;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if !store::user::deactivate(&mut tx, user_id, now, until).await? {
            // Another call of theirs was faster, and has closed this session.
            return Err(Error::from(Reason::SessionClosed).into());
        }
        store::link::end_all(&mut tx, user_id).await?;
        sessions::close_all(&mut tx, user_id, None, "deactivated").await?;
        tx.publish(events::user_deactivated(user_id)).await?;
        tx.enqueue(mails::DEACTIVATED, &mails::To { user_id }).await?;
        store::auth_event::add(&mut tx, user_id, AuthEventKind::Deactivated, Some(session_id)).await?;
        tx.commit().await?;
        Ok(Response::new(DeactivateResponse { data_retention_date: Some(timestamp(until)) }))
    }

    async fn reactivate(&self, request: Request<ReactivateRequest>) -> Result<Response<ReactivateResponse>, Status> {
        let token = request.into_inner().token;
        let invalid = || Error::from(Reason::LinkInvalid);
        let purpose = Purpose::Reactivation;
        let [user_id, nonce] = self.mailed_tokens.open(purpose.name(), &token).ok_or_else(invalid)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        store::link::take(&mut tx, user_id, purpose, nonce, now).await?.ok_or_else(invalid)?;
        if !store::user::reactivate(&mut tx, user_id, now).await? {
            return Err(invalid().into());
        }
        tx.publish(events::user_reactivated(user_id)).await?;
        store::auth_event::add(&mut tx, user_id, AuthEventKind::Reactivated, None).await?;
        tx.commit().await?;
        Ok(Response::new(ReactivateResponse {}))
    }
}

impl Rpc {
    /// Stops a person who has proved who they are and is deactivated. While that can be taken back, the link for
    /// it is mailed, unless one was a moment ago.
    ///
    /// # Errors
    /// USER_DEACTIVATED; CREDENTIALS_INVALID when it is too late.
    pub(crate) async fn refuse_deactivated(&self, user: &User) -> Result<()> {
        if user.deactivated_at.is_none() {
            return Ok(());
        }
        let now = self.db.clock().now();
        if user.data_retention_date.is_none_or(|until| until <= now) {
            return Err(Reason::CredentialsInvalid.into());
        }
        let mut tx = self.db.begin(Tenant::user(user.id)).await?;
        let (purpose, expires_at) = (Purpose::Reactivation, now + REACTIVATION_LINK);
        if store::link::renew_ended(&mut tx, user.id, purpose, None, expires_at, expires_at - BETWEEN_LINKS).await? {
            tx.enqueue(mails::REACTIVATION, &mails::To { user_id: user.id }).await?;
        }
        tx.commit().await?;
        Err(Reason::UserDeactivated.into())
    }
}
