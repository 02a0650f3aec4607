//! The table of all fields.

use std::fmt;

use crate::{
    choice::{Priority, Role, Status, Visibility, Weekday},
    needs::Needs,
};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of these names. `ordered`: the names are in ascending order, and can be compared.
    Choice {
        /// The names.
        names: &'static [&'static str],
        /// Whether they are ordered.
        ordered: bool,
    },
    /// A user.
    Person,
    /// A list of users.
    People,
    /// A list of texts.
    Texts,
    /// A moment.
    Time,
    /// True or false.
    Bool,
    /// A number.
    Number,
    /// A text.
    Text,
    /// A custom field: a text, a number, true, false or null.
    Custom,
}

impl Kind {
    /// Whether a value is a list.
    pub fn is_list(self) -> bool {
        matches!(self, Self::People | Self::Texts)
    }
}

/// What a field belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A task. The field also exists with the prefix `parent.`, for the parent task.
    Task,
    /// The event that is evaluated.
    Event,
    /// The task's assignee.
    Assignee,
    /// The time of the evaluation, in the timezone of the rule.
    Clock,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    pub(crate) id: Id,
    /// The name in conditions and templates. Of custom fields `custom_fields.<key>`.
    pub name: &'static str,
    /// What the field belongs to.
    pub scope: Scope,
    /// What the field holds.
    pub kind: Kind,
    /// Whether the field may have no value. Fields of the parent always may.
    pub nullable: bool,
    /// The English phrase: a noun without its article, or, of a field that is true or false, what the subject is.
    pub phrase: &'static str,
    /// The facts that the field reads.
    pub needs: Needs,
}

macro_rules! fields {
    ($($id:ident $name:literal $scope:ident $kind:expr, $nullable:literal, $phrase:literal, $needs:expr;)+) => {
        /// The rows of the table: an index into [`FIELDS`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub(crate) enum Id {
            $($id),+
        }

        /// All fields. Those of the scope [`Scope::Task`] also exist with the prefix `parent.`.
        pub static FIELDS: &[Definition] = &[
            $(Definition {
                id: Id::$id,
                name: $name,
                scope: Scope::$scope,
                kind: $kind,
                nullable: $nullable,
                phrase: $phrase,
                needs: $needs,
            }),+
        ];
    };
}

const STATUS: Kind = Kind::Choice { names: Status::NAMES, ordered: false };
const PRIORITY: Kind = Kind::Choice { names: Priority::NAMES, ordered: true };
const VISIBILITY: Kind = Kind::Choice { names: Visibility::NAMES, ordered: false };
const ROLE: Kind = Kind::Choice { names: Role::NAMES, ordered: true };
const WEEKDAY: Kind = Kind::Choice { names: Weekday::NAMES, ordered: true };

// Columns: id, name, scope, kind, nullable, phrase, facts.
fields! {
    Status "status" Task STATUS, false, "status", Needs::TASK;
    Priority "priority" Task PRIORITY, false, "priority", Needs::TASK;
    Visibility "visibility" Task VISIBILITY, false, "visibility", Needs::TASK;
    Assignee "assignee" Task Kind::Person, true, "assignee", Needs::TASK;
    Creator "creator" Task Kind::Person, false, "creator", Needs::TASK;
    AssignedBy "assigned_by" Task Kind::Person, true, "person who assigned it", Needs::TASK;
    Watchers "watchers" Task Kind::People, false, "watchers", Needs::WATCHERS;
    Tags "tags" Task Kind::Texts, false, "tags", Needs::TAGS;
    DueAt "due_at" Task Kind::Time, true, "due date", Needs::TASK;
    Overdue "overdue" Task Kind::Bool, false, "overdue", Needs::TASK.union(Needs::CLOCK);
    EstimatedSeconds "estimated_seconds" Task Kind::Number, true, "estimate in seconds", Needs::TASK;
    ActualSeconds "actual_seconds" Task Kind::Number, false, "working time in seconds", Needs::TIME_SPENT;
    Blocked "blocked" Task Kind::Bool, false, "blocked", Needs::BLOCKED;
    Progress "progress" Task Kind::Number, true, "progress in percent", Needs::PROGRESS;
    Title "title" Task Kind::Text, false, "title", Needs::TEXT;
    Description "description" Task Kind::Text, false, "description", Needs::TEXT;
    CreatedAt "created_at" Task Kind::Time, false, "time of creation", Needs::TASK;
    StartedAt "started_at" Task Kind::Time, true, "time of the start", Needs::TASK;
    CustomFields "custom_fields.<key>" Task Kind::Custom, true, "custom field", Needs::CUSTOM_FIELDS;
    EventActor "event.actor" Event Kind::Person, true, "person who made the change", Needs::EVENT;
    EventFrom "event.from" Event STATUS, true, "previous status", Needs::EVENT;
    EventTo "event.to" Event STATUS, true, "new status", Needs::EVENT;
    EventChangedFields "event.changed_fields" Event Kind::Texts, false, "changed fields", Needs::EVENT;
    AssigneeRole "assignee.role" Assignee ROLE, true, "assignee's role", Needs::ASSIGNEE;
    AssigneeManager "assignee.manager" Assignee Kind::Person, true, "assignee's manager", Needs::ASSIGNEE;
    Weekday "weekday" Clock WEEKDAY, false, "weekday", Needs::CLOCK;
    Hour "hour" Clock Kind::Number, false, "hour", Needs::CLOCK;
    WorkingHours "working_hours" Clock Kind::Bool, false, "within working hours", Needs::CLOCK;
}

