//! Conditions of automation rules, as data. A pure library: no I/O, no clock, no randomness.
//!
//! | module | content |
//! |---|---|
//! | [`field`] | the table of all fields: name, type, phrase |
//! | [`choice`] | the values of the enumerated fields |
//! | [`facts`] | what is known of a task, its parent, its assignee and the event |
//! | [`needs`] | which groups of facts a condition reads |
//! | [`condition`] | the model, its evaluation by three-valued logic, and the reasons of a verdict |
//! | [`leaf`] | one comparison: a field, an operator, a value |
//! | [`template`] | texts with `{{field}}` |
//!
//! A condition is parsed from JSON ([`Condition::parse`]), is written back in one canonical form
//! ([`Condition::to_json`]), and is read aloud by [`Condition::sentence`].
//!
//! # Verdicts
//! [`Condition::evaluate`] returns `Some(true)`, `Some(false)`, or `None` if the known facts do not decide. The logic
//! is Kleene's: an unknown fact makes a leaf undecided, `all` is false as soon as one part is false, `any` is true as
//! soon as one part is true. So more knowledge never changes a verdict that is decided.
//!
//! # Null
//! A fact that is known to have no value is null. It is not unknown: all leaves on it are decided.
//!
//! - `is_empty` is true. It is also true for an empty list and an empty text.
//! - `ne` and `not_in` are true: null differs from every value.
//! - All other operators are false. No value of a condition is null: `is_empty` asks for it.
//!
//! A task without a parent has no fields `parent.…` to speak of: on them `is_empty` is true (so `{"op": "is_empty",
//! "value": false}` is false), and every other leaf is false, also `ne` and `not_in`.

pub mod choice;
pub mod condition;
pub mod facts;
pub mod field;
pub mod leaf;
pub mod needs;
mod parse;
mod sentence;
pub mod template;

pub use choice::{Priority, Role, Status, Visibility};
pub use condition::{Condition, LeafVerdict};
pub use facts::{AssigneeFacts, EventFacts, Facts, TaskFacts};
pub use field::{FIELDS, Field};
pub use leaf::{Leaf, Op};
pub use needs::Needs;
pub use parse::{MAX_DEPTH, MAX_JSON_LEN, MAX_LEAVES, MAX_SECONDS};
pub use template::Template;
