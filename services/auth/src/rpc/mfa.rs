//! Second factor RPCs.

use baton_access::{Caller, caller, is_fresh};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::auth::v1::{
        ConfirmTotpRequest, ConfirmTotpResponse, DisableTotpRequest, DisableTotpResponse, EnrollTotpRequest,
        EnrollTotpResponse, GetSecondFactorRequest, GetSecondFactorResponse, RenewRecoveryCodesRequest,
        RenewRecoveryCodesResponse, VerifySecondFactorRequest, VerifySecondFactorResponse,
        mfa_service_server::MfaService,
    },
    convert::timestamp,
};
use baton_store::{Tenant, Tx};
use chrono::TimeDelta;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    application::sign_in,
    auth_event::AuthEventKind,
    emails,
    events::publish,
    mfa::{AMR_METHODS, FREE_WRONG_CODES, SecondFactor, lockout, seal_context},
    recovery_codes,
    sessions::{self, RefreshToken},
    store::{self, mfa::Challenge},
    totp::{self, TotpSecret},
    user::User,
};

/// Lifetime of a secret that awaits its first code.
const PENDING_SECRET_TTL: TimeDelta = TimeDelta::hours(1);
/// Lifetime of a sign-in that awaits its second factor.
const CHALLENGE_TTL: TimeDelta = TimeDelta::minutes(5);

