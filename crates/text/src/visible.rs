//! Lines, text, names and search terms.

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;

use crate::{
    Problem,
    characters::{
        breaks_line, has_effect, has_right_to_left, is_control, is_ignorable, is_mark, is_space, is_visible, reorders,
        trim,
    },
};

/// Marks on one character, at most, as in the stream-safe format (UAX #15, section 13). Thai and Vietnamese need three.
const MAX_MARKS: usize = 30;

const CONTROL: Problem = Problem::new("must not contain control characters or line breaks");
pub(crate) const CONTROL_IN_TEXT: Problem =
    Problem::new("must not contain control characters other than line breaks and tabs");
const REORDERS: Problem = Problem::new("must not contain characters that override the direction of text");
const INVISIBLE: Problem = Problem::new("must contain a visible character");
const MARKS: Problem = Problem::new("must not contain more than 30 combining marks in a row");
const PATH: Problem = Problem::new("must be a file name without a path: no slash or backslash, and not . or ..");

/// A visible line: titles, and names of people, accounts, files, fields and keys.
///
/// It has at least one visible character, and no control characters, line breaks, or characters that reorder text. The
/// result is in NFC, trimmed, and without invisible characters that have no effect. Joiners stay in emoji sequences and
/// in the scripts that need them.
///
/// # Errors
/// If it is empty or invisible, or contains a character that a line must not have.
pub fn line(given: &str) -> Result<String, Problem> {
    if let Some(plain) = plain(given, |byte| matches!(byte, b' '..=b'~')) {
        return Ok(plain.to_owned());
    }
    check(given, CONTROL, |_| false)?;
    let mut line = nfc(given);
    // Removal may join a base and a mark, and trimming may uncover more to remove. Few lines need a second round.
    loop {
        let next = nfc(trim(&without_effectless(&line)));
        if next == line {
            break;
        }
        line = next;
    }
    require_visible(line)
}

/// A visible line that is compared with others: tags, saved views. The rule of [`line`], with NFKC and single spaces,
/// so that spellings that look the same are equal.
///
/// # Errors
/// Those of [`line`].
pub fn name(given: &str) -> Result<String, Problem> {
    let mut name = line(given)?;
    loop {
        let next = line(&single_spaces(&nfkc(&name)))?;
        if next == name {
            return Ok(name);
        }
        name = next;
    }
}

/// The form in which names are compared: NFKC_Casefold (UAX #31), which ignores case, width and invisible characters.
/// It is for keys and look-ups, and never displayed.
pub fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let mut folded = name.to_owned();
    loop {
        let visible: String = nfkc(&folded).chars().filter(|&c| !is_ignorable(c)).collect();
        let next = nfkc(&CaseMapper::new().fold_string(&visible));
        if next == folded {
            return folded;
        }
        folded = next;
    }
}

/// Visible text: comments, descriptions, reasons. The rule of [`line`], with tabs and with line breaks, which become
/// LF. Leading white space stays, because Markdown gives it a meaning, and so do all invisible characters.
///
/// # Errors
/// If it is empty or invisible, or contains a character that text must not have.
pub fn text(given: &str) -> Result<String, Problem> {
    if let Some(plain) = plain(given, |byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t')) {
        return if plain.is_empty() { Err(INVISIBLE) } else { Ok(given.to_owned()) };
    }
    check(given, CONTROL_IN_TEXT, |c| breaks_line(c) || c == '\t')?;
    let breaks = given.replace("\r\n", "\n").replace(breaks_line, "\n");
    require_visible(nfc(&breaks))
}

/// Search terms, normalized like stored text. Nothing is rejected; terms that no text contains find nothing.
pub fn query(given: &str) -> String {
    if let Some(plain) = plain(given, |byte| matches!(byte, b' '..=b'~')) {
        return plain.to_owned();
    }
    let kept: String = given
        .chars()
        .filter(|&c| !reorders(c))
        .map(|c| if is_control(c) || breaks_line(c) { ' ' } else { c })
        .collect();
    let mut query = nfc(&kept);
    loop {
        let next = nfc(trim(&without_effectless(&query)));
        if next == query {
            return query;
        }
        query = next;
    }
}

/// A file name without a path: the rule of [`line`], no slash or backslash, and neither `.` nor `..`.
///
/// # Errors
/// Those of [`line`], and if it is or contains a path.
pub fn file_name(given: &str) -> Result<String, Problem> {
    let name = line(given)?;
    if name.contains(['/', '\\']) || name == "." || name == ".." {
        return Err(PATH);
    }
    Ok(name)
}

