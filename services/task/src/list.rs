//! Many tasks at once: which ones a list shows, found by words or by time, in which shape; and views that keep that.

pub(crate) mod filter;
pub(crate) mod highlight;
pub(crate) mod past_board;
pub(crate) mod range;
pub(crate) mod search;
pub(crate) mod shape;
pub(crate) mod view;
