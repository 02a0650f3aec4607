//! Who a socket speaks for, and what they may see: asked of the services, with the caller's own token.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_access::{AccessLayer, Board, Principal, Rules, TokenVerifier};
use baton_clients::{Auth, Peer, Tenancy};
use baton_proto::baton::task::v1::{
    BoardKind, GetTaskRequest, WatchBoardRequest, board_service_client::BoardServiceClient,
    task_service_client::TaskServiceClient,
};
use baton_runtime::propagation;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde::Deserialize;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
};
use uuid::Uuid;

use super::{Upstreams, channel::BoardId};
use crate::{headers::X_ACCOUNT_ID, upstream::Upstream};

/// What a socket shows in any case: whoever may not call this may not have one.
pub(super) const NOTIFICATIONS: &str = "/baton.notification.v1.NotificationService/ListNotifications";
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts while a service does not answer, and the wait after the first; it doubles.
const MAX_ATTEMPTS: u32 = 4;
const RETRY_DELAY: Duration = Duration::from_millis(300);

/// What the client showed when it connected.
#[derive(Clone)]
pub(super) struct Credentials {
    authorization: MetadataValue<Ascii>,
    account: Option<MetadataValue<Ascii>>,
    claims: Claims,
}

/// What the token says of itself. Nothing is believed before a service has verified the token.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Claims {
    /// When it expires, in seconds since 1970.
    pub(super) exp: i64,
}

impl Credentials {
    /// `None` when the token has not even the form of one.
    pub(super) fn new(token: &str, account: Option<&str>) -> Option<Self> {
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        Some(Self {
            authorization: format!("Bearer {token}").parse().ok()?,
            account: account.map(str::parse).transpose().ok()?,
            claims: serde_json::from_slice(&payload).ok()?,
        })
    }

    pub(super) fn claims(&self) -> Claims {
        self.claims
    }

    /// The same, for this account whatever becomes the default.
    pub(super) fn in_account(mut self, account_id: Uuid) -> Self {
        self.account = account_id.to_string().parse().ok();
        self
    }

    /// The headers of a call with them.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = |value: &MetadataValue<Ascii>| HeaderValue::from_bytes(value.as_bytes()).ok();
        headers.extend(value(&self.authorization).map(|value| (AUTHORIZATION, value)));
        headers.extend(self.account.as_ref().and_then(value).map(|value| (X_ACCOUNT_ID, value)));
        headers
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        if let Some(account) = &self.account {
            request.metadata_mut().insert("x-account-id", account.clone());
        }
        propagation::inject(request.metadata_mut());
        request.set_timeout(LOOKUP_TIMEOUT);
        request
    }
}

/// Who the caller is, as the access layer has decided.
#[derive(Debug, Clone)]
pub(super) struct Identity(Principal);

impl Identity {
    pub(super) fn user_id(&self) -> Uuid {
        self.0.user_id()
    }

    pub(super) fn account_id(&self) -> Uuid {
        self.0.account_id()
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.0
    }

    /// Whether nothing has changed that decides which tasks they see.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.user_id() == other.user_id() && self.0.membership == other.0.membership
    }

    /// Whose tasks the board has to this caller.
    pub(super) fn board(&self, id: BoardId) -> Board {
        match id {
            BoardId::My => Board::Of(self.user_id()),
            BoardId::User(user) => Board::Of(user),
            BoardId::Account => Board::Account,
            BoardId::Team => Board::of_team(self.user_id(), &self.0.membership),
        }
    }
}

/// Why there is no yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccessError {
    /// A service said no.
    Denied,
    /// No service could tell.
    Unavailable,
}

impl AccessError {
    fn from_code(code: Code) -> Self {
        match code {
            Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::ResourceExhausted => {
                tracing::debug!(?code, "a service cannot say what a socket's caller may");
                Self::Unavailable
            }
            _ => Self::Denied,
        }
    }
}

impl From<Status> for AccessError {
    fn from(status: Status) -> Self {
        Self::from_code(status.code())
    }
}

