//! The comments of the protos, from the descriptors' source info.

use std::collections::HashMap;

use baton_proto::pool;
use prost_reflect::FileDescriptor;

/// Comments by file and descriptor path.
pub(super) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    /// Reads all comments of the contract.
    pub(super) fn read() -> Self {
        let mut comments = HashMap::new();
        for file in pool().files() {
            let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
            for location in locations {
                if let Some(comment) = &location.leading_comments {
                    comments.insert((file.name().to_owned(), location.path.clone()), join_lines(comment));
                }
            }
        }
        Self(comments)
    }

    /// Returns the comment at this path of the file; empty if there is none.
    pub(super) fn on(&self, file: &FileDescriptor, path: &[i32]) -> &str {
        self.0.get(&(file.name().to_owned(), path.to_vec())).map_or("", String::as_str)
    }
}

/// Joins the lines of a comment. Paragraphs and the lines of lists, tables, headings and code are kept; `Errors:`
/// begins a paragraph.
pub(super) fn join_lines(comment: &str) -> String {
    let mut text = String::new();
    let mut is_code = false;
    for line in comment.lines() {
        let line = if is_code { line } else { line.trim() };
        let is_fence = line.starts_with("```");
        let begins = line.is_empty() || line.starts_with("Errors:");
        if is_code || is_fence || ["- ", "|", "#"].iter().any(|mark| line.starts_with(mark)) {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
        } else if begins && !text.is_empty() && !text.ends_with("\n\n") {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        } else if !text.is_empty() && !text.ends_with('\n') {
            text.push(' ');
        }
        text.push_str(line);
        is_code ^= is_fence;
        if is_code || is_fence || line.starts_with('|') || line.starts_with('#') {
            text.push('\n');
        }
    }
    text.trim().to_owned()
}

/// Returns the first sentence without its full stop, and the rest.
pub(super) fn first_sentence(text: &str) -> (&str, &str) {
    let end = text.match_indices('.').map(|(i, _)| i).find(|&i| {
        let rest = &text[i + 1..];
        let next = rest.trim_start().chars().next();
        rest.is_empty() || rest.starts_with(char::is_whitespace) && next.is_some_and(|c| !c.is_lowercase())
    });
    end.map_or((text, ""), |end| (&text[..end], text[end + 1..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_to_paragraphs() {
        let text = join_lines(" One\n two.\n\n Three.\n Errors: A,\n B.\n");
        assert_eq!(text, "One two.\n\nThree.\n\nErrors: A, B.");
    }

    #[test]
    fn lists_tables_and_code_keep_their_lines() {
        let text = join_lines(" Tiers:\n\n | a | b |\n |---|---|\n | 1 | 2 |\n\n - one\n   of two\n - two\n");
        assert_eq!(text, "Tiers:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- one of two\n- two");
        assert_eq!(join_lines("```sh\na\n  b\n```\nThen."), "```sh\na\n  b\n```\nThen.");
    }

    #[test]
    fn a_sentence_ends_before_the_next_one() {
        assert_eq!(
            first_sentence("Pauses v1.2 of it, e.g. this one. Then more."),
            ("Pauses v1.2 of it, e.g. this one", "Then more.")
        );
        assert_eq!(first_sentence("One task."), ("One task", ""));
        assert_eq!(first_sentence("No stop"), ("No stop", ""));
        assert_eq!(first_sentence("One.\n\nTwo."), ("One", "Two."));
    }

    #[test]
    fn the_contract_is_documented() {
        let comments = Comments::read();
        for service in pool().services() {
            for method in service.methods() {
                assert_ne!(comments.on(&method.parent_file(), method.path()), "", "{}", method.full_name());
            }
        }
    }
}
