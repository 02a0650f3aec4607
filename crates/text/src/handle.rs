//! Handles: names that mention members in comments.
//!
//! 2 to 30 characters: lower-case ASCII letters and digits, and `.`, `_`, `-` between them.

/// Characters of a handle, at least.
pub const MIN_LENGTH: usize = 2;
/// Characters of a handle, at most.
pub const MAX_LENGTH: usize = 30;

/// Words that mention groups, or nobody, in this or other products. A member with such a handle would be mentioned by
/// mistake.
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

/// Whether a handle may contain the character, in either case: a mention may use upper case.
pub fn is_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || is_separator(c)
}

/// Whether the character is allowed inside a handle, but not at its ends.
pub fn is_separator(c: char) -> bool {
    matches!(c, '.' | '_' | '-')
}

/// Whether the text is a valid handle.
pub fn is_handle(text: &str) -> bool {
    let at_ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    (MIN_LENGTH..=MAX_LENGTH).contains(&text.len())
        && text.chars().all(|c| is_character(c) && !c.is_ascii_uppercase())
        && at_ends(text.chars().next())
        && at_ends(text.chars().next_back())
}

/// Whether the handle is reserved.
pub fn is_reserved(handle: &str) -> bool {
    RESERVED.binary_search(&handle).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_begins_and_ends_with_a_letter_or_digit() {
        for good in ["jo", "jo.doe", "a-_b", "42"] {
            assert!(is_handle(good), "{good}");
        }
        for bad in ["j", "", ".jo", "jo-", "Jo", "jö", "jo doe", &"x".repeat(31)] {
            assert!(!is_handle(bad), "{bad}");
        }
    }

    #[test]
    fn reserved_handles_are_valid_and_sorted() {
        assert!(RESERVED.is_sorted());
        assert!(RESERVED.iter().all(|handle| is_handle(handle) && is_reserved(handle)));
        assert!(!is_reserved("ada"));
    }
}