/// The services that know. Clones share their connections.
#[derive(Debug, Clone)]
pub(super) struct Authorizer {
    access: AccessLayer,
    tasks: TaskServiceClient<Upstream>,
    boards: BoardServiceClient<Upstream>,
}

impl Authorizer {
    /// # Errors
    /// When the contract has no rule for notifications.
    pub(super) fn new(upstreams: Upstreams, issuer: &str) -> anyhow::Result<Self> {
        let auth = Auth::new(Peer::new("auth", upstreams.auth));
        let tenancy = Tenancy::new(Peer::new("tenancy", upstreams.tenancy));
        let tokens = TokenVerifier::new(issuer, auth.clone());
        let rules = Rules::of(&["baton.notification.v1.NotificationService"])?;
        Ok(Self {
            access: AccessLayer::new(rules, tokens, baton_access::IdentityCache::new(auth, tenancy)),
            tasks: TaskServiceClient::new(upstreams.task.clone()),
            // Watching is a stream, if only for a moment.
            boards: BoardServiceClient::new(upstreams.task.streams()),
        })
    }

    /// Who shows these credentials.
    pub(super) async fn identify(&self, credentials: &Credentials) -> Result<Identity, AccessError> {
        let mut attempts = Attempts(0);
        loop {
            match self.identify_once(credentials).await {
                Err(AccessError::Unavailable) if attempts.retry().await => {}
                result => return result,
            }
        }
    }

    /// Whether who shows these credentials may see the task.
    pub(super) async fn check_task(&self, credentials: &Credentials, id: Uuid) -> Result<(), AccessError> {
        let mut attempts = Attempts(0);
        loop {
            let request = credentials.request(GetTaskRequest { id: id.to_string(), as_of: None });
            match self.tasks.clone().get_task(request).await.map_err(AccessError::from) {
                Err(AccessError::Unavailable) if attempts.retry().await => {}
                result => return result.map(drop),
            }
        }
    }

    /// Whether who shows these credentials may see the board: whether they may watch it, without doing so.
    pub(super) async fn check_board(&self, credentials: &Credentials, id: BoardId) -> Result<(), AccessError> {
        let (board, user_id) = match id {
            BoardId::My => (BoardKind::My, None),
            BoardId::User(user) => (BoardKind::User, Some(user.to_string())),
            BoardId::Team => (BoardKind::Team, None),
            BoardId::Account => (BoardKind::Account, None),
        };
        let mut attempts = Attempts(0);
        loop {
            let request = credentials.request(WatchBoardRequest { board: board.into(), user_id: user_id.clone() });
            match self.boards.clone().watch_board(request).await.map_err(AccessError::from) {
                Err(AccessError::Unavailable) if attempts.retry().await => {}
                result => return result.map(drop),
            }
        }
    }

    async fn identify_once(&self, credentials: &Credentials) -> Result<Identity, AccessError> {
        let principal = self.access.authorize(NOTIFICATIONS, &mut credentials.headers()).await;
        principal.map(Identity).map_err(|error| AccessError::from_code(error.reason().code()))
    }
}

/// Counts tries while nobody can tell.
struct Attempts(u32);

impl Attempts {
    /// Waits for the next one; `false` after the last.
    async fn retry(&mut self) -> bool {
        self.0 += 1;
        if self.0 >= MAX_ATTEMPTS {
            return false;
        }
        tokio::time::sleep(RETRY_DELAY * 2u32.pow(self.0 - 1)).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_form_of_a_token_is_asked_about() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"exp":7,"sub":"x"}"#);
        let credentials = Credentials::new(&format!("e30.{payload}.c2ln"), Some("a")).unwrap();
        assert_eq!(credentials.claims().exp, 7);
        let newline = format!("e30.{payload}.c2\nln");
        for bad in ["", "a.b.c", "e30.e30.e30", "..", newline.as_str()] {
            assert!(Credentials::new(bad, None).is_none(), "{bad:?}");
        }
        assert!(Credentials::new(&format!("e30.{payload}.c2ln"), Some("a\nb")).is_none());
    }
}
