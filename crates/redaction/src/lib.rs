//! Redaction of text: personal data and secrets are replaced by placeholders, such as `[EMAIL_1]` and `[NAME_2]`.
//!
//! | entity | found by |
//! |---|---|
//! | [`Name`](Entity::Name) | the list of the account's members; titles, greetings and the like; a lexicon of first names and surnames |
//! | [`Email`](Entity::Email) | the form of RFC 5321 and RFC 6531 |
//! | [`Phone`](Entity::Phone) | libphonenumber's rules of the given regions, words such as "call", and the international form |
//! | [`Iban`](Entity::Iban), [`Card`](Entity::Card) | checksum, length, and country or issuer |
//! | [`Address`](Entity::Address) | names of streets in several languages, units, post codes, words such as "lives at" |
//! | [`Url`](Entity::Url), [`Ip`](Entity::Ip), [`Mac`](Entity::Mac), [`Uuid`](Entity::Uuid) | their forms |
//! | [`Id`](Entity::Id) | forms of national numbers, and words such as "passport" before them |
//! | [`Secret`](Entity::Secret) | known prefixes of keys and tokens, PEM, words such as "password:", and randomness |
//!
//! A value has the same placeholder throughout a [`Conversation`], whose state has no clear values. Redaction takes time
//! linear in the length of the text, and it is idempotent: placeholders stay as they are.
//!
//! A member's first or last name alone counts without a capital too, unless it is a common word of English: "mark" is a
//! verb, "Mark" and "@mark" are the member.
//!
//! Names of people who are no members are found as far as their context or the lexicon shows them. Common words of English
//! are no names by themselves, so "Mark" is found in "Hi Mark" and "Mark Lovelace", but not in every sentence. The lexicon
//! is that of the United States: in other languages mostly members and context are found.

mod address;
mod card;
mod conversation;
mod email;
mod fold;
mod iban;
mod identifier;
mod member;
mod name;
mod network;
mod number;
mod overlap;
mod phone;
mod placeholder;
mod secret;
mod url;

use std::ops::Range;

pub use conversation::{Conversation, Key};
pub use member::Member;
use member::Members;
use phone::Regions;

/// Detection is repeated on the text between placeholders, since without its surroundings it may read otherwise.
const MAX_ROUNDS: usize = 8;

/// A kind of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// A person's name or handle.
    Name,
    /// An e-mail address.
    Email,
    /// A phone number.
    Phone,
    /// An international bank account number.
    Iban,
    /// The number of a payment card.
    Card,
    /// A street address or a part of one.
    Address,
    /// A URL, or a connection string with credentials.
    Url,
    /// An IP address.
    Ip,
    /// A hardware address.
    Mac,
    /// A number that an authority has given to a person: social security, tax, passport, driving licence.
    Id,
    /// A UUID.
    Uuid,
    /// A password, key or token.
    Secret,
}

impl Entity {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Name,
        Self::Email,
        Self::Phone,
        Self::Iban,
        Self::Card,
        Self::Address,
        Self::Url,
        Self::Ip,
        Self::Mac,
        Self::Id,
        Self::Uuid,
        Self::Secret,
    ];

    /// The word in its placeholders.
    pub fn label(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Email => "EMAIL",
            Self::Phone => "PHONE",
            Self::Iban => "IBAN",
            Self::Card => "CARD",
            Self::Address => "ADDRESS",
            Self::Url => "URL",
            Self::Ip => "IP",
            Self::Mac => "MAC",
            Self::Id => "ID",
            Self::Uuid => "UUID",
            Self::Secret => "SECRET",
        }
    }
}

/// What a [`Redactor`] looks for besides the forms that it always looks for.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Regions whose national phone numbers are found, as ISO 3166 codes such as "DE". Unknown codes are ignored.
    pub regions: Vec<String>,
    /// The members of the account, whose names are always found.
    pub members: Vec<Member>,
    /// Whether UUIDs are redacted. Ids of tasks are UUIDs, and say nothing outside Baton.
    pub uuids: bool,
}

