//! Who is on a task or a board at present, and who types: for those who have joined, in Redis for all gateways.
//!
//! A person is present while a socket of theirs that has joined the channel is open on some gateway. Each gateway says so
//! again every few seconds, and what is not said again ends: with the last socket as well as with its gateway. Nothing is
//! stored for longer than that.

use std::{sync::LazyLock, time::Duration};

use baton_events::Streams;
use baton_runtime::{Clock, Shutdown};
use redis::Script;
use tokio::time::interval;
use uuid::Uuid;

use super::{Live, ephemeral, topic::Topic};

/// Presence ends this long after it was last said.
const TTL: Duration = Duration::from_secs(15);
/// How often a gateway says who is present.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// People that a list names, at most.
pub(super) const MAX_LISTED: usize = 100;
/// Topics of one round trip.
const BATCH: usize = 200;
/// The channel on which gateways tell each other who came, went and types.
const CHANNEL: &str = "baton:live:signals";

/// Removes who is no longer present and says that others are; tells all gateways about those who came and went. KEYS: the
/// topic's set of people by their end. ARGV: the time, the new end, the channel, the topic, then the people.
static REFRESH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
for _, user in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])) do
  redis.call('ZREM', KEYS[1], user)
  redis.call('PUBLISH', ARGV[3], ARGV[4] .. ' left ' .. user)
end
for n = 5, #ARGV do
  if redis.call('ZADD', KEYS[1], ARGV[2], ARGV[n]) == 1 then
    redis.call('PUBLISH', ARGV[3], ARGV[4] .. ' joined ' .. ARGV[n])
  end
end
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
",
    )
});

/// What gateways tell each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Joined,
    Left,
    Typing,
}

impl Signal {
    const ALL: [(Self, &'static str); 3] = [(Self::Joined, "joined"), (Self::Left, "left"), (Self::Typing, "typing")];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(signal, _)| *signal == self).map_or("", |(_, name)| name)
    }
}

/// The store of presence.
#[derive(Clone)]
pub(super) struct Presence {
    streams: Streams,
    clock: Clock,
}

/// People who are present at a topic.
pub(super) struct Present {
    pub(super) account_id: Uuid,
    pub(super) topic: Topic,
    pub(super) people: Vec<Uuid>,
}

impl Presence {
    pub(super) fn new(streams: Streams, clock: Clock) -> Self {
        Self { streams, clock }
    }

    /// Says that these people are present.
    pub(super) async fn refresh(&self, all: &[Present]) -> redis::RedisResult<()> {
        for batch in all.chunks(BATCH) {
            let mut pipeline = redis::pipe();
            for Present { account_id, topic, people } in batch {
                let now = self.clock.now().timestamp_millis();
                let mut call = REFRESH.key(key(*account_id, *topic));
                call.arg(now).arg(now + TTL.as_millis() as i64).arg(CHANNEL).arg(place(*account_id, *topic));
                people.iter().for_each(|id| {
                    call.arg(id.to_string());
                });
                pipeline.invoke_script(&call).ignore();
            }
            let mut connection = self.streams.connection();
            // A server that was restarted does not have the script.
            let () = match pipeline.query_async(&mut connection).await {
                Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
                    let () = pipeline_load(&mut connection).await?;
                    pipeline.query_async(&mut connection).await?
                }
                result => result?,
            };
        }
        Ok(())
    }

    /// Says that a person has left before their sockets were closed.
    pub(super) async fn leave(&self, account_id: Uuid, topic: Topic, user_id: Uuid) -> redis::RedisResult<()> {
        let mut connection = self.streams.connection();
        let removed: bool = redis::cmd("ZREM")
            .arg(key(account_id, topic))
            .arg(user_id.to_string())
            .query_async(&mut connection)
            .await?;
        if removed { self.tell(account_id, topic, Signal::Left, user_id).await } else { Ok(()) }
    }

    /// The people who are present, those first whose presence was said last.
    pub(super) async fn list(&self, account_id: Uuid, topic: Topic) -> redis::RedisResult<Vec<Uuid>> {
        let ids: Vec<String> = redis::cmd("ZRANGE")
            .arg(key(account_id, topic))
            .arg("+inf")
            .arg(self.clock.now().timestamp_millis())
            .arg("BYSCORE")
            .arg("REV")
            .arg("LIMIT")
            .arg(0)
            .arg(MAX_LISTED)
            .query_async(&mut self.streams.connection())
            .await?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Tells all gateways.
    pub(super) async fn tell(
        &self,
        account_id: Uuid,
        topic: Topic,
        signal: Signal,
        user_id: Uuid,
    ) -> redis::RedisResult<()> {
        let text = format!("{} {} {user_id}", place(account_id, topic), signal.name());
        self.streams.publish_ephemeral(CHANNEL, text.as_bytes()).await
    }

    /// Says who is present on this gateway, until the process stops.
    pub(super) async fn refresh_always(self, live: Live, shutdown: Shutdown) {
        let mut ticks = interval(REFRESH_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.stop().cancelled() => return,
            }
            if let Err(error) = self.refresh(&live.present()).await {
                tracing::warn!(%error, "cannot say who is present");
            }
        }
    }

    /// Passes on what other gateways tell, until the process stops.
    pub(super) async fn listen(self, live: Live, shutdown: Shutdown) {
        let pass_on = |signal: &[u8]| {
            if let Some((account_id, topic, signal, user_id)) = str::from_utf8(signal).ok().and_then(parse) {
                live.signal(account_id, topic, signal, user_id);
            }
        };
        ephemeral::listen(&self.streams, CHANNEL, &shutdown, || {}, pass_on).await;
    }
}

async fn pipeline_load(connection: &mut redis::aio::ConnectionManager) -> redis::RedisResult<()> {
    REFRESH.load_async(connection).await.map(drop)
}

fn key(account_id: Uuid, topic: Topic) -> String {
    format!("baton:presence:{account_id}:{topic}")
}

fn place(account_id: Uuid, topic: Topic) -> String {
    format!("{account_id} {topic}")
}

fn parse(text: &str) -> Option<(Uuid, Topic, Signal, Uuid)> {
    let mut words = text.split(' ');
    let (account, topic, name, user) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let (signal, _) = Signal::ALL.into_iter().find(|(_, known)| *known == name)?;
    Some((account.parse().ok()?, Topic::parse(topic)?, signal, user.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use baton_access::Board;

    use super::*;

    #[test]
    fn signals_are_parsed_as_they_are_told() {
        let (account, user) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for topic in [
            Topic::Task(user),
            Topic::Board(Board::Of(user)),
            Topic::Board(Board::Team(user)),
            Topic::Board(Board::Account),
        ] {
            for (signal, name) in Signal::ALL {
                let text = format!("{} {name} {user}", place(account, topic));
                assert_eq!(parse(&text), Some((account, topic, signal, user)));
            }
        }
        for bad in ["", "a b joined c", "nothing at all here"] {
            assert_eq!(parse(bad), None);
        }
    }
}
