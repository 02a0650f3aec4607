//! Live updates: who receives which committed events, over every transport.
//!
//! ```text
//! Redis streams ─▶ tail ─▶ account ─▶ topics of the event ─▶ followers ─▶ queue of each subscriber ─▶ transport
//! ```
//!
//! An event concerns a few topics: a task, a board, a person's notifications. The subscribers of a topic are looked up;
//! nobody else is touched. A message is encoded once per topic, format and identifier, and all share the bytes.
//!
//! The gateway decides itself who receives what, by the same rules as the services (`baton_access`): an event of a task
//! says who sees the task after it, and the account's hierarchy is read once per gateway and again after each event that
//! may change it. Events wait for that. A service is asked about a task that no recent event was
//! about, and its answer holds for all who follow the task then.

mod account;
mod authorizer;
mod ephemeral;
mod event;
mod joined;
mod message;
mod people;
mod position;
mod presence;
mod stream;
mod subscriber;
mod topic;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use baton_catalog::{AccessEffect, EventType};
use baton_events::{PARTITIONS, Streams, partition, tail};
use baton_proto::baton::{events::v1::Envelope, notification::v1::PublishConversationUpdatesRequest};
use baton_runtime::{
    Clock, Shutdown, random,
    shares::{Share, Shares},
};
use tokio::{
    sync::mpsc,
    time::{Instant, interval, sleep},
};
use uuid::Uuid;

pub(crate) use self::{
    account::Since,
    authorizer::{AccessError, Credentials, Identified, Identity, NOTIFICATIONS, WATCH},
    joined::Joined,
    message::{Encoded, Format},
    position::Position,
    stream::ChannelStream,
    subscriber::{End, Item, Subscriber},
    topic::{Channel, Parameters},
};
use self::{
    account::{Account, StreamState},
    presence::{Presence, Signal},
    topic::Topic,
};
use crate::{config::Config, rate_limit::Limiter, upstream::Upstream};

/// How long events are kept for subscribers who continue.
const HISTORY: Duration = Duration::from_secs(600);
/// Events that all accounts together keep, about 1 KiB each.
const MAX_EVENTS: usize = 200_000;
/// Events that an account may keep although there are too many.
const MIN_SHARE: usize = 100;
/// How often old events are dropped.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How often each hierarchy is read without an event, since events may be lost. In sweeps.
const SWEEPS_PER_CHECK: u64 = 30;
/// How long a closed session, or a person whose access has changed, is remembered. Longer than it takes to connect.
const RECENT: Duration = Duration::from_secs(10);
/// Concurrent access checks of one person.
const MAX_LOOK_UPS_PER_PERSON: u32 = 8;
/// How long an access check waits for those of the same person.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// The services that authenticate and authorize subscribers.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams {
    /// `baton.auth.v1`.
    pub(crate) auth: Upstream,
    /// `baton.tenancy.v1`.
    pub(crate) tenancy: Upstream,
    /// `baton.task.v1`.
    pub(crate) task: Upstream,
}

/// All subscribers of this gateway. Clones share them.
#[derive(Clone)]
pub(crate) struct Live(Arc<Inner>);

struct Inner {
    authorizer: authorizer::Authorizer,
    limiter: Limiter,
    clock: Clock,
    streams: Vec<Stream>,
    accounts: Mutex<HashMap<Uuid, Arc<Account>>>,
    /// By user, and by API key.
    people: Mutex<HashMap<Uuid, Vec<Weak<Subscriber>>>>,
    /// Sessions that were closed, and users and keys whose access has changed, in the last seconds.
    recent: Mutex<HashMap<Uuid, (Instant, PersonChange)>>,
    look_ups: Arc<Shares<Uuid>>,
    presence: Presence,
    /// Events that all accounts keep.
    events: AtomicUsize,
    next_id: AtomicU64,
}

