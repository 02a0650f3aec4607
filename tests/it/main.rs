//! The whole platform from outside, a file per story. Each test starts a platform of its own.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod activity_log;
mod api_keys;
mod attaching_files;
mod bad_input;
mod bad_tokens;
mod baton_up;
mod boards_and_views;
mod closing_work;
mod coming_again;
mod contract_of_requests;
mod crashes;
mod docs_page;
mod docs_samples;
mod handing_work_down;
mod live;
mod login_flood;
mod losing_rights;
mod lost_updates;
mod many_at_once;
mod noisy_neighbours;
mod one_trace;
mod openapi;
mod own_profile;
mod parts_and_dependencies;
mod permissions;
mod repeated_requests;
mod running_an_account;
mod searching;
mod second_factor;
mod sessions;
mod signing_in;
mod signing_in_elsewhere;
mod stopping;
mod story;
mod story_over_grpc;
mod talking_about_a_task;
mod tiers_and_billing;
mod tracking_time;
mod visible_text;