/// NFC (UAX #15).
pub(crate) fn nfc(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned()
}

/// NFKC (UAX #15).
pub(crate) fn nfkc(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfkc().normalize(text).into_owned()
}

/// The trimmed text if all its bytes are accepted ASCII: a fast path for most texts.
fn plain(given: &str, accepts: impl Fn(u8) -> bool) -> Option<&str> {
    let trimmed = given.trim_ascii();
    (!trimmed.is_empty() && given.bytes().all(accepts)).then_some(trimmed)
}

fn check(given: &str, control: Problem, accepts: impl Fn(char) -> bool) -> Result<(), Problem> {
    let mut marks = 0;
    for c in trim(given).chars() {
        if (is_control(c) || breaks_line(c)) && !accepts(c) {
            return Err(control);
        }
        if reorders(c) {
            return Err(REORDERS);
        }
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if marks > MAX_MARKS {
            return Err(MARKS);
        }
    }
    Ok(())
}

fn require_visible(text: String) -> Result<String, Problem> {
    if text.chars().any(is_visible) { Ok(text) } else { Err(INVISIBLE) }
}

/// Removes the invisible characters that have no effect.
fn without_effectless(text: &str) -> String {
    let right_to_left = has_right_to_left(text);
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if !is_ignorable(c) || has_effect(c, &kept, rest.clone().next(), right_to_left) {
            kept.push(c);
        }
    }
    kept
}

