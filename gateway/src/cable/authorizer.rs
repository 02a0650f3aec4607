//! Authenticates and authorizes a socket's caller at the services, with the caller's own token.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_access::{AccessLayer, Board, IdentityCache, Principal, Rules, TokenVerifier};
use baton_clients::{Auth, Peer, Tenancy};
use baton_proto::baton::task::v1::{
    BoardKind, GetTaskRequest, WatchBoardRequest, board_service_client::BoardServiceClient,
    task_service_client::TaskServiceClient,
};
use baton_runtime::{Clock, propagation};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde::Deserialize;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
};
use uuid::Uuid;

use super::{Upstreams, channel::BoardId};
use crate::{headers::X_ACCOUNT_ID, upstream::Upstream};

/// The RPC that a caller must be allowed to call to open a socket.
pub(super) const NOTIFICATIONS: &str = "/baton.notification.v1.NotificationService/ListNotifications";
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts while a service is unavailable.
const MAX_ATTEMPTS: u32 = 4;
/// Delay after the first attempt; it doubles.
const RETRY_DELAY: Duration = Duration::from_millis(300);

/// The credentials of the connect request.
#[derive(Clone)]
pub(super) struct Credentials {
    authorization: MetadataValue<Ascii>,
    account: Option<MetadataValue<Ascii>>,
    claims: Claims,
}

/// The token's claims. They are not trusted before a service has verified the token.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Claims {
    /// Expiry, in seconds since 1970.
    pub(super) exp: i64,
}

impl Credentials {
    /// Parses the credentials. `None` if the token is malformed.
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

    /// Fixes the account, so that a change of the default account has no effect.
    pub(super) fn in_account(mut self, account_id: Uuid) -> Self {
        self.account = account_id.to_string().parse().ok();
        self
    }

    /// The headers of a call with these credentials.
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

/// The caller, as authenticated by the access layer.
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

    /// Whether user and membership are the same, and with them the visible tasks.
    pub(super) fn has_same_access_as(&self, other: &Self) -> bool {
        self.user_id() == other.user_id() && self.0.membership == other.0.membership
    }

    /// The board as this caller sees it: the users whose tasks it contains.
    pub(super) fn board(&self, id: BoardId) -> Board {
        match id {
            BoardId::My => Board::Of(self.user_id()),
            BoardId::User(user) => Board::Of(user),
            BoardId::Account => Board::Account,
            BoardId::Team => Board::of_team(self.user_id(), &self.0.membership),
        }
    }
}

/// Why access was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccessError {
    /// A service denied it.
    Denied,
    /// No service could decide it.
    Unavailable,
}

impl AccessError {
    fn from_code(code: Code) -> Self {
        match code {
            Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::ResourceExhausted => {
                tracing::debug!(?code, "cannot check the access of a socket's caller");
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

/// The services that authenticate and authorize. Clones share their connections.
#[derive(Debug, Clone)]
pub(super) struct Authorizer {
    access: AccessLayer,
    tasks: TaskServiceClient<Upstream>,
    boards: BoardServiceClient<Upstream>,
}

impl Authorizer {
    /// # Errors
    /// If the contract has no access rule for notifications.
    pub(super) fn new(upstreams: Upstreams, issuer: &str) -> anyhow::Result<Self> {
        let auth = Auth::new(Peer::new("auth", upstreams.auth));
        let tenancy = Tenancy::new(Peer::new("tenancy", upstreams.tenancy));
        let tokens = TokenVerifier::new(issuer, auth.clone());
        let rules = Rules::of(&["baton.notification.v1.NotificationService"])?;
        Ok(Self {
            access: AccessLayer::new(rules, tokens, IdentityCache::new(auth, tenancy), Clock::system()),
            tasks: TaskServiceClient::new(upstreams.task.clone()),
            // WatchBoard returns a stream, even if it is closed at once.
            boards: BoardServiceClient::new(upstreams.task.streams()),
        })
    }

    /// Authenticates the credentials.
    pub(super) async fn identify(&self, credentials: &Credentials) -> Result<Identity, AccessError> {
        let mut attempts = Attempts(0);
        loop {
            match self.identify_once(credentials).await {
                Err(AccessError::Unavailable) if attempts.retry().await => {}
                result => return result,
            }
        }
    }

    /// Checks that the caller may see the task.
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

    /// Checks that the caller may see the board: opens its watch stream and drops it.
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

/// Counts attempts while a service is unavailable.
struct Attempts(u32);

impl Attempts {
    /// Waits before the next attempt; `false` after the last.
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
    fn malformed_credentials_are_refused_without_a_lookup() {
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
