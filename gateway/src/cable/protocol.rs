//! The messages of `actioncable-v1-json`, and of its extension by AnyCable, `actioncable-v1-ext-json`.

use std::collections::HashMap;

use axum::extract::ws::close_code;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, error::ProtocolError};
use uuid::Uuid;

use crate::live::{End, Position};

/// A message of the client. An `identifier` is the channel and its parameters, as JSON in a string. It is the client's key
/// of the subscription, so it is sent back unchanged.
#[derive(Debug, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(super) enum ClientCommand {
    /// Subscribes to a channel.
    Subscribe {
        identifier: String,
        /// Extended: what to receive first.
        history: Option<HistoryRequest>,
    },
    /// Ends a subscription.
    Unsubscribe { identifier: String },
    /// Performs an action of a channel.
    Message {
        identifier: String,
        /// JSON in a string.
        data: String,
    },
    /// Extended: lets others see that the person is here.
    Join { identifier: String },
    /// Extended: ends it.
    Leave { identifier: String },
    /// Extended: asks who is here.
    Presence { identifier: String },
    /// Another command, which is ignored. The extension has `pong` and more.
    #[serde(other)]
    Other,
}

/// An action of every channel.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum Action {
    /// Renews the token of the socket: `perform("authenticate", {token})`.
    Authenticate { token: String },
    /// Lets others see that the person is here.
    PresenceJoin,
    /// Ends it.
    PresenceLeave,
    /// Asks who is here.
    Presence,
    /// Tells others that the person types.
    Typing,
}

/// What an extended client has received.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HistoryRequest {
    /// When it was last connected, in seconds since 1970 by its own clock.
    pub(super) since: Option<i64>,
    /// The position of its last message, by stream.
    #[serde(default)]
    pub(super) streams: HashMap<String, StreamPosition>,
}

/// A position in a stream.
#[derive(Debug, Deserialize)]
pub(super) struct StreamPosition {
    pub(super) epoch: String,
    pub(super) offset: u64,
}

/// A message of the gateway.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ServerMessage<'a> {
    /// A heartbeat.
    Ping {
        #[serde(rename = "type")]
        kind: MessageType,
        /// Seconds since 1970.
        message: i64,
    },
    /// Welcome, or confirmation or rejection of a subscription.
    Control {
        #[serde(rename = "type")]
        kind: MessageType,
        #[serde(skip_serializing_if = "Option::is_none")]
        identifier: Option<&'a str>,
        /// Of a confirmation: later messages follow.
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<String>,
    },
    /// The end of the connection.
    Disconnect {
        #[serde(rename = "type")]
        kind: MessageType,
        reason: &'static str,
        reconnect: bool,
    },
    /// Extended: who is here.
    Presence {
        #[serde(rename = "type")]
        kind: MessageType,
        identifier: &'a str,
        message: Value,
    },
    /// A message of a subscription.
    Message { identifier: &'a str, message: Value },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MessageType {
    Welcome,
    Ping,
    ConfirmSubscription,
    RejectSubscription,
    ConfirmHistory,
    RejectHistory,
    Presence,
    Disconnect,
}

impl<'a> ServerMessage<'a> {
    pub(super) const WELCOME: Self = Self::Control { kind: MessageType::Welcome, identifier: None, position: None };

    pub(super) fn ping(seconds: i64) -> Self {
        Self::Ping { kind: MessageType::Ping, message: seconds }
    }

    pub(super) fn confirm(identifier: &'a str, position: Position) -> Self {
        let position = Some(position.to_string());
        Self::Control { kind: MessageType::ConfirmSubscription, identifier: Some(identifier), position }
    }

    pub(super) fn reject(identifier: &'a str) -> Self {
        Self::Control { kind: MessageType::RejectSubscription, identifier: Some(identifier), position: None }
    }

    /// Extended: the people who are here; `None` if the caller may not know.
    pub(super) fn present(identifier: &'a str, people: Option<&[Uuid]>) -> Self {
        let message = match people {
            Some(people) => {
                let records: Vec<Value> = people.iter().map(|id| json!({"id": id, "info": {}})).collect();
                json!({"type": "info", "total": records.len(), "records": records})
            }
            None => json!({"type": "error"}),
        };
        Self::Presence { kind: MessageType::Presence, identifier, message }
    }

