//! A subscriber, as a transport holds it.

use std::sync::Arc;

use baton_errors::Reason;
use uuid::Uuid;

use super::{
    AccessError, Channel, Credentials, End, Live, Position, Since, Subscriber,
    account::Request,
    presence::{Present, Signal},
};

/// A subscriber who has joined, until this is dropped.
pub(crate) struct Joined {
    pub(super) live: Live,
    pub(super) subscriber: Arc<Subscriber>,
}

impl Joined {
    /// Subscribes to a channel. The subscriber receives the confirmation or the refusal.
    pub(crate) fn subscribe(&self, identifier: Arc<str>, channel: Channel, since: Option<Since>) {
        let request = Request { subscriber: Arc::clone(&self.subscriber), identifier, channel, since };
        self.live.account(self.identity.account_id).subscribe(&self.live, request);
    }

    /// Lets others see that the person is here, and them see the others. `false` if the person does not follow the channel,
    /// or does not want to be seen.
    pub(crate) async fn join_presence(&self, identifier: &str) -> bool {
        let is_within_quota = self.live.count_look_up(&self.subscriber).await;
        if !is_within_quota || !self.live.authorizer().may_be_seen(&self.credentials()).await {
            return false;
        }
        let account = self.live.account(self.identity.account_id);
        let Some((topic, _)) = account.set_present(&self.subscriber, identifier, true) else { return false };
        let present = Present { account_id: self.identity.account_id, topic, people: vec![self.identity.user_id] };
        // Without Redis, the next refresh says it.
        let _ = self.live.0.presence.refresh(&[present]).await;
        true
    }

    /// Ends what [`Joined::join_presence`] began.
    pub(crate) async fn leave_presence(&self, identifier: &str) {
        let account = self.live.account(self.identity.account_id);
        let left = account.set_present(&self.subscriber, identifier, false);
        if let Some((topic, false)) = left {
            // Without Redis, presence ends by itself.
            let _ = self.live.0.presence.leave(account.id, topic, self.identity.user_id).await;
        }
    }

    /// The people who are at the channel, at most a hundred; `None` if the person does not follow it.
    pub(crate) async fn list_present(&self, identifier: &str) -> Option<Vec<Uuid>> {
        let topic = self.topic_of(identifier)?;
        self.live.0.presence.list(self.identity.account_id, topic).await.ok()
    }

    /// Tells those who are present that the person types.
    pub(crate) async fn tell_typing(&self, identifier: &str) {
        if let Some(topic) = self.topic_of(identifier) {
            let (account_id, user_id) = (self.identity.account_id, self.identity.user_id);
            let _ = self.live.0.presence.tell(account_id, topic, Signal::Typing, user_id).await;
        }
    }

    /// The position up to which this subscriber has received, or has been queued, everything.
    pub(crate) fn position(&self) -> Option<Position> {
        let stream = self.live.stream(self.identity.account_id)?;
        Some(self.live.account(self.identity.account_id).position(stream))
    }

    /// Waits until the subscriber, who has no subscriptions, may receive nothing more.
    pub(crate) async fn ended(&self) -> End {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }

    /// Why the subscriber has ended.
    pub(crate) async fn reason(&self, end: End) -> Reason {
        match end {
            End::SessionClosed => Reason::SessionClosed,
            // The services know why. A membership that is remembered for a second may say that they may.
            End::Unauthorized => self.live.refusal(&self.credentials()).await.map_or(Reason::NotAMember, Reason::from),
            End::Restart | End::TooSlow => Reason::Unavailable,
        }
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&self, identifier: &str) {
        self.live.account(self.identity.account_id).unsubscribe(&self.subscriber, identifier);
    }

    /// Replaces the credentials by newer ones of the same person, account and session.
    ///
    /// # Errors
    /// If they are others', or not valid.
    pub(crate) async fn renew(&self, credentials: Credentials) -> Result<(), AccessError> {
        let credentials = credentials.in_account(self.identity.account_id);
        if self.live.authorizer().identify_again(&credentials).await?.identity != self.identity {
            return Err(AccessError::Denied(Reason::TokenInvalid));
        }
        self.subscriber.renew(credentials);
        Ok(())
    }
}

impl std::ops::Deref for Joined {
    type Target = Subscriber;

    fn deref(&self) -> &Subscriber {
        &self.subscriber
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.live.leave(&self.subscriber);
    }
}
