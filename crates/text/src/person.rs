//! Names of people.

/// The display name of a person, who may have only one name. A missing part leaves no space.
pub fn full_name(first: &str, last: &str) -> String {
    let parts = [first.trim(), last.trim()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_name_has_no_surrounding_space() {
        for (first, last, shown) in [
            ("Ada", "Lovelace", "Ada Lovelace"),
            ("Suharto", "", "Suharto"),
            ("", "Lovelace", "Lovelace"),
            ("", " ", ""),
        ] {
            assert_eq!(full_name(first, last), shown);
        }
    }
}
