//! What people say around a command: it is left out, or said in the words that commands are read by.

use crate::{
    phrases::starts,
    words::{Word, edits},
};

/// Beginnings that mean nothing.
const POLITE: [&[&str]; 86] = [
    &["please"],
    &["pls"],
    &["plz"],
    &["kindly"],
    &["hey"],
    &["hi"],
    &["hello"],
    &["ok"],
    &["okay"],
    &["so"],
    &["and"],
    &["but"],
    &["also"],
    &["baton"],
    &["assistant"],
    &["dear", "assistant"],
    &["um"],
    &["uh"],
    &["well"],
    &["now"],
    &["then"],
    &["great"],
    &["thanks"],
    &["alright"],
    &["right"],
    &["yo"],
    &["anyway"],
    &["anyways"],
    &["morning"],
    &["good", "morning"],
    &["good", "afternoon"],
    &["good", "evening"],
    &["afternoon"],
    &["evening"],
    &["hi", "there"],
    &["hey", "there"],
    &["quick", "one"],
    &["quick", "question"],
    &["one", "more", "thing"],
    &["by", "the", "way"],
    &["btw"],
    &["fyi"],
    &["could", "you", "please"],
    &["can", "you", "please"],
    &["would", "you", "please"],
    &["will", "you", "please"],
    &["can", "you"],
    &["could", "you"],
    &["would", "you"],
    &["will", "you"],
    &["can", "u"],
    &["could", "u"],
    &["would", "you", "mind"],
    &["would", "you", "be", "so", "kind", "as", "to"],
    &["be", "so", "kind", "as", "to"],
    &["could", "we", "please"],
    &["can", "we", "please"],
    &["could", "we"],
    &["can", "we"],
    &["could", "someone"],
    &["can", "someone"],
    &["let's"],
    &["lets"],
    &["i'd", "like", "you", "to"],
    &["i", "would", "like", "you", "to"],
    &["i", "want", "you", "to"],
    &["i", "need", "you", "to"],
    &["i'd", "like", "to"],
    &["i", "would", "like", "to"],
    &["i", "want", "to"],
    &["i", "wanna"],
    &["go", "ahead", "and"],
    &["make", "sure", "to"],
    &["be", "sure", "to"],
    &["just"],
    &["actually"],
    &["to", "be", "frank"],
    &["to", "be", "honest"],
    &["i", "was", "wondering", "whether"],
    &["i", "was", "wondering", "if"],
    &["it", "would", "help", "a", "lot", "if"],
    &["it", "would", "help", "if"],
    &["it", "would", "be", "great", "if"],
    &["it", "would", "be", "good", "if"],
    &["i", "think"],
    &["we", "should"],
];
/// Ends that mean nothing.
const POLITE_ENDS: [&[&str]; 19] = [
    &["please"],
    &["pls"],
    &["plz"],
    &["thanks"],
    &["thank", "you"],
    &["thx"],
    &["cheers"],
    &["thanks", "a", "lot"],
    &["many", "thanks"],
    &["thanks", "a", "million"],
    &["thanks", "so", "much"],
    &["thank", "you", "so", "much"],
    &["thanks", "in", "advance"],
    &["for", "me"],
    &["will", "you"],
    &["ok"],
    &["would", "you"],
    &["ta"],
    &["for", "now"],
];
/// Beginnings that say something in other words.
const SAME: [(&[&str], &[&str]); 40] = [
    (&["keep", "reminding", "me"], &["remind", "me"]),
    (&["start", "reminding", "me"], &["remind", "me"]),
    (&["i'd", "like", "to", "be", "told"], &["notify", "me"]),
    (&["i", "want", "to", "be", "told"], &["notify", "me"]),
    (&["i", "want", "to", "know", "when"], &["notify", "me", "when"]),
    (&["i", "want", "to", "know", "whenever"], &["notify", "me", "whenever"]),
    (&["may", "i", "see"], &["show"]),
    (&["can", "i", "see"], &["show"]),
    (&["could", "i", "see"], &["show"]),
    (&["let", "me", "see"], &["show"]),
    (&["would", "you", "mind", "giving"], &["give"]),
    (&["would", "you", "mind", "assigning"], &["assign"]),
    (&["would", "you", "mind", "marking"], &["mark"]),
    (&["would", "you", "mind", "creating"], &["create"]),
    (&["what", "about", "having"], &["have"]),
    (&["how", "about", "having"], &["have"]),
    (&["i'd", "like", "to", "know"], &["show"]),
    (&["i", "would", "like", "to", "know"], &["show"]),
    (&["i", "want", "to", "know"], &["show"]),
    (&["i'd", "like", "to", "see"], &["show"]),
    (&["i", "want", "to", "see"], &["show"]),
    (&["it", "would", "be", "good", "to", "see"], &["show"]),
    (&["would", "be", "good", "to", "see"], &["show"]),
    (&["would", "be", "nice", "to", "see"], &["show"]),
    (&["curious"], &["show"]),
    (&["i", "wonder"], &["show"]),
    (&["i'm", "curious"], &["show"]),
    (&["i", "want", "to", "be", "reminded"], &["remind", "me"]),
    (&["i'd", "like", "to", "be", "reminded"], &["remind", "me"]),
    (&["could", "i", "be", "reminded"], &["remind", "me"]),
    (&["can", "i", "be", "reminded"], &["remind", "me"]),
    (&["i", "want", "to", "be", "notified"], &["notify", "me"]),
    (&["i'd", "like", "to", "be", "notified"], &["notify", "me"]),
    (&["i", "want", "to", "get", "notified"], &["notify", "me"]),
    (&["a", "task", "should", "be", "set", "up"], &["create", "task"]),
    (&["a", "task", "should", "be", "created"], &["create", "task"]),
    (&["a", "task", "needs", "to", "be", "created"], &["create", "task"]),
    (&["there", "should", "be", "a", "task"], &["create", "task"]),
    (&["we", "need", "a", "task"], &["create", "task"]),
    (&["i", "need", "a", "task"], &["create", "task"]),
];
/// Words by which commands are known, which may be misspelt where a command begins.
const KEYWORDS: [&str; 24] = [
    "create", "assign", "reassign", "remind", "archive", "cancel", "delete", "complete", "finish", "start", "pause",
    "resume", "reopen", "mark", "show", "task", "tasks", "what's", "which", "notify", "close", "please", "every",
    "postpone",
];
/// Words that look like a keyword with a typo, and are none.
const OTHERS: [&str; 22] = [
    "make", "clone", "chose", "close", "stark", "smart", "chart", "mask", "ask", "park", "dark", "bark", "shop",
    "slow", "snow", "shot", "clause", "cause", "use", "ever", "very", "taste",
];

