//! Events in and out: the consumer of all services' events, and the events of this service.

pub(crate) mod consume;
mod publish;

pub(crate) use publish::{
    account_created, account_deleted, account_deletion_canceled, account_deletion_requested, account_reactivated,
    account_settings_changed, account_suspended, account_tier_changed, account_updated, member_invitation_ended,
    member_invitation_resent, member_invitation_undeliverable, member_invited, member_joined, member_removed,
    member_role_changed, member_updated, usage_warning,
};
