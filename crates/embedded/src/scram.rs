//! SCRAM verifiers of passwords.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// The verifier of `password` (RFC 5802 and 7677), in the format of `pg_authid.rolpassword`.
///
/// It has one iteration instead of 4096. Iterations make guesses expensive, which 256 random bits do not need; but
/// every connection would pay for them, 50 ms in a debug build.
pub(crate) fn verifier(password: &str, salt: [u8; 16]) -> String {
    let salted = hmac(password.as_bytes(), &[&salt[..], &1_u32.to_be_bytes()].concat());
    let stored_key = Sha256::digest(hmac(&salted, b"Client Key"));
    let server_key = hmac(&salted, b"Server Key");
    let [salt, stored_key, server_key] = [&salt[..], &stored_key, &server_key].map(|it| BASE64_STANDARD.encode(it));
    format!("SCRAM-SHA-256$1:{salt}${stored_key}:{server_key}")
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    hmac.update(text);
    hmac.finalize().into_bytes().into()
}
