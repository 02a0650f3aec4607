//! Comments: what they may say, who may change them, and what can be made of them.

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    policy::visibility::Actor,
    task::{fields::required, mention},
};

/// Most different reactions to a comment.
pub(crate) const MAX_REACTIONS: i64 = 50;

/// What somebody has to say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comment {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) task_id: Uuid,
    /// The comment that begins its thread.
    pub(crate) parent_id: Option<Uuid>,
    pub(crate) author_id: Uuid,
    pub(crate) body: String,
    pub(crate) version: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) edited_at: Option<DateTime<Utc>>,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
}

impl Comment {
    /// Its author may edit it.
    ///
    /// # Errors
    /// COMMENT_CHANGE_NOT_ALLOWED, as for the one below.
    pub(crate) fn can_edit(&self, actor: Actor<'_>) -> Result<()> {
        if self.author_id == actor.id { Ok(()) } else { Err(Reason::CommentChangeNotAllowed.into()) }
    }

    /// Its author may delete it, and those who run the account.
    pub(crate) fn can_delete(&self, actor: Actor<'_>) -> Result<()> {
        if actor.is_account_admin() { Ok(()) } else { self.can_edit(actor) }
    }

    /// The comment that begins the thread that it is in.
    pub(crate) fn thread(&self) -> Uuid {
        self.parent_id.unwrap_or(self.id)
    }
}

/// What a comment says, and the handles that it names. `field` is where it was given.
///
/// # Errors
/// VALIDATION_FAILED when it is blank, or names too many.
pub(crate) fn body(body: String, field: &str) -> Result<(String, Vec<String>)> {
    let body = required(body, field)?;
    let handles = mention::handles(&body);
    if handles.len() > mention::MOST {
        return Err(Error::invalid(field, format!("names more than {} people", mention::MOST)));
    }
    Ok((body, handles))
}

/// The emoji that is meant: one that Unicode recommends for general use (RGI), by itself or by its shortcode. Forms of
/// one emoji, with and without a variation selector, are the same.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn emoji(text: &str) -> Result<&'static str> {
    let emoji = emojis::get(text).or_else(|| emojis::get_by_shortcode(text.trim_matches(':')));
    emoji.map(|emoji| emoji.as_str()).ok_or_else(|| Error::invalid("emoji", "is not an emoji"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::visibility::tests::{ALL, USER, membership};

    #[test]
    fn who_may_do_what_to_a_users_comment() {
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
        };
        let may = |rule: fn(&Comment, Actor<'_>) -> Result<()>| {
            ALL.map(|id| rule(&comment, Actor { id, membership: &membership(id) }).is_ok())
        };
        assert_eq!(may(Comment::can_edit), [false, false, false, false, true, false, false]);
        assert_eq!(may(Comment::can_delete), [true, true, false, false, true, false, false]);
    }

    #[test]
    fn a_comment_says_something_and_names_at_most_fifty() {
        assert!(body(String::new(), "body").is_err());
        let names = |count: usize| (0..count).map(|n| format!("@anna{n} ")).collect::<String>();
        assert_eq!(body(names(50), "body").unwrap().1.len(), 50);
        assert!(body(names(51), "body").is_err());
        // The same one again is not another.
        assert!(body(names(50) + "@anna1 @anna2", "body").is_ok());
        assert_eq!(body(" *kept* as it is ".to_owned(), "body").unwrap().0, " *kept* as it is ");
    }

    #[test]
    fn an_emoji_is_one_by_any_of_its_names() {
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
        // The database keeps them in so many bytes.
        assert!(emojis::iter().all(|emoji| emoji.as_str().len() <= 40));
    }
}
