//! The session of one socket: subscriptions, access checks and pushed events.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use axum::extract::ws::{Message, WebSocket, close_code};
use baton_access::{AccessChange, Board, REAUTHORIZE_INTERVAL, SETTLE_TIME};
use baton_catalog::{AccessEffect, EventType};
use baton_proto::baton::events::v1::Envelope;
use baton_runtime::{propagation, random};
use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::{FuturesUnordered, SplitStream},
};
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};
use tracing::info_span;
use uuid::Uuid;

use super::{
    Shared,
    authorizer::{AccessError, Credentials, Identity, NOTIFICATIONS},
    channel::Channel,
    protocol::{ClientCommand, CloseReason, ServerMessage},
    send_queue::SendQueue,
};
use crate::rate_limit::Caller;

/// Interval of Action Cable pings. Clients treat a connection as dead after six seconds without one.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// After this many pings the session sends a WebSocket ping and checks the caller's identity again.
const PINGS_PER_PROBE: u32 = (REAUTHORIZE_INTERVAL.as_secs() / PING_INTERVAL.as_secs()) as u32;
/// A client that sends nothing for this long is disconnected.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(90);
const MAX_SUBSCRIPTIONS: usize = 100;
/// Maximum identifier, in bytes. Every message repeats it, so a long one would be expensive.
const MAX_IDENTIFIER_LEN: usize = 1024;
/// Concurrent access checks of one socket.
const MAX_CONCURRENT_LOOKUPS: usize = 8;
/// Waiting and running access checks of one socket, before its messages are no longer read.
const MAX_PENDING_LOOKUPS: usize = 32;
/// Events held for one access check.
const MAX_HELD_EVENTS: usize = 256;

/// Authenticates the caller, and serves the socket until it is closed.
pub(super) async fn run(shared: Arc<Shared>, socket: WebSocket, credentials: Option<Credentials>, caller: Caller) {
    let (queue, incoming) = SendQueue::split(socket);
    let reason = match authenticate(&shared, credentials).await {
        Ok((credentials, identity)) => Session::new(&shared, &queue, credentials, identity, caller).run(incoming).await,
        Err(reason) => reason,
    };
    queue.close(reason).await;
}

async fn authenticate(
    shared: &Shared,
    credentials: Option<Credentials>,
) -> Result<(Credentials, Identity), CloseReason> {
    let credentials = credentials.ok_or(CloseReason::Unauthorized)?;
    let identity = tokio::select! {
        identity = shared.authorizer.identify(&credentials) => identity,
        () = shared.shutdown.draining().cancelled() => return Err(CloseReason::ServerRestart),
    };
    match identity {
        Ok(identity) => Ok((credentials.in_account(identity.account_id()), identity)),
        Err(AccessError::Unavailable) => Err(CloseReason::ServerRestart),
        // The expiry is that of an unverified token. It helps honest clients and reveals nothing to others.
        Err(AccessError::Denied) if credentials.claims().exp <= shared.clock.now().timestamp() => {
            Err(CloseReason::TokenExpired { while_connected: false })
        }
        Err(AccessError::Denied) => Err(CloseReason::Unauthorized),
    }
}

struct Session<'a> {
    shared: &'a Shared,
    queue: &'a SendQueue,
    credentials: Credentials,
    /// The quota for new subscriptions.
    caller: Caller,
    identity: Identity,
    /// By identifier, exactly as the client sent it.
    subscriptions: HashMap<String, Subscription>,
    lookups: FuturesUnordered<BoxFuture<'a, LookupResult>>,
    lookup_permits: Arc<Semaphore>,
    checks: u64,
    /// Set while the identity is being checked: whether an event has made that check stale.
    identity_check: Option<bool>,
    /// An event has changed memberships, and the caller's has not been read again since.
    membership_changes: bool,
    /// Events held while the caller's membership is being checked; `None` otherwise.
    held: Option<Vec<Arc<Envelope>>>,
}

struct Subscription {
    channel: Channel,
    /// The board of a board channel.
    board: Option<Board>,
    confirmed: bool,
    /// The access check in progress.
    check: Option<Check>,
}

impl Subscription {
    /// Returns the event's message to the caller.
    fn message(&self, event: &Envelope, caller: Uuid) -> Option<Value> {
        self.channel.message(event, caller, self.board.as_ref())
    }
}

struct Check {
    /// Distinguishes its result from that of an earlier subscription with the same identifier.
    number: u64,
    /// An event since its start requires another check.
    is_stale: bool,
    /// Events held until the result.
    held: Vec<Arc<Envelope>>,
}

/// Result of a lookup at a service.
enum LookupResult {
    Subscription(String, u64, Result<(), AccessError>),
    Caller(Result<Identity, AccessError>),
}

