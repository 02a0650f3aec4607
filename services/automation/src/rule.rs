//! Rules, and who may do what with them.

use baton_errors::{Error, Reason, Result};
use baton_rules::{Action, Definition, TriggerType};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Rules of one person in an account.
pub(crate) const MAX_RULES_PER_PERSON: i64 = 20;
/// Rules of an account, whatever its tier: all of them are kept in memory.
pub(crate) const MAX_RULES_PER_ACCOUNT: i64 = 1_000;
/// Refused executions in a row after which a rule is paused.
pub(crate) const MAX_REFUSED_IN_A_ROW: i32 = 10;

/// Why the platform disabled a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PausedReason {
    /// The person with whose rights it acts has left, was deactivated, or ended the grant.
    CreatorLeft,
    /// Ten executions in a row were refused.
    Refused,
    /// It kept running into the limits that stop loops.
    LoopSuspected,
    /// A receiver that it calls has answered that it is gone.
    WebhookGone,
}

impl PausedReason {
    pub(crate) const ALL: [Self; 4] = [Self::CreatorLeft, Self::Refused, Self::LoopSuspected, Self::WebhookGone];

    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CreatorLeft => "creator_left",
            Self::Refused => "refused",
            Self::LoopSuspected => "loop_suspected",
            Self::WebhookGone => "webhook_gone",
        }
    }

    /// The reason with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    /// With whose rights it acts.
    pub(crate) created_by: Uuid,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) terms: Terms,
    pub(crate) enabled: bool,
    /// Since when; events before that do not run it.
    pub(crate) enabled_at: DateTime<Utc>,
    pub(crate) paused_reason: Option<PausedReason>,
    /// The grant by which the service acts; `None` when it has ended.
    pub(crate) delegation_id: Option<Uuid>,
    pub(crate) execution_count: i32,
    pub(crate) last_executed_at: Option<DateTime<Utc>>,
    pub(crate) version: i32,
    /// Grows with every change of what it does, or for whom.
    pub(crate) terms_version: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// When a rule runs, and what it does, in the form in which it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Terms {
    pub(crate) trigger_type: TriggerType,
    pub(crate) trigger_conditions: Map<String, Value>,
    pub(crate) actions: Vec<Action>,
    pub(crate) timezone: String,
}

impl Terms {
    /// Parses the terms. `path` precedes the names of fields in errors: `automation.` or nothing.
    ///
    /// # Errors
    /// VALIDATION_FAILED, naming the leaf.
    pub(crate) fn definition(&self, path: &str) -> Result<Definition> {
        let (conditions, actions) = (self.trigger_conditions.clone(), self.actions.clone());
        Definition::parse(self.trigger_type, conditions, actions, &self.timezone, path)
    }

    /// The terms with their conditions in the long form, which are stored and shown. `now` is the time of a new trigger: its
    /// schedule begins now without a start, and is to have a time to come.
    ///
    /// # Errors
    /// VALIDATION_FAILED, naming the leaf.
    pub(crate) fn canonical(self, now: Option<DateTime<Utc>>, path: &str) -> Result<(Self, Definition)> {
        let mut definition = self.definition(path)?;
        if let Some(now) = now {
            definition.check_schedule(now, path)?;
            if let Some(schedule) = &mut definition.trigger.schedule {
                schedule.starts_at.get_or_insert(now);
            }
        }
        let trigger_conditions = definition.conditions_json();
        Ok((Self { trigger_conditions, ..self }, definition))
    }
}

/// A member who does something with a rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Actor {
    pub(crate) user_id: Uuid,
    /// Whether they see, disable and delete all rules of the account (MANAGE_AUTOMATIONS).
    pub(crate) manages: bool,
}

impl Actor {
    /// A rule that they see; another one is indistinguishable from a missing one.
    ///
    /// # Errors
    /// AUTOMATION_NOT_FOUND.
    pub(crate) fn sees(self, rule: Option<Rule>) -> Result<Rule> {
        let visible = rule.filter(|rule| self.manages || rule.created_by == self.user_id);
        visible.ok_or_else(|| Reason::AutomationNotFound.into())
    }

    /// Whether they change what a visible rule does, enable it, or repeat its executions: it acts with their own rights.
    ///
    /// # Errors
    /// AUTOMATION_CHANGE_NOT_ALLOWED.
    pub(crate) fn owns(self, rule: &Rule) -> Result<()> {
        let owns = rule.created_by == self.user_id;
        owns.then_some(()).ok_or_else(|| Error::from(Reason::AutomationChangeNotAllowed))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(created_by: Uuid) -> Rule {
        let actions = serde_json::from_value(json!([{"type": "archive"}])).unwrap();
        Rule {
            id: Uuid::nil(),
            account_id: Uuid::nil(),
            created_by,
            name: "Archive".to_owned(),
            description: String::new(),
            terms: Terms {
                trigger_type: TriggerType::TaskCompleted,
                trigger_conditions: Map::new(),
                actions,
                timezone: "UTC".to_owned(),
            },
            enabled: true,
            enabled_at: DateTime::UNIX_EPOCH,
            paused_reason: None,
            delegation_id: None,
            execution_count: 0,
            last_executed_at: None,
            version: 1,
            terms_version: 1,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn super_managers_see_all_rules_and_change_their_own_only() {
        let (ada, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for manages in [false, true] {
            let actor = Actor { user_id: ada, manages };
            assert!(actor.sees(Some(rule(ada))).is_ok() && actor.owns(&rule(ada)).is_ok());
            assert_eq!(actor.sees(Some(rule(bob))).is_ok(), manages);
            assert!(actor.owns(&rule(bob)).is_err());
            assert_eq!(actor.sees(None).unwrap_err().reason(), Reason::AutomationNotFound);
        }
    }

    #[test]
    fn stored_terms_are_in_the_long_form() {
        let mut rule = rule(Uuid::nil());
        rule.terms.trigger_conditions = json!({"priority": "high"}).as_object().unwrap().clone();
        let (terms, _) = rule.terms.canonical(None, "").unwrap();
        let long = json!({"field": "priority", "op": "eq", "value": "high"});
        assert_eq!(Value::Object(terms.trigger_conditions.clone()), long);
        assert_eq!(terms.clone().canonical(None, "").unwrap().0, terms);
    }
}