/// A stream of the tail.
#[derive(Default)]
struct Stream {
    /// 0 until the stream is read.
    epoch: AtomicU64,
    offset: AtomicU64,
    floor: AtomicU64,
    /// Whether the history has been read, so that nothing old is taken for news.
    is_ready: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PersonChange {
    SessionClosed,
    Access,
}

impl Live {
    /// Starts to deliver the events of `streams` to subscribers whom `upstreams` authorize.
    ///
    /// # Errors
    /// If an RPC of the contract has no access rule.
    pub(crate) fn start(
        upstreams: Upstreams,
        config: &Config,
        limiter: Limiter,
        streams: &Streams,
        shutdown: &Shutdown,
    ) -> Result<Self> {
        let clock = Clock::system();
        let presence = Presence::new(streams.clone(), clock.clone());
        let items = tail::start(streams, &clock, shutdown, HISTORY);
        let live = Self(Arc::new(Inner {
            authorizer: authorizer::Authorizer::new(upstreams, &config.issuer, config.service_secret.clone())?,
            limiter,
            clock,
            streams: (0..PARTITIONS).map(|_| Stream::default()).collect(),
            accounts: Mutex::default(),
            people: Mutex::default(),
            recent: Mutex::default(),
            look_ups: Shares::new(MAX_LOOK_UPS_PER_PERSON),
            presence: presence.clone(),
            events: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
        }));
        tokio::spawn(live.clone().run(items));
        tokio::spawn(live.clone().sweep(shutdown.clone()));
        tokio::spawn(presence.clone().refresh_always(live.clone(), shutdown.clone()));
        tokio::spawn(presence.listen(live.clone(), shutdown.clone()));
        tokio::spawn(ephemeral::deliver_conversations(live.clone(), streams.clone(), shutdown.clone()));
        Ok(live)
    }

    /// Delivers events until the tail ends.
    async fn run(self, mut items: mpsc::Receiver<tail::Item>) {
        while let Some(item) = items.recv().await {
            match item {
                tail::Item::Start { partition, epoch, floor } => self.restart(partition, epoch, floor),
                tail::Item::Event { partition, offset, event } => {
                    let is_recent = offset > tail::offset_at(self.0.clock.now() - RECENT);
                    self.publish(offset, *event);
                    self.advance(partition, offset, is_recent);
                }
                tail::Item::Idle { partition, offset } => self.advance(partition, offset, true),
            }
        }
        let accounts: Vec<_> = self.accounts().values().cloned().collect();
        accounts.iter().for_each(|account| account.end_all(End::Restart));
    }

    fn publish(&self, offset: u64, envelope: Envelope) {
        let effect = EventType::of(&envelope).map(EventType::access_effect);
        let Ok(account_id) = envelope.account_id.parse() else {
            return self.person_changed(&envelope, effect);
        };
        match effect {
            Some(AccessEffect::None | AccessEffect::Task) => {
                let (Some(event), Some(stream)) = (event::LiveEvent::decode(offset, envelope), self.stream(account_id))
                else {
                    return;
                };
                let (account, share) = self.account_and_share(account_id);
                let change = account.publish(self, event, stream, share);
                self.count_events(change);
            }
            // An event of a type that this version does not know may mean any change.
            _ => {
                let account = self.accounts().get(&account_id).cloned();
                if let Some(account) = account {
                    account.access_changed(self);
                }
            }
        }
    }

    /// Delivers updates of a conversation to its owner, if they follow it.
    fn publish_updates(&self, request: PublishConversationUpdatesRequest) {
        let Some((account_id, updates)) = ephemeral::Updates::parse(request) else { return };
        let account = self.accounts().get(&account_id).cloned();
        if let (Some(account), Some(stream)) = (account, self.stream(account_id)) {
            account.publish_updates(updates, stream);
        }
    }

    /// Tells all who follow conversations to read them again, because updates may have been missed.
    fn resync_conversations(&self) {
        let accounts: Vec<_> = self.accounts().values().cloned().collect();
        for account in accounts {
            if let Some(stream) = self.stream(account.id) {
                account.resync_conversations(stream);
            }
        }
    }

    /// Authenticates a subscriber who may call this RPC. If their session was closed a moment ago, [`Live::join`] ends them.
    pub(crate) async fn identify(&self, credentials: &Credentials, rpc: &str) -> Result<Identified, AccessError> {
        self.0.authorizer.identify(credentials, rpc).await
    }

