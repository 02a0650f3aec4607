//! Passwords, keys and tokens: by known prefixes, after words such as "password:", and by their randomness.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::Regex;

use crate::{Entity, Found, name::lexicon};

/// Keys and tokens whose issuers give them a form.
static BY_FORM: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let forms = [
        // OpenAI, Anthropic, Stripe and others.
        r"\b(?:sk|pk|rk|whsec)[-_][A-Za-z0-9_-]{16,}",
        // GitHub, GitLab.
        r"\bgh[pousr]_[A-Za-z0-9]{16,}",
        r"\bgithub_pat_[A-Za-z0-9_]{16,}",
        r"\bgl(?:pat|rt|dt|ptt|soat)-[A-Za-z0-9_-]{16,}",
        // AWS, Google, Azure.
        r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}",
        r"\bAIza[A-Za-z0-9_-]{30,}",
        r"\bya29\.[A-Za-z0-9_-]{16,}",
        r"\bGOCSPX-[A-Za-z0-9_-]{16,}",
        // Slack, SendGrid, npm, PyPI, Hugging Face, DigitalOcean, Shopify, Twilio, Linear, Notion, Telegram.
        r"\bxox[a-z]-[A-Za-z0-9-]{8,}",
        r"\bxapp-[A-Za-z0-9-]{8,}",
        r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
        r"\b(?:npm|hf|lin_api|secret|ntn|dckr_pat|dop_v1|shp(?:at|ca|pa|ss))_[A-Za-z0-9_]{16,}",
        r"\bpypi-[A-Za-z0-9_-]{16,}",
        r"\bAC[0-9a-f]{32}\b",
        r"\b\d{8,10}:AA[A-Za-z0-9_-]{30,}",
        // JSON Web Tokens and signatures (RFC 7515).
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*)?",
        // PEM (RFC 7468), whole if its end is there.
        r"-----BEGIN [A-Z0-9 ]{1,40}-----[^-]*(?:-----END [A-Z0-9 ]{1,40}-----)?",
        r"AGE-SECRET-KEY-1[A-Z0-9]{16,}",
    ];
    Regex::new(&forms.join("|").replace(r"\b", r"(?-u:\b)")).ok()
});

/// Words, and the secret after them.
static BY_WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = [
        r"pass ?word|passwd|passphrase|passcode|pwd|passwort|kennwort|mot de passe|contraseña|senha",
        r"secret|token|api[ _-]?key|access[ _-]?key|private[ _-]?key|secret[ _-]?key|credentials?|bearer|authorization|cookie",
    ];
    let short = r"\b(?:pin|otp|tan|cvv2?|cvc2?|2fa(?: code)?|one-time code|verification code)";
    let key = format!("(?:{}|{short})", words.join("|"));
    // After a colon anything counts, after "is" only what is no word.
    Regex::new(&format!(
        r#"(?i){key}(?:"|')?(?:\s*(?:[:=]|=>|:=)\s*(?:bearer\s+|basic\s+)?|\s+(?:is|was|ist)\s*:?\s+|\s+)["'`]?([^\s"'`<>]{{3,}})"#
    ))
    .ok()
});

/// What each of these words contains, in small letters.
static WORD_PARTS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let parts = [
        "pass",
        "pwd",
        "kennwort",
        "contrase",
        "senha",
        "secret",
        "token",
        "key",
        "credential",
        "bearer",
        "authorization",
        "cookie",
        "pin",
        "otp",
        "tan",
        "cvv",
        "cvc",
        "2fa",
        "code",
    ];
    AhoCorasick::builder().ascii_case_insensitive(true).build(parts).ok()
});

/// Bytes of random tokens, at least.
const MIN_TOKEN: usize = 20;
/// Bits of entropy per character, at least: English words have less, random letters and digits more.
const MIN_ENTROPY: f64 = 3.4;
/// Changes between letters and digits, at least: names of functions and versions have one or two.
const MIN_CHANGES: usize = 4;

/// Adds the secrets of a text.
pub(crate) fn find(text: &str, found: &mut Vec<Found>) {
    let forms = BY_FORM.iter().flat_map(|form| form.find_iter(text));
    found.extend(forms.map(|secret| Found::new(secret.range(), Entity::Secret)));
    let has_words = WORD_PARTS.as_ref().is_some_and(|parts| parts.is_match(text));
    for captures in BY_WORDS.iter().filter(|_| has_words).flat_map(|words| words.captures_iter(text)) {
        let (Some(whole), Some(secret)) = (captures.get(0), captures.get(1)) else { continue };
        let value = secret.as_str().trim_end_matches(['.', ',', ';', ')', ']', '}', '?']);
        let key = &text[whole.start()..secret.start()];
        let announced = key.contains([':', '=']) && (is_password(key) || !is_prose(value));
        if value.chars().count() >= 3 && !is_reference(value) && (announced || is_no_word(value)) {
            found.push(Found::new(secret.start()..secret.start() + value.len(), Entity::Secret));
        }
    }
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'/' | b'=' | b'-');
    let mut start = 0;
    for token in text.as_bytes().split(|byte| !is_token(byte)) {
        let range = start..start + token.len();
        start = range.end + 1;
        if token.len() >= MIN_TOKEN {
            let token = &text[range.clone()];
            if token.split(['/', '+', '=', '_', '-']).any(is_random) || is_random(token) {
                found.push(Found::new(range, Entity::Secret));
            }
        }
    }
}

