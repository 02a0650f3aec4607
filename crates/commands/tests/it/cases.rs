//! The project's own sets of cases (`eval/`), and the plan's five examples.

use baton_commands::{Member, Role, World, eval::Case, interpret};
use chrono::{DateTime, Utc};
use serde_json::json;

/// Cases of 100 that are to be read as expected.
const FLOOR: usize = 95;

#[test]
fn cases_are_read_as_expected() {
    let files = [
        include_str!("../../eval/cases.jsonl"),
        include_str!("../../eval/people.jsonl"),
        include_str!("../../eval/conventions.jsonl"),
    ];
    let lines = files.iter().flat_map(|file| file.lines());
    let cases: Vec<Case> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(cases.len() >= 800, "{} cases", cases.len());
    let missed: Vec<&str> =
        cases.iter().filter(|case| !case.is_met_by(&case.predict().unwrap())).map(|case| case.id.as_str()).collect();
    let met = cases.len() - missed.len();
    assert!(met * 100 >= cases.len() * FLOOR, "{met} of {}; not {missed:?}", cases.len());
}

#[test]
fn examples_of_the_plan_work() {
    let person = |handle: &str, name: &str, role, manager: Option<&str>| Member {
        handle: handle.to_owned(),
        name: name.to_owned(),
        role,
        manager: manager.map(str::to_owned),
    };
    let task = |id: &str, title: &str, status: &str| {
        serde_json::from_value(json!({"id": id, "title": title, "status": status})).unwrap()
    };
    let world = World {
        now: "2026-03-04T09:00:00Z".parse::<DateTime<Utc>>().unwrap(),
        timezone: chrono_tz::Europe::Berlin,
        caller: "ada".to_owned(),
        role: Role::Manager,
        people: vec![
            person("ada", "Ada Lovelace", Role::Manager, None),
            person("dilip", "Dilip Kumar", Role::User, Some("ada")),
        ],
        tasks: vec![task("1", "Deployment to production", "in_progress"), task("2", "Old report", "completed")],
        history: Vec::new(),
        subject: None,
    };
    for (text, outcome, name, arguments) in [
        (
            "Assign a task to dilip to fix the login bug by Friday",
            "calls",
            "create_task",
            json!({"title": "Fix login bug", "assigned_to": "dilip", "due_date": "2026-03-06T17:00:00+01:00", "priority": "high"}),
        ),
        (
            "Remind me every hour about the deployment task",
            "calls",
            "create_reminder",
            json!({"task_id": "1", "frequency": "hourly"}),
        ),
        (
            "Mark all completed tasks from last week as archived",
            "confirm",
            "bulk_tasks",
            json!({"filter": {"status": ["completed"], "time_range": "last_week"}, "action": "archive"}),
        ),
        (
            "Show me which users have the most overdue tasks",
            "calls",
            "generate_report",
            json!({"report_type": "overdue"}),
        ),
        (
            "When any task is paused for more than 2 hours, notify the manager",
            "confirm",
            "create_automation",
            json!({"trigger": "task_paused", "condition": {"for_seconds": 7200}, "action": "notify:manager"}),
        ),
    ] {
        let found = interpret(text, &world);
        assert_eq!((found.outcome.name(), found.calls.len()), (outcome, 1), "{text}: {found:?}");
        assert_eq!((found.calls[0].name, json!(found.calls[0].arguments)), (name, arguments), "{text}");
    }
}
