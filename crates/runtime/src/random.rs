//! Randomness: the only module that asks the operating system for it (`clippy.toml` bans the others).

use std::time::Duration;

use rand::{Rng, distr::Alphanumeric, rngs::ThreadRng};

#[expect(clippy::disallowed_methods, reason = "this module is the source of randomness")]
fn generator() -> ThreadRng {
    rand::rng()
}

/// Random bytes from a cryptographically secure generator, for keys, tokens and nonces.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    generator().fill(&mut bytes[..]);
    bytes
}

/// A random text of ASCII letters and digits, from a cryptographically secure generator.
pub fn alphanumeric(len: usize) -> String {
    generator().sample_iter(Alphanumeric).take(len).map(char::from).collect()
}

/// A random number from 0 (inclusive) to 1 (exclusive).
pub fn fraction() -> f64 {
    generator().random()
}

/// `duration`, varied by up to 10 % either way, so that instances that start together do not act together.
pub fn jitter(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_ten_percent() {
        let jittered: Vec<f64> = (0..1000).map(|_| jitter(Duration::from_secs(100)).as_secs_f64()).collect();
        assert!(jittered.iter().all(|seconds| (90.0..=110.0).contains(seconds)));
        assert!(jittered.iter().any(|seconds| (*seconds - 100.0).abs() > 1.0), "it varies");
    }

    #[test]
    fn bytes_differ() {
        assert_ne!(bytes::<32>(), bytes::<32>());
    }
}
