//! The session of one socket: it authenticates, reads commands, and writes what the subscriber receives.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use baton_errors::Reason;
use baton_events::tail;
use baton_runtime::random;
use chrono::{DateTime, TimeDelta};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::{
    Shared,
    protocol::{Action, ClientCommand, CloseReason, HistoryRequest, ServerMessage},
};
use crate::live::{AccessError, Credentials, Encoded, Format, Item, Joined, Parameters, Position, Since, WATCH};

/// Interval of Action Cable pings. Clients treat a connection as dead after six seconds without one.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// After this many pings the session sends a WebSocket ping, which every client answers.
const PINGS_PER_PROBE: u32 = 10;
/// A client that sends nothing for this long is disconnected.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(90);
/// Maximum identifier, in bytes. Every message repeats it, so a long one would be expensive.
const MAX_IDENTIFIER_LEN: usize = 1024;
/// Access checks in progress before the session reads no further commands.
const MAX_PENDING_CHECKS: usize = 32;
/// A client that takes none of a batch for this long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a batch: what is written at once.
const BATCH_BYTES: usize = 16 * 1024;
/// What a client's commands may cost at once: as many subscriptions as a socket can have, some of them with a replay.
const MAX_CREDIT: f64 = 2_000.0;
/// What they may cost per second then.
const CREDIT_PER_SECOND: f64 = 50.0;
/// What a subscription with a replay costs, in subscriptions.
const REPLAY_COST: f64 = 2.0;
/// Others are told that a person types once in this time.
const TYPING_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout of closing, so that clients cannot delay shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Authenticates the caller, and serves the socket until it is closed.
pub(super) async fn run(shared: Arc<Shared>, mut socket: WebSocket, credentials: Option<Credentials>, format: Format) {
    let reason = match join(&shared, credentials, format).await {
        Ok((joined, expires_at)) => {
            let credit = (MAX_CREDIT, Instant::now());
            let session = Session { shared: &shared, joined, format, expires_at, typed_at: None, credit };
            session.serve(&mut socket).await
        }
        Err(reason) => reason,
    };
    let _ = timeout(CLOSE_TIMEOUT, close(&mut socket, reason)).await;
}

async fn join(shared: &Shared, credentials: Option<Credentials>, format: Format) -> Result<(Joined, i64), CloseReason> {
    let credentials = credentials.ok_or(CloseReason::Unauthorized)?;
    let identified = tokio::select! {
        identified = shared.live.identify(&credentials, WATCH) => identified,
        () = shared.shutdown.draining().cancelled() => return Err(CloseReason::ServerRestart),
    };
    // A socket has a session's token: it can be renewed, and a key cannot.
    let expires_at = credentials.expires_at().ok_or(CloseReason::Unauthorized)?;
    match identified {
        Ok(identified) => {
            let credentials = credentials.in_account(identified.identity.account_id);
            let joined = shared.live.join(identified, credentials, format);
            Ok((joined.ok_or(CloseReason::ServerRestart)?, expires_at))
        }
        Err(AccessError::Unavailable) => Err(CloseReason::ServerRestart),
        // The expiry is that of an unverified token. It helps honest clients and reveals nothing to others.
        Err(AccessError::Denied(_)) if expires_at <= shared.clock.now().timestamp() => {
            Err(CloseReason::TokenExpired { while_connected: false })
        }
        Err(AccessError::Denied(_)) => Err(CloseReason::Unauthorized),
    }
}

/// Sends the reason and closes the socket.
async fn close(socket: &mut WebSocket, reason: CloseReason) -> Result<(), axum::Error> {
    if let Some(message) = ServerMessage::disconnect(reason) {
        socket.send(text(&message)).await?;
    }
    let frame = CloseFrame { code: reason.close_code(), reason: Utf8Bytes::default() };
    socket.send(Message::Close(Some(frame))).await?;
    // The client's close frame ends the connection; without it the timeout does.
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}

fn text(message: &ServerMessage<'_>) -> Message {
    Message::Text(message.to_json().into())
}

struct Session<'a> {
    shared: &'a Shared,
    joined: Joined,
    format: Format,
    /// The token's expiry, in seconds since 1970.
    expires_at: i64,
    /// When others were last told that the person types.
    typed_at: Option<Instant>,
    /// What the client's commands may cost at once, and when that was so.
    credit: (f64, Instant),
}

