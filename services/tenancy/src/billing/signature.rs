//! Verifies Stripe's signature: `Stripe-Signature: t=<seconds>,v1=<HMAC-SHA256 of "<seconds>.<body>" in hex>`.

use aws_lc_rs::hmac;
use baton_errors::{Error, Reason, Result};
use baton_runtime::Secret;
use chrono::{DateTime, Utc};

/// Maximal difference of the signing time from now, in seconds. It limits replay of a captured request.
const MAX_CLOCK_SKEW_SECONDS: u64 = 300;

/// Secrets of the webhook endpoint; more than one during rotation.
#[derive(Clone)]
pub(crate) struct Secrets(Vec<hmac::Key>);

impl Secrets {
    /// Parses a comma-separated list; empty without one.
    pub(crate) fn parse(list: Option<&Secret>) -> Self {
        let list = list.map(Secret::expose).unwrap_or_default();
        let secrets = list.split(',').map(str::trim).filter(|secret| !secret.is_empty());
        Self(secrets.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())).collect())
    }

    /// Verifies that the header is a recent signature of the body by one of the secrets.
    ///
    /// # Errors
    /// BILLING_DISABLED without secrets, SIGNATURE_INVALID.
    pub(crate) fn verify(&self, header: &str, body: &[u8], now: DateTime<Utc>) -> Result<()> {
        if self.0.is_empty() {
            return Err(Reason::BillingDisabled.into());
        }
        self.find_match(header, body, now).ok_or_else(|| Error::from(Reason::SignatureInvalid))
    }

    fn find_match(&self, header: &str, body: &[u8], now: DateTime<Utc>) -> Option<()> {
        let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
        let mut times = parts().filter(|(name, _)| *name == "t");
        let (time, None) = (times.next()?.1, times.next()) else { return None };
        if time.parse::<i64>().ok()?.abs_diff(now.timestamp()) > MAX_CLOCK_SKEW_SECONDS {
            return None;
        }
        let signed = [time.as_bytes(), b".", body].concat();
        // Other schemes, such as v0, are for Stripe's tests and prove nothing. The limit bounds the work per request.
        parts().filter(|(name, _)| *name == "v1").take(8).find_map(|(_, hex)| {
            let tag = decode_hex(hex)?;
            // Compares in constant time.
            self.0.iter().any(|key| hmac::verify(key, &signed, &tag).is_ok()).then_some(())
        })
    }
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
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

    /// Computed with Python's hmac: `hmac.new(b"whsec_test", b"1700000000.{}", "sha256").hexdigest()`.
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
    fn a_signature_from_another_implementation_is_accepted() {
        let header = format!("t=1700000000,v1={OF_EMPTY},v0={}", "0".repeat(64));
        secrets("whsec_test").verify(&header, b"{}", at(1_700_000_000)).unwrap();
        secrets("whsec_new, whsec_test").verify(&header, b"{}", at(1_700_000_299)).unwrap();
    }

    #[test]
    fn a_wrong_key_body_time_or_scheme_is_refused() {
        let (good, now) = (header(1000, "whsec_a", b"{}"), at(1000));
        let a = secrets("whsec_a");
        a.verify(&good, b"{}", now).unwrap();
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
            assert_eq!(a.verify(header, body, now).unwrap_err().reason(), Reason::SignatureInvalid, "{header}");
        }
    }

    #[test]
    fn one_of_several_signatures_is_enough_during_rotation() {
        let (old, new) = (header(1000, "whsec_old", b"{}"), header(1000, "whsec_new", b"{}"));
        let both = format!("{old},{}", new.split_once(',').unwrap().1);
        for list in ["whsec_old", "whsec_new"] {
            secrets(list).verify(&both, b"{}", at(1000)).unwrap();
        }
    }

    #[test]
    fn without_secrets_billing_is_disabled() {
        for none in [Secrets::parse(None), secrets(" , ")] {
            assert_eq!(none.verify("", b"", at(0)).unwrap_err().reason(), Reason::BillingDisabled);
        }
    }
}