const PARENT_PREFIX: &str = "parent.";
const CUSTOM_PREFIX: &str = "custom_fields.";
const MAX_KEY_LEN: usize = 64;

/// A field of the table, of the task or of its parent, with its key if it is a custom field.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Field {
    pub(crate) id: Id,
    pub(crate) of_parent: bool,
    pub(crate) key: Option<Box<str>>,
}

impl Field {
    /// The field with this name. The key of a custom field is 1 to 64 characters of `a-z`, `0-9` and `_`.
    pub fn from_name(name: &str) -> Option<Self> {
        let (of_parent, own) = match name.strip_prefix(PARENT_PREFIX) {
            Some(own) => (true, own),
            None => (false, name),
        };
        if let Some(key) = own.strip_prefix(CUSTOM_PREFIX) {
            return is_key(key).then(|| Self { id: Id::CustomFields, of_parent, key: Some(key.into()) });
        }
        let found = FIELDS.iter().find(|row| row.name == own && row.id != Id::CustomFields)?;
        (!of_parent || found.scope == Scope::Task).then_some(Self { id: found.id, of_parent, key: None })
    }

    /// The row of the table.
    pub fn definition(&self) -> &'static Definition {
        &FIELDS[self.id as usize]
    }

    /// Whether it is a field of the parent.
    pub fn is_of_parent(&self) -> bool {
        self.of_parent
    }

    /// Whether it may have no value.
    pub fn is_nullable(&self) -> bool {
        self.of_parent || self.definition().nullable
    }

    /// The facts that it reads.
    pub fn needs(&self) -> Needs {
        let needs = self.definition().needs;
        if self.of_parent { needs.moved_to_parent() } else { needs }
    }

    /// What is wrong with a name that is no field's: it lists those that are.
    pub(crate) fn unknown() -> String {
        let names: Vec<_> = FIELDS.iter().map(|row| row.name).collect();
        format!(
            "must be a field: {}, or one of a task with the prefix `parent.`; a <key> is 1 to 64 of a-z, 0-9 and _",
            names.join(", ")
        )
    }
}

fn is_key(key: &str) -> bool {
    (1..=MAX_KEY_LEN).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.of_parent { PARENT_PREFIX } else { "" };
        match &self.key {
            Some(key) => write!(f, "{prefix}{CUSTOM_PREFIX}{key}"),
            None => write!(f, "{prefix}{}", self.definition().name),
        }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_at_their_index_and_are_found_by_their_names() {
        for (index, row) in FIELDS.iter().enumerate() {
            assert_eq!(row.id as usize, index, "{}", row.name);
            let name = row.name.replace("<key>", "key_1");
            let field = Field::from_name(&name).expect("a field");
            assert_eq!((field.definition().name, field.to_string()), (row.name, name.clone()));
            let of_parent = Field::from_name(&format!("parent.{name}"));
            assert_eq!(of_parent.is_some(), row.scope == Scope::Task, "{name}");
            assert!(of_parent.is_none_or(|field| field.is_nullable() && field.to_string() == format!("parent.{name}")));
        }
    }

    #[test]
    fn other_names_are_no_fields() {
        let long = format!("custom_fields.{}", "a".repeat(65));
        let bad = ["", "Status", "parent", "parent.", "parent.parent.status", "parent.hour", "custom_fields", "event"];
        for name in bad.into_iter().chain(["custom_fields.", "custom_fields.A", "custom_fields.<key>", &long]) {
            assert_eq!(Field::from_name(name), None, "{name}");
        }
        assert!(Field::from_name(&long[..long.len() - 1]).is_some());
    }

    /// Longer texts are cut in a status.
    #[test]
    fn list_of_all_fields_fits_into_an_error() {
        assert!(Field::unknown().len() <= 800, "{}", Field::unknown().len());
    }
}
