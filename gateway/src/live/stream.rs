//! One channel for one caller, over server-sent events, long polling or gRPC.

use std::{collections::VecDeque, time::Duration};

use baton_errors::Reason;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Channel, Credentials, Encoded, Format, Item, Joined, Live, NOTIFICATIONS, Position, Since, WATCH};

/// How long a stream waits for the answer whether it may follow its channel.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);

/// A channel that the caller may follow.
pub(crate) struct ChannelStream {
    joined: Joined,
    channel: Channel,
    /// The position of the confirmation.
    pub(crate) position: Position,
    waiting: VecDeque<Encoded>,
    /// Why it ends after what is waiting.
    end: Option<Reason>,
    /// The expiry of the token.
    expires: Option<Instant>,
}

impl ChannelStream {
    /// Opens the channel that `channel` chooses for the caller.
    ///
    /// # Errors
    /// Why the caller may not follow it, POSITION_GONE, and UNAVAILABLE.
    pub(crate) async fn open(
        live: &Live,
        credentials: Credentials,
        format: Format,
        channel: impl FnOnce(uuid::Uuid) -> Result<Channel, Reason>,
        since: Option<Since>,
    ) -> Result<Self, Reason> {
        let identified = live.identify(&credentials, WATCH).await.map_err(Reason::from)?;
        let identity = identified.identity;
        let channel = channel(identity.user_id)?;
        if matches!(channel, Channel::Conversation(_)) && identity.key_id.is_some() {
            return Err(Reason::SessionRequired);
        }
        if channel == Channel::Notifications {
            live.identify(&credentials, NOTIFICATIONS).await.map_err(Reason::from)?;
        }
        let credentials = credentials.in_account(identity.account_id);
        let expires = identified.expires();
        let joined = live.join(identified, credentials, format).ok_or(Reason::Unavailable)?;
        joined.subscribe("".into(), channel, since.filter(|_| channel.has_history()));
        let position = Position { epoch: 0, offset: 0 };
        let mut stream = Self { joined, channel, position, waiting: VecDeque::new(), end: None, expires };
        stream.position = timeout(CONFIRM_TIMEOUT, stream.confirmed()).await.unwrap_or(Err(Reason::Unavailable))?;
        Ok(stream)
    }

    /// Waits until the subscription is confirmed.
    async fn confirmed(&mut self) -> Result<Position, Reason> {
        let mut confirmed = None;
        loop {
            let items = match self.joined.next().await {
                Ok(items) => items,
                Err(end) => return Err(self.joined.reason(end).await),
            };
            for item in items {
                match item {
                    Item::Confirmed { history: Some(false), .. } => return Err(Reason::PositionGone),
                    Item::Confirmed { position, .. } => confirmed = Some(position),
                    Item::Rejected(_) => return Err(self.rejection()),
                    Item::Message(message) => self.waiting.push_back(message),
                    Item::Replayed(_) => {}
                }
            }
            match confirmed {
                Some(position) => return Ok(position),
                // The service that knows the answer could not be asked.
                None if self.joined.checks() == 0 && !self.joined.has_subscriptions() => {
                    return Err(Reason::Unavailable);
                }
                None => {}
            }
        }
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// Why the stream ends.
    pub(crate) async fn next(&mut self) -> Result<Encoded, Reason> {
        loop {
            if let Some(end) = self.joined.forbidden() {
                return Err(self.joined.reason(end).await);
            }
            if self.expires.is_some_and(|at| at <= Instant::now()) {
                return Err(Reason::TokenInvalid);
            }
            if let Some(message) = self.waiting.pop_front() {
                return Ok(message);
            }
            if let Some(reason) = self.end {
                return Err(reason);
            }
            let expiry = async {
                match self.expires {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let items = tokio::select! {
                items = self.joined.next() => items,
                () = expiry => return Err(Reason::TokenInvalid),
            };
            let items = match items {
                Ok(items) => items,
                Err(end) => return Err(self.joined.reason(end).await),
            };
            for item in items {
                match item {
                    Item::Message(message) => self.waiting.push_back(message),
                    Item::Rejected(_) => self.end = Some(self.rejection()),
                    Item::Confirmed { .. } | Item::Replayed(_) => {}
                }
            }
        }
    }

    /// Messages that have arrived.
    pub(crate) fn take_waiting(&mut self) -> VecDeque<Encoded> {
        std::mem::take(&mut self.waiting)
    }

    /// The position after which nothing has been delivered yet. To be read before the messages are taken.
    pub(crate) fn current_position(&self) -> Option<Position> {
        self.joined.position()
    }

    fn rejection(&self) -> Reason {
        match self.channel {
            Channel::Task(_) => Reason::TaskNotFound,
            Channel::Board(_) | Channel::Notifications | Channel::Conversation(_) => Reason::BoardNotFound,
        }
    }
}
