//! Services that may request service tokens, and their secrets.

use anyhow::{Context as _, ensure};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use baton_runtime::Secret;
use sha2::{Digest, Sha256};

/// Lifetime of a service token, in seconds.
pub(crate) const SERVICE_TOKEN_TTL_SECONDS: i32 = 300;
/// Minimum length of a secret, in characters.
const MIN_SECRET_LEN: usize = 32;

/// Names, and the SHA-256 of their secrets.
#[derive(Debug, Clone)]
pub(crate) struct ServiceCredentials(Vec<(String, [u8; 32])>);

impl ServiceCredentials {
    /// Parses `name:secret` pairs, separated by commas. A name may appear twice, while its secret is replaced.
    ///
    /// # Errors
    /// When a name or secret is malformed.
    pub(crate) fn new(secrets: &Secret) -> anyhow::Result<Self> {
        let mut credentials = Vec::new();
        for entry in secrets.expose().split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, secret) = entry.split_once(':').context("a service secret must have the form name:secret")?;
            let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
            ensure!(fits, "a service name must be lower-case letters");
            ensure!(
                secret.len() >= MIN_SECRET_LEN,
                "the secret of {name} must be at least {MIN_SECRET_LEN} characters"
            );
            credentials.push((name.to_owned(), Sha256::digest(secret).into()));
        }
        Ok(Self(credentials))
    }

    /// Whether there is a service with this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Whether the service has this secret. Hashes are compared in constant time.
    pub(crate) fn verify(&self, name: &str, secret: &str) -> bool {
        let presented = Sha256::digest(secret);
        self.0
            .iter()
            .filter(|(known, _)| known == name)
            .any(|(_, hash)| verify_slices_are_equal(hash, &presented).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_belongs_to_one_service_and_may_overlap_with_its_successor() {
        let (old, new, other) = ("o".repeat(32), "n".repeat(32), "x".repeat(32));
        let services =
            ServiceCredentials::new(&Secret::new(format!("tenancy:{old}, tenancy:{new},task:{other}"))).unwrap();
        assert!(
            services.verify("tenancy", &old) && services.verify("tenancy", &new) && services.verify("task", &other)
        );
        for (name, secret) in [("tenancy", &other), ("task", &old), ("nobody", &old), ("", &old)] {
            assert!(!services.verify(name, secret), "{name}");
        }
        assert!(!services.verify("tenancy", ""));
    }

    #[test]
    fn malformed_credentials_are_refused() {
        for secrets in ["tenancy", "tenancy:short", &format!(":{}", "s".repeat(32)), &format!("T:{}", "s".repeat(32))] {
            assert!(ServiceCredentials::new(&Secret::new(secrets)).is_err(), "{secrets}");
        }
    }
}