impl Session<'_> {
    async fn serve(mut self, socket: &mut WebSocket) -> CloseReason {
        match self.run(socket).await {
            Err(reason) => reason,
            Ok(never) => match never {},
        }
    }

    async fn run(&mut self, socket: &mut WebSocket) -> Result<std::convert::Infallible, CloseReason> {
        write(socket, [text(&ServerMessage::WELCOME)]).await?;
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut pings_sent, mut last_received) = (0, Instant::now());
        let mut expiry = pin!(sleep(self.valid_for()));
        let mut drained = pin!(self.shared.drained());
        loop {
            tokio::select! {
                () = &mut drained => return Err(CloseReason::ServerRestart),
                () = &mut expiry => return Err(CloseReason::TokenExpired { while_connected: true }),
                items = self.joined.next() => self.write_items(socket, items?).await?,
                message = socket.next(), if self.joined.checks() < MAX_PENDING_CHECKS => {
                    last_received = Instant::now();
                    let message = message.ok_or(CloseReason::Disconnected)?.map_err(CloseReason::from_error)?;
                    if let Some(replies) = self.handle_message(message).await? {
                        write(socket, [replies]).await?;
                        expiry.as_mut().reset(Instant::now() + self.valid_for());
                    }
                }
                _ = pings.tick() => {
                    let ping = text(&ServerMessage::ping(self.shared.clock.now().timestamp()));
                    pings_sent += 1;
                    if pings_sent % PINGS_PER_PROBE == 0 {
                        write(socket, [ping, Message::Ping(Default::default())]).await?;
                    } else {
                        write(socket, [ping]).await?;
                    }
                    if last_received.elapsed() > SILENCE_TIMEOUT {
                        return Err(CloseReason::Disconnected);
                    }
                }
            }
        }
    }

    fn valid_for(&self) -> Duration {
        let seconds = self.expires_at - self.shared.clock.now().timestamp();
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }

    /// Handles a message of the client. Some commands have a reply.
    async fn handle_message(&mut self, message: Message) -> Result<Option<Message>, CloseReason> {
        let command = match message {
            Message::Text(command) => command,
            Message::Binary(_) => return Err(CloseReason::InvalidRequest { code: close_code::UNSUPPORTED }),
            Message::Close(_) => return Err(CloseReason::Disconnected),
            Message::Ping(_) | Message::Pong(_) => return Ok(None),
        };
        let command: ClientCommand =
            serde_json::from_str(&command).map_err(|_| CloseReason::InvalidRequest { code: close_code::INVALID })?;
        match command {
            ClientCommand::Subscribe { identifier, history } => {
                self.pay(if history.is_some() || identifier.contains("since") { REPLAY_COST } else { 1.0 }).await;
                Ok(self.subscribe(&identifier, history))
            }
            ClientCommand::Unsubscribe { identifier } => {
                self.joined.unsubscribe(&identifier);
                Ok(None)
            }
            ClientCommand::Message { identifier, data } => match serde_json::from_str(&data) {
                Ok(Action::Authenticate { token }) => self.authenticate(&identifier, &token).await.map(Some),
                Ok(Action::PresenceJoin) => Ok(self.join_presence(&identifier).await),
                Ok(Action::PresenceLeave) => {
                    self.joined.leave_presence(&identifier).await;
                    Ok(None)
                }
                Ok(Action::Presence) => {
                    let message = json!({"event": "presence", "user_ids": self.joined.list_present(&identifier).await});
                    Ok(Some(text(&ServerMessage::Message { identifier: &identifier, message })))
                }
                Ok(Action::Typing) => {
                    if self.typed_at.is_none_or(|at| at.elapsed() > TYPING_INTERVAL) {
                        self.typed_at = Some(Instant::now());
                        self.joined.tell_typing(&identifier).await;
                    }
                    Ok(None)
                }
                // The channels have no other actions.
                Err(_) => Ok(None),
            },
            ClientCommand::Join { identifier } => Ok(self.join_presence(&identifier).await),
            ClientCommand::Leave { identifier } => {
                self.joined.leave_presence(&identifier).await;
                Ok(None)
            }
            ClientCommand::Presence { identifier } => {
                let people = self.joined.list_present(&identifier).await;
                Ok(Some(text(&ServerMessage::present(&identifier, people.as_deref()))))
            }
            ClientCommand::Other => Ok(None),
        }
    }

    /// Lets others see that the person is here. The answer is who is here, once for each time that a client joins.
    async fn join_presence(&self, identifier: &str) -> Option<Message> {
        if !self.joined.join_presence(identifier).await || self.format == Format::CableExtended {
            return None;
        }
        let message = json!({"event": "presence", "user_ids": self.joined.list_present(identifier).await});
        Some(text(&ServerMessage::Message { identifier, message }))
    }

    /// Waits until a command of this cost may be processed: as many as a page needs at once, and then only so many a second.
    async fn pay(&mut self, cost: f64) {
        let (credit, since) = self.credit;
        let credit = (credit + since.elapsed().as_secs_f64() * CREDIT_PER_SECOND).min(MAX_CREDIT) - cost;
        self.credit = (credit, Instant::now());
        if credit < 0.0 {
            sleep(Duration::from_secs_f64(-credit / CREDIT_PER_SECOND)).await;
        }
    }

    fn subscribe(&self, identifier: &str, history: Option<HistoryRequest>) -> Option<Message> {
        let parameters = Some(identifier).filter(|it| it.len() <= MAX_IDENTIFIER_LEN).and_then(Parameters::parse);
        let channel = parameters.as_ref().and_then(|it| it.channel(self.joined.identity.user_id));
        let (Some(parameters), Some(channel)) = (parameters, channel) else {
            return Some(text(&ServerMessage::reject(identifier)));
        };
        let since = match (parameters.since, history) {
            (Some(since), _) => Some(since.parse().map_or(Since::Unknown, Since::Position)),
            (None, Some(history)) => self.since(history),
            (None, None) => None,
        };
        self.joined.subscribe(identifier.into(), channel, since);
        None
    }

    /// Where an extended client continues: at its last message, or else at the time when it was last connected.
    fn since(&self, HistoryRequest { since, streams }: HistoryRequest) -> Option<Since> {
        // A subscription has one stream.
        if let Some(stream) = streams.into_values().next() {
            let epoch = stream.epoch.parse();
            return Some(
                epoch.map_or(Since::Unknown, |epoch| Since::Position(Position { epoch, offset: stream.offset })),
            );
        }
        let time = DateTime::from_timestamp(since?, 0);
        // The time is the client's, to the second. If its clock is ahead, what it has missed is not known.
        let time = time.filter(|&time| time <= self.shared.clock.now());
        let before = time.and_then(|time| time.checked_sub_signed(TimeDelta::seconds(1)));
        Some(before.map_or(Since::Unknown, |before| Since::Offset(tail::offset_at(before))))
    }

    /// Renews the token of the socket.
    async fn authenticate(&mut self, identifier: &str, token: &str) -> Result<Message, CloseReason> {
        let credentials = Credentials::new(token, None);
        let expires_at = credentials.as_ref().and_then(Credentials::expires_at);
        let renewed = match credentials {
            Some(credentials) => self.joined.renew(credentials).await,
            None => Err(AccessError::Denied(Reason::TokenInvalid)),
        };
        let message = match (renewed, expires_at) {
            (Ok(()), Some(expires_at)) => {
                self.expires_at = expires_at;
                json!({"event": "authenticated"})
            }
            (Err(AccessError::Unavailable), _) => json!({"event": "authentication_failed", "reason": "UNAVAILABLE"}),
            _ => json!({"event": "authentication_failed", "reason": "TOKEN_INVALID"}),
        };
        Ok(text(&ServerMessage::Message { identifier, message }))
    }

    /// Writes items in batches.
    async fn write_items(&self, socket: &mut WebSocket, items: VecDeque<Item>) -> Result<(), CloseReason> {
        let mut batch = Vec::with_capacity(items.len().min(64));
        let mut bytes = 0;
        for item in items {
            for message in self.messages(item) {
                bytes += message.as_str().len();
                batch.push(Message::Text(message));
            }
            if bytes >= BATCH_BYTES {
                write(socket, batch.drain(..)).await?;
                bytes = 0;
                // A slow reader must not receive the rest after its access has ended.
                if let Some(end) = self.joined.forbidden() {
                    return Err(end.into());
                }
                if self.valid_for().is_zero() {
                    return Err(CloseReason::TokenExpired { while_connected: true });
                }
                if self.shared.shutdown.stop().is_cancelled() {
                    return Err(CloseReason::ServerRestart);
                }
            }
        }
        write(socket, batch).await
    }

    /// The item in the protocol's form.
    fn messages(&self, item: Item) -> impl Iterator<Item = Utf8Bytes> {
        let is_extended = self.format == Format::CableExtended;
        let [first, second] = match &item {
            Item::Message(Encoded::Text(text)) => [Some(text.clone()), None],
            Item::Confirmed { identifier, position, history } => {
                let confirmed = ServerMessage::confirm(identifier, *position).to_json().into();
                let refused = is_extended && *history == Some(false);
                [Some(confirmed), refused.then(|| ServerMessage::history(identifier, false).to_json().into())]
            }
            Item::Replayed(identifier) if is_extended => {
                [Some(ServerMessage::history(identifier, true).to_json().into()), None]
            }
            // Bytes are of other formats.
            Item::Replayed(_) | Item::Message(Encoded::Bytes(_)) => [None, None],
            Item::Rejected(identifier) => [Some(ServerMessage::reject(identifier).to_json().into()), None],
        };
        first.into_iter().chain(second)
    }
}

/// Writes messages at once.
async fn write(socket: &mut WebSocket, messages: impl IntoIterator<Item = Message>) -> Result<(), CloseReason> {
    let write = async {
        for message in messages {
            socket.feed(message).await?;
        }
        socket.flush().await
    };
    match timeout(WRITE_TIMEOUT, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(CloseReason::Disconnected),
        Err(_) => Err(CloseReason::TooSlow),
    }
}

impl Shared {
    /// Waits until this socket is to close: at some time while the gateway drains, so that not all clients reconnect at
    /// once, and at the latest when it stops.
    async fn drained(&self) {
        self.shutdown.draining().cancelled().await;
        let spread = self.drain_time.mul_f64(random::fraction());
        let _ = timeout(spread, self.shutdown.stop().cancelled()).await;
    }
}
