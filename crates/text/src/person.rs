//! Names of people.

/// The name to show of a person who may have one name only: neither part leaves a space behind.
pub fn full_name(first: &str, last: &str) -> String {
    let parts = [first.trim(), last.trim()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_stands_alone() {
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
