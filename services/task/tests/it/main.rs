//! The task service as its callers meet it: real Postgres, Redis, auth and tenancy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod assigning;
mod attaching;
mod boards;
mod changing;
mod closing;
mod coming_again;
mod commenting;
mod correcting_time;
mod deleted_accounts;
mod departures;
mod depending;
mod desk;
mod due_dates;
mod explaining;
mod finding;
mod hands;
mod jobs_once;
mod large_accounts;
mod lost_updates;
mod many_at_once;
mod noting;
mod one_moment;
mod one_timer;
mod ordering;
mod parts;
mod quota;
mod rebuilding;
mod retrying;
mod saving_views;
mod searching;
mod seeing;
mod shaping_boards;
mod suggesting;
mod tagging;
mod tenants;
mod time_desk;
mod time_in_order;
mod time_travel;
mod tracking_time;
mod trash;
mod watching;
mod watching_boards;
mod watching_on;
mod working;
