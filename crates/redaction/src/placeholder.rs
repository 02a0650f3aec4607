//! Placeholders: `[`, the label of an entity, `_`, a number, `]`.

use std::{fmt::Write as _, ops::Range};

use crate::Entity;

/// Digits of a number, at most.
const MAX_DIGITS: usize = 10;

/// Appends a placeholder.
pub(crate) fn write(text: &mut String, entity: Entity, number: u32) {
    // Writing to a string does not fail.
    let _ = write!(text, "[{}_{number}]", entity.label());
}

/// The parts of a text between placeholders, without empty ones.
pub(crate) fn gaps(text: &str) -> Vec<Range<usize>> {
    let mut gaps = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(bracket) = text[at..].find('[') {
        let open = at + bracket;
        at = open + 1;
        if let Some(len) = length(&text[open..]) {
            gaps.push(start..open);
            start = open + len;
            at = start;
        }
    }
    gaps.push(start..text.len());
    gaps.retain(|gap| !gap.is_empty());
    gaps
}

/// The length of the placeholder that the text begins with.
fn length(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('[')?;
    let rest = Entity::ALL.iter().find_map(|entity| rest.strip_prefix(entity.label())?.strip_prefix('_'))?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let is_number = (1..=MAX_DIGITS).contains(&digits) && !rest.starts_with('0');
    rest[digits..].strip_prefix(']').filter(|_| is_number).map(|after| text.len() - after.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_at_placeholders() {
        let parts = |text: &'static str| gaps(text).into_iter().map(|gap| &text[gap]).collect::<Vec<_>>();
        assert_eq!(parts("Hi [NAME_1], [EMAIL_23][IP_1]"), ["Hi ", ", "]);
        assert_eq!(parts("[[NAME_1]]"), ["[", "]"]);
        assert_eq!(parts(""), [""; 0]);
        for none in ["[NAME_0]", "[NAME_]", "[NAME_1", "[NOBODY_1]", "[name_1]", "[NAME_12345678901]", "["] {
            assert_eq!(parts(none), [none]);
        }
    }

    #[test]
    fn written_placeholder_is_recognised() {
        for entity in Entity::ALL {
            for number in [1, 10, u32::MAX] {
                let mut text = String::new();
                write(&mut text, entity, number);
                assert!(gaps(&text).is_empty(), "{text}");
            }
        }
    }
}
