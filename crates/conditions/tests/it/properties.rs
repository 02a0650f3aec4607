//! Properties of the parser and of the logic.

use baton_conditions::{Condition, MAX_DEPTH, MAX_JSON_LEN, MAX_LEAVES, Template};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cases;

fn parse(json: &Value) -> Condition {
    Condition::parse(json, "conditions", &[]).unwrap_or_else(|error| panic!("{json}: {error:?}"))
}

fn depth(condition: &Condition) -> usize {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => 1 + parts.iter().map(depth).max().unwrap_or(0),
        Condition::Not(part) => 1 + depth(part),
        Condition::Leaf(_) => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn more_knowledge_never_changes_a_decided_verdict(
        json in cases::condition(),
        facts in cases::facts(),
        less in any::<u64>(),
        more in any::<u64>(),
    ) {
        let condition = parse(&json);
        let verdict = |kept| condition.evaluate(&cases::forget(facts.clone(), kept));
        let verdicts = [less & more, more, u64::MAX].map(verdict);
        prop_assert!(verdicts[0].is_none() || verdicts[1] == verdicts[0], "{verdicts:?}");
        prop_assert!(verdicts[1].is_none() || verdicts[2] == verdicts[1], "{verdicts:?}");
        prop_assert!(verdicts[2].is_some(), "everything is known");
    }

    #[test]
    fn de_morgan_and_double_negation_hold_also_for_unknown_facts(
        a in cases::leaf(),
        b in cases::leaf(),
        facts in cases::facts(),
        kept in any::<u64>(),
    ) {
        let facts = cases::forget(facts, kept);
        let verdict = |json: Value| parse(&json).evaluate(&facts);
        let [not_a, not_b] = [&a, &b].map(|part| json!({"not": part}));
        prop_assert_eq!(verdict(json!({"not": {"all": [a, b]}})), verdict(json!({"any": [not_a, not_b]})));
        prop_assert_eq!(verdict(json!({"not": {"any": [a, b]}})), verdict(json!({"all": [not_a, not_b]})));
        prop_assert_eq!(verdict(json!({"not": not_a})), verdict(a));
    }

    #[test]
    fn canonical_json_is_the_same_condition(json in cases::condition(), facts in cases::facts()) {
        let condition = parse(&json);
        let canonical = condition.to_json();
        prop_assert_eq!(&parse(&canonical), &condition);
        prop_assert_eq!(parse(&canonical).evaluate(&facts), condition.evaluate(&facts));
        prop_assert_eq!(parse(&canonical).to_json(), canonical);
    }

    #[test]
    fn explanation_agrees_with_the_verdict_of_each_leaf(
        json in cases::leaf(),
        facts in cases::facts(),
        kept in any::<u64>(),
    ) {
        let (condition, facts) = (parse(&json), cases::forget(facts, kept));
        let explained = condition.explain(&facts);
        prop_assert_eq!(explained.len(), 1);
        prop_assert_eq!(explained[0].held, condition.evaluate(&facts));
        let field = Template::parse(&format!("{{{{{}}}}}", explained[0].field), "").unwrap();
        // A template and a condition know the same, and read the same.
        prop_assert_eq!(field.render(&facts).is_some(), explained[0].held.is_some());
        prop_assert!(condition.needs().contains(field.needs()));
    }

    #[test]
    fn parser_keeps_its_limits_and_never_panics(json in cases::any_json()) {
        if let Ok(condition) = Condition::parse(&json, "conditions", &["value"]) {
            let canonical = condition.to_json();
            prop_assert!(depth(&condition) <= MAX_DEPTH && canonical.to_string().len() <= MAX_JSON_LEN);
            prop_assert_eq!(parse(&canonical), condition.clone());
            prop_assert!(!condition.sentence().is_empty());
        }
    }

    #[test]
    fn template_parser_never_panics_and_keeps_plain_text(text in "[a-z{}_. \\PC]{0,40}", plain in "[^{}]{0,40}") {
        let _ = Template::parse(&text, "");
        let facts = baton_conditions::Facts::new(uuid::Uuid::nil(), chrono::DateTime::UNIX_EPOCH, chrono_tz::UTC);
        prop_assert_eq!(Template::parse(&plain, "").unwrap().render(&facts), Some(plain));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn leaves_are_counted_wherever_they_are(
        leaves in proptest::collection::vec(cases::leaf(), MAX_LEAVES - 2..=MAX_LEAVES + 2),
        split in 0..MAX_LEAVES,
    ) {
        let (first, second) = leaves.split_at(split.min(leaves.len()));
        let json = json!({"all": [{"all": first}, {"not": {"all": second}}]});
        if json.to_string().len() <= MAX_JSON_LEN {
            let parsed = Condition::parse(&json, "conditions", &[]);
            let fits = leaves.len() <= MAX_LEAVES;
            // The canonical form of times may be longer.
            prop_assert!(parsed.is_ok() == fits || fits && json.to_string().len() + 500 > MAX_JSON_LEN);
        }
    }
}