/// The words without politeness around them, in the words that commands are read by.
pub(crate) fn plain<'t>(words: &[Word<'t>]) -> Vec<Word<'t>> {
    let mut words = words.to_vec();
    for at in 0..words.len().min(4) {
        correct(&mut words[at]);
    }
    loop {
        if let Some((said, same)) =
            SAME.iter().filter(|(said, _)| starts(&words, 0, said)).max_by_key(|(said, _)| said.len())
        {
            let span = words[0].span;
            let last = words[said.len() - 1].mark;
            let replaced =
                same.iter().map(|word| Word { text: word, lower: (*word).to_owned(), span, mark: None, quoted: false });
            words.splice(..said.len(), replaced.collect::<Vec<_>>());
            if let Some(word) = words.get_mut(same.len() - 1) {
                word.mark = last;
            }
            continue;
        }
        let longest =
            POLITE.iter().filter(|said| begins(&words, said) && words.len() > said.len()).max_by_key(|said| said.len());
        match longest {
            Some(said) => {
                words.drain(..said.len());
            }
            None => break,
        }
    }
    loop {
        let end = POLITE_ENDS
            .iter()
            .filter(|said| words.len() > said.len() && begins(&words[words.len() - said.len()..], said))
            .max_by_key(|said| said.len());
        match end {
            // `for me` says whose the task is.
            Some(said)
                if **said == ["for", "me"]
                    && words.first().is_some_and(|word| word.is_any(&["create", "add", "make", "new"])) =>
            {
                break;
            }
            Some(said) => words.truncate(words.len() - said.len()),
            None => break,
        }
    }
    // `... because the client is waiting`: a reason is not a part of it.
    if let Some(at) = words.iter().position(|word| word.is_any(&["because", "cause", "cuz"])).filter(|at| *at > 1) {
        words.truncate(at);
    }
    if let Some(at) = words.iter().position(|word| word.is_any(&["since"])).filter(|at| {
        *at > 2
            && words.get(at + 1).is_some_and(|next| {
                next.is_any(&[
                    "the", "he", "she", "it", "we", "they", "our", "his", "her", "their", "i", "nobody", "everyone",
                ])
            })
    }) {
        words.truncate(at);
    }
    words
}

/// Whether words begin with a phrase, with any punctuation in it.
fn begins(words: &[Word<'_>], phrase: &[&str]) -> bool {
    words.len() >= phrase.len()
        && words.iter().zip(phrase).all(|(word, expected)| !word.quoted && word.lower == *expected)
}

/// A keyword with a typo is that keyword.
fn correct(word: &mut Word<'_>) {
    let letters = word.lower.chars().count();
    if word.quoted || letters < 4 || KEYWORDS.contains(&word.lower.as_str()) || OTHERS.contains(&word.lower.as_str()) {
        return;
    }
    // A name is none.
    let same_letter = |keyword: &&&str| keyword.chars().next() == word.lower.chars().next();
    let near = |keyword: &&&str| {
        let typed = word.lower.chars().count();
        keyword.chars().count() >= 4 && typed.abs_diff(keyword.chars().count()) <= 1 && edits(&word.lower, keyword) == 1
    };
    let is_form =
        |keyword: &&&str| word.lower.strip_prefix(**keyword).is_some_and(|rest| matches!(rest, "s" | "d" | "ed"));
    if let Some(keyword) = KEYWORDS.iter().filter(same_letter).filter(near).find(|keyword| !is_form(keyword)) {
        word.lower = (*keyword).to_owned();
    }
}
