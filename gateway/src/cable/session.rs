//! The life of one socket.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use axum::extract::ws::{Message, WebSocket, close_code};
use baton_access::{AccessChange, Board, REAUTHORIZE_INTERVAL, SETTLE_TIME};
use baton_proto::baton::events::v1::Envelope;
use baton_runtime::propagation;
use chrono::Utc;
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
    caller::{Credentials, Identity, NOTIFICATIONS, Refusal},
    channel::Channel,
    outbox::Outbox,
    protocol::{Command, End, Said},
};
use crate::rate_limit::Caller;

/// Clients count a connection as dead after six seconds without one.
const PING_EVERY: Duration = Duration::from_secs(3);
/// Every so many pings, the client has to answer one of WebSocket's own, and it is decided anew whether they may be here.
const PROBE_EVERY: u32 = (REAUTHORIZE_INTERVAL.as_secs() / PING_EVERY.as_secs()) as u32;
/// A client from which nothing came for this long is gone.
const SILENT_FOR: Duration = Duration::from_secs(90);
const SUBSCRIPTIONS: usize = 100;
/// An identifier comes back with every message, so a long one would cost more than its sender.
const LONGEST_IDENTIFIER: usize = 1024;
/// Questions of one socket that services answer at a time; and that may wait, before its client has to.
const ASKED_AT_A_TIME: usize = 8;
const ASKED_AT_MOST: usize = 32;
/// Events that wait for one answer.
const HELD: usize = 256;

/// Greets the caller, if they are one, and serves them until the connection ends.
pub(super) async fn run(shared: Arc<Shared>, socket: WebSocket, credentials: Option<Credentials>, caller: Caller) {
    let (outbox, incoming) = Outbox::split(socket);
    let end = match greet(&shared, credentials).await {
        Ok((credentials, identity)) => {
            Session::new(&shared, &outbox, credentials, identity, caller).run(incoming).await
        }
        Err(end) => end,
    };
    outbox.close(end).await;
}

async fn greet(shared: &Shared, credentials: Option<Credentials>) -> Result<(Credentials, Identity), End> {
    let credentials = credentials.ok_or(End::Unauthorized)?;
    let identity = tokio::select! {
        identity = shared.directory.identify(&credentials) => identity,
        () = shared.shutdown.draining().cancelled() => return Err(End::Restart),
    };
    match identity {
        Ok(identity) => Ok((credentials.in_account(identity.account_id()), identity)),
        Err(Refusal::Unknown) => Err(End::Restart),
        // Said of a token that nobody verified: it helps an honest client, and tells others nothing.
        Err(Refusal::Refused) if credentials.claims().exp <= Utc::now().timestamp() => {
            Err(End::Expired { while_connected: false })
        }
        Err(Refusal::Refused) => Err(End::Unauthorized),
    }
}

struct Session<'a> {
    shared: &'a Shared,
    outbox: &'a Outbox,
    credentials: Credentials,
    /// Whose requests count what the client makes services look up.
    caller: Caller,
    identity: Identity,
    /// By identifier, as the client wrote it.
    subscriptions: HashMap<String, Subscription>,
    questions: FuturesUnordered<BoxFuture<'a, Answer>>,
    asking: Arc<Semaphore>,
    checks: u64,
    /// While it is asked who the caller is: whether something happened since that makes the answer old.
    asking_who: Option<bool>,
    /// Events that wait while it is asked whether the caller is still a member. `None` while it is not.
    held: Option<Vec<Arc<Envelope>>>,
}

struct Subscription {
    channel: Channel,
    /// Whose tasks the board has that it is about.
    board: Option<Board>,
    confirmed: bool,
    /// While it is asked whether the caller may.
    check: Option<Check>,
}

impl Subscription {
    /// What the event says to the caller.
    fn message(&self, event: &Envelope, caller: Uuid) -> Option<Value> {
        self.channel.message(event, caller, self.board.as_ref())
    }
}

struct Check {
    /// Tells its answer from that of an earlier subscription to the same.
    number: u64,
    /// Something happened meanwhile that makes the answer old.
    again: bool,
    /// Events that wait for the answer.
    held: Vec<Arc<Envelope>>,
}

