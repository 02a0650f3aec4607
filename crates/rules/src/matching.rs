//! Which rules an event may run: by trigger, guards, and the conditions that the event itself decides.

use std::{collections::HashMap, sync::Arc};

use baton_conditions::choice::Status;
use chrono_tz::Tz;
use uuid::Uuid;

use crate::{
    definition::Definition,
    occurrence::Occurrence,
    trigger::{EventFields, TriggerType},
};

/// A rule of an account.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its id.
    pub id: Uuid,
    /// The person with whose rights it acts.
    pub owner: Uuid,
    /// When it runs, and what it does.
    pub definition: Definition,
}

/// The enabled rules of an account, by trigger.
#[derive(Debug, Default)]
pub struct RuleIndex {
    by_trigger: HashMap<TriggerType, Vec<Arc<Rule>>>,
    /// Those that run some time before a due time, not on an event.
    before_due: Vec<Arc<Rule>>,
    /// Those that run for one task only.
    by_task: HashMap<Uuid, Vec<Uuid>>,
}

impl RuleIndex {
    /// An index of these rules.
    pub fn new(rules: impl IntoIterator<Item = Arc<Rule>>) -> Self {
        let mut index = Self::default();
        for rule in rules {
            let trigger = &rule.definition.trigger;
            if let Some(task_id) = trigger.only_task() {
                index.by_task.entry(task_id).or_default().push(rule.id);
            }
            if trigger.before_seconds.is_some() {
                index.before_due.push(rule);
            } else {
                index.by_trigger.entry(trigger.kind).or_default().push(rule);
            }
        }
        index
    }

    /// The rules that the event may run: those for which its conditions hold, or cannot be decided without the task. A rule
    /// never runs on an event that it caused.
    pub fn candidates<'a>(&'a self, event: &'a Occurrence) -> impl Iterator<Item = &'a Arc<Rule>> {
        let rules = event.triggers().iter().filter_map(|trigger| self.by_trigger.get(trigger)).flatten();
        let (from, to) = event.status_change();
        // One for all rules: only the owner and the time zone differ.
        let mut facts = event.facts(Uuid::nil(), Tz::UTC);
        rules.filter(move |rule| {
            if rule.definition.trigger.for_seconds.is_some() {
                // Its conditions are evaluated when the state has lasted.
                return admits(rule, event, (from, to));
            }
            (facts.me, facts.timezone) = (rule.owner, rule.definition.timezone);
            admits(rule, event, (from, to)) && rule.definition.condition.evaluate(&facts) != Some(false)
        })
    }

    /// The rules that wait for a state to last, or for the time before a due time.
    pub fn waiting(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.by_trigger.values().flatten().chain(&self.before_due).filter(|rule| rule.definition.trigger.waits())
    }

    /// The rules that run some time before the due time of tasks.
    pub fn before_due(&self) -> &[Arc<Rule>] {
        &self.before_due
    }

    /// The rules that run for this task only.
    pub fn of_task(&self, task_id: Uuid) -> &[Uuid] {
        self.by_task.get(&task_id).map_or(&[], Vec::as_slice)
    }
}

/// Whether the trigger of a rule admits an event that the rule has not caused.
fn admits(rule: &Rule, event: &Occurrence, (from, to): (Option<Status>, Option<Status>)) -> bool {
    let fields = EventFields { changed_fields: &event.changed_fields, from, to };
    event.rule_id != Some(rule.id) && rule.definition.trigger.admits(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::occurrence::TaskState;
    use chrono::DateTime;
    use serde_json::{Value, json};

    fn rule(id: u128, kind: TriggerType, conditions: Value) -> Arc<Rule> {
        let actions = serde_json::from_value(json!([{"type": "notify", "to": "me", "message": "x"}])).unwrap();
        let conditions = conditions.as_object().unwrap().clone();
        let definition = Definition::parse(kind, conditions, actions, "UTC", "").unwrap();
        Arc::new(Rule { id: Uuid::from_u128(id), owner: Uuid::from_u128(100), definition })
    }

    fn paused(priority: &str) -> Occurrence {
        Occurrence {
            event_id: Uuid::nil(),
            kind: "task.paused".to_owned(),
            occurred_at: DateTime::UNIX_EPOCH,
            actor: None,
            task_id: Some(Uuid::nil()),
            task: Some(TaskState {
                version: 3,
                status: Status::Paused.name().to_owned(),
                previous_status: Some(Status::InProgress.name().to_owned()),
                priority: priority.to_owned(),
                visibility: "private".to_owned(),
                creator: Uuid::from_u128(100),
                assignee: None,
                due_at: None,
                estimated_seconds: None,
                started_at: None,
            }),
            changed_fields: vec!["status".to_owned()],
            late: false,
            depth: 0,
            rule_id: None,
            in_state_since: None,
        }
    }

    fn matched(rules: &[Arc<Rule>], event: &Occurrence) -> Vec<u128> {
        let index = RuleIndex::new(rules.iter().cloned());
        let mut ids: Vec<u128> = index.candidates(event).map(|rule| rule.id.as_u128()).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn candidates_have_the_trigger_and_no_condition_that_the_event_refutes() {
        let rules = [
            rule(1, TriggerType::TaskPaused, json!({})),
            rule(2, TriggerType::TaskPaused, json!({"priority": "high"})),
            rule(3, TriggerType::TaskPaused, json!({"priority": "low"})),
            // The event does not know the tags: the task decides.
            rule(4, TriggerType::TaskPaused, json!({"tags": "urgent"})),
            rule(5, TriggerType::TaskCompleted, json!({})),
            rule(6, TriggerType::TaskStatusChanged, json!({"from": "in_progress"})),
            rule(7, TriggerType::TaskStatusChanged, json!({"from": "pending"})),
            rule(8, TriggerType::TaskUpdated, json!({"fields": ["due_at"]})),
            rule(9, TriggerType::TaskUpdated, json!({"creator": "me"})),
        ];
        assert_eq!(matched(&rules, &paused("high")), [1, 2, 4, 6, 9]);
    }

    #[test]
    fn rule_does_not_run_on_an_event_that_it_caused() {
        let rules = [rule(1, TriggerType::TaskPaused, json!({})), rule(2, TriggerType::TaskPaused, json!({}))];
        let event = Occurrence { rule_id: Some(Uuid::from_u128(1)), depth: 1, ..paused("high") };
        assert_eq!(matched(&rules, &event), [2]);
    }

    #[test]
    fn stored_event_is_read_as_it_was() {
        let event = paused("high");
        let stored = serde_json::to_value(&event).unwrap();
        assert_eq!(serde_json::from_value::<Occurrence>(stored).unwrap(), event);
    }
}