/// A part of the original text that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Span {
    /// What it is.
    pub entity: Entity,
    /// The number in the placeholder.
    pub number: u32,
    /// Its bytes in the original text.
    pub range: Range<usize>,
}

/// A redacted text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// The text with placeholders.
    pub text: String,
    /// What was replaced, in the order of the text.
    pub spans: Vec<Span>,
}

/// What a detector has found: bytes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    start: usize,
    end: usize,
    entity: Entity,
    /// The member, if it is the name of exactly one.
    member: Option<usize>,
}

impl Found {
    fn new(range: Range<usize>, entity: Entity) -> Self {
        Self { start: range.start, end: range.end, entity, member: None }
    }

    fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Redacts the text of one account. Making one compiles the names of its members, so it is kept and shared.
#[derive(Debug)]
pub struct Redactor {
    members: Members,
    regions: Regions,
    uuids: bool,
}

impl Redactor {
    /// Compiles the settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            members: Members::new(&settings.members),
            regions: Regions::new(&settings.regions),
            uuids: settings.uuids,
        }
    }

    /// Replaces what is found in `text` by placeholders. New values get the next numbers of `conversation`, whose state is
    /// keyed by `key`.
    pub fn redact(&self, text: &str, conversation: &mut Conversation, key: &Key) -> Redacted {
        let found = self.find(text);
        let mut redacted = Redacted { text: String::with_capacity(text.len()), spans: Vec::with_capacity(found.len()) };
        let mut end = 0;
        for found in found {
            let range = found.start..found.end;
            let normal = match found.member.and_then(|index| self.members.full_name(index)) {
                Some(name) => name.to_owned(),
                None => conversation::normal_form(found.entity, &text[range.clone()], &self.regions),
            };
            let number = conversation.number(found.entity, &normal, key);
            redacted.text.push_str(&text[end..range.start]);
            placeholder::write(&mut redacted.text, found.entity, number);
            end = range.end;
            redacted.spans.push(Span { entity: found.entity, number, range });
        }
        redacted.text.push_str(&text[end..]);
        redacted
    }

    /// What is to be replaced, in order and without overlaps.
    fn find(&self, text: &str) -> Vec<Found> {
        let mut all = Vec::new();
        let mut gaps = placeholder::gaps(text);
        for _ in 0..MAX_ROUNDS {
            let mut rest = Vec::new();
            for gap in gaps {
                let found = self.detect(&text[gap.clone()]);
                if found.is_empty() {
                    continue;
                }
                let mut start = gap.start;
                for mut found in found {
                    found.start += gap.start;
                    found.end += gap.start;
                    rest.push(start..found.start);
                    start = found.end;
                    all.push(found);
                }
                rest.push(start..gap.end);
            }
            rest.retain(|gap| !gap.is_empty());
            gaps = rest;
        }
        // A text that was made for it may never settle. Then nothing of it is left, so that the result stays as it is.
        for gap in gaps {
            if !self.detect(&text[gap.clone()]).is_empty() {
                all.push(Found::new(gap, Entity::Secret));
            }
        }
        all.sort_unstable_by_key(|found| found.start);
        all
    }

    /// What is found in a text without placeholders, in order and without overlaps.
    fn detect(&self, text: &str) -> Vec<Found> {
        let mut found = Vec::new();
        let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
        email::find(text, &mut found);
        url::find(text, &mut found);
        secret::find(text, &mut found);
        if has_digit {
            let runs = number::runs(text);
            card::find(text, &runs, &mut found);
            phone::find(text, &runs, &self.regions, &mut found);
            iban::find(text, &mut found);
            identifier::find(text, self.uuids, &mut found);
            address::find(text, &mut found);
        }
        network::find(text, &mut found);
        self.members.find(text, &mut found);
        name::find(text, &mut found);
        overlap::resolve(text, found)
    }
}