    /// Adds a subscriber, until the result is dropped; `None` if events cannot be delivered at present.
    pub(crate) fn join(&self, identified: Identified, credentials: Credentials, format: Format) -> Option<Joined> {
        let Identified { identity, role, .. } = identified;
        self.stream(identity.account_id).filter(|_| self.is_ready(identity.account_id))?;
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let subscriber = Arc::new(Subscriber::new(id, identity, credentials, format));
        {
            let mut people = lock(&self.0.people);
            for id in [Some(identity.user_id), identity.key_id].into_iter().flatten() {
                people.entry(id).or_insert_with(|| Vec::with_capacity(1)).push(Arc::downgrade(&subscriber));
            }
        }
        self.account(identity.account_id).join(self, &subscriber, role);
        // The credentials may have been checked just before they changed, and the event may have come before `people`
        // knew the subscriber.
        let recent = {
            let recent = lock(&self.0.recent);
            let ids = [Some(identity.session_id), Some(identity.user_id), identity.key_id];
            ids.into_iter().flatten().find_map(|id| recent.get(&id).copied())
        };
        match recent {
            Some((_, PersonChange::SessionClosed)) => subscriber.end(End::SessionClosed),
            Some((_, PersonChange::Access)) => self.recheck(vec![Arc::clone(&subscriber)]),
            None => {}
        }
        Some(Joined { live: self.clone(), subscriber })
    }

    fn leave(&self, subscriber: &Arc<Subscriber>) {
        let account = self.accounts().get(&subscriber.identity.account_id).cloned();
        if let Some(account) = account {
            account.leave(subscriber);
        }
        let mut people = lock(&self.0.people);
        for id in [Some(subscriber.identity.user_id), subscriber.identity.key_id].into_iter().flatten() {
            if let Some(subscribers) = people.get_mut(&id) {
                subscribers.retain(|it| it.strong_count() > 0 && !std::ptr::eq(it.as_ptr(), Arc::as_ptr(subscriber)));
                if subscribers.is_empty() {
                    people.remove(&id);
                }
            }
        }
    }

    /// Why a subscriber who was ended may not go on; `None` if they may.
    async fn refusal(&self, credentials: &Credentials) -> Option<AccessError> {
        self.authorizer().identify_again(credentials).await.err()
    }

    /// The current position of the account: everything that was committed before has at most this position. `None`
    /// while it is not known.
    pub(crate) fn position(&self, account_id: Uuid) -> Option<Position> {
        Some(self.stream(account_id).filter(|_| self.is_ready(account_id))?.position)
    }

    /// Who is present on this gateway.
    fn present(&self) -> Vec<presence::Present> {
        let accounts: Vec<_> = self.accounts().values().cloned().collect();
        accounts.iter().flat_map(|account| account.present()).collect()
    }

    /// Tells those who are present that somebody came, went, or types.
    fn signal(&self, account_id: Uuid, topic: Topic, signal: Signal, user_id: Uuid) {
        let account = self.accounts().get(&account_id).cloned();
        if let Some(account) = account {
            account.signal(topic, signal, user_id);
        }
    }

    fn authorizer(&self) -> &authorizer::Authorizer {
        &self.0.authorizer
    }

    /// The state of the account's stream; `None` until it is read.
    fn stream(&self, account_id: Uuid) -> Option<StreamState> {
        let stream = self.0.streams.get(usize::from(partition(account_id)))?;
        let epoch = Some(stream.epoch.load(Ordering::Acquire)).filter(|&epoch| epoch > 0)?;
        let offset = stream.offset.load(Ordering::Acquire);
        let now = self.0.clock.now();
        let oldest = tail::offset_at(now - HISTORY);
        let now = tail::offset_at(now + Duration::from_secs(60));
        let floor = stream.floor.load(Ordering::Acquire).max(oldest.min(offset));
        Some(StreamState { position: Position { epoch, offset }, floor, now })
    }

