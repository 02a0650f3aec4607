//! The placeholders of a conversation.

use std::{collections::BTreeMap, fmt};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::{Entity, fold, phone::Regions};

/// Bytes of a tag: half of the hash, the least that RFC 2104, 5 recommends.
const TAG_LEN: usize = 16;

/// The secret key of conversations: without it nobody can test whether a value occurred in one.
pub struct Key(Hmac<Sha256>);

impl Key {
    /// A key of 32 random bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        // A key that is as long as this always fits into a block of SHA-256.
        let mut block = [0; 64];
        block[..32].copy_from_slice(key);
        Self(Mac::new(&block.into()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The numbers of the values that were redacted in a conversation. It has no clear values: a value is known by its
/// HMAC-SHA-256. Serialised, it is a map of strings to numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Conversation {
    numbers: BTreeMap<Entity, BTreeMap<String, u32>>,
}

impl Conversation {
    /// The number of a value, which is the next one if it is new.
    pub(crate) fn number(&mut self, entity: Entity, normal: &str, key: &Key) -> u32 {
        let mut mac = key.0.clone();
        mac.update(entity.label().as_bytes());
        mac.update(&[0]);
        mac.update(normal.as_bytes());
        let tag = BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()[..TAG_LEN]);
        let numbers = self.numbers.entry(entity).or_default();
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX).saturating_add(1);
        *numbers.entry(tag).or_insert(next)
    }
}

/// The form in which spellings of one value are equal.
pub(crate) fn normal_form(entity: Entity, value: &str, regions: &Regions) -> String {
    match entity {
        Entity::Phone => regions.e164(value).unwrap_or_else(|| digits(value)),
        Entity::Card => digits(value),
        Entity::Iban | Entity::Id | Entity::Mac | Entity::Uuid => {
            value.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
        }
        Entity::Ip => value.parse::<std::net::IpAddr>().map_or_else(|_| value.to_owned(), |ip| ip.to_string()),
        Entity::Name | Entity::Email | Entity::Address => fold::fold(value),
        // Case and spaces matter in both.
        Entity::Url | Entity::Secret => value.to_owned(),
    }
}

fn digits(value: &str) -> String {
    value.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(&[byte; 32])
    }

    #[test]
    fn value_keeps_its_number() {
        let mut conversation = Conversation::default();
        let mut number = |value| conversation.number(Entity::Email, value, &key(1));
        assert_eq!([number("a@x.org"), number("b@x.org"), number("a@x.org"), number("c@x.org")], [1, 2, 1, 3]);
        assert_eq!(conversation.number(Entity::Name, "a@x.org", &key(1)), 1, "each entity counts on its own");
    }

    #[test]
    fn state_has_no_clear_values_and_survives_serialisation() {
        let mut conversation = Conversation::default();
        conversation.number(Entity::Email, "ada@example.org", &key(1));
        let state = serde_json::to_string(&conversation).unwrap();
        assert!(!state.contains("ada"), "{state}");
        let mut restored: Conversation = serde_json::from_str(&state).unwrap();
        assert_eq!(restored, conversation);
        assert_eq!(restored.number(Entity::Email, "ada@example.org", &key(1)), 1);
        assert_eq!(restored.number(Entity::Email, "ada@example.org", &key(2)), 2, "another key, another tag");
        assert_eq!(format!("{:?}", key(7)), "Key");
    }

    #[test]
    fn tag_is_an_hmac_of_rfc_2104() {
        // The key is padded with zeros to a block, as the RFC does.
        let mut whole = <Hmac<Sha256> as Mac>::new_from_slice(&[7; 32]).unwrap();
        whole.update(b"NAME\0ada");
        let tag = BASE64URL_NOPAD.encode(&whole.finalize().into_bytes()[..TAG_LEN]);
        let mut conversation = Conversation::default();
        conversation.number(Entity::Name, "ada", &key(7));
        assert!(conversation.numbers[&Entity::Name].contains_key(&tag));
    }

    #[test]
    fn spellings_of_one_value_have_the_same_normal_form() {
        let regions = Regions::new(&["DE".to_owned()]);
        for (entity, one, other) in [
            (Entity::Phone, "0170 1234567", "+49 170 12 34 567"),
            (Entity::Card, "4111 1111 1111 1111", "4111111111111111"),
            (Entity::Iban, "DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
            (Entity::Name, "Ada  Lovelace", "ADA LOVELACE"),
            (Entity::Email, "Ada@Example.org", "ada@example.org"),
            (Entity::Ip, "2001:db8:0:0:0:0:0:1", "2001:DB8::1"),
        ] {
            assert_eq!(normal_form(entity, one, &regions), normal_form(entity, other, &regions), "{one}");
        }
    }
}
