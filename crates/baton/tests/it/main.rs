//! Tests across services: database schemas and privileges, manifests, generated documents.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod asvs;
mod dockerfile;
mod environment;
mod manifests;
mod network_policies;
mod permissions;
mod personal_data;
mod privileges;
mod rendered_manifests;
