//! The messages of `actioncable-v1-json`.

use axum::extract::ws::close_code;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_tungstenite::tungstenite::{self, error::ProtocolError};

/// What a client says.
#[derive(Debug, Deserialize)]
pub(super) struct Command {
    /// `subscribe`, `unsubscribe` or `message`.
    pub(super) command: String,
    /// The channel and its parameters, as JSON in a string. The client knows a subscription by this
    /// string, so it is sent back exactly as it came.
    pub(super) identifier: String,
}

/// What we say.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Said<'a> {
    /// About the connection.
    Ping {
        #[serde(rename = "type")]
        kind: Kind,
        /// Seconds since 1970.
        message: i64,
    },
    /// About a subscription, or a welcome.
    About {
        #[serde(rename = "type")]
        kind: Kind,
        #[serde(skip_serializing_if = "Option::is_none")]
        identifier: Option<&'a str>,
    },
    /// The end of the connection.
    Disconnect {
        #[serde(rename = "type")]
        kind: Kind,
        reason: &'static str,
        reconnect: bool,
    },
    /// On a channel.
    Message { identifier: &'a str, message: Value },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Welcome,
    Ping,
    ConfirmSubscription,
    RejectSubscription,
    Disconnect,
}

impl<'a> Said<'a> {
    pub(super) const WELCOME: Self = Self::About { kind: Kind::Welcome, identifier: None };

    pub(super) fn ping(seconds: i64) -> Self {
        Self::Ping { kind: Kind::Ping, message: seconds }
    }

    pub(super) fn confirm(identifier: &'a str) -> Self {
        Self::About { kind: Kind::ConfirmSubscription, identifier: Some(identifier) }
    }

    pub(super) fn reject(identifier: &'a str) -> Self {
        Self::About { kind: Kind::RejectSubscription, identifier: Some(identifier) }
    }

    pub(super) fn disconnect(end: End) -> Option<Self> {
        let (reason, reconnect) = match end {
            End::Gone => return None,
            End::Unauthorized => ("unauthorized", false),
            End::Expired { while_connected } => ("token_expired", while_connected),
            End::Restart => ("server_restart", true),
            End::TooSlow => ("too_slow", true),
            End::Invalid { .. } => ("invalid_request", false),
        };
        Some(Self::Disconnect { kind: Kind::Disconnect, reason, reconnect })
    }

    /// As it goes over the wire.
    pub(super) fn to_json(&self) -> String {
        // Serialising strings, numbers and JSON values cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client went.
    Gone,
    /// The caller may not be here, or may not any more.
    Unauthorized,
    /// The token ran out: while connected, or before.
    Expired { while_connected: bool },
    /// We stop, missed events, or cannot tell.
    Restart,
    /// The client does not keep up.
    TooSlow,
    /// The client does not speak the protocol: of WebSockets, or of what goes through them.
    Invalid { code: u16 },
}

impl End {
    /// The status code of the close frame (RFC 6455, section 7.4, and the registry that it begins).
    pub(super) fn close_code(self) -> u16 {
        match self {
            Self::Gone => close_code::NORMAL,
            Self::Unauthorized | Self::Expired { .. } => close_code::POLICY,
            Self::Restart => close_code::RESTART,
            Self::TooSlow => close_code::AGAIN,
            Self::Invalid { code } => code,
        }
    }

    /// Why a socket gives no more messages.
    pub(super) fn of_error(error: axum::Error) -> Self {
        let Ok(error) = error.into_inner().downcast::<tungstenite::Error>() else { return Self::Gone };
        match *error {
            tungstenite::Error::Capacity(_) => Self::Invalid { code: close_code::SIZE },
            tungstenite::Error::Utf8(_) => Self::Invalid { code: close_code::INVALID },
            // Gone without a close frame: nobody is there to hear why.
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Gone,
            tungstenite::Error::Protocol(_) => Self::Invalid { code: close_code::PROTOCOL },
            _ => Self::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_those_of_action_cable() {
        let id = r#"{"channel":"TaskChannel","task_id":"1"}"#;
        let message = Said::Message { identifier: id, message: json!({"event": "task_started"}) };
        for (said, expected) in [
            (Said::WELCOME, json!({"type": "welcome"})),
            (Said::ping(7), json!({"type": "ping", "message": 7})),
            (Said::confirm(id), json!({"type": "confirm_subscription", "identifier": id})),
            (Said::reject(id), json!({"type": "reject_subscription", "identifier": id})),
            (
                Said::disconnect(End::Unauthorized).unwrap(),
                json!({"type": "disconnect", "reason": "unauthorized", "reconnect": false}),
            ),
            (message, json!({"identifier": id, "message": {"event": "task_started"}})),
        ] {
            assert_eq!(serde_json::from_str::<Value>(&said.to_json()).unwrap(), expected);
        }
    }
}