#[tonic::async_trait]
impl MfaService for Rpc {
    async fn get_second_factor(
        &self,
        request: Request<GetSecondFactorRequest>,
    ) -> Result<Response<GetSecondFactorResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let shown = store::mfa::status(&mut tx, user_id).await?;
        let enabled_at = shown.as_ref().and_then(|shown| shown.enabled_at);
        Ok(Response::new(GetSecondFactorResponse {
            totp_enabled: enabled_at.is_some(),
            enabled_at: enabled_at.map(timestamp),
            recovery_codes_left: shown.map(|shown| shown.recovery_codes_left).unwrap_or_default(),
        }))
    }

    async fn enroll_totp(&self, request: Request<EnrollTotpRequest>) -> Result<Response<EnrollTotpResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let call = self.idempotency("MfaService/EnrollTotp", request.metadata(), request.get_ref())?;
        let EnrollTotpRequest { code, password } = request.into_inner();
        let password_verified = self.verify_password(user_id, password).await?;

        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let factor = store::mfa::lock(&mut tx, user_id).await?.filter(|factor| factor.secret.is_some());
        // The first call has used up its code. Any other proof is required again.
        if code.is_some()
            && let Some(response) = self.recall(&mut tx, &call).await?
        {
            return Ok(Response::new(response));
        }
        let replaces = factor.is_some();
        if let Some(factor) = &factor {
            let code = code.ok_or_else(|| Error::from(Reason::ProofRequired))?;
            tx = self.consume_code(tx, factor, &code, Reason::ProofInvalid, Some(session_id)).await?;
        } else if !password_verified {
            let opened = store::mfa::session_proof(&mut tx, session_id).await?;
            if opened.is_none_or(|session| !is_fresh(session.proved_at, now)) {
                return Err(Error::from(Reason::ProofRequired).into());
            }
        }
        if let Some(response) = self.replay(&mut tx, &call).await? {
            return Ok(Response::new(response));
        }
        let user = store::user::get(&mut tx, user_id).await?.ok_or_else(|| Error::from(Reason::SessionClosed))?;
        let secret = TotpSecret::new();
        let sealed = self.sealer.seal(&seal_context(user_id), secret.bytes()).map_err(Error::internal)?;
        if !store::mfa::save_pending_secret(&mut tx, user_id, &sealed, now + PENDING_SECRET_TTL, replaces).await? {
            // Another call has just enabled it, so a code is required now.
            return Err(Error::from(Reason::ProofRequired).into());
        }
        let otpauth_url = secret.otpauth_url(&user.email).map_err(Error::internal)?;
        let qr_png = totp::qr_png(&otpauth_url).map_err(Error::internal)?;
        let response = EnrollTotpResponse { secret: secret.base32(), otpauth_url, qr_png };
        self.remember(&mut tx, &call, &response).await?;
        tx.commit().await?;
        Ok(Response::new(response))
    }

    async fn confirm_totp(
        &self,
        request: Request<ConfirmTotpRequest>,
    ) -> Result<Response<ConfirmTotpResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let call = self.idempotency("MfaService/ConfirmTotp", request.metadata(), request.get_ref())?;
        let code = request.into_inner().code;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let factor = store::mfa::lock(&mut tx, user_id).await?;
        if let Some(response) = self.recall(&mut tx, &call).await? {
            return Ok(Response::new(response));
        }
        let factor = factor.ok_or_else(|| Error::from(Reason::TotpNotStarted))?;
        let pending = factor.valid_pending_secret(now).ok_or_else(|| Error::from(Reason::TotpNotStarted))?;
        factor.check_lockout(now)?;
        // No code of the new secret has been used yet.
        let step = totp::parse(&code)
            .map(|code| Ok::<_, Error>(self.open_secret(user_id, pending)?.matching_step(code, now, 0)));
        let Some(step) = step.transpose()?.flatten() else {
            return Err(self.record_wrong_code(tx, &factor, Reason::ProofInvalid, Some(session_id)).await.into());
        };
        if let Some(response) = self.replay(&mut tx, &call).await? {
            return Ok(Response::new(response));
        }
        store::mfa::enable(&mut tx, user_id, step, now).await?;
        store::mfa::add_session_methods(&mut tx, session_id, &AMR_METHODS.map(str::to_owned)).await?;
        let recovery_codes = replace_recovery_codes(&mut tx, user_id).await?;
        tx.publish(publish::second_factor_enabled(user_id, session_id)).await?;
        tx.enqueue(emails::SECOND_FACTOR_ON, &emails::ToUser { user_id }).await?;
        store::auth_event::insert(&mut tx, user_id, AuthEventKind::SecondFactorEnabled, Some(session_id)).await?;
        let response = ConfirmTotpResponse { recovery_codes };
        self.remember(&mut tx, &call, &response).await?;
        tx.commit().await?;
        Ok(Response::new(response))
    }

    async fn disable_totp(
        &self,
        request: Request<DisableTotpRequest>,
    ) -> Result<Response<DisableTotpResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let DisableTotpRequest { code, password } = request.into_inner();
        let password_verified = self.verify_password(user_id, password).await?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let Some(factor) = store::mfa::lock(&mut tx, user_id).await? else {
            return Ok(Response::new(DisableTotpResponse {}));
        };
        let was_on = factor.secret.is_some();
        if was_on {
            tx = self.require_proof(tx, &factor, session_id, code, password_verified).await?;
        }
        store::mfa::disable(&mut tx, user_id).await?;
        if was_on {
            tx.publish(publish::second_factor_disabled(user_id, Some(session_id))).await?;
            tx.enqueue(emails::SECOND_FACTOR_OFF, &emails::ToUser { user_id }).await?;
            store::auth_event::insert(&mut tx, user_id, AuthEventKind::SecondFactorDisabled, Some(session_id)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(DisableTotpResponse {}))
    }

    async fn renew_recovery_codes(
        &self,
        request: Request<RenewRecoveryCodesRequest>,
    ) -> Result<Response<RenewRecoveryCodesResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let call = self.idempotency("MfaService/RenewRecoveryCodes", request.metadata(), request.get_ref())?;
        let RenewRecoveryCodesRequest { code, password } = request.into_inner();
        let password_verified = self.verify_password(user_id, password).await?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let factor = store::mfa::lock(&mut tx, user_id).await?.filter(|factor| factor.secret.is_some());
        if let Some(response) = self.recall(&mut tx, &call).await? {
            return Ok(Response::new(response));
        }
        let factor = factor.ok_or_else(|| Error::from(Reason::SecondFactorNotEnabled))?;
        let mut tx = self.require_proof(tx, &factor, session_id, code, password_verified).await?;
        if let Some(response) = self.replay(&mut tx, &call).await? {
            return Ok(Response::new(response));
        }
        let recovery_codes = replace_recovery_codes(&mut tx, user_id).await?;
        tx.publish(publish::recovery_codes_renewed(user_id, session_id)).await?;
        store::auth_event::insert(&mut tx, user_id, AuthEventKind::RecoveryCodesRenewed, Some(session_id)).await?;
        let response = RenewRecoveryCodesResponse { recovery_codes };
        self.remember(&mut tx, &call, &response).await?;
        tx.commit().await?;
        Ok(Response::new(response))
    }

    async fn verify_second_factor(
        &self,
        request: Request<VerifySecondFactorRequest>,
    ) -> Result<Response<VerifySecondFactorResponse>, Status> {
        let VerifySecondFactorRequest { mfa_token, code } = request.into_inner();
        let unknown = || Error::from(Reason::MfaTokenInvalid);
        let hash = sessions::hash(&mfa_token);
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let challenge = store::mfa::find_challenge(&mut tx, &hash, self.db.clock().now()).await?;
        let challenge = challenge.ok_or_else(unknown)?;
        tx.switch(Tenant::user(challenge.user_id)).await?;
        let factor = store::mfa::lock(&mut tx, challenge.user_id).await?.ok_or_else(unknown)?;
        let mut tx = self.consume_code(tx, &factor, &code, Reason::MfaCodeInvalid, None).await?;
        // Of two calls with two valid codes one opens a session. The other rolls back, so its code stays valid.
        if !store::mfa::consume_challenge(&mut tx, &hash).await? {
            return Err(unknown().into());
        }
        let mut user = store::user::get(&mut tx, challenge.user_id).await?.ok_or_else(unknown)?;
        tx.commit().await?;
        // Keep the time of the verified password, so that a password set since invalidates the sign-in.
        user.password_changed_at = challenge.password_changed_at;
        let amr: Vec<&str> = challenge.amr.iter().map(String::as_str).chain(AMR_METHODS).collect();
        let opened = sign_in::open_session(&self.db, &self.keys, user, &amr).await?;
        Ok(Response::new(VerifySecondFactorResponse {
            access_token: opened.access_token.unwrap_or_default(),
            refresh_token: opened.refresh_token.unwrap_or_default(),
            token_type: opened.token_type,
            expires_in: opened.expires_in,
            user: opened.user,
        }))
    }
}

