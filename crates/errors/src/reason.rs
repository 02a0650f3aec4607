//! The table of failure reasons: wire name, gRPC code, HTTP status and description.

use std::fmt;

use tonic::Code;

macro_rules! reasons {
    ($($variant:ident $name:literal $code:ident $http:literal $description:literal;)*) => {
        /// Why a call failed: the `reason` of `google.rpc.ErrorInfo` and of `problem+json`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $description] $variant,)* }

        impl Reason {
            /// All reasons, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The gRPC code.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// The HTTP status over REST.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $http,)* }
            }

            /// A sentence for callers.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)* }
            }

            /// The reason with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// Whether what was requested is not the caller's to do: it may be right for somebody else.
            pub const fn is_denial(self) -> bool {
                matches!(self.code(), Code::NotFound | Code::PermissionDenied | Code::Unauthenticated)
            }
        }
    };
}

reasons! {
    // Requests
    ValidationFailed "VALIDATION_FAILED" InvalidArgument 400 "The request violates the rules of its fields; the field errors name them.";
    MalformedRequest "MALFORMED_REQUEST" InvalidArgument 400 "The body is not a JSON object.";
    UnknownField "UNKNOWN_FIELD" InvalidArgument 400 "The request has an unknown field or parameter.";
    PageTokenInvalid "PAGE_TOKEN_INVALID" InvalidArgument 400 "The page token is invalid, or belongs to other filters.";
    PreconditionInvalid "PRECONDITION_INVALID" InvalidArgument 400 "If-Match or If-None-Match is neither * nor a list of ETags in double quotes.";
    IdempotencyKeyInvalid "IDEMPOTENCY_KEY_INVALID" InvalidArgument 400 "The Idempotency-Key is empty, longer than 255 characters, or not printable ASCII.";
    RequestTooLarge "REQUEST_TOO_LARGE" ResourceExhausted 413 "The request is larger than the limit.";
    BodyTimeout "BODY_TIMEOUT" DeadlineExceeded 408 "The request body did not arrive in time.";
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" InvalidArgument 415 "The body must be application/json (PATCH also application/merge-patch+json), without a content coding such as gzip.";
    RouteNotFound "ROUTE_NOT_FOUND" Unimplemented 404 "The path does not exist.";
    WebSocketExpected "WEBSOCKET_EXPECTED" InvalidArgument 426 "This path accepts only WebSocket connections.";
    OriginNotAllowed "ORIGIN_NOT_ALLOWED" PermissionDenied 403 "Pages of this origin may not open a WebSocket or authenticate by cookie.";
    HostNotAllowed "HOST_NOT_ALLOWED" FailedPrecondition 421 "The gateway does not serve this host name.";
    MethodNotAllowed "METHOD_NOT_ALLOWED" Unimplemented 405 "The path does not allow this method.";

    // Authentication
    TokenMissing "TOKEN_MISSING" Unauthenticated 401 "The call needs an access token: Authorization: Bearer <token>.";
    TokenInvalid "TOKEN_INVALID" Unauthenticated 401 "The token is malformed, expired, or has an invalid signature.";
    TokenReused "TOKEN_REUSED" Unauthenticated 401 "The refresh token was used before; its session is closed.";
    SessionClosed "SESSION_CLOSED" Unauthenticated 401 "The session of the token is closed; sign in again.";
    CredentialsInvalid "CREDENTIALS_INVALID" Unauthenticated 401 "Email and password do not match a user, or the address is not confirmed.";
    EmailNotVerified "EMAIL_NOT_VERIFIED" PermissionDenied 403 "The email address is not confirmed; open the link in the mail.";
    LinkInvalid "LINK_INVALID" InvalidArgument 400 "The token of the link is invalid, expired, or replaced by a newer one.";
    PasswordTooWeak "PASSWORD_TOO_WEAK" InvalidArgument 400 "The password is too short or too easy to guess.";
    UserDeactivated "USER_DEACTIVATED" PermissionDenied 403 "The user is deactivated; open the link in the mail to reactivate the sign-in.";
    EmailTaken "EMAIL_TAKEN" AlreadyExists 409 "Another user has confirmed the email address meanwhile.";

    TooManyAttempts "TOO_MANY_ATTEMPTS" ResourceExhausted 429 "Too many attempts; try again after Retry-After.";
    CsrfTokenMissing "CSRF_TOKEN_MISSING" PermissionDenied 403 "A call that authenticates by cookie needs the value of the cookie __Host-baton_csrf in X-CSRF-Token.";
    CsrfTokenInvalid "CSRF_TOKEN_INVALID" PermissionDenied 403 "X-CSRF-Token does not match the refresh token of the cookie; read __Host-baton_csrf again.";
    MfaTokenInvalid "MFA_TOKEN_INVALID" Unauthenticated 401 "The mfa_token is invalid, used, or older than five minutes; sign in again.";
    MfaCodeInvalid "MFA_CODE_INVALID" Unauthenticated 401 "The code of the second factor is wrong, expired, or used.";
    ProofRequired "PROOF_REQUIRED" PermissionDenied 403 "The call needs the password, or a current code of the second factor, besides the token.";
    ProofInvalid "PROOF_INVALID" PermissionDenied 403 "The password is wrong, or the code is wrong, expired or used.";
    ReauthenticationRequired "REAUTHENTICATION_REQUIRED" PermissionDenied 403 "The call needs a fresh proof of identity: sign in again, or call Reauthenticate (POST /v1/auth/reauthenticate), and repeat the call within 15 minutes.";
    SecondFactorEstablished "SECOND_FACTOR_ESTABLISHED" FailedPrecondition 409 "The second factor was enabled more than a week ago, so a mailed link cannot remove it. Sign in with it, or with a recovery code, and disable it.";
    TotpNotStarted "TOTP_NOT_STARTED" FailedPrecondition 409 "There is no pending TOTP secret to confirm; create one first.";
    SecondFactorNotEnabled "SECOND_FACTOR_NOT_ENABLED" FailedPrecondition 409 "The caller has no second factor.";
    ApiKeyNotFound "API_KEY_NOT_FOUND" NotFound 404 "The caller has no such API key.";
    ApiKeyLimit "API_KEY_LIMIT" FailedPrecondition 409 "The caller has the maximum number of API keys; delete one first.";
    DelegationEnded "DELEGATION_ENDED" Unauthenticated 401 "The service may no longer act for the user: the session, API key or grant has ended.";
    DelegationNotFound "DELEGATION_NOT_FOUND" NotFound 404 "The caller has no such grant.";
    DelegationLimit "DELEGATION_LIMIT" FailedPrecondition 409 "The caller has the maximum number of grants; end one first.";
    SessionNotFound "SESSION_NOT_FOUND" NotFound 404 "The caller has no such session.";
    ProviderUnknown "PROVIDER_UNKNOWN" NotFound 404 "The identity provider does not exist, or is disabled.";
    ProviderRefused "PROVIDER_REFUSED" Unauthenticated 401 "The identity provider did not confirm the sign-in, or its response is invalid; start again.";
    OauthStateInvalid "OAUTH_STATE_INVALID" InvalidArgument 400 "The state is used, or does not belong to a sign-in that this browser started with this provider in the last ten minutes; start again.";
    IdentityNotLinked "IDENTITY_NOT_LINKED" FailedPrecondition 409 "The email address belongs to an existing user; sign in as before, then link the identity.";
    IdentityTaken "IDENTITY_TAKEN" AlreadyExists 409 "The identity is linked to another user.";
    IdentityExists "IDENTITY_EXISTS" AlreadyExists 409 "The caller already has an identity of this provider; unlink it first.";
    IdentityNotFound "IDENTITY_NOT_FOUND" NotFound 404 "The caller has no such identity.";
    LastWayToSignIn "LAST_WAY_TO_SIGN_IN" FailedPrecondition 409 "The identity is the caller's only way to sign in; set a password or link another identity first.";

    // Authorization
    NotAMember "NOT_A_MEMBER" PermissionDenied 403 "The caller is not an active member of the account, or the account does not exist.";
    AccountSuspended "ACCOUNT_SUSPENDED" PermissionDenied 403 "The account is suspended or scheduled for deletion; its owner can reactivate it.";
    SecondFactorRequired "SECOND_FACTOR_REQUIRED" PermissionDenied 403 "The account requires a second factor, and the caller's session was opened without one.";
    PermissionMissing "PERMISSION_MISSING" PermissionDenied 403 "The caller's role does not have the permission that the call needs.";
    ScopeMissing "SCOPE_MISSING" PermissionDenied 403 "The API key or delegated token does not have the scope that the call needs; `scope` names it.";
    SessionRequired "SESSION_REQUIRED" PermissionDenied 403 "The call needs the access token of a signed-in user; an API key or a delegated token is not accepted.";
    OperatorOnly "OPERATOR_ONLY" PermissionDenied 403 "Only the people who operate this installation may make this call.";
    ServiceOnly "SERVICE_ONLY" PermissionDenied 403 "Only Baton services may make this call.";

    // Tenancy
    AccountNotFound "ACCOUNT_NOT_FOUND" NotFound 404 "The account does not exist, or the caller is not a member.";
    SlugTaken "SLUG_TAKEN" AlreadyExists 409 "Another account has this slug.";
    MemberNotFound "MEMBER_NOT_FOUND" NotFound 404 "The account has no such member.";
    MemberExists "MEMBER_EXISTS" AlreadyExists 409 "The person is already a member, or already invited.";
    HandleTaken "HANDLE_TAKEN" AlreadyExists 409 "Another member of the account has this handle.";
    ManagerInvalid "MANAGER_INVALID" FailedPrecondition 422 "The manager is not an active member who outranks the member.";
    RoleNotGrantable "ROLE_NOT_GRANTABLE" PermissionDenied 403 "The caller cannot grant, change or remove a role above their own.";
    RoleHasReports "ROLE_HAS_REPORTS" FailedPrecondition 409 "The new role does not outrank all reports of the member.";
    LastOwner "LAST_OWNER" FailedPrecondition 409 "An account needs at least one owner.";
    InvitationForAnother "INVITATION_FOR_ANOTHER" PermissionDenied 403 "The invitation was sent to another email address.";

    AccountBeingDeleted "ACCOUNT_BEING_DELETED" FailedPrecondition 409 "The account is scheduled for deletion; cancel the deletion first.";
    InvitationNotFound "INVITATION_NOT_FOUND" NotFound 404 "The account has no such open invitation.";
    HandOverInvalid "HAND_OVER_INVALID" FailedPrecondition 422 "`hand_over_to` must be another active member to whom the caller may assign tasks.";
    NotAboveMember "NOT_ABOVE_MEMBER" PermissionDenied 403 "Only the member and the people above them may make this call.";
    ExportTooLarge "EXPORT_TOO_LARGE" FailedPrecondition 422 "More rows match than an export may have (`limit`); narrow the time range.";

    // Quotas and billing
    QuotaExceeded "QUOTA_EXCEEDED" FailedPrecondition 403 "The quota of the account's tier is used up; `quota`, `limit` and `used` give the numbers.";
    BillingDisabled "BILLING_DISABLED" FailedPrecondition 404 "This installation has no billing.";
    BillingAccountUnknown "BILLING_ACCOUNT_UNKNOWN" FailedPrecondition 409 "The event's customer is not known yet; send the event again later.";
    SignatureInvalid "SIGNATURE_INVALID" InvalidArgument 400 "The event's signature is invalid, or too old.";

    // Tasks
    AutomationNotFound "AUTOMATION_NOT_FOUND" NotFound 404 "The rule does not exist, or the caller cannot see it.";
    AutomationChangeNotAllowed "AUTOMATION_CHANGE_NOT_ALLOWED" PermissionDenied 403 "The rule acts with another person's rights, so the caller may not change what it does; a super manager may disable or delete it.";
    AutomationLimit "AUTOMATION_LIMIT" FailedPrecondition 409 "The caller, or the account, has the maximum number of rules; delete one first.";
    BacktestTooLarge "BACKTEST_TOO_LARGE" FailedPrecondition 422 "More events match than a backtest may replay (`limit`, `matched`); narrow the time range.";
    WebhookBacklog "WEBHOOK_BACKLOG" ResourceExhausted 429 "Too many webhooks of the account wait for slow receivers. As the outcome of an action of a rule.";
    WebhookFailed "WEBHOOK_FAILED" Unavailable 503 "The receiver of a webhook did not accept it. As the outcome of an action of a rule.";
    WebhookNotAllowed "WEBHOOK_NOT_ALLOWED" PermissionDenied 403 "Only super managers and owners may let a rule call a URL.";
    ExecutionNotFound "EXECUTION_NOT_FOUND" NotFound 404 "The rule has no such execution.";
    ExecutionNotRetryable "EXECUTION_NOT_RETRYABLE" FailedPrecondition 409 "The execution succeeded or has not ended, or its rule was changed since or does not run.";
    TaskNotFound "TASK_NOT_FOUND" NotFound 404 "The task does not exist, or the caller cannot see it.";
    TaskWrongState "TASK_WRONG_STATE" FailedPrecondition 409 "The task's state does not allow the transition; `from` and `to` name both states.";
    TimerAlreadyRunning "TIMER_ALREADY_RUNNING" FailedPrecondition 409 "The account allows work on one task at a time, and the caller works on another one (`task_id`).";
    TaskChangeNotAllowed "TASK_CHANGE_NOT_ALLOWED" PermissionDenied 403 "The caller can see the task but may not make this change.";
    TaskNotRecurring "TASK_NOT_RECURRING" FailedPrecondition 409 "The task does not recur, or its series already has a later task; skip occurrences of that one.";
    SkipLimit "SKIP_LIMIT" FailedPrecondition 409 "The series has the maximum number of skipped occurrences (`limit`).";
    TaskAlreadyAssigned "TASK_ALREADY_ASSIGNED" FailedPrecondition 409 "The task is assigned to another member; reassign it.";
    TaskNotAssigned "TASK_NOT_ASSIGNED" FailedPrecondition 409 "The task has no assignee; assign it.";
    AssigneeInvalid "ASSIGNEE_INVALID" FailedPrecondition 422 "The assignee is not an active member of the account.";
    AssignmentNotAllowed "ASSIGNMENT_NOT_ALLOWED" PermissionDenied 403 "The caller may not assign tasks to this member.";
    ReassignmentNotAllowed "REASSIGNMENT_NOT_ALLOWED" PermissionDenied 403 "The caller may not reassign tasks, or not those of this member.";
    RejectionDisabled "REJECTION_DISABLED" FailedPrecondition 409 "The account's settings do not allow assignees to reject tasks.";
    AssignmentAlreadyAccepted "ASSIGNMENT_ALREADY_ACCEPTED" FailedPrecondition 409 "The assignment was already accepted.";
    CommentNotFound "COMMENT_NOT_FOUND" NotFound 404 "The comment does not exist, or the caller cannot see its task.";
    CommentChangeNotAllowed "COMMENT_CHANGE_NOT_ALLOWED" PermissionDenied 403 "Only the author may edit a comment; only the author, super managers and owners may delete it.";
    ReactionLimit "REACTION_LIMIT" FailedPrecondition 409 "The comment has the maximum number of different reactions.";
    WatcherInvalid "WATCHER_INVALID" FailedPrecondition 422 "The person is not an active member who can see the task, or has opted out of watching it.";
    WatcherNotFound "WATCHER_NOT_FOUND" NotFound 404 "The task has no such watcher.";
    WatcherLimit "WATCHER_LIMIT" FailedPrecondition 409 "The task has the maximum number of watchers.";
    ReminderNotFound "REMINDER_NOT_FOUND" NotFound 404 "The caller has no such reminder.";
    ReminderLimit "REMINDER_LIMIT" FailedPrecondition 409 "The caller has the maximum number of reminders for the task (`limit`); delete one first.";
    DependencyNotFound "DEPENDENCY_NOT_FOUND" NotFound 404 "The task has no such dependency.";
    DependencyCycle "DEPENDENCY_CYCLE" FailedPrecondition 409 "The dependency would form a cycle: the other task already depends on this one, directly or indirectly.";
    DependencyLimit "DEPENDENCY_LIMIT" FailedPrecondition 409 "One of the tasks has the maximum number of dependencies, or too many tasks are connected by dependencies (`limit`).";
    CustomFieldNotFound "CUSTOM_FIELD_NOT_FOUND" NotFound 404 "The account has no such custom field.";
    CustomFieldKeyTaken "CUSTOM_FIELD_KEY_TAKEN" AlreadyExists 409 "Another custom field of the account has this key.";
    CustomFieldLimit "CUSTOM_FIELD_LIMIT" FailedPrecondition 409 "The account has the maximum number of custom fields (`limit`); delete one first.";
    TooManyTasks "TOO_MANY_TASKS" FailedPrecondition 422 "More tasks match than one call may change (`limit`, `matched`); narrow the filter.";
    BoardNotFound "BOARD_NOT_FOUND" NotFound 404 "The board does not exist, or the caller cannot see it.";
    ViewNotFound "VIEW_NOT_FOUND" NotFound 404 "The view does not exist, or is neither the caller's own nor shared.";
    ViewChangeNotAllowed "VIEW_CHANGE_NOT_ALLOWED" PermissionDenied 403 "Only the view's owner, super managers and owners of the account may change a view.";
    ViewNameTaken "VIEW_NAME_TAKEN" AlreadyExists 409 "The view's owner has another view with this name.";
    ViewLimit "VIEW_LIMIT" FailedPrecondition 409 "The caller has the maximum number of views; delete one first.";
    TimeEntryNotFound "TIME_ENTRY_NOT_FOUND" NotFound 404 "The time entry does not exist, or the caller cannot see its task.";
    TimeEntryFixed "TIME_ENTRY_FIXED" FailedPrecondition 409 "The time entry still runs, or is a pause; only working entries that have ended can be corrected.";
    TimeEntryOverlaps "TIME_ENTRY_OVERLAPS" FailedPrecondition 409 "The user has another working entry on the task in that time.";
    AttachmentNotFound "ATTACHMENT_NOT_FOUND" NotFound 404 "The attachment does not exist, its upload is not complete, or the caller cannot see its task.";
    AttachmentTypeNotAllowed "ATTACHMENT_TYPE_NOT_ALLOWED" InvalidArgument 415 "Files of this media type are not allowed.";
    AttachmentTooLarge "ATTACHMENT_TOO_LARGE" InvalidArgument 413 "The file is larger than this installation allows (`limit`, in bytes).";
    AttachmentLimit "ATTACHMENT_LIMIT" FailedPrecondition 409 "The task has the maximum number of attachments; delete one first.";
    AttachmentNotUploaded "ATTACHMENT_NOT_UPLOADED" FailedPrecondition 409 "The attachment has no content yet; send it to the upload URL first.";
    AttachmentMismatch "ATTACHMENT_MISMATCH" FailedPrecondition 422 "Size or checksum of the uploaded content differ from the announced ones; the content was deleted.";

    // Notifications
    NotificationNotFound "NOTIFICATION_NOT_FOUND" NotFound 404 "The caller has no such notification.";

    // Privacy
    ExportLimit "EXPORT_LIMIT" ResourceExhausted 429 "One export of a person's data is made at a time, and three in 24 hours.";
    ExportNotFound "EXPORT_NOT_FOUND" NotFound 404 "The caller has no such export, or its download URL has expired.";
    ExportNotReady "EXPORT_NOT_READY" FailedPrecondition 409 "The export is being made, has failed, or its file was deleted after seven days.";
    PurposeUnknown "PURPOSE_UNKNOWN" NotFound 404 "There is no such purpose of data; list the purposes.";
    LegalBasisFixed "LEGAL_BASIS_FIXED" FailedPrecondition 409 "The purpose has another legal basis; it cannot be changed, or consented to.";
    NoticeOutdated "NOTICE_OUTDATED" FailedPrecondition 409 "The notice has another version; show the current one, and ask again.";
    CheckpointNotFound "CHECKPOINT_NOT_FOUND" NotFound 404 "The log has no checkpoint yet: nothing was logged more than ten seconds ago.";
    DpaRequired "DPA_REQUIRED" FailedPrecondition 409 "Accounts of the tier enterprise need a data processing agreement for this; an owner accepts it.";
    PolicyUnknown "POLICY_UNKNOWN" NotFound 404 "There is no such policy; list the policies.";
    LeafNotFound "LEAF_NOT_FOUND" NotFound 404 "The log has no such leaf, or takes it in within ten seconds.";
    BreachNotFound "BREACH_NOT_FOUND" NotFound 404 "There is no such breach.";
    NotAnonymous "NOT_ANONYMOUS" FailedPrecondition 409 "Too few people are alike: no generalisation makes their profiles anonymous.";
    PseudonymUnknown "PSEUDONYM_UNKNOWN" NotFound 404 "It is nobody's pseudonym for this purpose, cannot be opened, or the person was erased.";
    BudgetExhausted "BUDGET_EXHAUSTED" ResourceExhausted 429 "The quarter's budget of differential privacy does not pay for the release; the error names what is left.";
    ReleaseNotFound "RELEASE_NOT_FOUND" NotFound 404 "The release was not paid for.";
    MemberActive "MEMBER_ACTIVE" FailedPrecondition 409 "The member belongs to the account; remove them first.";
    LegalHoldNotFound "LEGAL_HOLD_NOT_FOUND" NotFound 404 "No legal hold is on the data of this person.";
    ProcessingRestricted "PROCESSING_RESTRICTED" FailedPrecondition 409 "The person's data may only be stored, and read by themselves: they have asked to be erased, or restricted its processing.";
    VerificationInvalid "VERIFICATION_INVALID" InvalidArgument 400 "The code is wrong, older than 15 minutes, or was tried five times; request another one.";
    CancellationInvalid "CANCELLATION_INVALID" InvalidArgument 400 "The token cancels no erasure: it is wrong, was used, or the erasure has begun.";
    ErasureScheduled "ERASURE_SCHEDULED" FailedPrecondition 409 "The caller's data is to be erased already; cancel that first.";
    PrivacyRequestNotFound "PRIVACY_REQUEST_NOT_FOUND" NotFound 404 "The caller has no such request about their data.";

    // Concurrency and retries
    VersionMismatch "VERSION_MISMATCH" FailedPrecondition 412 "The resource has changed since it was read; read it again.";
    PreconditionFailed "PRECONDITION_FAILED" FailedPrecondition 412 "The condition of If-Match or If-None-Match is false; the call changed nothing.";
    IdempotencyKeyReused "IDEMPOTENCY_KEY_REUSED" InvalidArgument 422 "The Idempotency-Key was used with another request.";
    IdempotencyKeyInUse "IDEMPOTENCY_KEY_IN_USE" Aborted 409 "The first request with this Idempotency-Key is still running; try again.";
    Conflict "CONFLICT" Aborted 409 "Another call changed the same resource at the same time; try again.";

    // Load and availability
    RateLimited "RATE_LIMITED" ResourceExhausted 429 "The rate limit of this hour is used up; try again after Retry-After.";
    PositionGone "POSITION_GONE" OutOfRange 410 "Messages after this position are no longer known; read the state again, and continue from its Live-Position.";
    TooManyStreams "TOO_MANY_STREAMS" ResourceExhausted 429 "The user or the account has the maximum number of open streams and WebSockets; close one.";
    Busy "BUSY" ResourceExhausted 429 "The server is overloaded; try again in a moment.";
    DeadlineExceeded "DEADLINE_EXCEEDED" DeadlineExceeded 504 "The call took longer than its deadline.";
    Unavailable "UNAVAILABLE" Unavailable 503 "A part of the platform is unavailable; try again in a moment.";
    Internal "INTERNAL" Internal 500 "Internal error.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
