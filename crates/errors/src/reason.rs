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
            pub const fn meaning(self) -> &'static str {
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
    PreconditionInvalid "PRECONDITION_INVALID" InvalidArgument 400 "If-Match is not an ETag of ours.";
    IdempotencyKeyInvalid "IDEMPOTENCY_KEY_INVALID" InvalidArgument 400 "The Idempotency-Key is empty, longer than 255 characters, or not printable ASCII.";
    RequestTooLarge "REQUEST_TOO_LARGE" ResourceExhausted 413 "The request is larger than the limit.";
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" InvalidArgument 415 "The body must be application/json (PATCH also application/merge-patch+json).";
    RouteNotFound "ROUTE_NOT_FOUND" Unimplemented 404 "There is nothing at this path.";
    WebSocketExpected "WEBSOCKET_EXPECTED" InvalidArgument 426 "This path takes WebSockets only.";
    OriginNotAllowed "ORIGIN_NOT_ALLOWED" PermissionDenied 403 "Pages of this origin may not open a WebSocket here, or call by cookie.";
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
    TaskChangeNotAllowed "TASK_CHANGE_NOT_ALLOWED" PermissionDenied 403 "The caller sees the task but may not do this to it.";
    TaskAlreadyAssigned "TASK_ALREADY_ASSIGNED" FailedPrecondition 409 "Somebody else holds the task; reassign it.";
    TaskNotAssigned "TASK_NOT_ASSIGNED" FailedPrecondition 409 "Nobody holds the task; assign it.";
    AssigneeInvalid "ASSIGNEE_INVALID" FailedPrecondition 422 "The assignee is not an active member of the account.";
    AssignmentNotAllowed "ASSIGNMENT_NOT_ALLOWED" PermissionDenied 403 "The caller may not hand tasks to this member.";
    ReassignmentNotAllowed "REASSIGNMENT_NOT_ALLOWED" PermissionDenied 403 "The caller may not reassign tasks, or not from this member.";
    RejectionDisabled "REJECTION_DISABLED" FailedPrecondition 409 "The account's settings do not let assignees reject tasks.";
    AssignmentAlreadyAccepted "ASSIGNMENT_ALREADY_ACCEPTED" FailedPrecondition 409 "The task was accepted already.";
    BoardNotFound "BOARD_NOT_FOUND" NotFound 404 "There is no such board that the caller may see.";

    // Notifications
    NotificationNotFound "NOTIFICATION_NOT_FOUND" NotFound 404 "The caller has no such notification.";

    // Concurrency and retries
    VersionMismatch "VERSION_MISMATCH" FailedPrecondition 412 "The thing has changed since; read it again.";
    IdempotencyKeyReused "IDEMPOTENCY_KEY_REUSED" InvalidArgument 422 "The Idempotency-Key was used with another request.";
    IdempotencyKeyInUse "IDEMPOTENCY_KEY_IN_USE" Aborted 409 "The first request with this Idempotency-Key is still running; try again.";
    Conflict "CONFLICT" Aborted 409 "Another call changed the same thing at the same time; try again.";

    // Us
    RateLimited "RATE_LIMITED" ResourceExhausted 429 "The requests of this hour are used up; Retry-After says when there are more.";
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
