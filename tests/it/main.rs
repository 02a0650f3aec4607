//! The whole platform from outside, a file per story. Each test starts a platform of its own.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod activity_log;
mod api_keys;
mod bad_input;
mod bad_tokens;
mod baton_up;
mod crashes;
mod live;
mod login_flood;
mod losing_rights;
mod lost_updates;
mod noisy_neighbours;
mod one_trace;
mod openapi;
mod own_profile;
mod permissions;
mod repeated_requests;
mod running_an_account;
mod second_factor;
mod sessions;
mod signing_in;
mod signing_in_elsewhere;
mod stopping;
mod story;
mod story_over_grpc;
mod tiers_and_billing;
