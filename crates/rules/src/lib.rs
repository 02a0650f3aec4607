//! Rules that act on events, without I/O: what they are made of, which of them an event may run, and which of them can run
//! each other.
//!
//! A rule is data ([`Definition`]): a trigger, conditions (`crates/conditions`) and actions. An event is matched with the
//! enabled rules of its account ([`RuleIndex`]) by what the event itself says ([`Occurrence`]): ids and states. Conditions
//! on anything else are left undecided for whoever reads the task with the rights of the rule's owner.

pub mod action;
pub mod definition;
pub mod matching;
pub mod moves;
pub mod occurrence;
pub mod people;
pub mod schedule;
pub mod trigger;
pub mod warnings;

pub use action::{Action, Verb};
pub use definition::Definition;
pub use matching::{Rule, RuleIndex};
pub use occurrence::{MAX_DEPTH, Occurrence, TaskState};
pub use people::To;
pub use schedule::{Schedule, Scope, TaskSelection};
pub use trigger::{Lasting, Trigger, TriggerType};
pub use warnings::Warning;
