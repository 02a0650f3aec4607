//! The URL of a receiver.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr as _,
};

use http::{HeaderValue, uri::PathAndQuery};
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Position, Url};

use crate::{
    networks::{AllowedNetworks, Scheme},
    refused::Refused,
};

/// Maximum length of a URL, in bytes: of what was written, and of its normal form.
pub const MAX_URL_LEN: usize = 2048;

/// A URL that can be called, in the normal form of the URL Standard.
///
/// Any port is taken: receivers run on many. Plain text only reaches networks that the operator allows; other servers
/// get the start of a TLS handshake, which they cannot mistake for a command.
#[derive(Clone)]
pub struct Target {
    url: Url,
    pub(crate) scheme: Scheme,
    pub(crate) host: Destination,
    pub(crate) port: u16,
    /// The value of the header Host.
    pub(crate) authority: HeaderValue,
    pub(crate) path: PathAndQuery,
    /// What the certificate must be valid for.
    pub(crate) server_name: ServerName<'static>,
}

/// The host of a target.
#[derive(Debug, Clone)]
pub(crate) enum Destination {
    Address(IpAddr),
    Name(String),
}

impl Target {
    /// Parses and judges a URL, when it is saved and again before it is called.
    ///
    /// Addresses are judged at once, also those in decimal, octal or hexadecimal notation (`http://2130706433`,
    /// `0177.1`), which the URL Standard normalizes. Names are judged at the call, by what they resolve to then.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn parse(url: &str, allowed: &AllowedNetworks) -> Result<Self, Refused> {
        if url.len() > MAX_URL_LEN {
            return Err(Refused::TooLong);
        }
        // The URL Standard drops some of them: what was written would not be what is called.
        if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Refused::Invalid);
        }
        let url = Url::parse(url).map_err(|_| Refused::Invalid)?;
        if url.as_str().len() > MAX_URL_LEN {
            return Err(Refused::TooLong);
        }
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" if !allowed.is_empty() => Scheme::Http,
            _ => return Err(Refused::NotHttps),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        if url.fragment().is_some() {
            return Err(Refused::Fragment);
        }
        let port = url.port_or_known_default().ok_or(Refused::Invalid)?;
        let host = match url.host().ok_or(Refused::Invalid)? {
            Host::Ipv4(address) => Destination::Address(address.into()),
            Host::Ipv6(address) => Destination::Address(address.into()),
            Host::Domain(name) => Destination::Name(name.to_owned()),
        };
        let server_name = match &host {
            Destination::Address(address) => ServerName::from(*address),
            // Certificates have no dot at the end.
            Destination::Name(name) => {
                ServerName::try_from(name.strip_suffix('.').unwrap_or(name)).map_err(|_| Refused::Invalid)?.to_owned()
            }
        };
        let authority = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]);
        let path = PathAndQuery::from_str(&url[Position::BeforePath..Position::AfterQuery]);
        let (Ok(authority), Ok(path)) = (authority, path) else { return Err(Refused::Invalid) };
        let target = Self { scheme, host, port, authority, path, server_name, url };
        target.judge_literal(allowed)?;
        Ok(target)
    }

    /// The URL in its normal form: what to store.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    fn judge_literal(&self, allowed: &AllowedNetworks) -> Result<(), Refused> {
        match self.host {
            Destination::Address(address) => {
                allowed.judge(self.scheme, SocketAddr::new(address, self.port)).map(|_| ())
            }
            Destination::Name(_) => Ok(()),
        }
    }
}

