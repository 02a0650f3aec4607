//! Why a URL is not called, and why a call failed.

use std::io;

use tokio_rustls::rustls;

/// The reason for which a URL is not called.
///
/// [`Refused::reason`] and the text of `Display` are for the customer: they have no address, and nothing that a name
/// resolves to. `Debug` also has the purpose of the address, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not a URL with a host, or has control characters or white space.
    #[error("it is not a valid URL")]
    Invalid,
    /// It is longer than [`MAX_URL_LEN`](crate::MAX_URL_LEN).
    #[error("the URL is too long")]
    TooLong,
    /// Its scheme is not https, or it is http and the address is not in a network that the operator allows.
    #[error("the URL does not begin with https://")]
    NotHttps,
    /// It contains a user name or a password.
    #[error("the URL contains a user name or a password")]
    Credentials,
    /// It contains a fragment, which is never sent.
    #[error("the URL contains a fragment")]
    Fragment,
    /// Its host is an address of this special purpose.
    #[error("the address is not a public one")]
    Address(&'static str),
    /// Its host is a name with an address of this special purpose.
    #[error("the name has no public address")]
    Name(&'static str),
}

impl Refused {
    /// A short name of the reason, for the customer: it is stored and shown.
    ///
    /// A name with a private address has the reason of a name without addresses, so that nobody can ask which internal
    /// names exist.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "url_invalid",
            Self::TooLong => "url_too_long",
            Self::NotHttps => "url_not_https",
            Self::Credentials => "url_has_credentials",
            Self::Fragment => "url_has_fragment",
            Self::Address(_) => "address_not_public",
            Self::Name(_) => NO_PUBLIC_ADDRESS,
        }
    }
}

const NO_PUBLIC_ADDRESS: &str = "no_public_address";

/// Why a call has no response. Sources are for the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target is not called.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The request's body is longer than [`MAX_REQUEST_LEN`](crate::MAX_REQUEST_LEN).
    #[error("the request is too large")]
    RequestTooLarge,
    /// The name has no addresses, or cannot be resolved now.
    #[error("the name has no public address")]
    Unresolved(#[source] Option<io::Error>),
    /// There was no connection, or no complete response, in time.
    #[error("there was no response in time")]
    Timeout,
    /// There is no connection, or it broke.
    #[error("the connection failed")]
    Connection(#[source] io::Error),
    /// The server does not speak TLS, or its certificate is not valid for the name.
    #[error("TLS failed: the server's certificate is not valid, or it does not speak TLS")]
    Tls(#[source] io::Error),
    /// What the server sent is not an HTTP/1.1 response, or its headers are too large.
    #[error("the response is not valid")]
    InvalidResponse(#[source] hyper::Error),
    /// The response's body is longer than [`MAX_RESPONSE_LEN`](crate::MAX_RESPONSE_LEN).
    #[error("the response is too large")]
    ResponseTooLarge,
}

impl Error {
    /// A short name of the reason, for the customer: it is stored and shown. See [`Refused::reason`].
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.reason(),
            Self::RequestTooLarge => "request_too_large",
            Self::Unresolved(_) => NO_PUBLIC_ADDRESS,
            Self::Timeout => "timeout",
            Self::Connection(_) => "connection_failed",
            Self::Tls(_) => "tls_failed",
            Self::InvalidResponse(_) => "response_invalid",
            Self::ResponseTooLarge => "response_too_large",
        }
    }

    /// A failed handshake: of TLS, or of the connection below it.
    pub(crate) fn from_handshake(error: io::Error) -> Self {
        let is_tls = error.get_ref().is_some_and(|source| source.is::<rustls::Error>());
        if is_tls { Self::Tls(error) } else { Self::Connection(error) }
    }
}

/// A failed exchange of request and response.
impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Self {
        if error.is_parse() { Self::InvalidResponse(error) } else { Self::Connection(io::Error::other(error)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_private_addresses_looks_like_one_without_addresses() {
        let (private, unresolved) = (Error::Refused(Refused::Name("Private-Use")), Error::Unresolved(None));
        assert_eq!(private.reason(), unresolved.reason());
        assert_eq!(private.to_string(), unresolved.to_string());
        assert!(!Refused::Address("Loopback").to_string().contains("Loopback"));
    }
}
