//! Time-based one-time passwords (RFC 6238): HMAC-SHA-1, 30 seconds, six digits, as every authenticator app supports.
//! SHA-1 is used as a pseudo-random function only, and as such is unbroken.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use baton_runtime::random;
use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;
use png::{BitDepth, ColorType, Encoder};
use qrcodegen::{QrCode, QrCodeEcc};
use url::Url;

const STEP_SECONDS: i64 = 30;
const DIGITS: u32 = 6;
/// Recommended length (RFC 4226): the output length of HMAC-SHA-1.
const SECRET_BYTES: usize = 20;
/// Issuer that the authenticator app displays.
const ISSUER: &str = "Baton";
/// Quiet zone around a QR code (ISO/IEC 18004).
const QUIET_ZONE_MODULES: i32 = 4;
const PIXELS_PER_MODULE: i32 = 6;

/// A secret that is shared with an authenticator app.
pub(crate) struct TotpSecret(Vec<u8>);

impl TotpSecret {
    /// Generates 160 random bits.
    pub(crate) fn new() -> Self {
        Self(random::bytes::<SECRET_BYTES>().to_vec())
    }

    /// Wraps a stored secret.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the secret for manual entry: base32 (RFC 4648) without padding.
    pub(crate) fn base32(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    /// Returns the time step of `code`: the current one, or one before or after for clock skew, but none up to `last`,
    /// so that a code works once.
    pub(crate) fn matching_step(&self, code: u32, now: DateTime<Utc>, last: i64) -> Option<i64> {
        let current = now.timestamp().div_euclid(STEP_SECONDS);
        // Compute all three, so that the time does not depend on the match.
        let fits = [current + 1, current, current - 1].map(|step| (step, self.code(step) == code));
        fits.into_iter().find_map(|(step, fits)| (fits && step > last).then_some(step))
    }

    /// Returns the code of a time step.
    fn code(&self, step: i64) -> u32 {
        self.truncated_hash(step) % 10_u32.pow(DIGITS)
    }

    /// Returns the HOTP value before truncation to digits (RFC 4226, section 5.3).
    fn truncated_hash(&self, step: i64) -> u32 {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag.last().copied().unwrap_or_default() & 0x0f);
        let word = tag.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        u32::from_be_bytes(word) & 0x7fff_ffff
    }

    /// Returns the URL that authenticator apps scan, labelled with the user's address.
    pub(crate) fn otpauth_url(&self, email: &str) -> anyhow::Result<String> {
        let mut url = Url::parse("otpauth://totp/")?;
        let label = format!("{ISSUER}:{email}");
        url.path_segments_mut().map_err(|()| anyhow::anyhow!("otpauth has a path"))?.pop_if_empty().push(&label);
        url.query_pairs_mut()
            .append_pair("secret", &self.base32())
            .append_pair("issuer", ISSUER)
            .append_pair("algorithm", "SHA1")
            .append_pair("digits", &DIGITS.to_string())
            .append_pair("period", &STEP_SECONDS.to_string());
        Ok(url.into())
    }
}

/// Parses a typed code: six digits, with or without spaces.
pub(crate) fn parse(text: &str) -> Option<u32> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let six = digits.len() == DIGITS as usize && digits.bytes().all(|b| b.is_ascii_digit());
    six.then(|| digits.parse().ok()).flatten()
}

