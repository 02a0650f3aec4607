//! The second factor.

use baton_access::{Caller, caller, is_fresh};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::auth::v1::{
        AuthEventKind, ConfirmTotpRequest, ConfirmTotpResponse, DisableTotpRequest, DisableTotpResponse,
        EnrollTotpRequest, EnrollTotpResponse, GetSecondFactorRequest, GetSecondFactorResponse,
        RenewRecoveryCodesRequest, RenewRecoveryCodesResponse, VerifySecondFactorRequest, VerifySecondFactorResponse,
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
    events, mails, recovery,
    second_factor::{FREE_CODES, METHODS, SecondFactor, delay, seal_context},
    sessions::{self, RefreshToken},
    store::{self, mfa::Challenge, user::User},
    totp::{self, TotpSecret},
};

/// How long a new secret waits for its first code.
const PENDING: TimeDelta = TimeDelta::hours(1);
/// How long a sign-in waits for its second factor.
const CHALLENGE: TimeDelta = TimeDelta::minutes(5);

#[tonic::async_trait]
impl MfaService for Rpc {
    async fn get_second_factor(
        &self,
        request: Request<GetSecondFactorRequest>,
    ) -> Result<Response<GetSecondFactorResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let shown = store::mfa::show(&mut tx, user_id).await?;
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
        let knows_password = self.knows_password(user_id, password).await?;

        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let factor = store::mfa::lock(&mut tx, user_id).await?.filter(|factor| factor.secret.is_some());
        // A code has been used by the first call; any other proof is asked for again.
        if code.is_some()
            && let Some(answer) = self.recall(&mut tx, &call).await?
        {
            return Ok(Response::new(answer));
        }
        let replaces = factor.is_some();
        if let Some(factor) = &factor {
            let code = code.ok_or_else(|| Error::from(Reason::ProofRequired))?;
            tx = self.take_code(tx, factor, &code, Reason::ProofInvalid, Some(session_id)).await?;
        } else if !knows_password {
            let opened = store::mfa::opened(&mut tx, session_id).await?;
            if opened.is_none_or(|session| !is_fresh(session.proved_at, now)) {
                return Err(Error::from(Reason::ProofRequired).into());
            }
        }
        if let Some(answer) = self.replay(&mut tx, &call).await? {
            return Ok(Response::new(answer));
        }
        let user = store::user::get(&mut tx, user_id).await?.ok_or_else(|| Error::from(Reason::SessionClosed))?;
        let secret = TotpSecret::new();
        let sealed = self.sealer.seal(&seal_context(user_id), secret.bytes()).map_err(Error::internal)?;
        if !store::mfa::begin(&mut tx, user_id, &sealed, now + PENDING, replaces).await? {
            // Switched on a moment ago: now it takes a code.
            return Err(Error::from(Reason::ProofRequired).into());
        }
        let otpauth_url = secret.otpauth_url(&user.email).map_err(Error::internal)?;
        let qr_png = totp::qr_png(&otpauth_url).map_err(Error::internal)?;
        let answer = EnrollTotpResponse { secret: secret.base32(), otpauth_url, qr_png };
        self.remember(&mut tx, &call, &answer).await?;
        tx.commit().await?;
        Ok(Response::new(answer))
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
        if let Some(answer) = self.recall(&mut tx, &call).await? {
            return Ok(Response::new(answer));
        }
        let factor = factor.ok_or_else(|| Error::from(Reason::TotpNotStarted))?;
        let pending = factor.pending(now).ok_or_else(|| Error::from(Reason::TotpNotStarted))?;
        factor.listens(now)?;
        // A new secret, whose codes have all their turn to come.
        let step = totp::parse(&code).map(|code| Ok::<_, Error>(self.open(user_id, pending)?.step_of(code, now, 0)));
        let Some(step) = step.transpose()?.flatten() else {
            return Err(self.refuse(tx, &factor, Reason::ProofInvalid, Some(session_id)).await.into());
        };
        if let Some(answer) = self.replay(&mut tx, &call).await? {
            return Ok(Response::new(answer));
        }
        store::mfa::enable(&mut tx, user_id, step, now).await?;
        store::mfa::complete_session(&mut tx, session_id, &METHODS.map(str::to_owned)).await?;
        let recovery_codes = new_recovery_codes(&mut tx, user_id).await?;
        tx.publish(events::second_factor_enabled(user_id, session_id)).await?;
        tx.enqueue(mails::SECOND_FACTOR_ON, &mails::To { user_id }).await?;
        store::auth_event::add(&mut tx, user_id, AuthEventKind::SecondFactorEnabled, Some(session_id)).await?;
        let answer = ConfirmTotpResponse { recovery_codes };
        self.remember(&mut tx, &call, &answer).await?;
        tx.commit().await?;
        Ok(Response::new(answer))
    }

    async fn disable_totp(
        &self,
        request: Request<DisableTotpRequest>,
    ) -> Result<Response<DisableTotpResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let DisableTotpRequest { code, password } = request.into_inner();
        let knows_password = self.knows_password(user_id, password).await?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let Some(factor) = store::mfa::lock(&mut tx, user_id).await? else {
            return Ok(Response::new(DisableTotpResponse {}));
        };
        let was_on = factor.secret.is_some();
        if was_on {
            tx = self.prove(tx, &factor, session_id, code, knows_password).await?;
        }
        store::mfa::disable(&mut tx, user_id).await?;
        if was_on {
            tx.publish(events::second_factor_disabled(user_id, Some(session_id))).await?;
            tx.enqueue(mails::SECOND_FACTOR_OFF, &mails::To { user_id }).await?;
            store::auth_event::add(&mut tx, user_id, AuthEventKind::SecondFactorDisabled, Some(session_id)).await?;
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
        let knows_password = self.knows_password(user_id, password).await?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let factor = store::mfa::lock(&mut tx, user_id).await?.filter(|factor| factor.secret.is_some());
        if let Some(answer) = self.recall(&mut tx, &call).await? {
            return Ok(Response::new(answer));
        }
        let factor = factor.ok_or_else(|| Error::from(Reason::SecondFactorNotEnabled))?;
        let mut tx = self.prove(tx, &factor, session_id, code, knows_password).await?;
        if let Some(answer) = self.replay(&mut tx, &call).await? {
            return Ok(Response::new(answer));
        }
        let recovery_codes = new_recovery_codes(&mut tx, user_id).await?;
        tx.publish(events::recovery_codes_renewed(user_id, session_id)).await?;
        store::auth_event::add(&mut tx, user_id, AuthEventKind::RecoveryCodesRenewed, Some(session_id)).await?;
        let answer = RenewRecoveryCodesResponse { recovery_codes };
        self.remember(&mut tx, &call, &answer).await?;
        tx.commit().await?;
        Ok(Response::new(answer))
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
        let mut tx = self.take_code(tx, &factor, &code, Reason::MfaCodeInvalid, None).await?;
        // Of two calls with two good codes one opens a session; the other's code is not used up.
        if !store::mfa::use_challenge(&mut tx, &hash).await? {
            return Err(unknown().into());
        }
        let mut user = store::user::get(&mut tx, challenge.user_id).await?.ok_or_else(unknown)?;
        tx.commit().await?;
        // The session opens for the password that was proved, not for one that was set since.
        user.password_changed_at = challenge.password_changed_at;
        let amr: Vec<&str> = challenge.amr.iter().map(String::as_str).chain(METHODS).collect();
        let opened = self.open_session(user, &amr).await?;
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
    /// The token of a sign-in that waits for its second factor; `None` when the person has none.
    pub(crate) async fn challenge(&self, user: &User, amr: &[&str]) -> Result<Option<String>> {
        let challenge = Challenge {
            user_id: user.id,
            amr: amr.iter().map(|&method| method.to_owned()).collect(),
            password_changed_at: user.password_changed_at,
        };
        let (token, now) = (RefreshToken::new(), self.db.clock().now());
        let mut tx = self.db.begin(Tenant::user(user.id)).await?;
        let stored = store::mfa::challenge(&mut tx, &challenge, &token.hash, now, now + CHALLENGE).await?;
        tx.commit().await?;
        Ok(stored.then_some(token.text))
    }

    /// Takes a code of a second factor that is locked and on. A wrong one is counted, which is committed.
    async fn take_code(
        &self,
        mut tx: Tx,
        factor: &SecondFactor,
        code: &str,
        wrong: Reason,
        session_id: Option<Uuid>,
    ) -> Result<Tx> {
        let (user_id, now) = (factor.user_id, self.db.clock().now());
        let listens = factor.listens(now);
        if let Some(hash) = recovery::parse(code) {
            if store::mfa::use_recovery_code(&mut tx, user_id, &hash).await? {
                tx.publish(events::recovery_code_used(user_id)).await?;
                tx.enqueue(mails::RECOVERY_CODE_USED, &mails::To { user_id }).await?;
                store::auth_event::add(&mut tx, user_id, AuthEventKind::RecoveryCodeUsed, session_id).await?;
                return Ok(tx);
            }
        } else if listens.is_ok()
            && let (Some(sealed), Some(code)) = (&factor.secret, totp::parse(code))
            && let secret = self.open(user_id, sealed)?
            && let Some(step) = secret.step_of(code, now, factor.last_step)
        {
            let sealed = match self.sealer.is_current(sealed) {
                true => sealed.clone(),
                false => self.sealer.seal(&seal_context(user_id), secret.bytes()).map_err(Error::internal)?,
            };
            if store::mfa::use_step(&mut tx, user_id, step, &sealed).await? {
                return Ok(tx);
            }
        }
        listens?;
        Err(self.refuse(tx, factor, wrong, session_id).await)
    }

    /// Counts a wrong code, and answers the refusal.
    async fn refuse(&self, mut tx: Tx, factor: &SecondFactor, wrong: Reason, session_id: Option<Uuid>) -> Error {
        let wrong_codes = factor.wrong_codes.saturating_add(1);
        let blocked_until = delay(wrong_codes).map(|wait| self.db.clock().now() + wait);
        let user_id = factor.user_id;
        let counted = async {
            store::mfa::count_wrong_code(&mut tx, user_id, wrong_codes, blocked_until).await?;
            store::auth_event::add(&mut tx, user_id, AuthEventKind::SecondFactorFailed, session_id).await?;
            if wrong_codes == FREE_CODES {
                tx.enqueue(mails::WRONG_CODES, &mails::To { user_id }).await?;
            }
            tx.commit().await
        };
        match counted.await {
            Ok(()) => wrong.into(),
            Err(error) => error,
        }
    }

    /// Goes on when a code is right; or, where the session was opened by both factors, with the password.
    pub(super) async fn prove(
        &self,
        mut tx: Tx,
        factor: &SecondFactor,
        session_id: Uuid,
        code: Option<String>,
        knows_password: bool,
    ) -> Result<Tx> {
        if let Some(code) = code {
            return self.take_code(tx, factor, &code, Reason::ProofInvalid, Some(session_id)).await;
        }
        let opened = store::mfa::opened(&mut tx, session_id).await?;
        let by_both =
            opened.is_some_and(|session| METHODS.iter().all(|method| session.amr.iter().any(|m| m == method)));
        if knows_password && by_both { Ok(tx) } else { Err(Reason::ProofRequired.into()) }
    }

    /// Whether the password was given; a wrong one is refused.
    pub(super) async fn knows_password(&self, user_id: Uuid, password: Option<String>) -> Result<bool> {
        let Some(password) = password else { return Ok(false) };
        self.prove_password(user_id, password).await?;
        Ok(true)
    }

    fn open(&self, user_id: Uuid, sealed: &[u8]) -> Result<TotpSecret> {
        self.sealer.open(&seal_context(user_id), sealed).map(TotpSecret::of).map_err(Error::internal)
    }
}

async fn new_recovery_codes(tx: &mut Tx, user_id: Uuid) -> Result<Vec<String>> {
    let (shown, hashes) = recovery::new_codes();
    store::mfa::replace_recovery_codes(tx, user_id, &hashes).await?;
    Ok(shown)
}
