//! The whole platform from outside, a file per story. Each test starts a platform of its own.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod access_revocation;
mod account_lifecycle;
mod activity_log;
mod api_keys;
mod assignments;
mod attachments;
mod baton_up;
mod boards_and_views;
mod bulk_changes;
mod closed_tasks;
mod comments;
mod conditional_requests;
mod consents;
mod crash_recovery;
mod data_export;
mod distributed_trace;
mod docs_page;
mod docs_samples;
mod example_service;
mod forged_tokens;
mod graceful_shutdown;
mod idempotency;
mod invalid_input;
mod live_clients;
mod live_delivery;
mod live_outages;
mod live_rights;
mod live_updates;
mod login_flood;
mod message_streams;
mod mfa;
mod noisy_neighbours;
mod oauth_sign_in;
mod openapi;
mod permissions;
mod profile;
mod recurrence;
mod request_contract;
mod search;
mod sessions;
mod sign_in;
mod subtasks_and_dependencies;
mod task_story;
mod task_story_grpc;
mod text_validation;
mod tiers_and_billing;
mod time_tracking;
