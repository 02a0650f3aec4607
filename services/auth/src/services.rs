//! The services that may ask for service tokens, and how each proves itself.

use anyhow::{Context as _, ensure};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use baton_runtime::Secret;
use sha2::{Digest, Sha256};

/// Shorter secrets could be guessed.
const SHORTEST: usize = 32;

/// Names, and the SHA-256 of their secrets.
#[derive(Debug, Clone)]
pub(crate) struct Services(Vec<(String, [u8; 32])>);

impl Services {
    /// Parses `name:secret` separated by commas. A name may come twice, while its secret is replaced.
    pub(crate) fn new(secrets: &Secret) -> anyhow::Result<Self> {
        let mut known = Vec::new();
        for entry in secrets.expose().split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, secret) = entry.split_once(':').context("a service's secret has the form name:secret")?;
            let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
            ensure!(fits, "the name of a service is lower-case letters");
            ensure!(secret.len() >= SHORTEST, "the secret of {name} is shorter than {SHORTEST} characters");
            known.push((name.to_owned(), Sha256::digest(secret).into()));
        }
        Ok(Self(known))
    }

    /// Whether the service with this name has this secret. Hashes are compared, and without a hint by time.
    pub(crate) fn know(&self, name: &str, secret: &str) -> bool {
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
    fn a_secret_is_one_services_own_and_may_overlap_with_the_next() {
        let (old, new, other) = ("o".repeat(32), "n".repeat(32), "x".repeat(32));
        let services = Services::new(&Secret::new(format!("tenancy:{old}, tenancy:{new},task:{other}"))).unwrap();
        assert!(services.know("tenancy", &old) && services.know("tenancy", &new) && services.know("task", &other));
        for (name, secret) in [("tenancy", &other), ("task", &old), ("nobody", &old), ("", &old)] {
            assert!(!services.know(name, secret), "{name}");
        }
        assert!(!services.know("tenancy", ""));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for secrets in ["tenancy", "tenancy:short", &format!(":{}", "s".repeat(32)), &format!("T:{}", "s".repeat(32))] {
            assert!(Services::new(&Secret::new(secrets)).is_err(), "{secrets}");
        }
    }
}
