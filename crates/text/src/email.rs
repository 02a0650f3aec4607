//! E-mail addresses: one rule for registration, invitation, change, external sign-in, and sending.

use std::{fmt, str::FromStr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::{
    Problem,
    characters::{is_mark, is_visible, trim},
    visible::{fold, nfc},
};

/// Octets of the local part, at most (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL: usize = 64;
/// Octets of an address, at most: a path of 256 (RFC 5321, 4.5.3.1.3) without its angle brackets.
const MAX_ADDRESS: usize = 254;

const FORM: Problem = Problem::new("must be an email address, such as ada@example.org");
const LOCAL_PART: Problem = Problem::new(
    "must be an email address whose part before the @ has no empty part between dots, no spaces and no quotes (RFC 5321, 4.1.2)",
);
const LOCAL_LENGTH: Problem = Problem::new("must have at most 64 bytes before the @ (RFC 5321, 4.5.3.1.1)");
const DOMAIN: Problem = Problem::new("must have a domain name after the @ (RFC 5321, 4.1.2)");
const LENGTH: Problem = Problem::new("must be at most 254 bytes long (RFC 5321, 4.5.3.1.3)");

/// An e-mail address: a `Mailbox` of RFC 5321, 4.1.2, whose local part is a dot-string and whose domain is a DNS name.
/// Both parts may be international (RFC 6531; the domain by UTS #46, non-transitional).
///
/// Quoted local parts and address literals are rejected: RFC 5321 advises against the former, and nobody uses the
/// latter.
///
/// `to_string` returns the display form: the local part as given, in NFC, and the domain in lower case and in its own
/// script if it is international. [`Address::key`] is the same for all spellings of an address, and
/// [`Address::for_smtp`] is the form for mail servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    local: String,
    domain: String,
    ascii_domain: String,
}

impl Address {
    /// The identity of an address: addresses with the same key belong to the same person. The local part is case-folded
    /// (RFC 5321 leaves its case to the receiver, and no major receiver is case-sensitive), and the domain is ASCII.
    pub fn key(&self) -> String {
        format!("{}@{}", fold(&self.local), self.ascii_domain)
    }

    /// The address with its domain in ASCII. A server needs SMTPUTF8 only for an international local part.
    pub fn for_smtp(&self) -> String {
        format!("{}@{}", self.local, self.ascii_domain)
    }

