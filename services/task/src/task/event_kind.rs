//! The kinds of events in a task's log.

macro_rules! kinds {
    ($($variant:ident $name:literal;)*) => {
        /// The kind of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum EventKind { $($variant,)* }

        impl EventKind {
            /// The stored name.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The kind with this name.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    Created "created";
    Updated "updated";
    Deleted "deleted";
    Started "started";
    Paused "paused";
    Resumed "resumed";
    Completed "completed";
    Assigned "assigned";
    Reassigned "reassigned";
    Accepted "accepted";
    Rejected "rejected";
    Archived "archived";
    Canceled "canceled";
    Reopened "reopened";
    Restored "restored";
    Moved "moved";
    TimeCorrected "time_corrected";
}

impl EventKind {
    /// Whether a closed task becomes open. Its people may have left meanwhile.
    pub(crate) fn reopens(self) -> bool {
        matches!(self, Self::Reopened | Self::Restored)
    }

    /// Whether watchers are notified.
    pub(crate) fn notifies_watchers(self) -> bool {
        matches!(self, Self::Canceled | Self::Reopened | Self::Restored)
    }
}
