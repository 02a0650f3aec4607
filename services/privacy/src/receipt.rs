//! Receipts of erasures: what each service found, deleted and keeps, signed so that it can be verified without Baton.
//!
//! A receipt is a JWS (RFC 7515, compact serialization) with EdDSA (RFC 8037) over JSON.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use baton_runtime::Secret;
use baton_store::subject_data::Subject;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Version of the payload.
const FORMAT: u32 = 1;
/// The type in the header.
const TYPE: &str = "baton-erasure-receipt+jwt";

/// What a service had of a person, and what has become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of this structure.
    pub format: u32,
    /// The request.
    pub request_id: Uuid,
    /// The person, by the id that named them.
    pub user_id: Uuid,
    /// The account whose data of the person was erased; absent if everything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<Uuid>,
    /// The service.
    pub service: String,
    /// When the rows that remain were counted last.
    pub counted_at: DateTime<Utc>,
    /// The tables in which something was found.
    pub tables: Vec<ReceiptLine>,
}

/// The rows of a table about the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptLine {
    /// The table.
    pub table: String,
    /// As whom the rows were about the person: `assignee`.
    pub subject: String,
    /// `delete`, `clear`, `keep` or `expires`.
    pub treatment: String,
    /// Rows before the erasure.
    pub found: i64,
    /// Rows that were deleted, or whose values about the person were emptied.
    pub erased: i64,
    /// Rows that stay.
    pub kept: i64,
    /// Rows that should have been erased and are there.
    pub remaining: i64,
    /// Why rows stay.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Receipt {
    /// A receipt of the current format.
    pub(crate) fn new(request_id: Uuid, subject: Subject, service: String, counted_at: DateTime<Utc>) -> Self {
        let Subject { user_id, account_id } = subject;
        Self { format: FORMAT, request_id, user_id, account_id, service, counted_at, tables: Vec::new() }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// A public key (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    /// The key, in base64url without padding.
    pub(crate) x: String,
    /// Its thumbprint (RFC 7638).
    pub(crate) kid: String,
}

/// The keys of receipts: the first one signs, and all are published. Clones share them.
#[derive(Clone)]
pub(crate) struct ReceiptKeys(Arc<[Ed25519KeyPair]>);

impl ReceiptKeys {
    /// Uses `keys`, separated by commas: seeds of 32 random bytes in base64.
    ///
    /// # Errors
    /// If there is none, or one does not have that form.
    pub(crate) fn new(keys: &Secret) -> anyhow::Result<Self> {
        let keys = keys.expose().split(',').map(str::trim).filter(|key| !key.is_empty());
        let pair = |key: &str| {
            let seed = STANDARD.decode(key).ok().filter(|seed| seed.len() == 32);
            let seed = seed.context("a key must be 32 bytes in base64")?;
            Ed25519KeyPair::from_seed_unchecked(&seed).ok().context("a key does not fit Ed25519")
        };
        let pairs = keys.map(pair).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!pairs.is_empty(), "there is no key");
        Ok(Self(pairs.into()))
    }

    /// The public keys; the first one signs.
    pub(crate) fn public(&self) -> Vec<PublicKey> {
        self.0.iter().map(public).collect()
    }

    /// Signs a receipt.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub(crate) fn sign(&self, receipt: &Receipt) -> anyhow::Result<String> {
        let key = self.0.first().context("there is no key")?;
        let header = Header { alg: "EdDSA".to_owned(), typ: TYPE.to_owned(), kid: public(key).kid };
        let encode = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
        let signed = format!("{}.{}", encode(serde_json::to_vec(&header)?), encode(serde_json::to_vec(receipt)?));
        let signature = key.sign(signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn public(key: &Ed25519KeyPair) -> PublicKey {
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    // The members in this order, without spaces (RFC 7638, section 3.2).
    let thumbprint = digest(&SHA256, format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes());
    PublicKey { x, kid: URL_SAFE_NO_PAD.encode(thumbprint) }
}

/// Verifies a receipt with one of these public keys, each by its id and its `x` (RFC 8037).
///
/// # Errors
/// If it is malformed, was signed with another key, or was modified.
pub fn verify(jws: &str, keys: &[(String, String)]) -> anyhow::Result<Receipt> {
    let (signed, signature) = jws.rsplit_once('.').context("it is no JWS")?;
    let (header, payload) = signed.split_once('.').context("it is no JWS")?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).context("it is no JWS: a part is not base64url");
    let header: Header = serde_json::from_slice(&decode(header)?).context("its header is malformed")?;
    ensure!(header.alg == "EdDSA" && header.typ == TYPE, "it is no receipt of an erasure");
    let key = keys.iter().find(|(kid, _)| *kid == header.kid);
    let (_, x) =
        key.with_context(|| format!("it was signed with the key {}, which is not one of the given", header.kid))?;
    let key = UnparsedPublicKey::new(&ED25519, decode(x)?);
    key.verify(signed.as_bytes(), &decode(signature)?).ok().context("its signature is wrong: it was modified")?;
    let receipt: Receipt = serde_json::from_slice(&decode(payload)?).context("its content is malformed")?;
    ensure!(receipt.format == FORMAT, "it has the unknown format {}", receipt.format);
    Ok(receipt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(seed: u8) -> ReceiptKeys {
        ReceiptKeys::new(&Secret::new(STANDARD.encode([seed; 32]))).unwrap()
    }

    fn published(keys: &ReceiptKeys) -> Vec<(String, String)> {
        keys.public().into_iter().map(|key| (key.kid, key.x)).collect()
    }

    fn receipt() -> Receipt {
        let at = DateTime::from_timestamp_micros(1_800_000_000_000_000).unwrap();
        let mut receipt =
            Receipt::new(Uuid::from_u128(1), Subject::everywhere(Uuid::from_u128(2)), "task".to_owned(), at);
        receipt.tables.push(ReceiptLine {
            table: "reminders".to_owned(),
            subject: "user".to_owned(),
            treatment: "delete".to_owned(),
            found: 3,
            erased: 3,
            kept: 0,
            remaining: 0,
            reason: String::new(),
        });
        receipt
    }

    #[test]
    fn a_receipt_is_verified_by_its_key_only() {
        let (ours, others) = (keys(1), keys(2));
        let jws = ours.sign(&receipt()).unwrap();
        assert_eq!(verify(&jws, &published(&ours)).unwrap(), receipt());
        let refused = verify(&jws, &published(&others)).unwrap_err();
        assert!(refused.to_string().contains("not one of the given"), "{refused}");
        // Another key under the id of ours.
        let forged = [(published(&ours)[0].0.clone(), published(&others)[0].1.clone())];
        assert!(verify(&jws, &forged).unwrap_err().to_string().contains("modified"));
    }

    #[test]
    fn every_change_of_a_receipt_is_noticed() {
        let keys = keys(1);
        let jws = keys.sign(&receipt()).unwrap();
        for at in 0..jws.len() {
            let mut changed = jws.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(changed == jws || verify(&changed, &published(&keys)).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_rotated_key_still_verifies() {
        let old = keys(1).sign(&receipt()).unwrap();
        let both = Secret::new(format!("{},{}", STANDARD.encode([2; 32]), STANDARD.encode([1; 32])));
        let both = ReceiptKeys::new(&both).unwrap();
        assert_eq!(verify(&old, &published(&both)).unwrap(), receipt());
        assert!(ReceiptKeys::new(&Secret::new("")).is_err() && ReceiptKeys::new(&Secret::new("short")).is_err());
    }
}
