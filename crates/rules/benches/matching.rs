//! How fast events are matched with the rules of an account, on one core: `cargo bench -p baton-rules`.

#![allow(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark talks to people")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use baton_rules::{Definition, Occurrence, Rule, RuleIndex, TaskState, TriggerType};
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

const RULES: usize = 1_000;
const TURN: Duration = Duration::from_secs(2);

/// Rules of four conditions, one in a hundred of which holds for the event.
fn rules(kind: TriggerType) -> RuleIndex {
    let rule = |nth: usize| {
        let (priority, seconds) = if nth.is_multiple_of(100) { ("high", 60) } else { ("low", nth) };
        let conditions = json!({"all": [
            {"field": "status", "op": "in", "value": ["paused", "completed"]},
            {"field": "estimated_seconds", "op": "gte", "value": seconds},
            {"field": "assignee", "op": "is_empty", "value": true},
            {"field": "priority", "op": "eq", "value": priority},
        ]});
        let actions = serde_json::from_value(json!([{"type": "notify", "to": "me", "message": "x"}])).unwrap();
        let conditions = conditions.as_object().unwrap().clone();
        let definition = Definition::parse(kind, conditions, actions, "Europe/Berlin", "").unwrap();
        Arc::new(Rule { id: Uuid::now_v7(), owner: Uuid::now_v7(), definition })
    };
    RuleIndex::new((0..RULES).map(rule))
}

fn paused() -> Occurrence {
    Occurrence {
        event_id: Uuid::now_v7(),
        kind: "task.paused".to_owned(),
        occurred_at: DateTime::<Utc>::UNIX_EPOCH,
        actor: Some(Uuid::now_v7()),
        task_id: Some(Uuid::now_v7()),
        task: Some(TaskState {
            version: 3,
            status: "paused".to_owned(),
            previous_status: Some("in_progress".to_owned()),
            priority: "high".to_owned(),
            visibility: "private".to_owned(),
            creator: Uuid::now_v7(),
            assignee: None,
            due_at: None,
            estimated_seconds: Some(3_600),
            started_at: None,
        }),
        changed_fields: vec!["status".to_owned()],
        late: false,
        depth: 0,
        rule_id: None,
        in_state_since: None,
    }
}

/// The time that matching one event takes, and the rules that it may run.
fn measure(index: &RuleIndex) -> (Duration, usize) {
    let event = paused();
    let (mut events, mut found) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < TURN {
        for _ in 0..100 {
            found = black_box(index).candidates(black_box(&event)).count();
        }
        events += 100;
    }
    (begun.elapsed() / events, found)
}

fn main() {
    let (of_all, found) = measure(&rules(TriggerType::TaskPaused));
    assert_eq!(found, RULES / 100);
    let per_second = RULES as f64 / of_all.as_secs_f64();
    println!("{RULES} rules on one event: {of_all:?}, {per_second:.0} rules/s; {found} of them may run");
    let (of_none, found) = measure(&rules(TriggerType::TaskCompleted));
    assert_eq!(found, 0);
    println!("an event that triggers none of {RULES} rules: {of_none:?}");
}
