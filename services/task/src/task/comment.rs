//! Comments: valid bodies, permissions, and emoji.

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    policy::visibility::Actor,
    task::{fields::required, mention},
};

/// Characters of a comment, as the contract and the table have it.
pub(crate) const MAX_LENGTH: usize = 20_000;
/// Maximum number of different emoji on a comment.
pub(crate) const MAX_REACTIONS: i64 = 50;

/// A comment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comment {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) task_id: Uuid,
    /// The root of its thread.
    pub(crate) parent_id: Option<Uuid>,
    pub(crate) author_id: Uuid,
    pub(crate) body: String,
    pub(crate) version: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) edited_at: Option<DateTime<Utc>>,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    /// The service that wrote it for its author: a [`Via`](baton_runtime::Via).
    pub(crate) via: Option<Value>,
}

impl Comment {
    /// Checks that the actor may edit the comment: its author.
    ///
    /// # Errors
    /// COMMENT_CHANGE_NOT_ALLOWED, as for the method below.
    pub(crate) fn can_edit(&self, actor: Actor<'_>) -> Result<()> {
        if self.author_id == actor.id { Ok(()) } else { Err(Reason::CommentChangeNotAllowed.into()) }
    }

    /// Checks that the actor may delete the comment: its author, and account administrators.
    pub(crate) fn can_delete(&self, actor: Actor<'_>) -> Result<()> {
        if actor.is_account_admin() { Ok(()) } else { self.can_edit(actor) }
    }

    /// The root of the comment's thread.
    pub(crate) fn thread(&self) -> Uuid {
        self.parent_id.unwrap_or(self.id)
    }
}

/// A mentioned member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mention {
    pub(crate) user_id: Uuid,
    pub(crate) handle: String,
    pub(crate) sees_task: bool,
}

/// Mentions, reactions and number of replies of a comment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CommentDetails {
    pub(crate) mentions: Vec<Mention>,
    pub(crate) reactions: Vec<Reaction>,
    pub(crate) replies: i64,
}

/// An emoji and its number of reactions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reaction {
    pub(crate) emoji: String,
    pub(crate) count: i64,
    pub(crate) mine: bool,
}

/// Validates a body and returns it with the handles that it mentions. `field` names it in errors.
///
/// # Errors
/// VALIDATION_FAILED when it is blank or mentions too many members.
pub(crate) fn body(body: String, field: &str) -> Result<(String, Vec<String>)> {
    let body = required(body, field)?;
    let handles = mention::handles(&body);
    if handles.len() > mention::MAX_MENTIONS {
        return Err(Error::invalid(field, format!("must mention at most {} members", mention::MAX_MENTIONS)));
    }
    Ok((body, handles))
}

/// Resolves an emoji that Unicode recommends for general use (RGI), given as itself or by its shortcode. Forms with and
/// without a variation selector are the same emoji.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn emoji(text: &str) -> Result<&'static str> {
    let emoji = emojis::get(text).or_else(|| emojis::get_by_shortcode(text.trim_matches(':')));
    emoji.map(|emoji| emoji.as_str()).ok_or_else(|| Error::invalid("emoji", "must be an emoji"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::visibility::tests::{ALL, USER, membership};

    #[test]
    fn permissions_on_a_users_comment() {
        let comment = Comment {
            id: Uuid::nil(),
            account_id: Uuid::nil(),
            task_id: Uuid::nil(),
            parent_id: None,
            author_id: USER,
            body: String::new(),
            version: 1,
            created_at: DateTime::UNIX_EPOCH,
            edited_at: None,
            deleted_at: None,
            via: None,
        };
        let may = |rule: fn(&Comment, Actor<'_>) -> Result<()>| {
            ALL.map(|id| rule(&comment, Actor { id, membership: &membership(id) }).is_ok())
        };
        assert_eq!(may(Comment::can_edit), [false, false, false, false, true, false, false]);
        assert_eq!(may(Comment::can_delete), [true, true, false, false, true, false, false]);
    }

    #[test]
    fn body_must_not_be_blank_and_mentions_at_most_fifty() {
        assert!(body(String::new(), "body").is_err());
        let names = |count: usize| (0..count).map(|n| format!("@anna{n} ")).collect::<String>();
        assert_eq!(body(names(50), "body").unwrap().1.len(), 50);
        assert!(body(names(51), "body").is_err());
        // A repeated handle counts once.
        assert!(body(names(50) + "@anna1 @anna2", "body").is_ok());
        assert_eq!(body(" *kept* as it is ".to_owned(), "body").unwrap().0, " *kept* as it is ");
    }

    #[test]
    fn emoji_is_resolved_by_any_of_its_names() {
        for (text, expected) in [
            ("👍", "👍"),
            ("+1", "👍"),
            (":tada:", "🎉"),
            ("❤", "❤️"),
            ("❤️", "❤️"),
            ("👍🏽", "👍🏽"),
            ("👩🏻‍❤️‍💋‍👩🏻", "👩🏻‍❤️‍💋‍👩🏻"),
            ("🇩🇪", "🇩🇪"),
        ] {
            assert_eq!(emoji(text).unwrap(), expected);
        }
        for text in ["", "hello", "👍👍", "👍 ", "nonsense", "<b>", "\u{200d}", "🏻‍", "🇩"] {
            assert!(emoji(text).is_err(), "{text:?}");
        }
        // The limit of the database column, in bytes.
        assert!(emojis::iter().all(|emoji| emoji.as_str().len() <= 40));
    }
}
