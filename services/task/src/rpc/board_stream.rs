//! Server stream of a board's committed events, for as long as the caller may see the board.

use std::{sync::Arc, time::Duration};

use baton_access::{AccessChange, AccessLayer, Board, BoardChange, Principal, SETTLE_TIME, matrix};
use baton_catalog::Payload;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::{
    access::v1::Permission,
    events::v1::Envelope,
    task::v1::{BoardEventKind, BoardKind, WatchBoardRequest, WatchBoardResponse},
};
use baton_runtime::Shutdown;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, sleep, sleep_until},
};
use tonic::Status;
use uuid::Uuid;

use super::Rpc;

const WATCH_BOARD_PATH: &str = "/baton.task.v1.BoardService/WatchBoard";

/// Shared state of all streams. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct StreamContext {
    pub(crate) access: AccessLayer,
    /// Every event of the platform. A slow stream loses events, and receives a resync message.
    pub(crate) events: broadcast::Sender<Arc<Envelope>>,
    /// Interval of keepalive messages and access checks. The event that ended the access may have been lost.
    pub(crate) keepalive: Duration,
    pub(crate) shutdown: Shutdown,
}

/// One stream.
struct BoardStream {
    rpc: Rpc,
    principal: Principal,
    request: WatchBoardRequest,
    board: Board,
    events: broadcast::Receiver<Arc<Envelope>>,
    /// Time of the next access check.
    recheck_at: Instant,
    /// Expiry of the token.
    expires: Option<Instant>,
    started: bool,
}

impl Rpc {
    /// Opens the stream.
    pub(super) async fn watch(
        &self,
        principal: Principal,
        request: WatchBoardRequest,
    ) -> Result<BoxStream<'static, Result<WatchBoardResponse, Status>>> {
        // Subscribes before the access check, so that no event is lost in between.
        let events = self.live.events.subscribe();
        let board = self.board_of(&principal, &request).await?;
        let left = principal.caller.expires_at.map(|at| at - self.db.clock().now().timestamp());
        let now = Instant::now();
        let watch = BoardStream {
            rpc: self.clone(),
            principal,
            request,
            board,
            events,
            recheck_at: now + self.live.keepalive,
            expires: left.map(|left| now + Duration::from_secs(u64::try_from(left).unwrap_or_default())),
            started: false,
        };
        let messages = stream::unfold(Some(watch), async |watch| {
            let mut watch = watch?;
            match watch.next().await {
                Ok(message) => Some((Ok(message), Some(watch))),
                Err(error) => Some((Err(error.into()), None)),
            }
        });
        Ok(messages.boxed())
    }

    /// The requested board, if the caller may see it.
    async fn board_of(&self, principal: &Principal, request: &WatchBoardRequest) -> Result<Board> {
        let require = |permission: Permission| {
            if matrix::holds(principal.role(), permission) {
                Ok(())
            } else {
                Err(Error::from(Reason::PermissionMissing).with("permission", permission.as_str_name()))
            }
        };
        match (request.board(), &request.user_id) {
            (BoardKind::User, Some(user_id)) => {
                let person: Uuid = user_id.parse().map_err(|_| Error::from(Reason::BoardNotFound))?;
                if person != principal.user_id() {
                    require(Permission::ViewUserBoards)?;
                }
                self.can_see_board_of(principal, person).await?;
                Ok(Board::Of(person))
            }
            (BoardKind::User, None) => Err(Error::invalid("user_id", "must not be empty for a user's board")),
            (BoardKind::Team, _) => {
                require(Permission::ViewUserBoards)?;
                Ok(Board::of_team(principal.user_id(), &principal.membership))
            }
            (BoardKind::Account, _) => {
                require(Permission::ViewManagerBoards)?;
                Ok(Board::Account)
            }
            (BoardKind::My | BoardKind::Unspecified, _) => Ok(Board::Of(principal.user_id())),
        }
    }
}

impl BoardStream {
    /// Waits for the next message.
    async fn next(&mut self) -> Result<WatchBoardResponse> {
        if !std::mem::replace(&mut self.started, true) {
            return Ok(message_of(BoardEventKind::Watching));
        }
        let shutdown = self.rpc.live.shutdown.clone();
        loop {
            let expiry = async {
                match self.expires {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                () = shutdown.draining().cancelled() => return Err(Reason::Unavailable.into()),
                () = expiry => return Err(Reason::TokenInvalid.into()),
                () = sleep_until(self.recheck_at) => {
                    let same = self.recheck_access().await?;
                    return Ok(message_of(if same { BoardEventKind::Keepalive } else { BoardEventKind::Resync }));
                }
                event = self.events.recv() => event,
            };
            match event {
                Ok(event) => match AccessChange::of(&event, &self.principal) {
                    Some(AccessChange::SessionClosed) => return Err(Reason::SessionClosed.into()),
                    Some(AccessChange::Own | AccessChange::Account) => {
                        // Later events wait, and are filtered by the new access.
                        sleep(SETTLE_TIME).await;
                        if !self.recheck_access().await? {
                            return Ok(message_of(BoardEventKind::Resync));
                        }
                    }
                    None => {
                        if let Some(message) = self.message_for(&event) {
                            return Ok(message);
                        }
                    }
                },
                Err(RecvError::Lagged(_)) => {
                    // After a resync the client reads the whole board, so waiting events can be dropped. One of them,
                    // or of the lost ones, may have changed the caller's access.
                    self.events = self.events.resubscribe();
                    sleep(SETTLE_TIME).await;
                    self.recheck_access().await?;
                    return Ok(message_of(BoardEventKind::Resync));
                }
                Err(RecvError::Closed) => return Err(Reason::Unavailable.into()),
            }
        }
    }

    /// Checks access again and returns whether the board still covers the same people. Fails when the caller may no
    /// longer see it.
    async fn recheck_access(&mut self) -> Result<bool> {
        self.recheck_at = Instant::now() + self.rpc.live.keepalive;
        self.principal = self.rpc.live.access.reauthorize(WATCH_BOARD_PATH, &self.principal).await?;
        let board = self.rpc.board_of(&self.principal, &self.request).await?;
        Ok(std::mem::replace(&mut self.board, board) == self.board)
    }

    fn message_for(&self, event: &Envelope) -> Option<WatchBoardResponse> {
        if !self.is_of_account(event) {
            return None;
        }
        let task = Payload::decode(event).ok()??.into_task()?;
        let kind = match self.board.change(&task)? {
            BoardChange::Added => BoardEventKind::TaskAdded,
            BoardChange::Moved => BoardEventKind::TaskMoved,
            BoardChange::Removed => BoardEventKind::TaskRemoved,
            BoardChange::Updated => BoardEventKind::TaskUpdated,
        };
        let some = |id: &str| (!id.is_empty()).then(|| id.to_owned());
        Some(WatchBoardResponse {
            kind: kind.into(),
            cause: task.kind,
            status: task.status,
            version: task.version,
            assigned_to: some(&task.assigned_to),
            actor_id: some(&event.actor_id),
            occurred_at: event.occurred_at,
            task_id: task.task_id,
        })
    }

    fn is_of_account(&self, event: &Envelope) -> bool {
        event.account_id.parse() == Ok(self.principal.account_id())
    }
}

/// A message without a task.
fn message_of(kind: BoardEventKind) -> WatchBoardResponse {
    WatchBoardResponse { kind: kind.into(), ..WatchBoardResponse::default() }
}