    fn advance(&self, partition: u16, offset: u64, is_ready: bool) {
        if let Some(stream) = self.0.streams.get(usize::from(partition)) {
            stream.offset.fetch_max(offset, Ordering::Release);
            stream.is_ready.fetch_or(is_ready, Ordering::Release);
        }
    }

    /// Whether the account's stream is read up to the present.
    fn is_ready(&self, account_id: Uuid) -> bool {
        let stream = self.0.streams.get(usize::from(partition(account_id)));
        stream.is_some_and(|stream| stream.is_ready.load(Ordering::Acquire))
    }

    /// The stream begins, or begins anew because it has lost events.
    fn restart(&self, number: u16, epoch: u64, floor: u64) {
        let Some(stream) = self.0.streams.get(usize::from(number)) else { return };
        stream.offset.store(floor, Ordering::Release);
        stream.floor.store(floor, Ordering::Release);
        if stream.epoch.swap(epoch, Ordering::AcqRel) == 0 {
            return;
        }
        tracing::warn!(partition = number, "the event stream was replaced; subscribers read the state again");
        let accounts: Vec<_> = self.accounts().values().filter(|it| partition(it.id) == number).cloned().collect();
        for account in accounts {
            if let Some(stream) = self.stream(account.id) {
                self.count_events(account.restart(self, stream));
            }
        }
    }

    /// Drops what is old, and reads hierarchies again, until the process stops.
    async fn sweep(self, shutdown: Shutdown) {
        let mut ticks = interval(SWEEP_INTERVAL);
        for sweep in 0.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.stop().cancelled() => return,
            }
            lock(&self.0.recent).retain(|_, (at, _)| at.elapsed() < RECENT);
            let accounts: Vec<_> = self.accounts().values().cloned().collect();
            for account in &accounts {
                let Some(stream) = self.stream(account.id) else { continue };
                let (is_unused, change) = account.sweep(stream.floor);
                self.count_events(change);
                if is_unused {
                    let mut accounts = self.accounts();
                    // Nobody else has it, so nobody joins it meanwhile.
                    let is_unused = |it: &Arc<Account>| Arc::strong_count(it) == 2 && it.sweep(stream.floor).0;
                    if accounts.get(&account.id).is_some_and(is_unused) {
                        accounts.remove(&account.id);
                    }
                } else if (account.id.as_u128() as u64).wrapping_add(sweep).is_multiple_of(SWEEPS_PER_CHECK) {
                    let (account, live) = (Arc::clone(account), self.clone());
                    tokio::spawn(async move {
                        sleep(SWEEP_INTERVAL.mul_f64(random::fraction())).await;
                        account.check_hierarchy(&live).await;
                    });
                }
            }
        }
    }

    /// Waits for the permission to ask a service for this person.
    async fn look_up_share(&self, user_id: Uuid) -> Option<Share<Uuid>> {
        self.0.look_ups.take(&user_id, LOOK_UP_TIMEOUT).await
    }

    /// Counts a look-up as a request of the subscriber; `false` if the quota is used up.
    async fn count_look_up(&self, subscriber: &Subscriber) -> bool {
        let caller = self.0.limiter.caller(WATCH, &subscriber.credentials().headers(), None, None).await;
        self.0.limiter.count(WATCH, &caller).await.is_none_or(|verdict| verdict.check().is_ok())
    }

    /// The account, and how many events it may keep: fewer when all accounts together keep too many.
    fn account_and_share(&self, id: Uuid) -> (Arc<Account>, usize) {
        let account = self.account(id);
        let kept = self.0.events.load(Ordering::Relaxed);
        let share = if kept < MAX_EVENTS { MAX_EVENTS } else { MAX_EVENTS / self.accounts().len().max(1) };
        (account, share.max(MIN_SHARE))
    }

    fn count_events(&self, change: isize) {
        // The value is the sum of all changes, so it does not become negative.
        self.0.events.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
    }

    fn account(&self, id: Uuid) -> Arc<Account> {
        Arc::clone(self.accounts().entry(id).or_insert_with(|| Arc::new(Account::new(id))))
    }

    fn accounts(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<Account>>> {
        lock(&self.0.accounts)
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // No code under these locks can panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
