//! All SQL of the service, one file per noun.

pub(crate) mod account;
pub(crate) mod activity;
pub(crate) mod analytics;
pub(crate) mod assignee;
pub(crate) mod audit;
pub(crate) mod billing;
pub(crate) mod dpa;
pub(crate) mod hierarchy;
pub(crate) mod invitation;
pub(crate) mod member;
pub(crate) mod member_lookup;
pub(crate) mod settings;
pub(crate) mod usage;
