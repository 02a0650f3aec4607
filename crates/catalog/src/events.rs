//! The rows of the catalogue.

use baton_proto::baton::{
    auth::v1::{ApiKeyEvent, DelegationEvent, IdentityEvent, UserEvent},
    automation::v1::{AutomationEvent, ExecutionEvent},
    events::v1::Envelope,
    example::v1::GreetingEvent,
    notification::v1::NotificationEvent,
    privacy::v1::{ConsentEvent, PrivacyRequestEvent},
    task::v1::{
        AttachmentEvent, CommentEvent, CustomFieldEvent, DependencyEvent, MentionEvent, ReactionEvent, ReminderEvent,
        TaskEvent, TimeEntryEvent, ViewEvent, WatcherEvent,
    },
    tenancy::v1::{AccountEvent, DpaEvent, MemberEvent, UsageChanged, UsageWarning},
};
use prost::Name;
use prost_types::Any;

use crate::{AccessEffect, DecodeError, Partition};

macro_rules! catalog {
    ($($(#[doc = $doc:literal])+ $variant:ident($payload:ident) $name:literal $partition:ident $effect:ident;)*) => {
        /// A type of event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventType { $($(#[doc = $doc])+ $variant,)* }

        impl EventType {
            /// All types, by the service that publishes them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire: `<noun>.<past participle>`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The type with this name; `None` for a type of a newer version.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// The key by which events of the type are ordered.
            pub const fn partition(self) -> Partition {
                match self { $(Self::$variant => Partition::$partition,)* }
            }

            /// Whose access an event of the type may change.
            pub const fn access_effect(self) -> AccessEffect {
                match self { $(Self::$variant => AccessEffect::$effect,)* }
            }

            /// What has happened, in one sentence.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)* }
            }

            /// The full name of the payload's message.
            pub fn payload_name(self) -> String {
                match self { $(Self::$variant => <$payload as Name>::full_name(),)* }
            }
        }

        /// The payload of an event: ids, states and numbers; never names, addresses or free text.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Payload { $($(#[doc = $doc])+ $variant($payload),)* }

        impl Payload {
            /// The type of the event.
            pub const fn event_type(&self) -> EventType {
                match self { $(Self::$variant(_) => EventType::$variant,)* }
            }

            /// The payload as envelopes carry it.
            ///
            /// # Errors
            /// When the message cannot be encoded.
            pub fn to_any(&self) -> Result<Any, prost::EncodeError> {
                match self { $(Self::$variant(payload) => Any::from_msg(payload),)* }
            }

            /// The payload of an event; `None` for a type of a newer version.
            ///
            /// # Errors
            /// When the payload is not the message that the type promises.
            pub fn decode(event: &Envelope) -> Result<Option<Self>, DecodeError> {
                match EventType::of(event) {
                    $(Some(EventType::$variant) => {
                        let any = event.payload.as_ref().ok_or(DecodeError::Missing($name))?;
                        let payload = any.to_msg().map_err(|error| DecodeError::Malformed($name, error))?;
                        Ok(Some(Self::$variant(payload)))
                    })*
                    None => Ok(None),
                }
            }
        }
    };
}

catalog! {
    // auth
    /// A person registered; their address is not confirmed yet.
    UserRegistered(UserEvent) "user.registered" Global Person;
    /// A person confirmed their address.
    UserVerified(UserEvent) "user.verified" Global Person;
    /// A person changed their profile.
    UserUpdated(UserEvent) "user.updated" Global Person;
    /// A person confirmed a new address.
    UserEmailChanged(UserEvent) "user.email_changed" Global Person;
    /// A person changed or reset their password.
    UserPasswordChanged(UserEvent) "user.password_changed" Global Person;
    /// A person deactivated themselves.
    UserDeactivated(UserEvent) "user.deactivated" Global Person;
    /// A person deactivated themselves 30 days ago: their data is to be erased. Repeated until it is.
    UserRetentionEnded(UserEvent) "user.retention_ended" Global None;
    /// A person reactivated themselves.
    UserReactivated(UserEvent) "user.reactivated" Global Person;
    /// A person enabled or replaced their second factor.
    UserSecondFactorEnabled(UserEvent) "user.second_factor_enabled" Global Person;
    /// A person disabled their second factor.
    UserSecondFactorDisabled(UserEvent) "user.second_factor_disabled" Global Person;
    /// A person renewed their recovery codes.
    UserRecoveryCodesRenewed(UserEvent) "user.recovery_codes_renewed" Global Person;
    /// A person used a recovery code.
    UserRecoveryCodeUsed(UserEvent) "user.recovery_code_used" Global Person;
    /// A person signed in.
    SessionOpened(UserEvent) "session.opened" Global Person;
    /// A session was closed before it expired.
    SessionClosed(UserEvent) "session.closed" Global Session;
    /// A person created an API key.
    ApiKeyCreated(ApiKeyEvent) "api_key.created" Global Person;
    /// A person revoked an API key.
    ApiKeyRevoked(ApiKeyEvent) "api_key.revoked" Global Person;
    /// A user allowed a service to act for them.
    DelegationCreated(DelegationEvent) "delegation.created" Global None;
    /// A grant ended: its user or its service ended it, or the user was deactivated.
    DelegationEnded(DelegationEvent) "delegation.ended" Global Person;
    /// A person linked an identity of a provider, or registered with one.
    IdentityLinked(IdentityEvent) "identity.linked" Global Person;
    /// A person unlinked an identity of a provider.
    IdentityUnlinked(IdentityEvent) "identity.unlinked" Global Person;

    // tenancy
    /// An account was created.
    AccountCreated(AccountEvent) "account.created" Account Account;
    /// The account's name, slug, logo or another field changed.
    AccountUpdated(AccountEvent) "account.updated" Account Account;
    /// The account's settings changed.
    AccountSettingsChanged(AccountEvent) "account.settings_changed" Account Account;
    /// The account accepted a data processing agreement.
    DpaAccepted(DpaEvent) "account.dpa_accepted" Account None;
    /// The account's tier changed.
    AccountTierChanged(AccountEvent) "account.tier_changed" Account Account;
    /// The account was suspended.
    AccountSuspended(AccountEvent) "account.suspended" Account Account;
    /// The suspension of the account ended.
    AccountReactivated(AccountEvent) "account.reactivated" Account Account;
    /// The account's deletion was scheduled; the grace period has begun.
    AccountDeletionRequested(AccountEvent) "account.deletion_requested" Account Account;
    /// The account's deletion was canceled.
    AccountDeletionCanceled(AccountEvent) "account.deletion_canceled" Account Account;
    /// The account was deleted. Every service deletes its rows; no member.removed follows.
    AccountDeleted(AccountEvent) "account.deleted" Account Account;
    /// The account used a share of a quota that its owners should know about.
    AccountUsageWarning(UsageWarning) "account.usage_warning" Account None;
    /// A person was invited.
    MemberInvited(MemberEvent) "member.invited" Account None;
    /// An invitation was mailed again.
    MemberInvitationResent(MemberEvent) "member.invitation_resent" Account Member;
    /// The mail of an invitation cannot be delivered; the invitation has ended.
    MemberInvitationUndeliverable(MemberEvent) "member.invitation_undeliverable" Account Member;
    /// A person accepted an invitation.
    MemberJoined(MemberEvent) "member.joined" Account Member;
    /// A member's role changed.
    MemberRoleChanged(MemberEvent) "member.role_changed" Account Member;
    /// A member's manager or right to reassign changed.
    MemberUpdated(MemberEvent) "member.updated" Account Member;
    /// A member left or was removed (`hand_over_to` receives their open tasks), or an invitation ended.
    MemberRemoved(MemberEvent) "member.removed" Account Member;

    // task
    /// A task was created.
    TaskCreated(TaskEvent) "task.created" Account None;
    /// Fields of a task changed.
    TaskUpdated(TaskEvent) "task.updated" Account Task;
    /// A task was moved to the trash.
    TaskDeleted(TaskEvent) "task.deleted" Account None;
    /// Work on a task started.
    TaskStarted(TaskEvent) "task.started" Account None;
    /// Work on a task was paused.
    TaskPaused(TaskEvent) "task.paused" Account None;
    /// Work on a task was resumed.
    TaskResumed(TaskEvent) "task.resumed" Account None;
    /// A task was completed.
    TaskCompleted(TaskEvent) "task.completed" Account None;
    /// A task without an assignee was assigned.
    TaskAssigned(TaskEvent) "task.assigned" Account Task;
    /// A task was assigned to another person.
    TaskReassigned(TaskEvent) "task.reassigned" Account Task;
    /// The assignee accepted a task.
    TaskAccepted(TaskEvent) "task.accepted" Account None;
    /// The assignee rejected a task.
    TaskRejected(TaskEvent) "task.rejected" Account Task;
    /// A task was archived.
    TaskArchived(TaskEvent) "task.archived" Account None;
    /// A task was canceled.
    TaskCanceled(TaskEvent) "task.canceled" Account None;
    /// A closed task was reopened.
    TaskReopened(TaskEvent) "task.reopened" Account None;
    /// A task was restored from the trash.
    TaskRestored(TaskEvent) "task.restored" Account None;
    /// A task was moved to another place on its board.
    TaskMoved(TaskEvent) "task.moved" Account None;
    /// The time recorded on a task was corrected.
    TaskTimeCorrected(TaskEvent) "task.time_corrected" Account None;
    /// A task is due soon.
    TaskDueSoon(TaskEvent) "task.due_soon" Account None;
    /// A task is overdue.
    TaskOverdue(TaskEvent) "task.overdue" Account None;
    /// An open task waits for no other open task any more.
    TaskUnblocked(TaskEvent) "task.unblocked" Account None;
    /// A person created a reminder.
    ReminderCreated(ReminderEvent) "reminder.created" Account None;
    /// A person deleted a reminder.
    ReminderDeleted(ReminderEvent) "reminder.deleted" Account None;
    /// The time of a reminder has come.
    ReminderFired(ReminderEvent) "reminder.fired" Account None;
    /// A series waits until its creator's quota allows another open task.
    SeriesPaused(ReminderEvent) "series.paused" Account None;
    /// A comment was added.
    CommentCreated(CommentEvent) "comment.created" Account None;
    /// A comment's text changed.
    CommentUpdated(CommentEvent) "comment.updated" Account None;
    /// A comment was deleted.
    CommentDeleted(CommentEvent) "comment.deleted" Account None;
    /// A comment mentions people whom it did not mention before.
    CommentMentioned(MentionEvent) "comment.mentioned" Account None;
    /// A person added a reaction to a comment.
    ReactionAdded(ReactionEvent) "reaction.added" Account None;
    /// A person removed a reaction from a comment.
    ReactionRemoved(ReactionEvent) "reaction.removed" Account None;
    /// A person watches a task.
    WatcherAdded(WatcherEvent) "watcher.added" Account None;
    /// A person no longer watches a task.
    WatcherRemoved(WatcherEvent) "watcher.removed" Account None;
    /// A file was attached to a task.
    AttachmentAdded(AttachmentEvent) "attachment.added" Account None;
    /// A file was removed from a task.
    AttachmentRemoved(AttachmentEvent) "attachment.removed" Account None;
    /// A task is blocked by another.
    DependencyAdded(DependencyEvent) "dependency.added" Account None;
    /// A task is no longer blocked by another.
    DependencyRemoved(DependencyEvent) "dependency.removed" Account None;
    /// A custom field was defined.
    CustomFieldCreated(CustomFieldEvent) "custom_field.created" Account None;
    /// The definition of a custom field changed.
    CustomFieldUpdated(CustomFieldEvent) "custom_field.updated" Account None;
    /// The definition of a custom field was deleted.
    CustomFieldDeleted(CustomFieldEvent) "custom_field.deleted" Account None;
    /// A time entry was added by hand.
    TimeEntryCreated(TimeEntryEvent) "time_entry.created" Account None;
    /// A time entry was changed by hand.
    TimeEntryUpdated(TimeEntryEvent) "time_entry.updated" Account None;
    /// A time entry was deleted by hand.
    TimeEntryDeleted(TimeEntryEvent) "time_entry.deleted" Account None;
    /// A person saved a view.
    ViewCreated(ViewEvent) "view.created" Account None;
    /// A saved view changed.
    ViewUpdated(ViewEvent) "view.updated" Account None;
    /// A saved view was deleted.
    ViewDeleted(ViewEvent) "view.deleted" Account None;
    /// A service counted how much of a quota is used.
    UsageReported(UsageChanged) "usage.changed" Account None;

    // notification
    /// A person has a new notification.
    NotificationCreated(NotificationEvent) "notification.created" Account None;
    /// A person read a notification.
    NotificationRead(NotificationEvent) "notification.read" Account None;
    /// A person marked all notifications as read.
    NotificationAllRead(NotificationEvent) "notification.all_read" Account None;
    /// A person deleted a notification.
    NotificationDeleted(NotificationEvent) "notification.deleted" Account None;

    // automation
    /// A person created a rule.
    AutomationCreated(AutomationEvent) "automation.created" Account None;
    /// A person changed a rule.
    AutomationUpdated(AutomationEvent) "automation.updated" Account None;
    /// A person enabled a rule.
    AutomationEnabled(AutomationEvent) "automation.enabled" Account None;
    /// A rule was disabled, by a person or by the platform.
    AutomationDisabled(AutomationEvent) "automation.disabled" Account None;
    /// A person adopted a rule, which acts with their rights from now on.
    AutomationAdopted(AutomationEvent) "automation.adopted" Account None;
    /// A person deleted a rule.
    AutomationDeleted(AutomationEvent) "automation.deleted" Account None;
    /// An execution of a rule ended.
    AutomationExecuted(ExecutionEvent) "automation.executed" Account None;

    // privacy
    /// A person made a request about their data.
    PrivacyRequestCreated(PrivacyRequestEvent) "privacy_request.created" Global None;
    /// A person's request about their data was done.
    PrivacyRequestCompleted(PrivacyRequestEvent) "privacy_request.completed" Global None;
    /// A person's request about their data could not be done.
    PrivacyRequestFailed(PrivacyRequestEvent) "privacy_request.failed" Global None;
    /// A person's request about their data was canceled.
    PrivacyRequestCanceled(PrivacyRequestEvent) "privacy_request.canceled" Global None;
    /// The owner of an account requested the export or the erasure of what it has of a member.
    MemberRequestCreated(PrivacyRequestEvent) "member_request.created" Account None;
    /// Such a request was done.
    MemberRequestCompleted(PrivacyRequestEvent) "member_request.completed" Account None;
    /// Such a request could not be done.
    MemberRequestFailed(PrivacyRequestEvent) "member_request.failed" Account None;
    /// A person gave or withdrew consent to a purpose, or refused it.
    ConsentChanged(ConsentEvent) "consent.changed" Global None;

    // example: the service in tests/example, which is no part of the product
    /// A new member was greeted.
    GreetingCreated(GreetingEvent) "greeting.created" Account None;
}
