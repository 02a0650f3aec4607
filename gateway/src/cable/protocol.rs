//! The messages of `actioncable-v1-json`.

use axum::extract::ws::close_code;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_tungstenite::tungstenite::{self, error::ProtocolError};

/// A message of the client.
#[derive(Debug, Deserialize)]
pub(super) struct ClientCommand {
    /// `subscribe`, `unsubscribe` or `message`.
    pub(super) command: String,
    /// The channel and its parameters, as JSON in a string. It is the client's key of the subscription, so it is sent
    /// back unchanged.
    pub(super) identifier: String,
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
    },
    /// The end of the connection.
    Disconnect {
        #[serde(rename = "type")]
        kind: MessageType,
        reason: &'static str,
        reconnect: bool,
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
    Disconnect,
}

impl<'a> ServerMessage<'a> {
    pub(super) const WELCOME: Self = Self::Control { kind: MessageType::Welcome, identifier: None };

    pub(super) fn ping(seconds: i64) -> Self {
        Self::Ping { kind: MessageType::Ping, message: seconds }
    }

    pub(super) fn confirm(identifier: &'a str) -> Self {
        Self::Control { kind: MessageType::ConfirmSubscription, identifier: Some(identifier) }
    }

    pub(super) fn reject(identifier: &'a str) -> Self {
        Self::Control { kind: MessageType::RejectSubscription, identifier: Some(identifier) }
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
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_follow_the_action_cable_protocol() {
        let id = r#"{"channel":"TaskChannel","task_id":"1"}"#;
        let message = ServerMessage::Message { identifier: id, message: json!({"event": "task_started"}) };
        for (message, expected) in [
            (ServerMessage::WELCOME, json!({"type": "welcome"})),
            (ServerMessage::ping(7), json!({"type": "ping", "message": 7})),
            (ServerMessage::confirm(id), json!({"type": "confirm_subscription", "identifier": id})),
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
