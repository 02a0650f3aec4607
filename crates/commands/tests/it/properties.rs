//! Whatever is written: the engine answers, names only people and tasks that exist, and changes nothing of everybody by accident.

use std::sync::LazyLock;

use baton_commands::{Outcome, World, eval::Case, interpret, needs_confirmation};
use proptest::{prelude::*, sample::select};
use serde_json::Value;

/// The words of the cases, and some that do not fit; and what the first case is about.
static VOCABULARY: LazyLock<(Vec<String>, World)> = LazyLock::new(|| {
    let file = include_str!("../../eval/cases.jsonl");
    let cases: Vec<Case> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let world = cases[0].world().unwrap();
    let mut words: Vec<String> =
        cases.iter().flat_map(|case| case.text.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    words.extend(
        ["", "“", "\"", "'s", "@", "#", "->", ":", "…", "ß", "İ", "ﬁ", "\u{301}", "🎉", "his", "her", "-"]
            .map(str::to_owned),
    );
    words.sort();
    words.dedup();
    (words, world)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_text_is_answered(
        words in prop::collection::vec(select(VOCABULARY.0.as_slice()), 0..14),
        noise in "\\PC{0,6}",
    ) {
        let world = &VOCABULARY.1;
        let found = interpret(&format!("{} {noise}", words.join(" ")), world);
        let is_known = |name: &str| world.people.iter().any(|person| person.handle == name);
        match found.outcome {
            Outcome::Clarify | Outcome::Refuse => prop_assert!(found.calls.is_empty()),
            Outcome::Calls => prop_assert!(!needs_confirmation(&found.calls)),
            Outcome::Confirm => prop_assert!(!found.calls.is_empty()),
        }
        for call in &found.calls {
            for name in ["assigned_to", "user_id"] {
                if let Some(person) = call.arguments.get(name).and_then(Value::as_str) {
                    prop_assert!(is_known(person), "{person}");
                }
            }
            if let Some(id) = call.arguments.get("task_id").and_then(Value::as_str) {
                prop_assert!(world.tasks.iter().any(|task| task.id == id));
            }
        }
    }
}
