//! Conditional requests and byte ranges (RFC 9110, sections 13 and 14).
//!
//! One parser and one set of rules, for the gateway (REST), the services (gRPC metadata with the same names) and the
//! local folder of attachments.

mod conditions;
mod range;
mod tags;

pub use conditions::{Conditions, Outcome, Validators};
pub use range::{Selected, select};
pub use tags::{Malformed, Tag, Tags};