/// Encodes a text as a QR code: a PNG with one bit per pixel, in base64.
pub(crate) fn qr_png(text: &str) -> anyhow::Result<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium)?;
    let side = (code.size() + 2 * QUIET_ZONE_MODULES) * PIXELS_PER_MODULE;
    let mut rows = Vec::new();
    for y in 0..side {
        let white = |x: i32| {
            x < side
                && !code
                    .get_module(x / PIXELS_PER_MODULE - QUIET_ZONE_MODULES, y / PIXELS_PER_MODULE - QUIET_ZONE_MODULES)
        };
        rows.extend((0..side).step_by(8).map(|x| (0..8).fold(0_u8, |byte, bit| byte << 1 | u8::from(white(x + bit)))));
    }
    let mut png = Vec::new();
    let side = u32::try_from(side)?;
    let mut encoder = Encoder::new(&mut png, side, side);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&rows)?;
    writer.finish()?;
    Ok(STANDARD.encode(png))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn codes_match_rfc_6238() {
        // Appendix B, the rows of SHA-1. The codes there have eight digits.
        let secret = TotpSecret::from_bytes(b"12345678901234567890".to_vec());
        for (seconds, code) in [
            (59, 94_287_082),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ] {
            assert_eq!(secret.truncated_hash(seconds / STEP_SECONDS) % 100_000_000, code, "{seconds}");
            assert!(secret.matching_step(code % 1_000_000, at(seconds), 0).is_some(), "{seconds}");
        }
    }

    #[test]
    fn truncation_matches_rfc_4226() {
        // Appendix D: the codes of the first ten counters.
        let secret = TotpSecret::from_bytes(b"12345678901234567890".to_vec());
        let expected = [755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871, 520_489];
        assert_eq!(std::array::from_fn(|step| secret.code(i64::try_from(step).unwrap())), expected);
    }

    #[test]
    fn only_one_step_of_clock_skew_is_accepted() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890".to_vec());
        let now = at(1_234_567_890);
        let current = 1_234_567_890 / STEP_SECONDS;
        for away in -3..=3 {
            let found = secret.matching_step(secret.code(current + away), now, 0);
            assert_eq!(found, (away.abs() <= 1).then_some(current + away), "{away}");
        }
    }

    #[test]
    fn used_code_and_earlier_ones_are_refused() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890".to_vec());
        let now = at(1_234_567_890);
        let current = 1_234_567_890 / STEP_SECONDS;
        assert_eq!(secret.matching_step(secret.code(current), now, current), None);
        assert_eq!(secret.matching_step(secret.code(current - 1), now, current), None);
        assert_eq!(secret.matching_step(secret.code(current + 1), now, current), Some(current + 1));
    }

    #[test]
    fn only_six_digits_are_a_code() {
        assert_eq!(parse("012345"), Some(12_345));
        assert_eq!(parse(" 012 345 "), Some(12_345));
        for nonsense in ["", "12345", "1234567", "12345a", "+12345", "-12345", "١٢٣٤٥٦", "12345\u{0}"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn otpauth_url_has_the_standard_parameters() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890".to_vec());
        assert_eq!(
            secret.otpauth_url("ada+x@example.org").unwrap(),
            "otpauth://totp/Baton:ada+x@example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Baton\
             &algorithm=SHA1&digits=6&period=30"
        );
        assert!(
            secret.otpauth_url("a/b?c#d%@x.org").unwrap().starts_with("otpauth://totp/Baton:a%2Fb%3Fc%23d%25@x.org?")
        );
    }

    #[test]
    fn png_shows_the_qr_code() {
        let text = "otpauth://totp/Baton:ada@example.org?secret=GEZDGNBVGY3TQOJQ";
        let bytes = STANDARD.decode(qr_png(text).unwrap()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let (width, height) = reader.info().size();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).unwrap();
        let side = (code.size() + 2 * QUIET_ZONE_MODULES) * PIXELS_PER_MODULE;
        assert_eq!((width, height), (side.try_into().unwrap(), side.try_into().unwrap()));
        for y in 0..side {
            for x in 0..side {
                let byte = pixels[usize::try_from(y).unwrap() * frame.line_size + usize::try_from(x / 8).unwrap()];
                let black = byte >> (7 - x % 8) & 1 == 0;
                assert_eq!(
                    black,
                    code.get_module(
                        x / PIXELS_PER_MODULE - QUIET_ZONE_MODULES,
                        y / PIXELS_PER_MODULE - QUIET_ZONE_MODULES
                    ),
                    "{x} {y}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn code_is_accepted_once_in_the_next_step(seed: [u8; 20], seconds in 90..4_000_000_000_i64, late in 0..30_i64) {
            let secret = TotpSecret::from_bytes(seed.to_vec());
            let step = seconds / STEP_SECONDS;
            let code = secret.code(step);
            let found = secret.matching_step(code, at(seconds + late), step - 2);
            // Two consecutive steps have the same code once in a million.
            prop_assert!(found.is_some_and(|found| found >= step - 1));
            prop_assert_eq!(secret.matching_step(code, at(seconds + late), step + 2), None);
        }

        #[test]
        fn parse_never_panics(text in ".*") {
            if let Some(code) = parse(&text) {
                prop_assert!(code < 1_000_000);
            }
        }
    }
}
