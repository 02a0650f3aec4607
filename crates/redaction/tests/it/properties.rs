//! Properties that hold for every text.

use baton_redaction::{Conversation, Entity, Key, Member, Redacted, Redactor, Settings};
use proptest::prelude::*;

fn redactor() -> Redactor {
    let member = |first: &str, last: &str, handle: &str| Member {
        first_name: first.to_owned(),
        last_name: last.to_owned(),
        handle: handle.to_owned(),
    };
    let members = vec![member("Zoë", "Müller", "zoe.m"), member("Ada", "Lovelace", "ada"), member("小明", "王", "")];
    Redactor::new(&Settings { regions: vec!["US".to_owned(), "DE".to_owned()], members, uuids: true })
}

fn redact(redactor: &Redactor, text: &str) -> Redacted {
    redactor.redact(text, &mut Conversation::default(), &Key::new(&[3; 32]))
}

/// Text like that of a chat: words, values, placeholders and signs in any order.
fn chat() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z]{1,8}",
        2 => "[A-Z][a-z]{1,8}",
        2 => "[0-9]{1,6}",
        2 => "[ .,:;!?@/()+_=<>\"'*#%&~|\\\\\\-\\[\\]\n]{1,3}",
        1 => any::<String>(),
        2 => prop::sample::select(vec![
            "ada@example.org", "Ada Lovelace", "zoë", "小明", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00",
            "+49 170 1234567", "(650) 253-0000", "https://", "www.", "[NAME_1]", "[EMAIL_12]", "[NAME_", "password: ", "-----BEGIN ",
            "my name is ", "Mr. ", "12 Main Street", "192.0.2.1", "::1", "Dear ", "sk-", "eyJ", "van ", "ß", "İ", "ﬁ", "e\u{301}", "\\n",
        ]).prop_map(str::to_owned),
    ];
    let joint = prop::sample::select(vec!["", " ", " ", " ", "\n", ", ", ". "]);
    prop::collection::vec((piece, joint), 0..24)
        .prop_map(|pieces| pieces.into_iter().flat_map(|(piece, joint)| [piece, joint.to_owned()]).collect())
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), chat()]
}

proptest! {
    #[test]
    fn spans_are_in_order_and_on_character_boundaries(text in any_text()) {
        let redacted = redact(&redactor(), &text);
        let mut rebuilt = String::new();
        let mut end = 0;
        for span in &redacted.spans {
            prop_assert!(span.range.start >= end && span.range.start < span.range.end);
            rebuilt.push_str(text.get(end..span.range.start).unwrap());
            rebuilt.push_str(&format!("[{}_{}]", span.entity.label(), span.number));
            end = span.range.end;
        }
        rebuilt.push_str(text.get(end..).unwrap());
        prop_assert_eq!(rebuilt, redacted.text);
    }

    #[test]
    fn redaction_is_idempotent(text in any_text()) {
        let redactor = redactor();
        let once = redact(&redactor, &text).text;
        let twice = redact(&redactor, &once);
        prop_assert_eq!(&twice.text, &once);
        prop_assert_eq!(twice.spans, []);
    }

    #[test]
    fn planted_values_are_found(
        before in any_text(),
        after in any_text(),
        (entity, value) in prop::sample::select(vec![
            (Entity::Email, "ada.l@mail.example.org"),
            (Entity::Iban, "DE89370400440532013000"),
            (Entity::Iban, "GB82 WEST 1234 5698 7654 32"),
            (Entity::Card, "4111111111111111"),
            (Entity::Card, "5555-5555-5555-4444"),
            (Entity::Name, "Ada Lovelace"),
            (Entity::Name, "zoë müller"),
            (Entity::Name, "LOVELACE"),
            (Entity::Name, "zoe.m"),
            (Entity::Name, "小明"),
        ]),
        joint in prop::sample::select(vec![" ", "\n", "\n\n", " (", "\t", " – "]),
    ) {
        let text = format!("{before}{joint}{value} {after}");
        let start = before.len() + joint.len();
        let redacted = redact(&redactor(), &text);
        let is_covered = |at: usize| redacted.spans.iter().any(|span| span.range.contains(&at));
        let mut letters = value.char_indices().filter(|(_, c)| c.is_alphanumeric());
        prop_assert!(letters.all(|(at, _)| is_covered(start + at)), "{entity:?} {text:?} {}", redacted.text);
    }

    #[test]
    fn generated_values_are_found(
        local in "[a-z0-9]{1,8}([.+_-][a-z0-9]{1,6}){0,2}",
        domain in "([a-z0-9]{1,8}\\.){1,3}[a-z]{2,6}",
        digits in prop::collection::vec(0_u32..10, 15),
    ) {
        let email = format!("{local}@{domain}");
        let text = format!("write to {email}, please");
        prop_assert_eq!(redact(&redactor(), &text).text, "write to [EMAIL_1], please");
        let mut card: Vec<u32> = std::iter::once(4).chain(digits.into_iter().take(14)).collect();
        let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
        let sum: u32 = card.iter().rev().enumerate().map(|(at, &digit)| if at % 2 == 0 { doubled(digit) } else { digit }).sum();
        card.push((10 - sum % 10) % 10);
        let card: String = card.into_iter().map(|digit| char::from_digit(digit, 10).unwrap()).collect();
        let text = format!("use {card}, please");
        prop_assert_eq!(redact(&redactor(), &text).text, "use [CARD_1], please");
    }
}

#[test]
fn value_has_one_placeholder_throughout_a_conversation() {
    let (redactor, key) = (redactor(), Key::new(&[3; 32]));
    let mut conversation = Conversation::default();
    let mut redact = |text: &str| redactor.redact(text, &mut conversation, &key).text;
    assert_eq!(redact("Ada Lovelace <ada@example.org>"), "[NAME_1] <[EMAIL_1]>");
    assert_eq!(redact("Zoë asks Ada: is ADA@example.org yours?"), "[NAME_2] asks [NAME_1]: is [EMAIL_1] yours?");
    assert_eq!(redact("0170 1234567 or +49 170 1234567"), "[PHONE_1] or [PHONE_1]");
    let mut restored: Conversation = serde_json::from_str(&serde_json::to_string(&conversation).unwrap()).unwrap();
    assert_eq!(restored, conversation);
    assert_eq!(redactor.redact("eve@example.org", &mut restored, &key).text, "[EMAIL_2]");
}

#[test]
fn hostile_texts_come_to_an_end() {
    // The benchmark shows that their time is linear.
    let redactor = redactor();
    for piece in [
        "a",
        "1 ",
        "a@",
        "Ab ",
        "[NAME_",
        "://",
        "a.b-",
        "AA00",
        "12-",
        "-----BEGIN A-----",
        "Ada ",
        "é",
        "www.",
        "((",
        "::",
        "Mr. ",
    ] {
        redact(&redactor, &piece.repeat(10_000 / piece.len()));
    }
}
