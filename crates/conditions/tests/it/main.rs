//! Conditions: the parser and its limits, verdicts, sentences and templates, and a comparison with json-rules-engine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod cases;
mod evaluation;
mod json_rules_engine;
mod parsing;
mod properties;
mod sentences;
mod templates;