    /// Whether a client has received everything since the position that it named.
    pub(super) fn history(identifier: &'a str, is_complete: bool) -> Self {
        let kind = if is_complete { MessageType::ConfirmHistory } else { MessageType::RejectHistory };
        Self::Control { kind, identifier: Some(identifier), position: None }
    }

    pub(super) fn disconnect(reason: CloseReason) -> Option<Self> {
        let (name, reconnect) = match reason {
            CloseReason::Disconnected => return None,
            CloseReason::Unauthorized => ("unauthorized", false),
            CloseReason::TokenExpired { while_connected } => ("token_expired", while_connected),
            CloseReason::ServerRestart => ("server_restart", true),
            CloseReason::TooSlow => ("too_slow", true),
            CloseReason::InvalidRequest { .. } => ("invalid_request", false),
        };
        Some(Self::Disconnect { kind: MessageType::Disconnect, reason: name, reconnect })
    }

    /// Encodes the message.
    pub(super) fn to_json(&self) -> String {
        // Serialising strings, numbers and JSON values cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The client disconnected.
    Disconnected,
    /// The caller is not authorized, or no longer.
    Unauthorized,
    /// The token expired, while connected or before.
    TokenExpired { while_connected: bool },
    /// The gateway stops, missed events, or cannot check access.
    ServerRestart,
    /// The client reads too slowly.
    TooSlow,
    /// The client violated the WebSocket or the Action Cable protocol.
    InvalidRequest { code: u16 },
}

impl From<End> for CloseReason {
    fn from(end: End) -> Self {
        match end {
            End::SessionClosed | End::Unauthorized => Self::Unauthorized,
            End::Restart => Self::ServerRestart,
            End::TooSlow => Self::TooSlow,
        }
    }
}

impl CloseReason {
    /// The status code of the close frame (RFC 6455, section 7.4, and its IANA registry).
    pub(super) fn close_code(self) -> u16 {
        match self {
            Self::Disconnected => close_code::NORMAL,
            Self::Unauthorized | Self::TokenExpired { .. } => close_code::POLICY,
            Self::ServerRestart => close_code::RESTART,
            Self::TooSlow => close_code::AGAIN,
            Self::InvalidRequest { code } => code,
        }
    }

    /// The reason for an error of the socket.
    pub(super) fn from_error(error: axum::Error) -> Self {
        let Ok(error) = error.into_inner().downcast::<tungstenite::Error>() else { return Self::Disconnected };
        match *error {
            tungstenite::Error::Capacity(_) => Self::InvalidRequest { code: close_code::SIZE },
            tungstenite::Error::Utf8(_) => Self::InvalidRequest { code: close_code::INVALID },
            // Disconnected without a close frame: no reason can be sent.
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Disconnected,
            tungstenite::Error::Protocol(_) => Self::InvalidRequest { code: close_code::PROTOCOL },
            _ => Self::Disconnected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_follow_the_action_cable_protocol() {
        let id = r#"{"channel":"TaskChannel","task_id":"1"}"#;
        let message = ServerMessage::Message { identifier: id, message: json!({"event": "task_started"}) };
        for (message, expected) in [
            (ServerMessage::WELCOME, json!({"type": "welcome"})),
            (ServerMessage::ping(7), json!({"type": "ping", "message": 7})),
            (
                ServerMessage::confirm(id, Position { epoch: 1, offset: 2 }),
                json!({"type": "confirm_subscription", "identifier": id, "position": "1:2"}),
            ),
            (ServerMessage::history(id, true), json!({"type": "confirm_history", "identifier": id})),
            (ServerMessage::history(id, false), json!({"type": "reject_history", "identifier": id})),
            (ServerMessage::reject(id), json!({"type": "reject_subscription", "identifier": id})),
            (
                ServerMessage::disconnect(CloseReason::Unauthorized).unwrap(),
                json!({"type": "disconnect", "reason": "unauthorized", "reconnect": false}),
            ),
            (message, json!({"identifier": id, "message": {"event": "task_started"}})),
        ] {
            assert_eq!(serde_json::from_str::<Value>(&message.to_json()).unwrap(), expected);
        }
    }
}