impl Rpc {
    /// Creates the challenge of a sign-in that awaits its second factor; `None` when the user has none.
    pub(crate) async fn create_challenge(&self, user: &User, amr: &[&str]) -> Result<Option<String>> {
        let challenge = Challenge {
            user_id: user.id,
            amr: amr.iter().map(|&method| method.to_owned()).collect(),
            password_changed_at: user.password_changed_at,
        };
        let (token, now) = (RefreshToken::new(), self.db.clock().now());
        let mut tx = self.db.begin(Tenant::user(user.id)).await?;
        let stored = store::mfa::insert_challenge(&mut tx, &challenge, &token.hash, now, now + CHALLENGE_TTL).await?;
        tx.commit().await?;
        Ok(stored.then_some(token.text))
    }

    /// Verifies and uses up a code of a locked, enabled second factor. A wrong code is counted and committed.
    ///
    /// # Errors
    /// `wrong` for a wrong code; TOO_MANY_ATTEMPTS during a lockout.
    async fn consume_code(
        &self,
        mut tx: Tx,
        factor: &SecondFactor,
        code: &str,
        wrong: Reason,
        session_id: Option<Uuid>,
    ) -> Result<Tx> {
        let (user_id, now) = (factor.user_id, self.db.clock().now());
        let lockout_check = factor.check_lockout(now);
        if let Some(hash) = recovery_codes::parse(code) {
            if store::mfa::consume_recovery_code(&mut tx, user_id, &hash).await? {
                tx.publish(publish::recovery_code_used(user_id)).await?;
                tx.enqueue(emails::RECOVERY_CODE_USED, &emails::ToUser { user_id }).await?;
                store::auth_event::insert(&mut tx, user_id, AuthEventKind::RecoveryCodeUsed, session_id).await?;
                return Ok(tx);
            }
        } else if lockout_check.is_ok()
            && let (Some(sealed), Some(code)) = (&factor.secret, totp::parse(code))
            && let secret = self.open_secret(user_id, sealed)?
            && let Some(step) = secret.matching_step(code, now, factor.last_step)
        {
            let sealed = match self.sealer.is_current(sealed) {
                true => sealed.clone(),
                false => self.sealer.seal(&seal_context(user_id), secret.bytes()).map_err(Error::internal)?,
            };
            if store::mfa::consume_step(&mut tx, user_id, step, &sealed).await? {
                return Ok(tx);
            }
        }
        lockout_check?;
        Err(self.record_wrong_code(tx, factor, wrong, session_id).await)
    }