    /// The part before the `@`.
    pub fn local_part(&self) -> &str {
        &self.local
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl FromStr for Address {
    type Err = Problem;

    fn from_str(given: &str) -> Result<Self, Problem> {
        // A text of that length is not worth normalizing.
        if given.len() > 4 * MAX_ADDRESS {
            return Err(LENGTH);
        }
        let (local, domain) = trim(given).rsplit_once('@').ok_or(FORM)?;
        if local.is_empty() || domain.is_empty() {
            return Err(FORM);
        }
        let local = nfc(local);
        check_local_part(&local)?;
        let (domain, ascii_domain) = domain_names(domain)?;
        if local.len() + 1 + domain.len().max(ascii_domain.len()) > MAX_ADDRESS {
            return Err(LENGTH);
        }
        Ok(Self { local, domain, ascii_domain })
    }
}

/// The identity of an address, see [`Address::key`]. An invalid address has a key that no valid address has.
pub fn key(address: &str) -> String {
    address.parse::<Address>().map_or_else(|_| fold(trim(address)), |address| address.key())
}

/// `Dot-string` of RFC 5321, with the letters that RFC 6531, 3.3 adds.
fn check_local_part(local: &str) -> Result<(), Problem> {
    if local.len() > MAX_LOCAL {
        return Err(LOCAL_LENGTH);
    }
    let is_atom = |atom: &str| {
        atom.chars().enumerate().all(|(at, c)| {
            if c.is_ascii() {
                c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
            } else {
                is_visible(c) || at > 0 && is_mark(c)
            }
        }) && !atom.is_empty()
    };
    if local.split('.').all(is_atom) { Ok(()) } else { Err(LOCAL_PART) }
}

/// The domain in its own script, and in ASCII.
fn domain_names(given: &str) -> Result<(String, String), Problem> {
    let uts46 = Uts46::new();
    let ascii = uts46
        .to_ascii(given.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_err(|_| DOMAIN)?;
    // A name whose last label is a number would be read as an IPv4 address (RFC 3696, 2).
    if ascii.rsplit('.').next().is_none_or(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(DOMAIN);
    }
    if ascii.split('.').all(|label| !label.starts_with("xn--")) {
        // An ASCII domain stays as given, upper case included.
        let shown = if given.is_ascii() { given.to_owned() } else { ascii.to_string() };
        return Ok((shown, ascii.into_owned()));
    }
    let (unicode, valid) = uts46.to_unicode(ascii.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    valid.map_err(|_| DOMAIN)?;
    Ok((unicode.into_owned(), ascii.into_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Address, Problem> {
        text.parse()
    }

    #[test]
    fn addresses_follow_rfc_5321() {
        let local = "x".repeat(64);
        let label = "y".repeat(63);
        for good in [
            "ada@example.org",
            "a.d.a+tag@sub.example.co.uk",
            "!#$%&'*+-/=?^_`{|}~@example.org",
            "ada@localhost",
            &format!("{local}@example.org"),
            &format!("a@{label}.{label}.{label}.org"),
        ] {
            assert_eq!(parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "john..doe@example.com",
            ".john@example.com",
            "john.@example.com",
            "john doe@example.com",
            "\"john doe\"@example.com",
            "john@doe@example.com",
            "ada@example..org",
            "ada@.example.org",
            "ada@example.org.",
            "ada@-example.org",
            "ada@example-.org",
            "ada@exa_mple.org",
            "ada@[192.0.2.1]",
            "ada@192.0.2.1",
            "ada@example.1",
            "ada@exam ple.org",
            "ada\n@example.org",
            "ada\u{200b}@example.org",
            "ada\u{202e}@example.org",
            "\u{301}ada@example.org",
            "Ada <ada@example.org>",
            "ada@example.org, eve@example.org",
            "ada@example.org\r\nBcc: eve@example.org",
            &format!("{local}x@example.org"),
            &format!("ada@{label}y.org"),
            &format!("{local}@{label}.{label}.{label}.org"),
            &format!("ada@{}", "a.".repeat(10_000)),
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spellings_of_one_address_have_the_same_key() {
        for (one, other) in [
            (" Ada@Example.ORG\t", "ada@example.org"),
            ("ada@MÜNCHEN.example", "ada@xn--mnchen-3ya.example"),
            ("jose\u{301}@example.org", "José@example.org"),
            ("ada@mu\u{308}nchen.example", "ada@münchen.example"),
            ("ada@example。org", "ada@example.org"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        assert_eq!(key("Ada@Example.org"), "ada@example.org", "the same key as before this rule");
        assert_ne!(key("ada@faß.example"), key("ada@fass.example"), "UTS #46 is non-transitional");
    }

    #[test]
    fn international_address_has_a_display_form_and_an_smtp_form() {
        let address = parse("ada@XN--MNCHEN-3YA.Example").unwrap();
        assert_eq!(address.to_string(), "ada@münchen.example");
        assert_eq!(address.for_smtp(), "ada@xn--mnchen-3ya.example");
        let address = parse("用户@例え.jp").unwrap();
        assert_eq!((address.to_string().as_str(), address.local_part()), ("用户@例え.jp", "用户"));
        assert_eq!(address.for_smtp(), "用户@xn--r8jz45g.jp");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn every_form_of_an_address_has_the_same_key(
            local in "[a-zA-Z0-9é日ü!+-]{1,12}(\\.[a-zA-Z0-9é]{1,8}){0,2}",
            domain in "[a-zA-Z0-9]{1,10}[ü日]?(\\.[a-zA-Z0-9ß]{1,10}){0,2}\\.[a-zA-Z]{2,6}",
        ) {
            let Ok(address) = parse(&format!("{local}@{domain}")) else { return Ok(()) };
            for form in [address.to_string(), address.for_smtp(), address.key()] {
                prop_assert_eq!(key(&form), address.key());
            }
            prop_assert_eq!(parse(&address.to_string()), Ok(address.clone()));
            prop_assert!(address.for_smtp().rsplit('@').next().unwrap().is_ascii());
        }
    }
}
