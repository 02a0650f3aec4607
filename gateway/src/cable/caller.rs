//! Who a socket speaks for, and what they may see: asked of the services, with the caller's own token.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_access::{Board, Membership};
use baton_proto::baton::{
    auth::v1::{CheckSessionRequest, auth_service_client::AuthServiceClient},
    task::v1::{
        BoardKind, GetTaskRequest, WatchBoardRequest, board_service_client::BoardServiceClient,
        task_service_client::TaskServiceClient,
    },
    tenancy::v1::{ResolveMembershipRequest, ResolveMembershipResponse, member_service_client::MemberServiceClient},
};
use baton_runtime::propagation;
use serde::Deserialize;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use uuid::Uuid;

use super::{Upstreams, channel::BoardId};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Tries while a service does not answer, and the wait after the first; it doubles.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(300);

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
    /// The session that it belongs to.
    pub(super) sid: Uuid,
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

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        if let Some(account) = &self.account {
            request.metadata_mut().insert("x-account-id", account.clone());
        }
        propagation::inject(request.metadata_mut());
        request.set_timeout(TIMEOUT);
        request
    }
}

/// Who the caller is, as auth and tenancy say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Identity {
    pub(super) user_id: Uuid,
    pub(super) account_id: Uuid,
    /// Role, reports and team: what decides which tasks they see.
    membership: ResolveMembershipResponse,
}

impl Identity {
    /// Whose tasks the board has to this caller; `None` when nobody can tell.
    pub(super) fn board(&self, id: BoardId) -> Option<Board> {
        match id {
            BoardId::My => Some(Board::Of(self.user_id)),
            BoardId::User(person) => Some(Board::Of(person)),
            BoardId::Account => Some(Board::Account),
            BoardId::Team => {
                let membership = Membership::from_proto(self.membership.clone()).ok()?;
                Some(Board::of_team(self.user_id, &membership))
            }
        }
    }
}

/// Why there is no yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A service said no.
    Refused,
    /// No service could tell.
    Unknown,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied | Code::NotFound | Code::InvalidArgument => Self::Refused,
            code => {
                tracing::warn!(?code, "a service cannot say what a socket's caller may");
                Self::Unknown
            }
        }
    }
}

/// The services that know. Clones share their connections.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    auth: AuthServiceClient<Channel>,
    members: MemberServiceClient<Channel>,
    tasks: TaskServiceClient<Channel>,
    boards: BoardServiceClient<Channel>,
}

impl Directory {
    pub(super) fn new(upstreams: Upstreams) -> Self {
        Self {
            auth: AuthServiceClient::new(upstreams.auth),
            members: MemberServiceClient::new(upstreams.tenancy),
            tasks: TaskServiceClient::new(upstreams.task.clone()),
            boards: BoardServiceClient::new(upstreams.task),
        }
    }

    /// Who shows these credentials.
    pub(super) async fn identify(&self, credentials: &Credentials) -> Result<Identity, Refusal> {
        let mut tries = Tries(0);
        loop {
            match self.identify_once(credentials).await {
                Err(Refusal::Unknown) if tries.another().await => {}
                known => return known,
            }
        }
    }

    /// Whether who shows these credentials may see the task.
    pub(super) async fn sees_task(&self, credentials: &Credentials, id: Uuid) -> Result<(), Refusal> {
        let mut tries = Tries(0);
        loop {
            let request = credentials.request(GetTaskRequest { id: id.to_string(), as_of: None });
            match self.tasks.clone().get_task(request).await.map_err(Refusal::from) {
                Err(Refusal::Unknown) if tries.another().await => {}
                known => return known.map(drop),
            }
        }
    }

    /// Whether who shows these credentials may see the board: whether they may watch it, without doing so.
    pub(super) async fn sees_board(&self, credentials: &Credentials, id: BoardId) -> Result<(), Refusal> {
        let (board, user_id) = match id {
            BoardId::My => (BoardKind::My, None),
            BoardId::User(person) => (BoardKind::User, Some(person.to_string())),
            BoardId::Team => (BoardKind::Team, None),
            BoardId::Account => (BoardKind::Account, None),
        };
        let mut tries = Tries(0);
        loop {
            let request = credentials.request(WatchBoardRequest { board: board.into(), user_id: user_id.clone() });
            match self.boards.clone().watch_board(request).await.map_err(Refusal::from) {
                Err(Refusal::Unknown) if tries.another().await => {}
                known => return known.map(drop),
            }
        }
    }

    async fn identify_once(&self, credentials: &Credentials) -> Result<Identity, Refusal> {
        let (mut auth, mut members) = (self.auth.clone(), self.members.clone());
        let (session, membership) = tokio::try_join!(
            auth.check_session(credentials.request(CheckSessionRequest {})),
            members.resolve_membership(credentials.request(ResolveMembershipRequest {})),
        )?;
        let mut membership = membership.into_inner();
        membership.report_ids.sort();
        membership.team_ids.sort();
        Ok(Identity {
            user_id: session.into_inner().user_id.parse().map_err(|_| Refusal::Unknown)?,
            account_id: membership.account_id.parse().map_err(|_| Refusal::Unknown)?,
            membership,
        })
    }
}

/// Counts tries while nobody can tell.
struct Tries(u32);

impl Tries {
    /// Waits for the next one; `false` after the last.
    async fn another(&mut self) -> bool {
        self.0 += 1;
        if self.0 >= TRIES {
            return false;
        }
        tokio::time::sleep(PAUSE * 2u32.pow(self.0 - 1)).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_form_of_a_token_is_asked_about() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"exp":7,"sid":"00000000-0000-0000-0000-000000000001","sub":"x"}"#);
        let credentials = Credentials::new(&format!("e30.{payload}.c2ln"), Some("a")).unwrap();
        assert_eq!((credentials.claims().exp, credentials.claims().sid), (7, Uuid::from_u128(1)));
        let newline = format!("e30.{payload}.c2\nln");
        for bad in ["", "a.b.c", "e30.e30.e30", "..", newline.as_str()] {
            assert!(Credentials::new(bad, None).is_none(), "{bad:?}");
        }
        assert!(Credentials::new(&format!("e30.{payload}.c2ln"), Some("a\nb")).is_none());
    }
}
