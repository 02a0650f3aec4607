use super::*;

fn all(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    find(text, &mut found);
    found.sort_unstable_by_key(|found| found.start);
    found.into_iter().map(|found| &text[found.start..found.end]).collect()
}

#[test]
fn names_of_the_lexicon_are_found() {
    for (text, names) in [
        ("Yesterday Alice Kowalski was here.", vec!["Alice Kowalski"]),
        ("We met J. R. Kowalski and Søren F. Kleist.", vec!["J. R. Kowalski", "Søren F. Kleist"]),
        ("Ludwig van Beethoven wrote it", vec!["Ludwig van Beethoven"]),
        ("Will Alice come?", vec!["Alice"]),
        ("Alice's brother is Sigtryggur Bernharðsson", vec!["Alice", "Sigtryggur Bernharðsson"]),
        ("the speech of Paris Hilton", vec!["Paris Hilton"]),
        ("He likes Jennifer", vec!["Jennifer"]),
        ("They are Alice, Qwertz and Bob.", vec!["Alice", "Qwertz", "Bob"]),
    ] {
        assert_eq!(all(text), names, "{text}");
    }
}

#[test]
fn names_are_found_by_their_context() {
    for (text, names) in [
        ("My name is Csanád", vec!["Csanád"]),
        ("my name is cecilie k. josefsen", vec!["cecilie k. josefsen"]),
        ("Name: Xaver Qwertz", vec!["Xaver Qwertz"]),
        ("Hi Mark, how are you?", vec!["Mark"]),
        ("Dear Mr. Brown,", vec!["Brown"]),
        ("Best regards,\nQwertz", vec!["Qwertz"]),
        ("I'm Rose, hello", vec!["Rose"]),
        ("ask Qwertz about it; Qwertz knows", vec!["Qwertz", "Qwertz"]),
        ("Qwertz said no", vec!["Qwertz"]),
    ] {
        assert_eq!(all(text), names, "{text}");
    }
}

#[test]
fn other_words_with_capitals_are_not_found() {
    for text in [
        "Monday, Berlin and March",
        "Meet me in Berlin on Monday.",
        "The Quarterly Report is due in May",
        "Deploy Kubernetes with Helm and Postgres",
        "Please update the Jira board",
        "Will it work? May I mark it as done?",
        "Thanks, The Team",
        "Hi all, Hello World",
        "Acme Technologies Ltd and Morgan Stanley Bank",
        "IMPORTANT: DO NOT REPLY",
        "I am Available",
        "German, English and French",
        "New York City",
    ] {
        assert_eq!(all(text), [""; 0], "{text}");
    }
}
