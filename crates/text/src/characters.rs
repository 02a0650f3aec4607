//! Properties of characters, from the Unicode Character Database.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        BidiClass, CanonicalCombiningClass, DefaultIgnorableCodePoint, Emoji, EmojiModifier, ExtendedPictographic,
        GeneralCategory, JoiningType, Script, WhiteSpace,
    },
};

/// Blank glyphs without a Unicode property: the empty braille cell and the null notehead.
const BLANK: [char; 2] = ['\u{2800}', '\u{1d159}'];

/// White_Space (UAX #44): spaces, tabs and line breaks.
pub(crate) fn is_white_space(c: char) -> bool {
    CodePointSetData::new::<WhiteSpace>().contains(c)
}

/// Whether the text is only white space.
pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(is_white_space)
}

/// Trims white space.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_white_space)
}

/// A space of any width (General_Category Zs); not a line break.
pub(crate) fn is_space(c: char) -> bool {
    category(c) == GeneralCategory::SpaceSeparator
}

/// Whether the character is a line break.
pub(crate) fn breaks_line(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// C0 and C1 controls, and DEL.
pub(crate) fn is_control(c: char) -> bool {
    category(c) == GeneralCategory::Control
}

/// Embeddings, overrides and isolates (UAX #9). They display characters in another order than the stored one, even
/// beyond the end of the field (CVE-2021-42574).
pub(crate) fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A mark above or around the preceding character.
pub(crate) fn is_mark(c: char) -> bool {
    matches!(category(c), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark)
}

/// Default_Ignorable_Code_Point (UAX #44), and the interlinear annotation characters, which have no glyph either.
pub(crate) fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) || matches!(c, '\u{fff9}'..='\u{fffb}')
}

/// A character that is visible on its own.
pub(crate) fn is_visible(c: char) -> bool {
    let inkless = matches!(
        category(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::Surrogate
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned
            | GeneralCategory::SpaceSeparator
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::NonspacingMark
            | GeneralCategory::EnclosingMark
    );
    !inkless && !is_ignorable(c) && !BLANK.contains(&c)
}

/// Whether a part of the text is written from right to left.
pub(crate) fn has_right_to_left(text: &str) -> bool {
    let classes = CodePointMapData::<BidiClass>::new();
    text.chars().any(|c| !is_ignorable(c) && matches!(classes.get(c), BidiClass::RightToLeft | BidiClass::ArabicLetter))
}

/// Whether an ignorable character has a visible effect between `before` (all preceding text) and `next`. Joiners have
/// one after a virama and in cursive scripts (RFC 5892, appendix A.1 and A.2) and in emoji sequences (UTS #51);
/// variation selectors after emoji, symbols, ideographs and in scripts with variants; tags in flags; direction marks in
/// text from right to left.
pub(crate) fn has_effect(c: char, before: &str, next: Option<char>, right_to_left: bool) -> bool {
    let Some(last) = before.chars().next_back() else { return false };
    match c {
        '\u{200c}' | '\u{200d}' => {
            let emoji = c == '\u{200d}' && ends_emoji(last) && next.is_some_and(is_pictograph);
            emoji || is_virama(last) || before.chars().rev().find(|&c| !is_transparent(c)).is_some_and(joins)
        }
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => has_variants(last, next),
        '\u{180b}'..='\u{180d}' | '\u{180f}' => script(last) == Script::Mongolian,
        '\u{e0020}'..='\u{e007f}' => last == '\u{1f3f4}' || matches!(last, '\u{e0020}'..='\u{e007e}'),
        '\u{200e}' | '\u{200f}' | '\u{61c}' => right_to_left,
        _ => false,
    }
}

fn ends_emoji(c: char) -> bool {
    is_pictograph(c) || c == '\u{fe0f}' || CodePointSetData::new::<EmojiModifier>().contains(c)
}

fn is_pictograph(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c)
}

fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

fn is_transparent(c: char) -> bool {
    CodePointMapData::<JoiningType>::new().get(c) == JoiningType::Transparent
}

fn joins(c: char) -> bool {
    matches!(
        CodePointMapData::<JoiningType>::new().get(c),
        JoiningType::DualJoining | JoiningType::LeftJoining | JoiningType::RightJoining
    )
}

fn has_variants(c: char, next: Option<char>) -> bool {
    if c.is_ascii() {
        // `1`, VS16, keycap. Without the keycap, a selector has no effect.
        return CodePointSetData::new::<Emoji>().contains(c) && next == Some('\u{20e3}');
    }
    let by_script = matches!(script(c), Script::Han | Script::Mongolian | Script::PhagsPa | Script::Myanmar);
    let by_category = matches!(
        category(c),
        GeneralCategory::OtherSymbol
            | GeneralCategory::MathSymbol
            | GeneralCategory::ModifierSymbol
            | GeneralCategory::OtherPunctuation
    );
    by_script || by_category || CodePointSetData::new::<Emoji>().contains(c)
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}
