//! Saved views: a source, a layout and a filter.

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    policy::visibility::Actor,
    query::{
        board_layout::LayoutKind,
        filter::{FilterTemplate, Reader},
    },
};

/// Maximum number of views per member.
pub(crate) const MAX_VIEWS: i64 = 100;

/// The tasks that a view shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ViewSource {
    /// The reader's board.
    My,
    /// A user's board.
    User,
    Team,
    Account,
    /// The list of all visible tasks.
    List,
}

impl ViewSource {
    pub(crate) const ALL: [Self; 5] = [Self::My, Self::User, Self::Team, Self::Account, Self::List];

    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::My => "my",
            Self::User => "user",
            Self::Team => "team",
            Self::Account => "account",
            Self::List => "list",
        }
    }

    /// The source with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// Who sees a view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ViewVisibility {
    /// Its owner.
    #[default]
    Private,
    /// Every member of the account.
    Shared,
}

impl ViewVisibility {
    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Shared => "shared",
        }
    }

    /// The visibility with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Private, Self::Shared].into_iter().find(|visibility| visibility.name() == name)
    }
}

/// A saved view.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) owner_id: Uuid,
    pub(crate) name: String,
    pub(crate) source: ViewSource,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) layout: LayoutKind,
    pub(crate) filter: FilterTemplate,
    pub(crate) visibility: ViewVisibility,
    pub(crate) position: i32,
    pub(crate) version: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl View {
    /// Whether the actor sees the view: their own, and shared ones.
    pub(crate) fn is_visible_to(&self, actor: Actor<'_>) -> bool {
        self.owner_id == actor.id || self.visibility == ViewVisibility::Shared
    }

    /// Checks that the actor may change and delete the view: its owner, and account administrators if it is shared.
    ///
    /// # Errors
    /// VIEW_CHANGE_NOT_ALLOWED.
    pub(crate) fn can_be_changed_by(&self, actor: Actor<'_>) -> Result<()> {
        let may = self.owner_id == actor.id || self.visibility == ViewVisibility::Shared && actor.is_account_admin();
        if may { Ok(()) } else { Err(Reason::ViewChangeNotAllowed.into()) }
    }

    /// Checks rules that involve several fields: a view names a user if and only if it shows a user's board, and its
    /// filter is valid. `above` prefixes field names in errors.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn check(&self, above: &str) -> Result<()> {
        if (self.source == ViewSource::User) != self.user_id.is_some() {
            return Err(Error::invalid(format!("{above}user_id"), "must be given for the source `user` only"));
        }
        self.filter.clone().resolve(Reader::ANONYMOUS)?;
        Ok(())
    }
}
