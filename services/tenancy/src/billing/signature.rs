//! Stripe's signature: `Stripe-Signature: t=<seconds>,v1=<HMAC-SHA256 of "<seconds>.<body>" in hex>`.

use aws_lc_rs::hmac;
use baton_errors::{Error, Reason, Result};
use baton_runtime::Secret;
use chrono::{DateTime, Utc};

/// How far the time of signing may be from now, in seconds: a body that was overheard is worth nothing later.
const TOLERANCE: u64 = 300;

/// The secrets of the endpoint: several while one is replaced by another.
#[derive(Clone)]
pub(crate) struct Secrets(Vec<hmac::Key>);

impl Secrets {
    /// Reads a list separated by commas; none when there is none.
    pub(crate) fn parse(list: Option<&Secret>) -> Self {
        let list = list.map(Secret::expose).unwrap_or_default();
        let secrets = list.split(',').map(str::trim).filter(|secret| !secret.is_empty());
        Self(secrets.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())).collect())
    }

    /// Whether the header signs the body with one of the secrets, lately.
    ///
    /// # Errors
    /// BILLING_DISABLED without secrets, SIGNATURE_INVALID.
    pub(crate) fn check(&self, header: &str, body: &[u8], now: DateTime<Utc>) -> Result<()> {
        if self.0.is_empty() {
            return Err(Reason::BillingDisabled.into());
        }
        self.holds(header, body, now).ok_or_else(|| Error::from(Reason::SignatureInvalid))
    }

    fn holds(&self, header: &str, body: &[u8], now: DateTime<Utc>) -> Option<()> {
        let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
        let mut times = parts().filter(|(name, _)| *name == "t");
        let (time, None) = (times.next()?.1, times.next()) else { return None };
        if time.parse::<i64>().ok()?.abs_diff(now.timestamp()) > TOLERANCE {
            return None;
        }
        let signed = [time.as_bytes(), b".", body].concat();
        // Other schemes, such as v0, are for tests of Stripe's and prove nothing. Keys and signatures are few.
        parts().filter(|(name, _)| *name == "v1").take(8).find_map(|(_, hex)| {
            let tag = unhex(hex)?;
            // Compares in constant time.
            self.0.iter().any(|key| hmac::verify(key, &signed, &tag).is_ok()).then_some(())
        })
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Secrets").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with Python's hmac: `hmac.new(b"whsec_test", b"1700000000.{}", "sha256").hexdigest()`.
    const OF_EMPTY: &str = "35495024f4ef3f94e5a93e22221544c4b75e9a42300cd965ab81cb85cd994e91";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn secrets(list: &str) -> Secrets {
        Secrets::parse(Some(&Secret::new(list)))
    }

    fn header(seconds: i64, secret: &str, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, &[seconds.to_string().as_bytes(), b".", body].concat());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={seconds},v1={hex}")
    }

    #[test]
    fn a_signature_made_elsewhere_holds() {
        let header = format!("t=1700000000,v1={OF_EMPTY},v0={}", "0".repeat(64));
        secrets("whsec_test").check(&header, b"{}", at(1_700_000_000)).unwrap();
        secrets("whsec_new, whsec_test").check(&header, b"{}", at(1_700_000_299)).unwrap();
    }

    #[test]
    fn what_was_signed_by_another_for_another_body_or_at_another_time_does_not_hold() {
        let (good, now) = (header(1000, "whsec_a", b"{}"), at(1000));
        let a = secrets("whsec_a");
        a.check(&good, b"{}", now).unwrap();
        let (time, v1) = good.split_once(',').unwrap();
        for (header, body, now) in [
            (good.as_str(), &b"{ }"[..], now),
            (&good, b"{}", at(1301)),
            (&good, b"{}", at(699)),
            (&header(1000, "whsec_b", b"{}"), b"{}", now),
            (&good.replace("v1=", "v0="), b"{}", now),
            (&format!("{time},t=1001,{v1}"), b"{}", now),
            (&format!("t=1001,{v1}"), b"{}", now),
            (time, b"{}", now),
            (v1, b"{}", now),
            (&good[..good.len() - 2], b"{}", now),
            ("t=-9223372036854775808,v1=", b"{}", now),
            ("", b"{}", now),
        ] {
            assert_eq!(a.check(header, body, now).unwrap_err().reason(), Reason::SignatureInvalid, "{header}");
        }
    }

    #[test]
    fn one_of_several_signatures_is_enough_while_a_secret_is_replaced() {
        let (old, new) = (header(1000, "whsec_old", b"{}"), header(1000, "whsec_new", b"{}"));
        let both = format!("{old},{}", new.split_once(',').unwrap().1);
        for list in ["whsec_old", "whsec_new"] {
            secrets(list).check(&both, b"{}", at(1000)).unwrap();
        }
    }

    #[test]
    fn without_secrets_there_is_no_billing() {
        for none in [Secrets::parse(None), secrets(" , ")] {
            assert_eq!(none.check("", b"", at(0)).unwrap_err().reason(), Reason::BillingDisabled);
        }
    }
}
