//! The rule engine on files of cases, and on arbitrary text.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod cases;
mod properties;
