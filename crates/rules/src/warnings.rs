//! Warnings when a rule is saved: its actions can fire its own trigger, or close a cycle with other rules.
//!
//! The graph is an approximation that warns too often rather than too rarely: an edge leads from a rule to every rule whose
//! trigger an action of it can fire, whatever the conditions say.

use uuid::Uuid;

use crate::{
    action::{Action, Verb},
    definition::Definition,
    trigger::{Trigger, TriggerType},
};

/// A warning about a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The actions can fire the rule's own trigger.
    FiresItself,
    /// A cycle through these rules, which begins with the saved one.
    Cycle(Vec<Uuid>),
}

/// A rule of the account, as far as it can fire others.
#[derive(Debug, Clone)]
pub struct Node {
    /// Id of the rule.
    pub id: Uuid,
    /// When it runs, and what it does.
    pub definition: Definition,
}

/// What is surprising about the rule `saved` among the enabled ones of its account.
pub fn of(saved: &Node, others: &[Node]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if fires(&saved.definition, &saved.definition.trigger) {
        warnings.push(Warning::FiresItself);
    }
    // Breadth first, so that the shortest cycle is found; each rule is visited once.
    let mut paths: Vec<Vec<usize>> = Vec::new();
    let mut seen = vec![false; others.len()];
    let from = |definition: &Definition, seen: &mut Vec<bool>| -> Vec<usize> {
        let next =
            (0..others.len()).filter(|&index| !seen[index] && fires(definition, &others[index].definition.trigger));
        let next: Vec<usize> = next.collect();
        next.iter().for_each(|&index| seen[index] = true);
        next
    };
    paths.extend(from(&saved.definition, &mut seen).into_iter().map(|index| vec![index]));
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        at += 1;
        let Some(last) = path.last().and_then(|&index| others.get(index)) else { continue };
        if fires(&last.definition, &saved.definition.trigger) {
            let through = path.iter().filter_map(|&index| others.get(index)).map(|node| node.id);
            warnings.push(Warning::Cycle(std::iter::once(saved.id).chain(through).collect()));
            break;
        }
        for index in from(&last.definition, &mut seen) {
            paths.push(path.iter().copied().chain([index]).collect());
        }
    }
    warnings
}

/// Whether an action of the definition can fire the trigger.
fn fires(definition: &Definition, trigger: &Trigger) -> bool {
    definition.actions.iter().any(|action| can_fire(action, trigger))
}

fn can_fire(action: &Action, trigger: &Trigger) -> bool {
    use TriggerType as T;
    let updates = |field: &str| {
        trigger.kind == T::TaskUpdated && (trigger.fields.is_empty() || trigger.fields.iter().any(|name| name == field))
    };
    match &action.verb {
        Verb::Notify { .. } | Verb::CallWebhook { .. } => false,
        Verb::Assign { .. } => matches!(trigger.kind, T::TaskAssigned | T::TaskReassigned) || updates("assigned_to"),
        Verb::SetField { field, .. } => {
            let field = if field.starts_with("custom_fields.") { "custom_fields" } else { field };
            updates(field) || field == "due_at" && matches!(trigger.kind, T::TaskOverdue | T::TaskDueSoon)
        }
        Verb::SetStatus { status } => moves(status, trigger) || updates("status"),
        Verb::AddTag { .. } | Verb::RemoveTag { .. } => updates("tags"),
        Verb::AddComment { .. } => trigger.kind == T::TaskCommented,
        Verb::CreateTask { to, .. } => {
            trigger.kind == T::TaskCreated || to.is_some() && trigger.kind == T::TaskAssigned
        }
        Verb::Archive => moves("archived", trigger) || updates("status"),
        Verb::Cancel { .. } => moves("canceled", trigger) || updates("status"),
    }
}

/// Whether bringing a task into the status, by the moves of its lifecycle, can fire the trigger.
fn moves(status: &str, trigger: &Trigger) -> bool {
    use TriggerType as T;
    match trigger.kind {
        // Two moves pass through another status.
        T::TaskStatusChanged => true,
        T::TaskStarted | T::TaskResumed => matches!(status, "in_progress" | "paused" | "completed"),
        T::TaskReopened => matches!(status, "in_progress" | "paused"),
        T::TaskPaused => status == "paused",
        T::TaskCompleted => matches!(status, "completed" | "archived"),
        T::TaskCanceled => matches!(status, "canceled" | "archived"),
        T::TaskArchived => status == "archived",
        T::TaskUnblocked => matches!(status, "completed" | "canceled" | "archived"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(id: u128, kind: TriggerType, conditions: Value, actions: Value) -> Node {
        let conditions = conditions.as_object().unwrap().clone();
        let actions = serde_json::from_value(actions).unwrap();
        Node { id: Uuid::from_u128(id), definition: Definition::parse(kind, conditions, actions, "UTC", "").unwrap() }
    }

    fn tag(id: u128, fields: &[&str], action: Value) -> Node {
        node(id, TriggerType::TaskUpdated, json!({"fields": fields}), json!([action]))
    }

    #[test]
    fn rule_that_fires_its_own_trigger_is_named() {
        let own = node(1, TriggerType::TaskUpdated, json!({}), json!([{"type": "add_tag", "tag": "seen"}]));
        assert_eq!(of(&own, &[]), [Warning::FiresItself]);
        let other = tag(1, &["due_at"], json!({"type": "add_tag", "tag": "seen"}));
        assert_eq!(of(&other, &[]), []);
        let creates =
            node(1, TriggerType::TaskCreated, json!({}), json!([{"type": "create_task", "title": "And another"}]));
        assert_eq!(of(&creates, &[]), [Warning::FiresItself]);
    }

    #[test]
    fn cycle_through_other_rules_is_named_once_by_its_shortest_path() {
        let a = tag(1, &["tags"], json!({"type": "set_field", "field": "priority", "value": "high"}));
        let b = tag(2, &["priority"], json!({"type": "set_field", "field": "title", "value": "x"}));
        let c = tag(3, &["title"], json!({"type": "add_tag", "tag": "x"}));
        let short = tag(4, &["priority"], json!({"type": "remove_tag", "tag": "x"}));
        let ids = |ids: &[u128]| Warning::Cycle(ids.iter().copied().map(Uuid::from_u128).collect());
        assert_eq!(of(&a, &[b.clone(), c.clone()]), [ids(&[1, 2, 3])]);
        assert_eq!(of(&a, &[b.clone(), c, short]), [ids(&[1, 4])]);
        assert_eq!(of(&a, &[b]), []);
    }

    #[test]
    fn status_changes_fire_the_triggers_of_their_moves() {
        let closes =
            node(1, TriggerType::TaskPaused, json!({}), json!([{"type": "set_status", "status": "completed"}]));
        let reopens =
            node(2, TriggerType::TaskCompleted, json!({}), json!([{"type": "set_status", "status": "paused"}]));
        assert_eq!(of(&closes, &[reopens]), [Warning::Cycle(vec![Uuid::from_u128(1), Uuid::from_u128(2)])]);
    }
}