/// What a service said.
enum Answer {
    Subscription(String, u64, Result<(), Refusal>),
    Caller(Result<Identity, Refusal>),
}

impl<'a> Session<'a> {
    fn new(
        shared: &'a Shared,
        outbox: &'a Outbox,
        credentials: Credentials,
        identity: Identity,
        caller: Caller,
    ) -> Self {
        Self {
            shared,
            outbox,
            credentials,
            caller,
            identity,
            subscriptions: HashMap::new(),
            questions: FuturesUnordered::new(),
            asking: Arc::new(Semaphore::new(ASKED_AT_A_TIME)),
            checks: 0,
            asking_who: None,
            held: None,
        }
    }

    async fn run(mut self, incoming: SplitStream<WebSocket>) -> End {
        match self.serve(incoming).await {
            Err(end) => end,
            Ok(never) => match never {},
        }
    }

    async fn serve(&mut self, mut incoming: SplitStream<WebSocket>) -> Result<std::convert::Infallible, End> {
        let mut of_account = self.shared.hub.listen(self.identity.account_id());
        let mut of_user = self.shared.hub.listen(self.identity.user_id());
        // What changed before we listened, or is remembered wrongly for a second more, shows then.
        self.ask_who(false);
        self.outbox.say(&Said::WELCOME)?;
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut pinged, mut heard) = (0, Instant::now());
        let valid_for = self.credentials.claims().exp - Utc::now().timestamp();
        let mut expiry = pin!(sleep(Duration::from_secs(u64::try_from(valid_for).unwrap_or_default())));
        loop {
            tokio::select! {
                () = self.shared.shutdown.draining().cancelled() => return Err(End::Restart),
                () = &mut expiry => return Err(End::Expired { while_connected: true }),
                event = of_account.next() => self.happened(event.ok_or(End::Restart)?)?,
                event = of_user.next() => self.happened_to_caller(event.ok_or(End::Restart)?.as_ref())?,
                Some(answer) = self.questions.next() => self.answered(answer)?,
                message = incoming.next(), if self.questions.len() < ASKED_AT_MOST => {
                    heard = Instant::now();
                    self.heard(message.ok_or(End::Gone)?.map_err(End::of_error)?)?;
                }
                _ = pings.tick() => {
                    self.outbox.say(&Said::ping(Utc::now().timestamp()))?;
                    pinged += 1;
                    if pinged % PROBE_EVERY == 0 {
                        self.outbox.probe()?;
                        self.ask_who(false);
                    }
                    if heard.elapsed() > SILENT_FOR {
                        return Err(End::Gone);
                    }
                }
            }
        }
    }

    /// The client said something.
    fn heard(&mut self, message: Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(End::Invalid { code: close_code::UNSUPPORTED }),
            Message::Close(_) => return Err(End::Gone),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        let Command { command, identifier } =
            serde_json::from_str(&text).map_err(|_| End::Invalid { code: close_code::INVALID })?;
        match command.as_str() {
            "subscribe" => self.subscribe(identifier),
            "unsubscribe" => {
                self.subscriptions.remove(&identifier);
                Ok(())
            }
            // `message`: our channels take none; nor do we mind commands of later versions.
            _ => Ok(()),
        }
    }

    fn subscribe(&mut self, identifier: String) -> Result<(), End> {
        if let Some(known) = self.subscriptions.get(&identifier) {
            // Clients repeat themselves until they are answered, and may subscribe twice to the same.
            return if known.confirmed { self.outbox.say(&Said::confirm(&identifier)) } else { Ok(()) };
        }
        let room = self.subscriptions.len() < SUBSCRIPTIONS && identifier.len() <= LONGEST_IDENTIFIER;
        let channel = Channel::parse(&identifier, self.identity.user_id()).filter(|_| room);
        let Some(channel) = channel else {
            return self.outbox.say(&Said::reject(&identifier));
        };
        let mut subscription = Subscription { channel, board: self.board(channel), confirmed: false, check: None };
        match channel {
            Channel::Notifications => {
                subscription.confirmed = true;
                self.outbox.say(&Said::confirm(&identifier))?;
                self.subscriptions.insert(identifier, subscription);
            }
            Channel::Task(_) | Channel::Board(_) => {
                self.subscriptions.insert(identifier.clone(), subscription);
                self.check(&identifier);
            }
        }
        Ok(())
    }

    /// Asks whether the caller may still follow what they subscribed to. Its events wait meanwhile.
    fn check(&mut self, identifier: &str) {
        let Some(subscription) = self.subscriptions.get_mut(identifier) else { return };
        let channel = subscription.channel;
        if channel == Channel::Notifications {
            return;
        }
        if let Some(check) = &mut subscription.check {
            check.again = true;
            return;
        }
        self.checks += 1;
        subscription.check = Some(Check { number: self.checks, again: false, held: Vec::new() });
        let is_new = !subscription.confirmed;
        self.ask_about(identifier.to_owned(), self.checks, channel, is_new);
    }

    /// Whose tasks the board has that the channel is about.
    fn board(&self, channel: Channel) -> Option<Board> {
        if let Channel::Board(id) = channel { Some(self.identity.board(id)) } else { None }
    }

    /// `is_new`: the client has asked to subscribe, which is a request of theirs and counts as one.
    fn ask_about(&self, identifier: String, number: u64, channel: Channel, is_new: bool) {
        let (directory, credentials) = (&self.shared.directory, self.credentials.clone());
        let (limiter, caller) = (&self.shared.edge.limiter, self.caller.clone());
        let asking = Arc::clone(&self.asking);
        self.questions.push(Box::pin(async move {
            // Closed never.
            let _asking = asking.acquire_owned().await;
            if is_new
                && let Some(counted) = limiter.count(NOTIFICATIONS, &caller).await
                && counted.check().is_err()
            {
                return Answer::Subscription(identifier, number, Err(Refusal::Refused));
            }
            let answer = match channel {
                Channel::Notifications => Ok(()),
                Channel::Task(id) => directory.sees_task(&credentials, id).await,
                Channel::Board(id) => directory.sees_board(&credentials, id).await,
            };
            Answer::Subscription(identifier, number, answer)
        }));
    }

    /// Asks whether the caller is still who they were. `hold`: nothing is said to them meanwhile.
    fn ask_who(&mut self, hold: bool) {
        if hold {
            self.held.get_or_insert_default();
        }
        if let Some(again) = &mut self.asking_who {
            *again = true;
            return;
        }
        self.asking_who = Some(false);
        // Many sockets hear of a change at the same time.
        let jitter = if hold { 0.0 } else { rand::random::<f64>() };
        let (directory, credentials) = (&self.shared.directory, self.credentials.clone());
        self.questions.push(Box::pin(async move {
            sleep(SETTLE_TIME + Duration::from_secs_f64(jitter)).await;
            Answer::Caller(directory.identify(&credentials).await)
        }));
    }

    fn answered(&mut self, answer: Answer) -> Result<(), End> {
        match answer {
            Answer::Caller(Err(Refusal::Refused)) => Err(End::Unauthorized),
            Answer::Caller(Err(Refusal::Unknown)) => Err(End::Restart),
            Answer::Caller(Ok(identity)) => {
                if self.asking_who.take() == Some(true) {
                    self.ask_who(self.held.is_some());
                    return Ok(());
                }
                if !identity.is_same(&self.identity) {
                    self.identity = identity;
                    let all: Vec<String> = self.subscriptions.keys().cloned().collect();
                    all.iter().for_each(|identifier| self.check(identifier));
                    all.iter().try_for_each(|identifier| self.look_at_board_again(identifier))?;
                }
                self.held.take().into_iter().flatten().try_for_each(|event| self.happened(event))
            }
            Answer::Subscription(identifier, number, answer) => self.checked(&identifier, number, answer),
        }
    }

    /// The caller is not who they were: their board may have the tasks of others now, and they read it anew.
    fn look_at_board_again(&mut self, identifier: &str) -> Result<(), End> {
        let channel = self.subscriptions.get(identifier).map(|subscription| subscription.channel);
        let Some(board) = channel.and_then(|channel| self.board(channel)) else { return Ok(()) };
        let Some(subscription) = self.subscriptions.get_mut(identifier) else { return Ok(()) };
        if subscription.board.replace(board) == subscription.board || !subscription.confirmed {
            return Ok(());
        }
        self.outbox.say(&Said::Message { identifier, message: json!({"event": "resync"}) })
    }

    fn checked(&mut self, identifier: &str, number: u64, answer: Result<(), Refusal>) -> Result<(), End> {
        // The client may have unsubscribed meanwhile.
        let Some(subscription) = self.subscriptions.get_mut(identifier) else { return Ok(()) };
        let Some(check) = subscription.check.as_mut().filter(|check| check.number == number) else { return Ok(()) };
        if std::mem::take(&mut check.again) {
            let channel = subscription.channel;
            self.ask_about(identifier.to_owned(), number, channel, false);
            return Ok(());
        }
        let held = std::mem::take(&mut check.held);
        subscription.check = None;
        match answer {
            Ok(()) => {
                if !subscription.confirmed {
                    subscription.confirmed = true;
                    self.outbox.say(&Said::confirm(identifier))?;
                }
                held.iter().try_for_each(|event| self.tell(identifier, event))
            }
            Err(Refusal::Refused) => {
                self.subscriptions.remove(identifier);
                self.outbox.say(&Said::reject(identifier))
            }
            Err(Refusal::Unknown) if subscription.confirmed => Err(End::Restart),
            // The client asks again by itself.
            Err(Refusal::Unknown) => {
                self.subscriptions.remove(identifier);
                Ok(())
            }
        }
    }

    /// Something happened in the account.
    fn happened(&mut self, event: Arc<Envelope>) -> Result<(), End> {
        if let Some(held) = &mut self.held {
            if held.len() >= HELD {
                return Err(End::Restart);
            }
            // Another change of what the caller may while we ask about the first: ask again.
            match AccessChange::of(&event, self.identity.principal()) {
                Some(_) => self.ask_who(true),
                None => held.push(event),
            }
            return Ok(());
        }
        if let Some(change) = AccessChange::of(&event, self.identity.principal()) {
            // The status and settings of the account may shut everybody out; what others become does not.
            self.ask_who(change == AccessChange::Own || event.r#type.starts_with("account."));
            return Ok(());
        }
        let concerned: Vec<String> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.message(&event, self.identity.user_id()).is_some())
            .map(|(identifier, _)| identifier.clone())
            .collect();
        for identifier in concerned {
            self.concerns(&identifier, &event)?;
        }
        Ok(())
    }

    /// Something happened that a subscription is about.
    fn concerns(&mut self, identifier: &str, event: &Arc<Envelope>) -> Result<(), End> {
        let Some(subscription) = self.subscriptions.get(identifier) else { return Ok(()) };
        if subscription.channel.access_may_change(event) {
            self.check(identifier);
        }
        let Some(subscription) = self.subscriptions.get_mut(identifier) else { return Ok(()) };
        if let Some(check) = &mut subscription.check {
            if check.held.len() >= HELD {
                return Err(End::Restart);
            }
            check.held.push(Arc::clone(event));
            return Ok(());
        }
        self.tell(identifier, event)
    }

    /// Pushes an event to a subscriber who may see it.
    fn tell(&mut self, identifier: &str, event: &Envelope) -> Result<(), End> {
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
        span.in_scope(|| self.outbox.say(&Said::Message { identifier, message }))?;
        if ends {
            self.subscriptions.remove(identifier);
            self.outbox.say(&Said::reject(identifier))?;
        }
        Ok(())
    }

    /// Something happened to the caller, in no account: to their sessions, their second factor, or themselves.
    fn happened_to_caller(&mut self, event: &Envelope) -> Result<(), End> {
        match AccessChange::of(event, self.identity.principal()) {
            Some(AccessChange::SessionClosed) => return Err(End::Unauthorized),
            Some(AccessChange::Own) => self.ask_who(true),
            Some(AccessChange::Account) | None => {}
        }
        Ok(())
    }
}
