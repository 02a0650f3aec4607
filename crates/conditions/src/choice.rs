//! The values of the enumerated fields. Their order is the order of comparisons, where a field has one.

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant),+
        }

        impl $name {
            /// All values, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The names of all values, in order.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The name in conditions.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }

            /// The value with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

choices! {
    /// The status of a task. Not ordered.
    Status {
        Pending = "pending",
        InProgress = "in_progress",
        Paused = "paused",
        Completed = "completed",
        Archived = "archived",
        Canceled = "canceled",
    }
}

choices! {
    /// The priority of a task, from the lowest to the highest.
    Priority { Low = "low", Medium = "medium", High = "high", Urgent = "urgent" }
}

choices! {
    /// Who sees a task. Not ordered.
    Visibility { Private = "private", Team = "team", Account = "account" }
}

choices! {
    /// The role of a member, from the least to the most rights.
    Role { User = "user", Manager = "manager", SuperManager = "super_manager", Owner = "owner" }
}

choices! {
    /// A day of the week, from Monday to Sunday.
    Weekday {
        Monday = "monday",
        Tuesday = "tuesday",
        Wednesday = "wednesday",
        Thursday = "thursday",
        Friday = "friday",
        Saturday = "saturday",
        Sunday = "sunday",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_names_and_stand_at_their_index() {
        for (index, status) in Status::ALL.iter().enumerate() {
            assert_eq!(Status::from_name(status.name()), Some(*status));
            assert_eq!((Status::NAMES[index], *status as usize), (status.name(), index));
        }
        assert_eq!(Role::from_name("admin"), None);
        assert!(Priority::Urgent > Priority::High && Role::Owner > Role::SuperManager);
    }
}
