//! What subscribers follow, and the channels that lead there.

use std::fmt;

use baton_access::{Board, BoardName, Hierarchy};
use serde::Deserialize;
use uuid::Uuid;

/// The subject of messages. Everybody who follows it gets the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// A task.
    Task(Uuid),
    /// A board.
    Board(Board),
    /// A person's notifications.
    Notifications(Uuid),
    /// A conversation with the assistant, as its owner sees it. Nobody else's updates have this topic, so nobody has to
    /// be asked who the owner is.
    Conversation { owner: Uuid, id: Uuid },
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(id) => write!(f, "task-{id}"),
            Self::Board(Board::Of(id)) => write!(f, "board-{id}"),
            Self::Board(Board::Team(id)) => write!(f, "board-team-{id}"),
            Self::Board(Board::Account) => write!(f, "board-account"),
            Self::Notifications(id) => write!(f, "notifications-{id}"),
            Self::Conversation { id, .. } => write!(f, "conversation-{id}"),
        }
    }
}

impl Topic {
    /// Parses what `Display` writes for the topics that people can be present at.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let id = |prefix: &str| text.strip_prefix(prefix)?.parse().ok();
        if text == "board-account" {
            return Some(Self::Board(Board::Account));
        }
        None.or_else(|| id("task-").map(Self::Task))
            .or_else(|| id("board-team-").map(|lead| Self::Board(Board::Team(lead))))
            .or_else(|| id("board-").map(|person| Self::Board(Board::Of(person))))
    }

    /// Whether people can see each other there.
    pub(super) fn has_presence(self) -> bool {
        matches!(self, Self::Task(_) | Self::Board(_))
    }

    /// Whether its messages are kept for those who continue. A conversation's are not: they are text.
    pub(super) fn has_history(self) -> bool {
        !matches!(self, Self::Conversation { .. })
    }
}

/// A channel with its parameters, relative to a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// The subscriber's notifications.
    Notifications,
    /// A task.
    Task(Uuid),
    /// A board.
    Board(BoardName),
    /// A conversation of the subscriber with the assistant.
    Conversation(Uuid),
}

/// A channel's name, and how its parameters are read. A new channel is a row here and a [`Topic`].
type Row = (&'static str, fn(&Parameters, Uuid) -> Option<Channel>);

const CHANNELS: [Row; 4] = [
    ("NotificationChannel", |parameters, caller| match &parameters.user_id {
        None => Some(Channel::Notifications),
        Some(user_id) => (user_id.parse() == Ok(caller)).then_some(Channel::Notifications),
    }),
    ("TaskChannel", |parameters, _| Some(Channel::Task(parameters.task_id.as_ref()?.parse().ok()?))),
    ("BoardChannel", |parameters, _| Some(Channel::Board(board_name(parameters.board_id.as_ref()?)?))),
    ("AIChannel", |parameters, _| Some(Channel::Conversation(parameters.conversation_id.as_ref()?.parse().ok()?))),
];

/// An identifier: the name of a channel and its parameters.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Parameters {
    channel: String,
    user_id: Option<String>,
    task_id: Option<String>,
    board_id: Option<String>,
    conversation_id: Option<String>,
    /// Position to continue from.
    pub(crate) since: Option<String>,
}

impl Parameters {
    /// Parses an identifier, a JSON object.
    pub(crate) fn parse(identifier: &str) -> Option<Self> {
        serde_json::from_str(identifier).ok()
    }

    /// Whether a subscriber can continue from a position. An unknown channel is refused later.
    pub(crate) fn has_history(&self) -> bool {
        self.channel(Uuid::nil()).is_none_or(Channel::has_history)
    }

    /// The channel; `None` for an unknown one, and for another user's notifications.
    pub(crate) fn channel(&self, caller: Uuid) -> Option<Channel> {
        let (_, channel) = CHANNELS.iter().find(|(name, _)| *name == self.channel)?;
        channel(self, caller)
    }
}

/// Parses `my`, `user-<id>`, `team` or `account`.
fn board_name(id: &str) -> Option<BoardName> {
    match id {
        "my" => Some(BoardName::My),
        "team" => Some(BoardName::Team),
        "account" => Some(BoardName::Account),
        id => id.strip_prefix("user-")?.parse().ok().map(BoardName::User),
    }
}

impl Channel {
    /// Whether a subscriber can continue from a position.
    pub(crate) fn has_history(self) -> bool {
        !matches!(self, Self::Conversation(_))
    }

    /// The topic that the channel means for this subscriber.
    pub(crate) fn topic(self, subscriber: Uuid, hierarchy: &Hierarchy) -> Topic {
        match self {
            Self::Notifications => Topic::Notifications(subscriber),
            Self::Task(id) => Topic::Task(id),
            Self::Board(name) => Topic::Board(Board::named(name, subscriber, hierarchy)),
            Self::Conversation(id) => Topic::Conversation { owner: subscriber, id },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ME: Uuid = Uuid::from_u128(1);
    const TASK: Uuid = Uuid::from_u128(2);

    #[test]
    fn unknown_channels_and_notifications_of_others_are_not_parsed() {
        let parse = |identifier: &Value| Parameters::parse(&identifier.to_string()).and_then(|it| it.channel(ME));
        assert_eq!(parse(&json!({"channel": "NotificationChannel"})), Some(Channel::Notifications));
        assert_eq!(parse(&json!({"channel": "NotificationChannel", "user_id": ME})), Some(Channel::Notifications));
        assert_eq!(parse(&json!({"channel": "NotificationChannel", "user_id": TASK})), None);
        assert_eq!(parse(&json!({"channel": "TaskChannel", "task_id": TASK})), Some(Channel::Task(TASK)));
        for (board_id, board) in [
            ("my".to_owned(), BoardName::My),
            (format!("user-{TASK}"), BoardName::User(TASK)),
            ("team".to_owned(), BoardName::Team),
            ("account".to_owned(), BoardName::Account),
        ] {
            let parsed = parse(&json!({"channel": "BoardChannel", "board_id": board_id}));
            assert_eq!(parsed, Some(Channel::Board(board)));
        }
        let conversation = parse(&json!({"channel": "AIChannel", "conversation_id": TASK}));
        assert_eq!(conversation, Some(Channel::Conversation(TASK)));
        for bad in [
            json!({"channel": "AIChannel"}),
            json!({"channel": "AIChannel", "conversation_id": "1"}),
            json!({"channel": "TaskChannel"}),
            json!({"channel": "TaskChannel", "task_id": "1"}),
            json!({"channel": "TaskChannel", "task_id": 1}),
            json!({"channel": "BoardChannel"}),
            json!({"channel": "BoardChannel", "board_id": "mine"}),
            json!({"channel": "BoardChannel", "board_id": "user-me"}),
            json!({}),
            json!("TaskChannel"),
            json!(null),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
        assert!(Parameters::parse("{").is_none());
    }
}
