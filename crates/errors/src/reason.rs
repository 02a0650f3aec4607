//! The table of reasons.

use std::fmt;

use tonic::Code;

macro_rules! reasons {
    ($($variant:ident $name:literal $code:ident $http:literal $meaning:literal;)*) => {
        /// Why a call failed: the `reason` of `google.rpc.ErrorInfo` and of `problem+json`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $meaning] $variant,)* }

        impl Reason {
            /// All of them, in the order of the table.
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

            /// What it means, in a sentence.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// The reason with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    // Requests
    ValidationFailed "VALIDATION_FAILED" InvalidArgument 400 "The request breaks the rules of its fields; the field errors say which.";
    MalformedRequest "MALFORMED_REQUEST" InvalidArgument 400 "The body is not JSON, or not a JSON object.";
    UnknownField "UNKNOWN_FIELD" InvalidArgument 400 "The request has a field or parameter that this call does not know.";
    PageTokenInvalid "PAGE_TOKEN_INVALID" InvalidArgument 400 "The page token is not one of ours, or belongs to other filters.";
    PreconditionInvalid "PRECONDITION_INVALID" InvalidArgument 400 "If-Match or If-None-Match is neither * nor a list of ETags in double quotes.";
    IdempotencyKeyInvalid "IDEMPOTENCY_KEY_INVALID" InvalidArgument 400 "The Idempotency-Key is empty, longer than 255 characters, or not printable ASCII.";
    RequestTooLarge "REQUEST_TOO_LARGE" ResourceExhausted 413 "The request is larger than the limit.";
    BodyTimeout "BODY_TIMEOUT" DeadlineExceeded 408 "The body of the request did not arrive in time.";
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" InvalidArgument 415 "The body must be application/json (PATCH also application/merge-patch+json), without a content coding such as gzip.";
    RouteNotFound "ROUTE_NOT_FOUND" Unimplemented 404 "There is nothing at this path.";
    WebSocketExpected "WEBSOCKET_EXPECTED" InvalidArgument 426 "This path takes WebSockets only.";
    OriginNotAllowed "ORIGIN_NOT_ALLOWED" PermissionDenied 403 "Pages of this origin may not open a WebSocket here, or call by cookie.";
    HostNotAllowed "HOST_NOT_ALLOWED" FailedPrecondition 421 "The gateway is not to be called by this name.";
    MethodNotAllowed "METHOD_NOT_ALLOWED" Unimplemented 405 "The path does not take this method.";

    // Who calls
    TokenMissing "TOKEN_MISSING" Unauthenticated 401 "The call needs an access token: Authorization: Bearer <token>.";
    TokenInvalid "TOKEN_INVALID" Unauthenticated 401 "The token is malformed, expired, or not signed by us.";
    TokenReused "TOKEN_REUSED" Unauthenticated 401 "The refresh token had been used before; its session is closed.";
    SessionClosed "SESSION_CLOSED" Unauthenticated 401 "The session of the token is closed; sign in again.";
    CredentialsInvalid "CREDENTIALS_INVALID" Unauthenticated 401 "Email and password do not match a user, or the address is not confirmed yet.";
    EmailNotVerified "EMAIL_NOT_VERIFIED" PermissionDenied 403 "The address is not confirmed yet; follow the link in the mail.";
    LinkInvalid "LINK_INVALID" InvalidArgument 400 "The token of the link is not one of ours, or too old, or replaced by a newer one.";
    PasswordTooWeak "PASSWORD_TOO_WEAK" InvalidArgument 400 "The password is too short or too easy to guess.";
    UserDeactivated "USER_DEACTIVATED" PermissionDenied 403 "The sign-in is deactivated; follow the link in the mail to have it back.";
    EmailTaken "EMAIL_TAKEN" AlreadyExists 409 "The address was confirmed by somebody else meanwhile.";

    TooManyAttempts "TOO_MANY_ATTEMPTS" ResourceExhausted 429 "Too many attempts; Retry-After says when the next one is heard.";
    CsrfTokenMissing "CSRF_TOKEN_MISSING" PermissionDenied 403 "A call by cookie needs the value of the cookie __Host-baton_csrf in X-CSRF-Token.";
    CsrfTokenInvalid "CSRF_TOKEN_INVALID" PermissionDenied 403 "X-CSRF-Token does not belong to the refresh token of the cookie; read __Host-baton_csrf again.";
    MfaTokenInvalid "MFA_TOKEN_INVALID" Unauthenticated 401 "The mfa_token is not one of ours, older than five minutes, or used; sign in again.";
    MfaCodeInvalid "MFA_CODE_INVALID" Unauthenticated 401 "The code is not a current one of the second factor, or was used before.";
    ProofRequired "PROOF_REQUIRED" PermissionDenied 403 "The call needs the password, or a current code of the second factor, beside the token.";
    ProofInvalid "PROOF_INVALID" PermissionDenied 403 "The password is wrong, or the code not a current one, or used before.";
    ReauthenticationRequired "REAUTHENTICATION_REQUIRED" PermissionDenied 403 "The call takes a fresh proof of identity: sign in again, or call Reauthenticate (POST /v1/auth/reauthenticate), and repeat it within 15 minutes.";
    SecondFactorEstablished "SECOND_FACTOR_ESTABLISHED" FailedPrecondition 409 "The second factor was switched on more than a week ago; a mailed link does not remove it. Sign in with it, or with a recovery code, and switch it off.";
    TotpNotStarted "TOTP_NOT_STARTED" FailedPrecondition 409 "No TOTP secret waits to be confirmed; ask for one.";
    SecondFactorNotEnabled "SECOND_FACTOR_NOT_ENABLED" FailedPrecondition 409 "The caller has no second factor.";
    ApiKeyNotFound "API_KEY_NOT_FOUND" NotFound 404 "The caller has no such API key.";
    ApiKeyLimit "API_KEY_LIMIT" FailedPrecondition 409 "The caller has as many API keys as one may have; delete one first.";
    SessionNotFound "SESSION_NOT_FOUND" NotFound 404 "The caller has no such session.";
    ProviderUnknown "PROVIDER_UNKNOWN" NotFound 404 "There is no such identity provider, or it is switched off.";
    ProviderRefused "PROVIDER_REFUSED" Unauthenticated 401 "The identity provider did not confirm the sign-in, or its answer does not hold; begin again.";
    OauthStateInvalid "OAUTH_STATE_INVALID" InvalidArgument 400 "The state is not of a sign-in that this browser began in the last ten minutes with this provider, or was used; begin again.";
    IdentityNotLinked "IDENTITY_NOT_LINKED" FailedPrecondition 409 "The address belongs to a user already, who signs in as before and then links the identity.";
    IdentityTaken "IDENTITY_TAKEN" AlreadyExists 409 "The identity is linked to another user.";
    IdentityExists "IDENTITY_EXISTS" AlreadyExists 409 "The caller has another identity of this provider; unlink that one first.";
    IdentityNotFound "IDENTITY_NOT_FOUND" NotFound 404 "The caller has no such identity.";
    LastWayToSignIn "LAST_WAY_TO_SIGN_IN" FailedPrecondition 409 "It is the only way that the caller can sign in; set a password or link another identity first.";

    // May they
    NotAMember "NOT_A_MEMBER" PermissionDenied 403 "The caller is not an active member of the account, or there is no such account.";
    AccountSuspended "ACCOUNT_SUSPENDED" PermissionDenied 403 "The account is suspended, or given up and about to be deleted; its owner can reactivate it.";
    SecondFactorRequired "SECOND_FACTOR_REQUIRED" PermissionDenied 403 "The account wants its members to sign in with a second factor, and the caller's session did not.";
    PermissionMissing "PERMISSION_MISSING" PermissionDenied 403 "The caller's role does not hold the permission that the call needs.";
    ScopeMissing "SCOPE_MISSING" PermissionDenied 403 "The API key does not have the scope that the call needs; `scope` names it.";
    SessionRequired "SESSION_REQUIRED" PermissionDenied 403 "The call takes a signed-in person's access token; an API key may not make it.";
    ServiceOnly "SERVICE_ONLY" PermissionDenied 403 "Only Baton services may call this.";

    // Tenancy
    AccountNotFound "ACCOUNT_NOT_FOUND" NotFound 404 "There is no such account for the caller.";
    SlugTaken "SLUG_TAKEN" AlreadyExists 409 "Another account has this slug.";
    MemberNotFound "MEMBER_NOT_FOUND" NotFound 404 "The account has no such member.";
    MemberExists "MEMBER_EXISTS" AlreadyExists 409 "The person is a member already, or invited.";
    HandleTaken "HANDLE_TAKEN" AlreadyExists 409 "Another member of the account has this handle.";
    ManagerInvalid "MANAGER_INVALID" FailedPrecondition 422 "The manager is not an active member who outranks the member.";
    RoleNotGrantable "ROLE_NOT_GRANTABLE" PermissionDenied 403 "Nobody can grant, change or remove a role above their own.";
    RoleHasReports "ROLE_HAS_REPORTS" FailedPrecondition 409 "The new role does not outrank all who report to the member.";
    LastOwner "LAST_OWNER" FailedPrecondition 409 "An account keeps at least one owner.";
    InvitationForAnother "INVITATION_FOR_ANOTHER" PermissionDenied 403 "The invitation was sent to another address.";

    AccountBeingDeleted "ACCOUNT_BEING_DELETED" FailedPrecondition 409 "The account was given up; call its deletion off first.";
    InvitationNotFound "INVITATION_NOT_FOUND" NotFound 404 "The account has no such invitation that is still open.";
    HandOverInvalid "HAND_OVER_INVALID" FailedPrecondition 422 "The tasks cannot go to this person: no active member, the one who leaves, or nobody whom the caller may assign tasks to.";
    NotAboveMember "NOT_ABOVE_MEMBER" PermissionDenied 403 "Only the member themselves and those above them may ask this.";
    ExportTooLarge "EXPORT_TOO_LARGE" FailedPrecondition 422 "More rows match than an export takes (`limit`); narrow it by time.";

    // Quotas and billing
    QuotaExceeded "QUOTA_EXCEEDED" FailedPrecondition 403 "The account's tier does not allow more; `quota`, `limit` and `used` say of what.";
    BillingDisabled "BILLING_DISABLED" FailedPrecondition 404 "This installation takes no payments.";
    BillingAccountUnknown "BILLING_ACCOUNT_UNKNOWN" FailedPrecondition 409 "Nothing says yet whose customer the event is about; send it again later.";
    SignatureInvalid "SIGNATURE_INVALID" InvalidArgument 400 "The event is not signed by a secret of ours, or was signed too long ago.";

    // Tasks
    TaskNotFound "TASK_NOT_FOUND" NotFound 404 "There is no such task that the caller may see.";
    TaskWrongState "TASK_WRONG_STATE" FailedPrecondition 409 "The task's state does not allow this; `from` and `to` name both states.";
    TimerAlreadyRunning "TIMER_ALREADY_RUNNING" FailedPrecondition 409 "The account lets nobody work on two tasks at once, and the caller is at work on another; `task_id` names it.";
    TaskChangeNotAllowed "TASK_CHANGE_NOT_ALLOWED" PermissionDenied 403 "The caller sees the task but may not do this to it.";
    TaskNotRecurring "TASK_NOT_RECURRING" FailedPrecondition 409 "The task does not come again, or a later task of its series is there already; that one skips times.";
    SkipLimit "SKIP_LIMIT" FailedPrecondition 409 "The series skips as many times ahead as one may (`limit`).";
    TaskAlreadyAssigned "TASK_ALREADY_ASSIGNED" FailedPrecondition 409 "Somebody else holds the task; reassign it.";
    TaskNotAssigned "TASK_NOT_ASSIGNED" FailedPrecondition 409 "Nobody holds the task; assign it.";
    AssigneeInvalid "ASSIGNEE_INVALID" FailedPrecondition 422 "The assignee is not an active member of the account.";
    AssignmentNotAllowed "ASSIGNMENT_NOT_ALLOWED" PermissionDenied 403 "The caller may not hand tasks to this member.";
    ReassignmentNotAllowed "REASSIGNMENT_NOT_ALLOWED" PermissionDenied 403 "The caller may not reassign tasks, or not from this member.";
    RejectionDisabled "REJECTION_DISABLED" FailedPrecondition 409 "The account's settings do not let assignees reject tasks.";
    AssignmentAlreadyAccepted "ASSIGNMENT_ALREADY_ACCEPTED" FailedPrecondition 409 "The task was accepted already.";
    CommentNotFound "COMMENT_NOT_FOUND" NotFound 404 "There is no such comment on a task that the caller may see.";
    CommentChangeNotAllowed "COMMENT_CHANGE_NOT_ALLOWED" PermissionDenied 403 "Only its author edits a comment; only its author, super managers and owners delete it.";
    ReactionLimit "REACTION_LIMIT" FailedPrecondition 409 "The comment has as many different reactions as one may have.";
    WatcherInvalid "WATCHER_INVALID" FailedPrecondition 422 "The person is no active member who sees the task, or does not wish to watch it.";
    WatcherNotFound "WATCHER_NOT_FOUND" NotFound 404 "The task has no such watcher.";
    WatcherLimit "WATCHER_LIMIT" FailedPrecondition 409 "The task has as many watchers as one may have.";
    ReminderNotFound "REMINDER_NOT_FOUND" NotFound 404 "The caller has no such reminder.";
    ReminderLimit "REMINDER_LIMIT" FailedPrecondition 409 "The caller has as many reminders of the task as one may have (`limit`); delete one first.";
    DependencyNotFound "DEPENDENCY_NOT_FOUND" NotFound 404 "The task does not wait for this one.";
    DependencyCycle "DEPENDENCY_CYCLE" FailedPrecondition 409 "The other task waits for this one already, directly or through others.";
    DependencyLimit "DEPENDENCY_LIMIT" FailedPrecondition 409 "One of the tasks has as many dependencies as one may have, or too many tasks hang together; `limit` says how many may.";
    CustomFieldNotFound "CUSTOM_FIELD_NOT_FOUND" NotFound 404 "The account has no such custom field.";
    CustomFieldKeyTaken "CUSTOM_FIELD_KEY_TAKEN" AlreadyExists 409 "Another custom field of the account has this key.";
    CustomFieldLimit "CUSTOM_FIELD_LIMIT" FailedPrecondition 409 "The account has as many custom fields as one may have (`limit`); delete one first.";
    TooManyTasks "TOO_MANY_TASKS" FailedPrecondition 422 "More tasks match than one call changes; `limit` and `matched` say how many. Narrow the filter.";
    BoardNotFound "BOARD_NOT_FOUND" NotFound 404 "There is no such board that the caller may see.";
    ViewNotFound "VIEW_NOT_FOUND" NotFound 404 "There is no such view of the caller's own, and none that is shared.";
    ViewChangeNotAllowed "VIEW_CHANGE_NOT_ALLOWED" PermissionDenied 403 "The view is another's: its owner may change it, and those who run the account.";
    ViewNameTaken "VIEW_NAME_TAKEN" AlreadyExists 409 "Its owner has another view of this name.";
    ViewLimit "VIEW_LIMIT" FailedPrecondition 409 "The caller has as many views as one may have; delete one first.";
    TimeEntryNotFound "TIME_ENTRY_NOT_FOUND" NotFound 404 "There is no such interval of a task that the caller may see.";
    TimeEntryFixed "TIME_ENTRY_FIXED" FailedPrecondition 409 "The interval still runs, or is a pause: only working intervals that have ended are corrected by hand.";
    TimeEntryOverlaps "TIME_ENTRY_OVERLAPS" FailedPrecondition 409 "The person has another working interval on the task in that time.";
    AttachmentNotFound "ATTACHMENT_NOT_FOUND" NotFound 404 "There is no such attachment of a task that the caller may see, or its upload was not completed.";
    AttachmentTypeNotAllowed "ATTACHMENT_TYPE_NOT_ALLOWED" InvalidArgument 415 "Files of this media type are not taken.";
    AttachmentTooLarge "ATTACHMENT_TOO_LARGE" InvalidArgument 413 "The file is larger than this installation takes; `limit` says how many bytes it may have.";
    AttachmentLimit "ATTACHMENT_LIMIT" FailedPrecondition 409 "The task has as many attachments as one may have; delete one first.";
    AttachmentNotUploaded "ATTACHMENT_NOT_UPLOADED" FailedPrecondition 409 "The content of the attachment is not there yet; send it to the upload URL first.";
    AttachmentMismatch "ATTACHMENT_MISMATCH" FailedPrecondition 422 "The content that was sent is not the one that was announced, by size or checksum; it was deleted.";

    // Notifications
    NotificationNotFound "NOTIFICATION_NOT_FOUND" NotFound 404 "The caller has no such notification.";

    // Concurrency and retries
    VersionMismatch "VERSION_MISMATCH" FailedPrecondition 412 "The thing has changed since; read it again.";
    PreconditionFailed "PRECONDITION_FAILED" FailedPrecondition 412 "The condition of If-Match or If-None-Match does not hold; the call changed nothing.";
    IdempotencyKeyReused "IDEMPOTENCY_KEY_REUSED" InvalidArgument 422 "The Idempotency-Key was used with another request.";
    IdempotencyKeyInUse "IDEMPOTENCY_KEY_IN_USE" Aborted 409 "The first request with this Idempotency-Key is still running; try again.";
    Conflict "CONFLICT" Aborted 409 "Another call changed the same thing at the same time; try again.";

    // Us
    RateLimited "RATE_LIMITED" ResourceExhausted 429 "The requests of this hour are used up; Retry-After says when there are more.";
    TooManyStreams "TOO_MANY_STREAMS" ResourceExhausted 429 "The person or the account has as many streams and WebSockets open as it may; close one.";
    Busy "BUSY" ResourceExhausted 429 "Too much at once; try again in a moment.";
    DeadlineExceeded "DEADLINE_EXCEEDED" DeadlineExceeded 504 "The call took longer than its deadline.";
    Unavailable "UNAVAILABLE" Unavailable 503 "A part of the platform cannot be reached; try again in a moment.";
    Internal "INTERNAL" Internal 500 "Something went wrong on our side.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
