//! Recall and precision, on sentences of Presidio's generator and on ordinary text without personal data.
//!
//! `data/sentences.jsonl` was made by `tests/third_party/presidio.py sentences --records faker`. That script measures the
//! same beside Presidio, and on records that must not be in this repository.

use std::collections::BTreeMap;

use baton_redaction::{Conversation, Key, Member, Redactor, Settings};

#[derive(serde::Deserialize)]
struct Sentence {
    text: String,
    entities: Vec<Labelled>,
}

#[derive(serde::Deserialize)]
struct Labelled {
    #[serde(rename = "type")]
    entity: String,
    start: usize,
    end: usize,
}

/// What is personal data in the sentences, with the least share that must be found.
const RECALL: [(&str, f64); 11] = [
    ("EMAIL_ADDRESS", 0.99),
    ("PHONE_NUMBER", 0.99),
    ("IBAN_CODE", 0.99),
    ("CREDIT_CARD", 0.99),
    ("IP_ADDRESS", 0.99),
    ("DOMAIN_NAME", 0.99),
    ("US_SSN", 0.99),
    ("US_DRIVER_LICENSE", 0.99),
    ("PERSON", 0.85),
    ("STREET_ADDRESS", 0.50),
    ("ZIP_CODE", 0.35),
];
/// Parts of addresses and descriptions of people: to redact them is no error, and to leave them is none.
const NEITHER: [&str; 5] = ["GPE", "TITLE", "AGE", "DATE_TIME", "NRP"];

fn sentences() -> Vec<Sentence> {
    let lines = include_str!("../data/sentences.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn redactor(members: Vec<Member>) -> Redactor {
    let regions = ["US", "GB", "CH", "IN"].map(str::to_owned).to_vec();
    Redactor::new(&Settings { regions, members, uuids: false })
}

fn covered(redactor: &Redactor, text: &str) -> Vec<bool> {
    let mut covered = vec![false; text.len()];
    for span in redactor.redact(text, &mut Conversation::default(), &Key::new(&[1; 32])).spans {
        covered[span.range].fill(true);
    }
    covered
}

/// Whether all letters and digits are redacted.
fn is_found(sentence: &Sentence, entity: &Labelled, covered: &[bool]) -> bool {
    let value = &sentence.text[entity.start..entity.end];
    value.char_indices().filter(|(_, c)| c.is_alphanumeric()).all(|(at, _)| covered[entity.start + at])
}

#[test]
fn recall_and_precision_stay_as_they_are() {
    let redactor = redactor(Vec::new());
    let mut counts: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let (mut redacted, mut personal) = (0, 0);
    let sentences = sentences();
    for sentence in &sentences {
        let covered = covered(&redactor, &sentence.text);
        for entity in &sentence.entities {
            let (all, found) = counts.entry(&entity.entity).or_default();
            *all += 1;
            *found += u32::from(is_found(sentence, entity, &covered));
        }
        for (start, word) in words(&sentence.text) {
            let range = start..start + word.len();
            let owners = sentence.entities.iter().filter(|entity| entity.start < range.end && entity.end > range.start);
            let owners: Vec<&str> = owners.map(|entity| entity.entity.as_str()).collect();
            let is_personal = owners.iter().any(|owner| RECALL.iter().any(|(entity, _)| entity == owner));
            if covered[range].contains(&true) && (is_personal || !owners.iter().any(|owner| NEITHER.contains(owner))) {
                redacted += 1;
                personal += u32::from(is_personal);
            }
        }
    }
    for (entity, least) in RECALL {
        let (all, found) = counts[entity];
        let recall = f64::from(found) / f64::from(all);
        assert!(recall >= least, "{entity}: {found} of {all}");
    }
    assert!(f64::from(personal) / f64::from(redacted) >= 0.95, "{personal} of {redacted} words");
}

#[test]
fn members_are_always_found() {
    let sentences = sentences();
    let names = sentences.iter().flat_map(|sentence| {
        let people = sentence.entities.iter().filter(|entity| entity.entity == "PERSON");
        people.map(|person| &sentence.text[person.start..person.end])
    });
    let members = names.map(|name| Member { first_name: name.to_owned(), ..Member::default() }).collect();
    let redactor = redactor(members);
    for sentence in &sentences {
        let covered = covered(&redactor, &sentence.text);
        for person in sentence.entities.iter().filter(|entity| entity.entity == "PERSON") {
            let name = &sentence.text[person.start..person.end];
            assert!(is_found(sentence, person, &covered), "{name} in {}", sentence.text);
        }
    }
}

#[test]
fn ordinary_text_stays_as_it_is() {
    let redactor = redactor(Vec::new());
    let text = include_str!("../data/ordinary.txt");
    let mut wrong = Vec::new();
    for line in text.lines() {
        let spans = redactor.redact(line, &mut Conversation::default(), &Key::new(&[1; 32])).spans;
        wrong.extend(spans.into_iter().map(|span| &line[span.range]));
    }
    // A mountain, but a surname as well, and a surname alone counts.
    assert_eq!(wrong, ["Everest"]);
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_end = |c: char| !c.is_alphanumeric() && c != '_';
    text.split(is_end)
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
        .filter(|(_, word)| !word.is_empty())
}