impl<'a> Session<'a> {
    fn new(
        shared: &'a Shared,
        queue: &'a SendQueue,
        credentials: Credentials,
        identity: Identity,
        caller: Caller,
    ) -> Self {
        Self {
            shared,
            queue,
            credentials,
            caller,
            identity,
            subscriptions: HashMap::new(),
            lookups: FuturesUnordered::new(),
            lookup_permits: Arc::new(Semaphore::new(MAX_CONCURRENT_LOOKUPS)),
            checks: 0,
            identity_check: None,
            membership_changes: false,
            held: None,
        }
    }

    async fn run(mut self, incoming: SplitStream<WebSocket>) -> CloseReason {
        match self.serve(incoming).await {
            Err(reason) => reason,
            Ok(never) => match never {},
        }
    }

    async fn serve(&mut self, mut incoming: SplitStream<WebSocket>) -> Result<std::convert::Infallible, CloseReason> {
        let mut account_events = self.shared.hub.listen(self.identity.account_id());
        let mut user_events = self.shared.hub.listen(self.identity.user_id());
        // Detects changes before `listen`, and identities that were outdated in the cache.
        self.check_identity(false);
        self.queue.send(&ServerMessage::WELCOME)?;
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut pings_sent, mut last_received) = (0, Instant::now());
        let valid_for = self.credentials.claims().exp - self.shared.clock.now().timestamp();
        let mut expiry = pin!(sleep(Duration::from_secs(u64::try_from(valid_for).unwrap_or_default())));
        loop {
            tokio::select! {
                () = self.shared.shutdown.draining().cancelled() => return Err(CloseReason::ServerRestart),
                () = &mut expiry => return Err(CloseReason::TokenExpired { while_connected: true }),
                event = account_events.next() => self.handle_event(event.ok_or(CloseReason::ServerRestart)?)?,
                event = user_events.next() => self.handle_user_event(event.ok_or(CloseReason::ServerRestart)?.as_ref())?,
                Some(result) = self.lookups.next() => self.handle_lookup(result)?,
                message = incoming.next(), if self.lookups.len() < MAX_PENDING_LOOKUPS => {
                    last_received = Instant::now();
                    self.handle_message(message.ok_or(CloseReason::Disconnected)?.map_err(CloseReason::from_error)?)?;
                }
                _ = pings.tick() => {
                    self.queue.send(&ServerMessage::ping(self.shared.clock.now().timestamp()))?;
                    pings_sent += 1;
                    if pings_sent % PINGS_PER_PROBE == 0 {
                        self.queue.ping()?;
                        self.check_identity(false);
                    }
                    if last_received.elapsed() > SILENCE_TIMEOUT {
                        return Err(CloseReason::Disconnected);
                    }
                }
            }
        }
    }

    /// Handles a message of the client.
    fn handle_message(&mut self, message: Message) -> Result<(), CloseReason> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(CloseReason::InvalidRequest { code: close_code::UNSUPPORTED }),
            Message::Close(_) => return Err(CloseReason::Disconnected),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        let ClientCommand { command, identifier } =
            serde_json::from_str(&text).map_err(|_| CloseReason::InvalidRequest { code: close_code::INVALID })?;
        match command.as_str() {
            "subscribe" => self.subscribe(identifier),
            "unsubscribe" => {
                self.subscriptions.remove(&identifier);
                Ok(())
            }
            // The channels accept no `message`. Unknown commands are ignored.
            _ => Ok(()),
        }
    }

    fn subscribe(&mut self, identifier: String) -> Result<(), CloseReason> {
        if let Some(known) = self.subscriptions.get(&identifier) {
            // Clients repeat the command until it is confirmed, and may subscribe twice.
            return if known.confirmed { self.queue.send(&ServerMessage::confirm(&identifier)) } else { Ok(()) };
        }
        let is_within_limits = self.subscriptions.len() < MAX_SUBSCRIPTIONS && identifier.len() <= MAX_IDENTIFIER_LEN;
        let channel = Channel::parse(&identifier, self.identity.user_id()).filter(|_| is_within_limits);
        let Some(channel) = channel else {
            return self.queue.send(&ServerMessage::reject(&identifier));
        };
        let mut subscription = Subscription { channel, board: self.board(channel), confirmed: false, check: None };
        match channel {
            Channel::Notifications => {
                subscription.confirmed = true;
                self.queue.send(&ServerMessage::confirm(&identifier))?;
                self.subscriptions.insert(identifier, subscription);
            }
            Channel::Task(_) | Channel::Board(_) => {
                self.subscriptions.insert(identifier.clone(), subscription);
                self.check_access(&identifier);
            }
        }
        Ok(())
    }

    /// Checks whether the caller may still see the subject of a subscription. Its events are held meanwhile.
    fn check_access(&mut self, identifier: &str) {
        let Some(subscription) = self.subscriptions.get_mut(identifier) else { return };
        let channel = subscription.channel;
        if channel == Channel::Notifications {
            return;
        }
        if let Some(check) = &mut subscription.check {
            check.is_stale = true;
            return;
        }
        self.checks += 1;
        subscription.check = Some(Check { number: self.checks, is_stale: false, held: Vec::new() });
        let is_new = !subscription.confirmed;
        self.start_check(identifier.to_owned(), self.checks, channel, is_new);
    }

    /// The board of a board channel.
    fn board(&self, channel: Channel) -> Option<Board> {
        if let Channel::Board(id) = channel { Some(self.identity.board(id)) } else { None }
    }

    /// Starts an access check. `is_new`: the client has just subscribed, which counts as a request.
    fn start_check(&self, identifier: String, number: u64, channel: Channel, is_new: bool) {
        let (authorizer, credentials) = (&self.shared.authorizer, self.credentials.clone());
        let (limiter, caller) = (&self.shared.guard.limiter, self.caller.clone());
        let lookup_permits = Arc::clone(&self.lookup_permits);
        self.lookups.push(Box::pin(async move {
            // The semaphore is never closed.
            let _permit = lookup_permits.acquire_owned().await;
            if is_new
                && let Some(verdict) = limiter.count(NOTIFICATIONS, &caller).await
                && verdict.check().is_err()
            {
                return LookupResult::Subscription(identifier, number, Err(AccessError::Denied));
            }
            let result = match channel {
                Channel::Notifications => Ok(()),
                Channel::Task(id) => authorizer.check_task(&credentials, id).await,
                Channel::Board(id) => authorizer.check_board(&credentials, id).await,
            };
            LookupResult::Subscription(identifier, number, result)
        }));
    }

    /// Checks the caller's identity and membership. `hold_events`: no events are pushed meanwhile.
    fn check_identity(&mut self, hold_events: bool) {
        if hold_events {
            self.held.get_or_insert_default();
        }
        if let Some(is_stale) = &mut self.identity_check {
            *is_stale = true;
            return;
        }
        self.identity_check = Some(false);
        // Many sockets receive the same event at the same time.
        let jitter = if hold_events { 0.0 } else { random::fraction() };
        let (authorizer, credentials) = (&self.shared.authorizer, self.credentials.clone());
        self.lookups.push(Box::pin(async move {
            sleep(SETTLE_TIME + Duration::from_secs_f64(jitter)).await;
            LookupResult::Caller(authorizer.identify(&credentials).await)
        }));
    }

    fn handle_lookup(&mut self, result: LookupResult) -> Result<(), CloseReason> {
        match result {
            LookupResult::Caller(Err(AccessError::Denied)) => Err(CloseReason::Unauthorized),
            LookupResult::Caller(Err(AccessError::Unavailable)) => Err(CloseReason::ServerRestart),
            LookupResult::Caller(Ok(identity)) => {
                if self.identity_check.take() == Some(true) {
                    self.check_identity(self.held.is_some());
                    return Ok(());
                }
                self.membership_changes = false;
                if !identity.has_same_access_as(&self.identity) {
                    self.identity = identity;
                    let all: Vec<String> = self.subscriptions.keys().cloned().collect();
                    all.iter().for_each(|identifier| self.check_access(identifier));
                    all.iter().try_for_each(|identifier| self.refresh_board(identifier))?;
                }
                self.held.take().into_iter().flatten().try_for_each(|event| self.handle_event(event))
            }
            LookupResult::Subscription(identifier, number, result) => self.handle_check(&identifier, number, result),
        }
    }

    /// Updates the board of a subscription after the membership changed. If it changed too, the client must read it
    /// again.
    fn refresh_board(&mut self, identifier: &str) -> Result<(), CloseReason> {
        let channel = self.subscriptions.get(identifier).map(|subscription| subscription.channel);
        let Some(board) = channel.and_then(|channel| self.board(channel)) else { return Ok(()) };
        let Some(subscription) = self.subscriptions.get_mut(identifier) else { return Ok(()) };
        if subscription.board.replace(board) == subscription.board || !subscription.confirmed {
            return Ok(());
        }
        self.queue.send(&ServerMessage::Message { identifier, message: json!({"event": "resync"}) })
    }

    fn handle_check(
        &mut self,
        identifier: &str,
        number: u64,
        result: Result<(), AccessError>,
    ) -> Result<(), CloseReason> {
        // The client may have unsubscribed meanwhile.
        let Some(subscription) = self.subscriptions.get_mut(identifier) else { return Ok(()) };
        let Some(check) = subscription.check.as_mut().filter(|check| check.number == number) else { return Ok(()) };
        if std::mem::take(&mut check.is_stale) {
            let channel = subscription.channel;
            self.start_check(identifier.to_owned(), number, channel, false);
            return Ok(());
        }
        let held = std::mem::take(&mut check.held);
        subscription.check = None;
        match result {
            Ok(()) => {
                if !subscription.confirmed {
                    subscription.confirmed = true;
                    self.queue.send(&ServerMessage::confirm(identifier))?;
                }
                held.iter().try_for_each(|event| self.push(identifier, event))
            }
            Err(AccessError::Denied) => {
                self.subscriptions.remove(identifier);
                self.queue.send(&ServerMessage::reject(identifier))
            }
            Err(AccessError::Unavailable) if subscription.confirmed => Err(CloseReason::ServerRestart),
            // The client repeats the command.
            Err(AccessError::Unavailable) => {
                self.subscriptions.remove(identifier);
                Ok(())
            }
        }
    }

    /// Handles an event of the account.
    fn handle_event(&mut self, event: Arc<Envelope>) -> Result<(), CloseReason> {
        if let Some(held) = &mut self.held {
            if held.len() >= MAX_HELD_EVENTS {
                return Err(CloseReason::ServerRestart);
            }
            // Another change of access during the check: check again.
            match AccessChange::of(&event, self.identity.principal()) {
                Some(_) => self.check_identity(true),
                None => held.push(event),
            }
            return Ok(());
        }
        if let Some(change) = AccessChange::of(&event, self.identity.principal()) {
            self.membership_changes = true;
            // Status and settings of the account may exclude the caller; changes of other members do not.
            self.check_identity(change == AccessChange::Own || changes_account(&event));
            return Ok(());
        }
        let affected: Vec<String> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.message(&event, self.identity.user_id()).is_some())
            .map(|(identifier, _)| identifier.clone())
            .collect();
        for identifier in affected {
            self.deliver(&identifier, &event)?;
        }
        Ok(())
    }

    /// Delivers an event to a subscription, or holds it during an access check.
    fn deliver(&mut self, identifier: &str, event: &Arc<Envelope>) -> Result<(), CloseReason> {
        let Some(subscription) = self.subscriptions.get(identifier) else { return Ok(()) };
        if subscription.channel.access_may_change(event) {
            // The event says who sees its task, and the caller's membership is known. A service is asked only while
            // that changes, and when an earlier answer is awaited: it may be older than the event.
            let is_known = subscription.check.is_none() && !self.membership_changes;
            match Channel::is_visible_after(event, self.identity.principal()).filter(|_| is_known) {
                Some(true) => {}
                Some(false) => {
                    self.subscriptions.remove(identifier);
                    return self.queue.send(&ServerMessage::reject(identifier));
                }
                None => self.check_access(identifier),
            }
        }
        let Some(subscription) = self.subscriptions.get_mut(identifier) else { return Ok(()) };
        if let Some(check) = &mut subscription.check {
            if check.held.len() >= MAX_HELD_EVENTS {
                return Err(CloseReason::ServerRestart);
            }
            check.held.push(Arc::clone(event));
            return Ok(());
        }
        self.push(identifier, event)
    }

    /// Pushes an event to the client.
    fn push(&mut self, identifier: &str, event: &Envelope) -> Result<(), CloseReason> {
        let Some(subscription) = self.subscriptions.get(identifier) else { return Ok(()) };
        let Some(message) = subscription.message(event, self.identity.user_id()) else { return Ok(()) };
        let ends = subscription.channel.ends_with(event);
        let span = info_span!(
            "push",
            otel.name = format!("push {}", event.r#type),
            otel.kind = "producer",
            event.id = event.id
        );
        propagation::continue_from_traceparent(&span, &event.traceparent);
        span.in_scope(|| self.queue.send(&ServerMessage::Message { identifier, message }))?;
        if ends {
            self.subscriptions.remove(identifier);
            self.queue.send(&ServerMessage::reject(identifier))?;
        }
        Ok(())
    }

    /// Handles an event of the user outside accounts: of their sessions, second factor or profile.
    fn handle_user_event(&mut self, event: &Envelope) -> Result<(), CloseReason> {
        match AccessChange::of(event, self.identity.principal()) {
            Some(AccessChange::SessionClosed) => return Err(CloseReason::Unauthorized),
            Some(AccessChange::Own) => self.check_identity(true),
            Some(AccessChange::Account) | None => {}
        }
        Ok(())
    }
}

/// Whether the event may change the status or settings of the account, which affect everybody in it.
fn changes_account(event: &Envelope) -> bool {
    EventType::of(event).is_none_or(|kind| kind.access_effect() == AccessEffect::Account)
}
