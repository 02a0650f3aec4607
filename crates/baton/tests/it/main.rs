//! Tests across services: database schemas and privileges, manifests, generated documents.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod asvs;
mod dockerfile;
mod docs;
mod environment;
mod layers;
mod manifests;
mod network_policies;
mod permissions;
mod personal_data;
mod prepared_queries;
mod privileges;
mod rendered_manifests;
