//! What can go wrong, told once.
//!
//! Every failure that a caller sees is a [`Reason`]: a row of one table that gives its gRPC code, its
//! HTTP status and what it means. Services build an [`Error`] from a reason; `From<Error> for
//! tonic::Status` is the only mapping to gRPC, and the gateway shows the same reason as RFC 9457
//! `application/problem+json`. Internal causes are logged where the mapping happens and never sent.

mod reason;

use std::{error::Error as StdError, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub use baton_proto::codec::ERROR_DOMAIN;
pub use reason::Reason;

/// The result of domain rules, stores and RPC handlers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Field violations that a status has at most. It travels in a header, of which HTTP/2 peers take 16 KiB.
pub const MAX_VIOLATIONS: usize = 20;
/// Longest text in a status, in bytes.
const MAX_TEXT_LEN: usize = 800;

/// A failure with a reason that the caller may know, and a cause that only the log gets.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    reason: Reason,
    message: String,
    metadata: Vec<(&'static str, String)>,
    fields: Vec<(String, String)>,
    retry_after: Option<Duration>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure for this reason. `message` is for the caller: a sentence without names, texts or
    /// internals.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            reason,
            message: message.into(),
            metadata: Vec::new(),
            fields: Vec::new(),
            retry_after: None,
            cause: None,
        }))
    }

    /// A request whose field `field` (a proto path) is wrong in a way that `buf.validate` cannot say.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::new(Reason::ValidationFailed, "the request breaks the rules of its fields").field(field, description)
    }

    /// Something broke on our side. The caller learns only that.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut error = Self::new(Reason::Internal, "something went wrong on our side");
        error.0.cause = Some(cause.into());
        error
    }

    /// Adds a machine-readable detail, such as the states of a TASK_WRONG_STATE.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.metadata.push((key, value.into()));
        self
    }

    /// Adds a field violation.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.fields.push((field.into(), description.into()));
        self
    }

    /// Says when to come again: `google.rpc.RetryInfo`, and over REST `Retry-After`, in whole seconds.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let part = u64::from(wait.subsec_nanos() > 0);
        self.0.retry_after = Some(Duration::from_secs(wait.as_secs() + part));
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn with_source(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Why it failed.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.reason, self.0.message)?;
        self.0.cause.as_ref().map_or(Ok(()), |cause| write!(f, " ({cause})"))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_ref().map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self::new(reason, reason.description())
    }
}

impl From<sqlx::Error> for Error {
    fn from(cause: sqlx::Error) -> Self {
        let reason = match &cause {
            sqlx::Error::PoolTimedOut => Reason::Busy,
            sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Reason::Unavailable,
            // 55P03: lock_timeout; 40001 and 40P01: serialization failure and deadlock.
            sqlx::Error::Database(e) if matches!(e.code().as_deref(), Some("55P03" | "40001" | "40P01")) => {
                Reason::Conflict
            }
            // 08: connection; 53: resources; 57P01 to 57P03: shutting down, crashed, starting.
            sqlx::Error::Database(e) if e.code().is_some_and(|code| is_outage(&code)) => Reason::Unavailable,
            // 22021 and 22P05: text with a NUL character, which protobuf and JSON allow and Postgres does not.
            sqlx::Error::Database(e) if matches!(e.code().as_deref(), Some("22021" | "22P05")) => {
                return Self::new(Reason::ValidationFailed, "text must not contain the character U+0000")
                    .with_source(cause);
            }
            _ => return Self::internal(cause),
        };
        Self::from(reason).with_source(cause)
    }
}

fn is_outage(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("53") || matches!(code, "57P01" | "57P02" | "57P03")
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let Inner { reason, message, metadata, fields, retry_after, cause } = *error.0;
        if let Some(cause) = &cause {
            let cause: &(dyn StdError + 'static) = &**cause;
            match reason.code() {
                Code::Internal => tracing::error!(error = cause, %reason, "call failed"),
                _ => tracing::warn!(error = cause, %reason, "call refused"),
            }
        }
        let mut details = ErrorDetails::new();
        details.set_error_info(
            reason.name(),
            ERROR_DOMAIN,
            metadata
                .into_iter()
                .map(|(k, v)| (k.to_owned(), truncated(v)))
                .collect::<std::collections::HashMap<_, _>>(),
        );
        if let Some(wait) = retry_after {
            details.set_retry_info(Some(wait));
        }
        for (field, description) in fields.into_iter().take(MAX_VIOLATIONS) {
            details.add_bad_request_violation(truncated(field), truncated(description));
        }
        Status::with_error_details(reason.code(), truncated(message), details)
    }
}

/// A text that fits into a status, which travels in a header.
fn truncated(text: String) -> String {
    if text.len() <= MAX_TEXT_LEN { text } else { text.chars().take(MAX_TEXT_LEN / 4).collect() }
}

/// The name of the constraint that a write broke, if that is why it failed.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|e| e.constraint())
}

/// The reason that a status carries, if it came from a Baton service.
pub fn reason_of(status: &Status) -> Option<Reason> {
    let info = status.get_details_error_info()?;
    (info.domain == ERROR_DOMAIN).then(|| Reason::from_name(&info.reason)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_reason_and_fields_but_not_the_cause() {
        let status = Status::from(Error::invalid("due_at", "is in the past").with_source("secret detail"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason_of(&status), Some(Reason::ValidationFailed));
        let violations = status.get_details_bad_request().expect("field errors").field_violations;
        assert_eq!(violations[0].field, "due_at");
        assert!(!format!("{status:?}").contains("secret detail"));
    }

    #[test]
    fn statuses_of_the_codec_have_reasons_of_the_table() {
        let status = baton_proto::codec::too_large(Some(1));
        assert_eq!(
            (reason_of(&status), status.code()),
            (Some(Reason::RequestTooLarge), Reason::RequestTooLarge.code())
        );
    }

    #[test]
    fn reasons_are_found_by_their_names() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.name()), Some(*reason));
            assert!((400..600).contains(&reason.http_status()), "{reason}");
        }
    }
}