/// Whether it has both letters and digits or signs within, as a password has and a word does not.
fn is_no_word(value: &str) -> bool {
    let letters = value.chars().filter(|c| c.is_alphabetic()).count();
    let digits = value.chars().filter(char::is_ascii_digit).count();
    let signs = value.chars().filter(|c| c.is_ascii_punctuation() && !matches!(c, '-' | '\'' | '/' | '.')).count();
    digits >= 4 || letters >= 1 && digits >= 1 || letters >= 2 && signs >= 1 && value.chars().count() >= 6
}

/// Whether the words before a value are those for passwords, which may be words themselves.
fn is_password(key: &str) -> bool {
    let key = key.to_lowercase();
    !["token", "key", "secret", "credential", "cookie", "authorization", "bearer"].iter().any(|word| key.contains(word))
}

/// Whether it is a word of English: "the key: visibility".
fn is_prose(value: &str) -> bool {
    value.chars().all(|c| c.is_alphabetic() || c == '-') && lexicon::look_up(value).is_word()
}

/// Whether it stands for a secret: a variable of a shell, or the scheme of an authorization.
fn is_reference(value: &str) -> bool {
    let is_variable = value
        .strip_prefix('$')
        .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_uppercase() || "({".contains(c)));
    is_variable || value.eq_ignore_ascii_case("bearer") || value.eq_ignore_ascii_case("basic")
}

/// Whether letters of both cases and digits are mixed as at random.
fn is_random(part: &str) -> bool {
    let has = |test: fn(&u8) -> bool| part.bytes().any(|byte| test(&byte));
    let is_mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
    let bytes = part.as_bytes();
    let changes = bytes.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
    part.len() >= 16 && is_mixed && changes >= MIN_CHANGES && entropy(bytes) >= MIN_ENTROPY
}

/// Shannon's entropy in bits per byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let len = bytes.len() as f64;
    counts.into_iter().filter(|&count| count > 0).map(f64::from).map(|count| count / len * (len / count).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlap;

    fn all(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        find(text, &mut found);
        overlap::resolve(text, found).into_iter().map(|found| &text[found.start..found.end]).collect()
    }

    #[test]
    fn keys_of_known_forms_are_found() {
        // Assembled, so that scanners of repositories do not take them for real ones.
        for (prefix, rest) in [
            ("sk-", "proj-abcdefghijklmnopqrst"),
            ("sk_", "live_abcdefghijklmnopqrst"),
            ("ghp_", "abcdefghijklmnopqrstuvwxyz0123456789"),
            ("AKIA", "IOSFODNN7EXAMPLE"),
            ("xoxb-", "123456789012-abcdefghijkl"),
            ("glpat-", "abcdefghijklmnopqrst"),
            ("eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
            ("AIza", "SyA1234567890abcdefghijklmnopqrstuv"),
        ] {
            let key = format!("{prefix}{rest}");
            assert_eq!(all(&format!("use {key}, please")), [key]);
        }
        let pem = "-----BEGIN PRIVATE KEY-----\nMIIE\nabc=\n-----END PRIVATE KEY-----";
        assert_eq!(all(&format!("key:\n{pem}\nbye")), [pem]);
    }

    #[test]
    fn secrets_are_found_after_words() {
        for (text, secret) in [
            ("password: hunter", "hunter"),
            ("the password is hunter2.", "hunter2"),
            ("DB_PASSWORD=s3cr3t", "s3cr3t"),
            (r#"{"api_key": "abc-def"}"#, "abc-def"),
            ("Authorization: Bearer abcdef", "abcdef"),
            ("PIN: 1234", "1234"),
            ("Passwort: geheim!", "geheim!"),
            ("my pwd was Tr0ub4dor&3", "Tr0ub4dor&3"),
        ] {
            assert_eq!(all(text), [secret], "{text}");
        }
    }

    #[test]
    fn random_tokens_are_found() {
        for token in ["dGhpcyBpcyBhIHNlY3JldCBrZXk0NTY3", "Zx9Kq2Lm8Wv4Tn6Rb1Yc", "a8F3kL0pQ7zX2mN5vB9c"] {
            assert_eq!(all(&format!("it says {token}")), [token]);
        }
    }

    #[test]
    fn other_text_is_not_found() {
        for text in [
            "the password is wrong",
            "reset my password please",
            "a new token was issued",
            "getUserByIdentifierFromDatabase2",
            "019ad0c4-7d3e-7cc1-b5a0-3f6e2f1f4a11",
            "57a965c1f2ab7d8e9f00aa11bb22cc33dd44ee55",
            "services/task/src/store/attachment_gc.rs",
            "one-two-three-four-five-six",
            "spin: it",
            "Authorization: Bearer <token>",
            "curl -H authorization:$TOKEN",
            "the key: visibility",
            "Donaudampfschifffahrtsgesellschaft",
        ] {
            assert_eq!(all(text), [""; 0], "{text}");
        }
    }
}