    /// Counts a wrong code, commits, and returns the error.
    async fn record_wrong_code(
        &self,
        mut tx: Tx,
        factor: &SecondFactor,
        wrong: Reason,
        session_id: Option<Uuid>,
    ) -> Error {
        let wrong_codes = factor.wrong_codes.saturating_add(1);
        let blocked_until = lockout(wrong_codes).map(|wait| self.db.clock().now() + wait);
        let user_id = factor.user_id;
        let counted = async {
            store::mfa::record_wrong_code(&mut tx, user_id, wrong_codes, blocked_until).await?;
            store::auth_event::insert(&mut tx, user_id, AuthEventKind::SecondFactorFailed, session_id).await?;
            if wrong_codes == FREE_WRONG_CODES {
                tx.enqueue(emails::WRONG_CODES, &emails::ToUser { user_id }).await?;
            }
            tx.commit().await
        };
        match counted.await {
            Ok(()) => wrong.into(),
            Err(error) => error,
        }
    }

    /// Requires a valid code, or the password in a session that was opened with both factors.
    ///
    /// # Errors
    /// PROOF_REQUIRED or PROOF_INVALID; TOO_MANY_ATTEMPTS during a lockout.
    pub(super) async fn require_proof(
        &self,
        mut tx: Tx,
        factor: &SecondFactor,
        session_id: Uuid,
        code: Option<String>,
        password_verified: bool,
    ) -> Result<Tx> {
        if let Some(code) = code {
            return self.consume_code(tx, factor, &code, Reason::ProofInvalid, Some(session_id)).await;
        }
        let opened = store::mfa::session_proof(&mut tx, session_id).await?;
        let by_both =
            opened.is_some_and(|session| AMR_METHODS.iter().all(|method| session.amr.iter().any(|m| m == method)));
        if password_verified && by_both { Ok(tx) } else { Err(Reason::ProofRequired.into()) }
    }

    /// Verifies the password if there is one, and returns whether there was.
    ///
    /// # Errors
    /// Those of [`Rpc::require_password`].
    pub(super) async fn verify_password(&self, user_id: Uuid, password: Option<String>) -> Result<bool> {
        let Some(password) = password else { return Ok(false) };
        self.require_password(user_id, password).await?;
        Ok(true)
    }

    fn open_secret(&self, user_id: Uuid, sealed: &[u8]) -> Result<TotpSecret> {
        self.sealer.open(&seal_context(user_id), sealed).map(TotpSecret::from_bytes).map_err(Error::internal)
    }
}

async fn replace_recovery_codes(tx: &mut Tx, user_id: Uuid) -> Result<Vec<String>> {
    let (shown, hashes) = recovery_codes::generate();
    store::mfa::replace_recovery_codes(tx, user_id, &hashes).await?;
    Ok(shown)
}
