//! Tests of the task service over gRPC, with real Postgres, Redis, auth and tenancy.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod account_deletion;
mod assignee_suggestions;
mod assignment_history;
mod assignments;
mod attachment_fixture;
mod attachment_gc;
mod attachments;
mod auto_analyze;
mod board_layouts;
mod boards;
mod bulk_changes;
mod call_cancellation;
mod closed_tasks;
mod comments;
mod custom_fields;
mod date_filters;
mod delegated_calls;
mod dependencies;
mod due_dates;
mod explain;
mod fixture;
mod history;
mod idempotency;
mod jobs;
mod large_accounts;
mod log_check;
mod lost_updates;
mod offboarding;
mod quota;
mod rank;
mod recurrence;
mod saved_views;
mod search;
mod single_timer;
mod skipped_occurrences;
mod snapshot_reads;
mod subtasks;
mod tags;
mod task_lifecycle;
mod task_lists;
mod task_updates;
mod tenant_isolation;
mod time_corrections;
mod time_entry_fixture;
mod time_entry_invariants;
mod time_tracking;
mod time_travel;
mod trash;
mod visibility;
mod watchers;
