//! Webhooks: calls of URLs that rules make.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_errors::{Error, Result};
use baton_outbound::signing::SigningSecret;
use baton_outbound::{AllowedNetworks, Target};
use baton_rules::{Action, Verb};
use baton_sealing::Sealer;
use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::execution::Execution;

/// Delays after failed attempts: five attempts in eight hours.
const DELAYS: [TimeDelta; 4] =
    [TimeDelta::minutes(1), TimeDelta::minutes(10), TimeDelta::hours(1), TimeDelta::minutes(409)];
/// Messages of an account that wait to be accepted.
pub(crate) const MAX_PENDING: i64 = 1_000;
/// A message that has waited longer is not sent any more: the eight hours of its attempts, and some in the queue.
pub(crate) const MAX_AGE: TimeDelta = TimeDelta::hours(12);
/// Attempts to send a message.
pub(crate) const MAX_ATTEMPTS: i32 = 5;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryStatus {
    Pending,
    Delivered,
    Failed,
    Canceled,
}

impl DeliveryStatus {
    pub(crate) const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Failed, Self::Canceled];

    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// The status with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// A message to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) id: Uuid,
    pub(crate) rule_id: Uuid,
    pub(crate) execution_id: Uuid,
    pub(crate) created_by: Uuid,
    pub(crate) terms_version: i32,
    /// Index of the action.
    pub(crate) action: i32,
    pub(crate) status: DeliveryStatus,
    pub(crate) content: Option<Content>,
    pub(crate) attempts: i32,
    pub(crate) status_code: Option<i32>,
    pub(crate) reason: Option<String>,
    pub(crate) created_at: chrono::DateTime<chrono::Utc>,
}

/// What is sent, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) url: String,
    pub(crate) sealed_secret: String,
    pub(crate) payload: String,
}

/// The delay after a number of failed attempts; `None` after the last.
pub(crate) fn delay_after(attempts: i32) -> Option<TimeDelta> {
    usize::try_from(attempts - 1).ok().and_then(|index| DELAYS.get(index)).copied()
}

/// The payload of a message: ids, and the chosen fields as the rule's creator sees them.
pub(crate) fn payload(account_id: Uuid, execution: &Execution, fields: &Map<String, Value>) -> String {
    let occurrence = &execution.occurrence;
    json!({
        "type": occurrence.kind,
        "timestamp": occurrence.occurred_at.to_rfc3339(),
        "data": {
            "account_id": account_id,
            "automation_id": execution.rule_id,
            "execution_id": execution.id,
            "event_id": occurrence.event_id,
            "task_id": occurrence.task_id,
            "fields": fields,
        },
    })
    .to_string()
}

/// Whether a rule with these actions calls URLs.
pub(crate) fn calls_any(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action.verb, Verb::CallWebhook { .. }))
}

/// Checks the URLs that actions call.
///
/// # Errors
/// VALIDATION_FAILED, naming the action.
pub(crate) fn check_urls(actions: &[Action], allowed: &AllowedNetworks, path: &str) -> Result<()> {
    for (index, action) in actions.iter().enumerate() {
        if let Verb::CallWebhook { url, .. } = &action.verb {
            let refused =
                |refused| Error::invalid(format!("{path}actions[{index}].url"), format!("must not be: {refused}"));
            Target::parse(url, allowed).map_err(refused)?;
        }
    }
    Ok(())
}

/// Seals the secrets of actions. One without keeps that of the rule's action with the same URL before.
///
/// # Errors
/// VALIDATION_FAILED, naming the action.
pub(crate) fn seal(
    sealer: &Sealer,
    rule_id: Uuid,
    actions: &mut [Action],
    before: &[Action],
    path: &str,
) -> Result<()> {
    for (index, action) in actions.iter_mut().enumerate() {
        let Verb::CallWebhook { url, secret, sealed_secret, .. } = &mut action.verb else { continue };
        let field = format!("{path}actions[{index}].secret");
        // The same action before, or else one with the same URL.
        let of_url = |before: &Action| match &before.verb {
            Verb::CallWebhook { url: known, sealed_secret, .. } if known == url => sealed_secret.clone(),
            _ => None,
        };
        let kept = before.get(index).and_then(of_url).or_else(|| before.iter().find_map(of_url));
        *sealed_secret = match (secret.take(), sealed_secret.take()) {
            (None, Some(stored)) => Some(stored),
            (None, None) => kept,
            (Some(secret), _) => {
                let invalid = |_| Error::invalid(&field, "must be whsec_ and 24 to 64 bytes in base64");
                let secret: SigningSecret = secret.parse().map_err(invalid)?;
                // Sealing again would be a change.
                let is_same = |kept: &String| open(sealer, rule_id, kept).is_ok_and(|kept| kept == secret);
                match kept.filter(is_same) {
                    Some(kept) => Some(kept),
                    None => {
                        let sealed = sealer.seal(&context(rule_id), secret.expose().as_bytes());
                        Some(STANDARD.encode(sealed.map_err(Error::internal)?))
                    }
                }
            }
        };
        if sealed_secret.is_none() {
            return Err(Error::invalid(field, "must be given: whsec_ and 24 to 64 bytes in base64"));
        }
    }
    Ok(())
}

