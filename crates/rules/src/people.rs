//! Whom an action concerns.

use serde::{Deserialize, Serialize};

/// People, relative to the task and the rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum To {
    /// The assignee.
    Assignee,
    /// The manager of the assignee.
    Manager,
    /// The creator.
    Creator,
    /// The watchers.
    Watchers,
    /// The person with whose rights the rule acts.
    Me,
    /// The best suggestion.
    Suggested,
    /// The member with this handle, in lower case, without `@`.
    Handle(String),
}

impl TryFrom<String> for To {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        Ok(match text.as_str() {
            "assignee" => Self::Assignee,
            "manager" => Self::Manager,
            "creator" => Self::Creator,
            "watchers" => Self::Watchers,
            "me" => Self::Me,
            "suggested" => Self::Suggested,
            text => {
                let handle = text.strip_prefix('@').filter(|handle| !handle.is_empty());
                let wrong = || "must be assignee, manager, creator, watchers, me, suggested or @handle".to_owned();
                Self::Handle(handle.ok_or_else(wrong)?.to_lowercase())
            }
        })
    }
}

impl From<To> for String {
    fn from(to: To) -> Self {
        match to {
            To::Assignee => "assignee".to_owned(),
            To::Manager => "manager".to_owned(),
            To::Creator => "creator".to_owned(),
            To::Watchers => "watchers".to_owned(),
            To::Me => "me".to_owned(),
            To::Suggested => "suggested".to_owned(),
            To::Handle(handle) => format!("@{handle}"),
        }
    }
}

impl To {
    /// In a sentence.
    pub(crate) fn phrase(&self) -> String {
        match self {
            Self::Assignee => "the assignee".to_owned(),
            Self::Manager => "the assignee's manager".to_owned(),
            Self::Creator => "the creator".to_owned(),
            Self::Watchers => "the watchers".to_owned(),
            Self::Me => "me".to_owned(),
            Self::Suggested => "the best suggestion".to_owned(),
            Self::Handle(handle) => format!("@{handle}"),
        }
    }
}
