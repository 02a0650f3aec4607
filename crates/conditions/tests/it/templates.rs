//! Templates.

use baton_conditions::{Facts, Needs, Role, Template, template};
use chrono::DateTime;
use serde_json::json;
use uuid::Uuid;

use crate::parsing::violation;

fn facts() -> Facts {
    let time = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
    let mut facts = Facts::new(Uuid::from_u128(1), time("2026-07-01T12:00:00Z"), chrono_tz::Europe::Berlin);
    facts.task.title = Some("{{description}}".to_owned());
    facts.task.description = Some("secret".to_owned());
    facts.task.due_at = Some(Some(time("2026-01-01T00:30:00.5Z")));
    facts.task.started_at = Some(None);
    facts.task.assignee = Some(Some(Uuid::from_u128(2)));
    facts.task.tags = Some(vec!["a".to_owned(), "b".to_owned()]);
    facts.task.watchers = Some(vec![]);
    facts.task.estimated_seconds = Some(Some(3600));
    facts.task.overdue = Some(true);
    facts.task.custom_fields = json!({"score": 1.5, "regions": ["eu", "us"]}).as_object().cloned();
    facts.assignee.role = Some(Some(Role::SuperManager));
    facts.parent = Some(None);
    facts
}

fn render(text: &str) -> Option<String> {
    Template::parse(text, "body").unwrap().render(&facts())
}

#[test]
fn values_are_inserted() {
    let cases = [
        ("no fields, { } and {x}", "no fields, { } and {x}"),
        ("", ""),
        ("{{due_at}}", "2026-01-01T01:30:00+01:00"),
        ("[{{ started_at }}|{{watchers}}|{{parent.title}}|{{custom_fields.none}}]", "[none|none|none|none]"),
        ("{{assignee}}", "00000000-0000-0000-0000-000000000002"),
        ("{{tags}}; {{custom_fields.regions}}", "a, b; eu, us"),
        ("{{estimated_seconds}} {{custom_fields.score}} {{overdue}}", "3600 1.5 true"),
        ("{{assignee.role}} on {{weekday}} at {{hour}}", "super_manager on wednesday at 14"),
    ];
    for (text, rendered) in cases {
        assert_eq!(render(text).as_deref(), Some(rendered), "{text}");
    }
}

#[test]
fn inserted_text_is_not_read_again() {
    assert_eq!(render("{{title}} / {{description}}").as_deref(), Some("{{description}} / secret"));
}

#[test]
fn unknown_fact_renders_nothing() {
    assert_eq!(render("{{title}} {{status}}"), None);
}

#[test]
fn malformed_templates_are_refused() {
    let many = "{{title}}".repeat(template::MAX_FIELDS + 1);
    let long = "x".repeat(template::MAX_LEN + 1);
    let cases = [
        ("{{title", "after each `{{`"),
        ("title}}", "before each `}}`"),
        ("{{title}} }}", "before each `}}`"),
        ("{{}}", "must be a field"),
        ("{{colour}}", "must be a field: status"),
        ("{{{title}}}", "must be a field"),
        ("{{title | upper}}", "must be a field"),
        ("{{parent.hour}}", "must be a field"),
        (many.as_str(), "at most 50 fields"),
        (long.as_str(), "at most 16384 bytes"),
    ];
    for (text, problem) in cases {
        let (path, description) = violation(Template::parse(text, "actions[1].body").expect_err(text));
        assert_eq!(path, "actions[1].body");
        assert!(description.contains(problem) && description.len() <= 800, "{text}: {description}");
    }
    assert!(Template::parse(&many["{{title}}".len()..], "body").is_ok());
    assert!(Template::parse(&long[1..], "body").is_ok());
}

#[test]
fn needs_are_those_of_the_fields() {
    let needs = Template::parse("{{title}} {{parent.tags}} {{hour}}", "body").unwrap().needs();
    assert_eq!(format!("{needs:?}"), r#"{"text", "parent", "clock", "parent.tags"}"#);
    assert_eq!(Template::parse("text", "body").unwrap().needs(), Needs::NONE);
}
