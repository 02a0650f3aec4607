//! Errors of the platform, defined in one table.
//!
//! Every failure that a caller sees has a [`Reason`]: a row of the table with its gRPC code, its HTTP status and its
//! description. Services build an [`Error`] from a reason. `From<Error> for tonic::Status` is the only mapping to gRPC,
//! and the gateway returns the same reason as RFC 9457 `application/problem+json`. Sources are logged where the mapping
//! happens, and never sent.

mod reason;

use std::{error::Error as StdError, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub use baton_proto::codec::ERROR_DOMAIN;
pub use reason::Reason;

/// The result type of domain rules, stores and RPC handlers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Field violations in a status, at most. A status travels in a header, and HTTP/2 peers accept 16 KiB of headers.
pub const MAX_VIOLATIONS: usize = 20;
/// Bytes of a text in a status, at most.
const MAX_TEXT_LEN: usize = 800;

/// A failure with a reason for the caller, and a source that is only logged.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    reason: Reason,
    message: String,
    metadata: Vec<(&'static str, String)>,
    fields: Vec<(String, String)>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with this reason. `message` is sent to the caller: a sentence without names, texts of users or
    /// internals.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            reason,
            message: message.into(),
            metadata: Vec::new(),
            fields: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// An error for a field (a proto path) whose value is invalid in a way that `buf.validate` cannot express.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::new(Reason::ValidationFailed, "the request violates the rules of its fields").field(field, description)
    }

    /// An internal error. The caller does not see the source.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut error = Self::new(Reason::Internal, "something went wrong on our side");
        error.0.source = Some(source.into());
        error
    }

    /// Adds machine-readable metadata, such as the states of a TASK_WRONG_STATE.
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

    /// Sets the delay before a retry: `google.rpc.RetryInfo`, and over REST `Retry-After`, rounded up to whole seconds.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let part = u64::from(wait.subsec_nanos() > 0);
        self.0.retry_after = Some(Duration::from_secs(wait.as_secs() + part));
        self
    }

    /// Sets the source, for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The reason.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.reason, self.0.message)?;
        self.0.source.as_ref().map_or(Ok(()), |source| write!(f, " ({source})"))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self::new(reason, reason.description())
    }
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        let reason = match &source {
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
                    .with_source(source);
            }
            _ => return Self::internal(source),
        };
        Self::from(reason).with_source(source)
    }
}

fn is_outage(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("53") || matches!(code, "57P01" | "57P02" | "57P03")
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let Inner { reason, message, metadata, fields, retry_after, source } = *error.0;
        if let Some(source) = &source {
            let source: &(dyn StdError + 'static) = &**source;
            match reason.code() {
                Code::Internal => tracing::error!(error = source, %reason, "call failed"),
                _ => tracing::warn!(error = source, %reason, "call refused"),
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

/// Truncates a text so that it fits into a status, which travels in a header.
fn truncated(text: String) -> String {
    if text.len() <= MAX_TEXT_LEN { text } else { text.chars().take(MAX_TEXT_LEN / 4).collect() }
}

/// The name of the constraint that a write violated, if that is why it failed.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|e| e.constraint())
}

/// The reason of a status, if a Baton service sent it.
pub fn reason_of(status: &Status) -> Option<Reason> {
    let info = status.get_details_error_info()?;
    (info.domain == ERROR_DOMAIN).then(|| Reason::from_name(&info.reason)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_has_reason_and_fields_but_not_the_source() {
        let status = Status::from(Error::invalid("due_at", "must not be in the past").with_source("secret detail"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason_of(&status), Some(Reason::ValidationFailed));
        let violations = status.get_details_bad_request().expect("field errors").field_violations;
        assert_eq!(violations[0].field, "due_at");
        assert!(!format!("{status:?}").contains("secret detail"));
    }

    #[test]
    fn codec_statuses_use_reasons_of_the_table() {
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