fn single_spaces(text: &str) -> String {
    let mut single = String::with_capacity(text.len());
    for c in text.chars() {
        let c = if is_space(c) { ' ' } else { c };
        if c != ' ' || !single.ends_with(' ') {
            single.push(c);
        }
    }
    single
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Characters that are invisible on their own.
    const INVISIBLE_ALONE: [&str; 24] = [
        "\u{200b}",
        "\u{200c}",
        "\u{200d}",
        "\u{2060}",
        "\u{feff}",
        "\u{ad}",
        "\u{34f}",
        "\u{115f}",
        "\u{1160}",
        "\u{3164}",
        "\u{ffa0}",
        "\u{2800}",
        "\u{fe0f}",
        "\u{e0100}",
        "\u{e0041}",
        "\u{180e}",
        "\u{17b4}",
        "\u{2061}",
        "\u{200e}",
        "\u{61c}",
        "\u{1d159}",
        "\u{301}",
        "\u{e000}",
        "\u{fff9}",
    ];

    #[test]
    fn line_needs_a_visible_character() {
        for alone in INVISIBLE_ALONE {
            for given in [alone.to_owned(), format!(" {alone}\u{a0}{alone} "), alone.repeat(3)] {
                assert!(line(&given).is_err(), "{given:?}");
                assert!(text(&given).is_err(), "{given:?}");
                assert!(name(&given).is_err(), "{given:?}");
            }
        }
        for good in ["a", "?", "日", "👍", "١", "é"] {
            assert_eq!(line(good).as_deref(), Ok(good));
        }
    }

    #[test]
    fn control_and_reordering_characters_are_rejected() {
        for c in ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}').chain(['\u{2028}', '\u{2029}']) {
            assert_eq!(line(&format!("a{c}b")), Err(CONTROL), "{c:?}");
        }
        for c in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
            assert_eq!(line(&format!("a{c}b")), Err(REORDERS), "{c:?}");
            assert_eq!(text(&format!("a{c}b")), Err(REORDERS), "{c:?}");
        }
        assert_eq!(line("You won. http://evil.example\nSign in there"), Err(CONTROL));
        assert_eq!(line("\u{1b}[31mred"), Err(CONTROL));
        assert_eq!(line(" \t around \r\n").as_deref(), Ok("around"));
        assert_eq!(line(&format!("a{}", "\u{301}".repeat(31))), Err(MARKS));
    }

    #[test]
    fn characters_without_effect_are_removed() {
        for (given, kept) in [
            ("ad\u{200b}min", "admin"),
            ("ad\u{ad}min\u{feff}", "admin"),
            ("ad\u{200d}min", "admin"),
            ("adm\u{fe0f}in", "admin"),
            ("adm\u{200e}in", "admin"),
            ("e\u{200b}\u{301}", "é"),
            ("1\u{fe0f}", "1"),
        ] {
            assert_eq!(line(given).as_deref(), Ok(kept), "{given:?}");
        }
    }

    #[test]
    fn characters_needed_by_emoji_and_scripts_stay() {
        for given in
            ["👩‍👩‍👧‍👦 family", "🏳️‍🌈", "👩🏽‍💻", "❤️", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🇩🇪", "می‌خواهم", "क्‍ष", "葛\u{e0100}城", "שלום \u{200f}(1)"]
        {
            assert_eq!(line(given).as_deref(), Ok(given), "{given:?}");
            assert_eq!(text(given).as_deref(), Ok(given), "{given:?}");
            assert_eq!(query(given), given);
        }
    }

    #[test]
    fn text_keeps_margins_and_normalizes_line_breaks() {
        assert_eq!(text("  a\r\nb\rc\u{2028}d\te\n").as_deref(), Ok("  a\nb\nc\nd\te\n"));
        assert_eq!(text("a\u{1b}b"), Err(CONTROL_IN_TEXT));
        assert_eq!(text("a\0b"), Err(CONTROL_IN_TEXT));
        assert_eq!(text("\n\t "), Err(INVISIBLE));
    }

    #[test]
    fn names_that_look_the_same_are_equal() {
        for (one, other) in [
            ("Café", "Cafe\u{301}"),
            ("Ａｃｍｅ", "Acme"),
            ("oﬃce", "office"),
            ("two  words", "two\u{a0}words"),
            ("한국", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"),
            ("Å", "\u{212b}"),
        ] {
            assert_eq!(name(one), name(other), "{one} {other}");
        }
        for (one, other) in
            [("Straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("É", "e\u{301}"), ("ad\u{200b}min", "ADMIN")]
        {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
    }

    #[test]
    fn file_name_must_not_be_a_path() {
        for good in ["a", "Bericht (2).pdf", "résumé.docx", "日本語.txt", "..a", "a..b", "👍.png"] {
            assert_eq!(file_name(good).as_deref(), Ok(good));
        }
        for bad in [".", "..", "../a", "a/b", "a\\b", "a\0b", "a\nb", "invoice\u{202e}gnp.exe", "\u{200b}"] {
            assert!(file_name(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn valid_line_is_visible_and_normalized(given in any::<String>()) {
            if let Ok(line) = line(&given) {
                prop_assert!(line.chars().any(is_visible));
                prop_assert!(!line.chars().any(|c| is_control(c) || breaks_line(c) || reorders(c)));
                prop_assert_eq!(&nfc(&line), &line);
                prop_assert_eq!(trim(&line), &line);
            }
        }

        #[test]
        fn normalization_is_idempotent(
            given in prop::collection::vec(prop::sample::select(vec![
                "a", "e", "é", "\u{301}", "\u{200d}", "\u{200c}", "\u{fe0f}", "👩", "🏽", "\u{200b}", " ", "\u{a0}", "क", "\u{94d}",
                "ب", "\u{200f}", "1", "\u{20e3}", "\u{e0067}", "🏴", "葛", "\u{1100}", "\u{1161}", "ﬁ", "\u{3164}", "\n",
            ]), 0..12)
        ) {
            let given = given.concat();
            for rule in [line, name, text] as [fn(&str) -> Result<String, Problem>; 3] {
                if let Ok(once) = rule(&given) {
                    prop_assert_eq!(rule(&once), Ok(once));
                }
            }
            prop_assert_eq!(query(&query(&given)), query(&given));
            prop_assert_eq!(fold(&fold(&given)), fold(&given));
        }

        #[test]
        fn normal_form_and_case_do_not_distinguish_names(given in "[a-zA-Zéßàﬁñ０-９ \u{301}\u{200b}]{1,20}") {
            let decomposed = icu_normalizer::DecomposingNormalizerBorrowed::new_nfd().normalize(&given).into_owned();
            prop_assert_eq!(name(&given), name(&decomposed));
            prop_assert_eq!(fold(&given), fold(&decomposed));
            prop_assert_eq!(fold(&given), fold(&given.to_uppercase()));
        }

        #[test]
        fn ascii_words_pass_unchanged(given in "[!-~]([ -~]{0,40}[!-~])?") {
            prop_assert_eq!(line(&given), Ok(given.clone()));
            prop_assert_eq!(text(&given), Ok(given));
        }
    }
}
