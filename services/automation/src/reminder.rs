//! Recurring reminders: rules that notify their own creator of one task.

use baton_rules::{Action, To, TriggerType, Verb};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::rule::Terms;

/// The name of the rule.
pub(crate) const NAME: &str = "Reminder";

/// How often to remind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frequency {
    Hourly { around_the_clock: bool },
    Daily,
    Weekly,
}

/// The terms of the rule that reminds; it says the task's title without a message.
pub(crate) fn terms(frequency: Frequency, message: Option<String>, task_id: Uuid, timezone: String) -> Terms {
    // Hourly reminders begin at midnight, so that the next one comes at the next full hour.
    let (rrule, time) = match frequency {
        Frequency::Hourly { .. } => ("FREQ=HOURLY", "00:00"),
        Frequency::Daily => ("FREQ=DAILY", "09:00"),
        Frequency::Weekly => ("FREQ=WEEKLY", "09:00"),
    };
    let mut trigger_conditions = Map::new();
    trigger_conditions.extend([
        ("rrule".to_owned(), json!(rrule)),
        ("time".to_owned(), json!(time)),
        ("task_id".to_owned(), json!(task_id)),
    ]);
    if frequency == (Frequency::Hourly { around_the_clock: false }) {
        trigger_conditions.insert("working_hours".to_owned(), Value::Bool(true));
    }
    let message = message.unwrap_or_else(|| "{{title}}".to_owned());
    let actions = vec![Action { verb: Verb::Notify { to: To::Me, message }, continues: false }];
    Terms { trigger_type: TriggerType::Schedule, trigger_conditions, actions, timezone }
}
