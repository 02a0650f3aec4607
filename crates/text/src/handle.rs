//! Handles: what comments mention members by.
//!
//! 2 to 30 characters: lower-case ASCII letters, digits, and `.`, `_`, `-` between them.

/// Characters of a handle, at least.
pub const MIN_LENGTH: usize = 2;
/// Characters of a handle, at most.
pub const MAX_LENGTH: usize = 30;

/// Words that mention groups, or nobody, in this or other products: a member who had one would be mentioned by mistake.
pub const RESERVED: &[&str] = &[
    "admins",
    "all",
    "anybody",
    "anyone",
    "assignee",
    "assignees",
    "baton",
    "bot",
    "channel",
    "everybody",
    "everyone",
    "group",
    "here",
    "managers",
    "me",
    "members",
    "nobody",
    "none",
    "null",
    "owners",
    "reporter",
    "self",
    "system",
    "team",
    "unassigned",
    "undefined",
    "users",
    "watchers",
];

/// A character that a handle can have. Both cases: a mention may be written in either.
pub fn is_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || is_separator(c)
}

/// A character that a handle can have, though not at its ends.
pub fn is_separator(c: char) -> bool {
    matches!(c, '.' | '_' | '-')
}

/// Whether this is a handle.
pub fn is_handle(text: &str) -> bool {
    let at_ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    (MIN_LENGTH..=MAX_LENGTH).contains(&text.len())
        && text.chars().all(|c| is_character(c) && !c.is_ascii_uppercase())
        && at_ends(text.chars().next())
        && at_ends(text.chars().next_back())
}

/// Whether nobody may take it.
pub fn is_reserved(handle: &str) -> bool {
    RESERVED.binary_search(&handle).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_begin_and_end_with_a_letter_or_a_digit() {
        for good in ["jo", "jo.doe", "a-_b", "42"] {
            assert!(is_handle(good), "{good}");
        }
        for bad in ["j", "", ".jo", "jo-", "Jo", "jö", "jo doe", &"x".repeat(31)] {
            assert!(!is_handle(bad), "{bad}");
        }
    }

    #[test]
    fn reserved_handles_are_handles_in_order() {
        assert!(RESERVED.is_sorted());
        assert!(RESERVED.iter().all(|handle| is_handle(handle) && is_reserved(handle)));
        assert!(!is_reserved("ada"));
    }
}