/// Without path and query, which may be a secret.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", &self.url[..Position::AfterPort])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<String, Refused> {
        Target::parse(url, &AllowedNetworks::default()).map(|target| target.as_str().to_owned())
    }

    #[test]
    fn urls_are_stored_in_their_normal_form() {
        for (written, stored) in [
            ("https://hooks.example.com", "https://hooks.example.com/"),
            ("HTTPS://Hooks.Example.com:443/A?b=c", "https://hooks.example.com/A?b=c"),
            ("https://münchen.example:8443/ä", "https://xn--mnchen-3ya.example:8443/%C3%A4"),
            ("https://1.1.1.1/", "https://1.1.1.1/"),
            ("https://0x01010101/", "https://1.1.1.1/"),
            ("https://[2606:4700::1111]:25/", "https://[2606:4700::1111]:25/"),
            ("https://hooks.example.com./", "https://hooks.example.com./"),
            ("https://hooks.example.com/{id}|\"'^`\\", "https://hooks.example.com/%7Bid%7D|%22'^%60/"),
        ] {
            assert_eq!(parse(written).as_deref(), Ok(stored), "{written}");
        }
    }

    #[test]
    fn other_urls_are_refused() {
        let long = |len: usize| format!("https://a.example/{}", "x".repeat(len - 18));
        assert_eq!(parse(&long(MAX_URL_LEN)).map(|url| url.len()), Ok(MAX_URL_LEN));
        assert_eq!(parse(&long(MAX_URL_LEN + 1)), Err(Refused::TooLong));
        assert_eq!(parse(&format!("https://a.example/{}", "ä".repeat(500))), Err(Refused::TooLong), "when encoded");
        for (url, refused) in [
            ("", Refused::Invalid),
            ("hooks.example.com", Refused::Invalid),
            ("/hooks", Refused::Invalid),
            ("https://", Refused::Invalid),
            ("https://a b.example/", Refused::Invalid),
            ("https://exa\nmple.com/", Refused::Invalid),
            (" https://example.com/", Refused::Invalid),
            ("https://1.2.3.4.5/", Refused::Invalid),
            ("https://256.1.1.1/", Refused::Invalid),
            ("https://[fe80::1%25eth0]/", Refused::Invalid),
            ("https://example.com:99999/", Refused::Invalid),
            ("https://-.example/", Refused::Invalid),
            ("http://example.com/", Refused::NotHttps),
            ("http://127.0.0.1/", Refused::NotHttps),
            ("ftp://example.com/", Refused::NotHttps),
            ("file:///etc/passwd", Refused::NotHttps),
            ("gopher://example.com/", Refused::NotHttps),
            ("https://user@example.com/", Refused::Credentials),
            ("https://:password@example.com/", Refused::Credentials),
            ("https://1.1.1.1@127.0.0.1/", Refused::Credentials),
            ("https://example.com/#", Refused::Fragment),
            ("https://example.com/#top", Refused::Fragment),
        ] {
            assert_eq!(parse(url), Err(refused), "{url}");
        }
    }

    #[test]
    fn addresses_are_judged_in_every_notation() {
        for url in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7F.0.0.0x1/",
            "https://017700000001/",
            "https://0177.0.0.1/",
            "https://127.0.0.1./",
            "https://１２７．０．０．１/",
            "https://%31%32%37.0.0.1/",
            "https://0/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[64:ff9b::127.0.0.1]/",
            "https://[2002:7f00:1::]/",
            "https://169.254.169.254/latest/meta-data/",
            "https://10.0.0.1/",
        ] {
            let refused = parse(url);
            assert!(matches!(refused, Err(Refused::Address(_))), "{url}: {refused:?}");
        }
    }

    #[test]
    fn plain_http_needs_an_allowed_network() {
        let allowed = AllowedNetworks::parse("127.0.0.0/8").unwrap();
        let parse = |url: &str| Target::parse(url, &allowed).map(|target| target.port);
        assert_eq!(parse("http://127.0.0.1/"), Ok(80));
        assert_eq!(parse("http://localhost:8080/"), Ok(8080), "judged at the call");
        assert_eq!(parse("https://127.0.0.1/"), Ok(443));
        assert_eq!(parse("http://1.1.1.1/"), Err(Refused::NotHttps));
        assert_eq!(parse("http://[::1]/"), Err(Refused::Address("Loopback Address")));
        assert_eq!(parse("http://10.0.0.1/"), Err(Refused::Address("Private-Use")));
    }

    #[test]
    fn debug_shows_no_path() {
        let target = Target::parse("https://example.com/secret?token=x", &AllowedNetworks::default()).unwrap();
        assert_eq!(format!("{target:?}"), "Target(https://example.com)");
    }
}
