//! Reading many tasks: filters, search, boards, time travel, and saved views.

pub(crate) mod board_layout;
pub(crate) mod date_range;
pub(crate) mod filter;
pub(crate) mod highlight;
pub(crate) mod saved_view;
pub(crate) mod search;
pub(crate) mod time_travel;