/// Opens a sealed secret of a rule.
///
/// # Errors
/// INTERNAL when it was sealed with a key that is not configured.
pub(crate) fn open(sealer: &Sealer, rule_id: Uuid, sealed: &str) -> Result<SigningSecret> {
    let sealed = STANDARD.decode(sealed).map_err(Error::internal)?;
    let secret = sealer.open(&context(rule_id), &sealed).map_err(|error| Error::internal(error.to_string()))?;
    let secret = String::from_utf8(secret).map_err(Error::internal)?;
    secret.parse().map_err(|_| Error::internal("a sealed secret is none"))
}

fn context(rule_id: Uuid) -> String {
    format!("webhook:{rule_id}")
}

#[cfg(test)]
mod tests {
    use baton_runtime::Secret;

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn sealer() -> Sealer {
        Sealer::new(&Secret::new(format!("test:{}", STANDARD.encode([5; 32])))).unwrap()
    }

    fn action(url: &str, secret: Option<&str>) -> Action {
        let mut action = json!({"type": "call_webhook", "url": url});
        if let Some(secret) = secret {
            action["secret"] = json!(secret);
        }
        serde_json::from_value(action).unwrap()
    }

    fn sealed_of(action: &Action) -> String {
        match &action.verb {
            Verb::CallWebhook { secret: None, sealed_secret: Some(sealed), .. } => sealed.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn secret_is_sealed_for_its_rule_and_kept_with_its_url() {
        let (rule, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut saved = vec![action("https://example.com/a", Some(SECRET))];
        seal(&sealer(), rule, &mut saved, &[], "").unwrap();
        let sealed = sealed_of(&saved[0]);
        assert!(!sealed.contains(SECRET));
        assert_eq!(open(&sealer(), rule, &sealed).unwrap().expose(), SECRET);
        assert!(open(&sealer(), other, &sealed).is_err(), "sealed for another rule");
        let mut again = vec![action("https://example.com/a", None)];
        seal(&sealer(), rule, &mut again, &saved, "").unwrap();
        assert_eq!(sealed_of(&again[0]), sealed);
        let mut same = vec![action("https://example.com/a", Some(SECRET))];
        seal(&sealer(), rule, &mut same, &saved, "").unwrap();
        assert_eq!(sealed_of(&same[0]), sealed, "to save it again changes nothing");
        for wrong in [action("https://example.com/b", None), action("https://example.com/a", Some("secret"))] {
            assert!(seal(&sealer(), rule, &mut [wrong], &saved, "").is_err());
        }
    }

    #[test]
    fn five_attempts_are_made_in_eight_hours() {
        let delays: Vec<_> = (1..=MAX_ATTEMPTS).map_while(delay_after).collect();
        assert_eq!(delays.len() + 1, usize::try_from(MAX_ATTEMPTS).unwrap());
        assert_eq!(delays.into_iter().sum::<TimeDelta>(), TimeDelta::hours(8));
    }

    #[test]
    fn private_address_is_refused_when_the_rule_is_saved() {
        for url in
            ["http://example.com/", "https://127.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://a:b@example.com/"]
        {
            let refused = check_urls(&[action(url, None)], &AllowedNetworks::default(), "").unwrap_err();
            assert!(format!("{refused:?}").contains("actions[0].url"), "{url}");
        }
        assert!(check_urls(&[action("https://example.com/x", None)], &AllowedNetworks::default(), "").is_ok());
    }
}
