//! The definition of a rule: when it runs, and what it does.

use baton_conditions::{Condition, MAX_JSON_LEN};
use baton_errors::{Error, Result};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value};

use crate::{
    action::Action,
    trigger::{self, Trigger, TriggerType},
};

/// Actions of a rule.
pub const MAX_ACTIONS: usize = 10;

/// Bytes of the JSON of a rule's actions: all rules of an account are kept in memory.
pub const MAX_ACTIONS_LEN: usize = 32 * 1024;

/// When a rule runs, and what it does.
#[derive(Debug, Clone)]
pub struct Definition {
    /// What makes it run.
    pub trigger: Trigger,
    /// What must hold.
    pub condition: Condition,
    /// What it does, in order.
    pub actions: Vec<Action>,
    /// The time zone of its conditions on weekdays and hours.
    pub timezone: Tz,
}

impl Definition {
    /// Checks and parses a definition. `path` precedes the names of fields in errors: `automation.` or nothing.
    ///
    /// # Errors
    /// VALIDATION_FAILED, naming the leaf.
    pub fn parse(
        kind: TriggerType,
        conditions: Map<String, Value>,
        actions: Vec<Action>,
        timezone: &str,
        path: &str,
    ) -> Result<Self> {
        let field = |name: &str| format!("{path}{name}");
        let conditions_path = field("trigger_conditions");
        let trigger = Trigger::parse(kind, &conditions, &conditions_path)?;
        let conditions = Value::Object(conditions);
        if conditions.to_string().len() > MAX_JSON_LEN {
            return Err(Error::invalid(conditions_path, format!("must have at most {MAX_JSON_LEN} bytes")));
        }
        let condition = Condition::parse(&conditions, &conditions_path, &trigger::KEYS)?;
        if !(1..=MAX_ACTIONS).contains(&actions.len()) {
            return Err(Error::invalid(field("actions"), format!("must have 1 to {MAX_ACTIONS} actions")));
        }
        let length = serde_json::to_string(&actions).map_or(usize::MAX, |json| json.len());
        if length > MAX_ACTIONS_LEN {
            return Err(Error::invalid(field("actions"), format!("must have at most {MAX_ACTIONS_LEN} bytes")));
        }
        for (index, action) in actions.iter().enumerate() {
            action.check(trigger.has_task(), &field(&format!("actions[{index}]")))?;
        }
        let timezone =
            timezone.parse().map_err(|_| Error::invalid(field("timezone"), "must be an IANA time zone name"))?;
        Ok(Self { trigger, condition, actions, timezone })
    }

    /// Checks that a rule that is saved now will run.
    ///
    /// # Errors
    /// VALIDATION_FAILED, naming the member.
    pub fn check_schedule(&self, now: DateTime<Utc>, path: &str) -> Result<()> {
        let Some(schedule) = &self.trigger.schedule else { return Ok(()) };
        schedule.check(self.timezone, now, &format!("{path}trigger_conditions"))
    }

    /// The stored form of conditions and members of the trigger.
    pub fn conditions_json(&self) -> Map<String, Value> {
        let mut json = match self.condition.to_json() {
            Value::Object(condition) => condition,
            _ => Map::new(),
        };
        json.extend(self.trigger.to_json());
        json
    }

    /// The definition in English.
    pub fn sentence(&self) -> String {
        let condition = match &self.condition {
            Condition::All(parts) if parts.is_empty() => String::new(),
            condition => format!(" and {}", condition.sentence()),
        };
        let actions: Vec<String> = self.actions.iter().map(Action::sentence).collect();
        format!("{}{condition}: {}.", self.trigger.sentence(), actions.join(", then "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(kind: TriggerType, conditions: Value, actions: Value, timezone: &str) -> Result<Definition> {
        let conditions = conditions.as_object().unwrap().clone();
        Definition::parse(kind, conditions, serde_json::from_value(actions).unwrap(), timezone, "")
    }

    #[test]
    fn sentence_has_trigger_conditions_and_actions() {
        let conditions = json!({"to": "paused", "priority": "high"});
        let actions =
            json!([{"type": "notify", "to": "manager", "message": "{{title}}"}, {"type": "add_tag", "tag": "late"}]);
        let definition = parse(TriggerType::TaskStatusChanged, conditions, actions, "Europe/Berlin").unwrap();
        assert_eq!(
            definition.sentence(),
            "When the status of a task changes to paused and the priority is high: notify the assignee's manager \
             “{{title}}”, then add the tag “late”."
        );
    }

    #[test]
    fn stored_conditions_parse_to_the_same() {
        let conditions = json!({"fields": ["due_at"], "priority": "high", "tags": "urgent"});
        let actions = json!([{"type": "archive"}]);
        let once = parse(TriggerType::TaskUpdated, conditions, actions.clone(), "UTC").unwrap();
        let again = Value::Object(once.conditions_json());
        let again = parse(TriggerType::TaskUpdated, again, actions, "UTC").unwrap();
        assert_eq!((again.trigger, again.condition), (once.trigger, once.condition));
    }

    #[test]
    fn wrong_leaf_is_named() {
        let archive = || json!([{"type": "archive"}]);
        for (conditions, actions, timezone, field) in [
            (json!({"priority": "hot"}), archive(), "UTC", "trigger_conditions"),
            (json!({"from": "paused"}), archive(), "UTC", "trigger_conditions.from"),
            (json!({}), json!([]), "UTC", "actions"),
            (
                json!({}),
                json!([{"type": "archive"}, {"type": "set_status", "status": "lost"}]),
                "UTC",
                "actions[1].status",
            ),
            (json!({}), archive(), "Mars/Olympus", "timezone"),
            (json!({"tags": "x".repeat(9000)}), archive(), "UTC", "trigger_conditions"),
        ] {
            let refused = parse(TriggerType::TaskPaused, conditions, actions, timezone).unwrap_err();
            assert!(format!("{refused:?}").contains(field), "{field}: {refused:?}");
        }
    }
}
