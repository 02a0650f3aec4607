//! Words beside a name that show it is one.

use super::word::{Case, Gap, Word};

/// Titles of address.
const TITLES: &[&str] = &[
    "mr",
    "mrs",
    "ms",
    "miss",
    "mx",
    "dr",
    "prof",
    "professor",
    "doctor",
    "sir",
    "madam",
    "lady",
    "lord",
    "mister",
    "rev",
    "capt",
    "captain",
    "sgt",
    "lt",
    "judge",
    "senator",
    "herr",
    "frau",
    "monsieur",
    "madame",
    "mme",
    "mlle",
    "señor",
    "señora",
    "sr",
    "sra",
    "signor",
    "signora",
    "uncle",
    "aunt",
    "pan",
    "pani",
];
/// Words before the name of the person who is greeted.
const GREETINGS: &[&str] = &[
    "hi",
    "hello",
    "hey",
    "dear",
    "hallo",
    "hola",
    "bonjour",
    "moin",
    "ciao",
    "servus",
    "liebe",
    "lieber",
    "cher",
    "chère",
    "welcome",
    "goodbye",
    "bye",
    "morning",
    "afternoon",
    "evening",
    "congratulations",
    "congrats",
    "thanks",
    "thank",
    "sorry",
];
/// Words before the name of the sender.
const SIGN_OFFS: &[&str] = &[
    "regards",
    "cheers",
    "thanks",
    "best",
    "sincerely",
    "yours",
    "greetings",
    "wishes",
    "love",
    "grüße",
    "gruß",
    "grüßen",
    "you",
    "cordialement",
    "saludos",
];
/// Words before somebody's name.
const BEFORE: &[&str] = &[
    "ask",
    "asked",
    "tell",
    "told",
    "contact",
    "remind",
    "ping",
    "pinged",
    "cc",
    "attn",
    "call",
    "called",
    "named",
    "name",
    "email",
    "emailed",
    "meet",
    "met",
    "invite",
    "invited",
    "assign",
    "assigned",
    "notify",
    "thank",
    "said",
    "says",
    "replied",
    "wrote",
    "whom",
    "colleague",
    "boss",
    "manager",
    "friend",
    "brother",
    "sister",
    "wife",
    "husband",
    "son",
    "daughter",
    "partner",
    "client",
    "author",
    "director",
    "actor",
    "singer",
    "producer",
    "songwriter",
    "introducing",
    "by",
    "signed",
    "owner",
    "hire",
    "hired",
];
/// What people do.
const AFTER: &[&str] = &[
    "said",
    "says",
    "told",
    "tells",
    "asked",
    "asks",
    "wrote",
    "writes",
    "replied",
    "replies",
    "shouted",
    "thinks",
    "thought",
    "wants",
    "wanted",
    "lives",
    "lived",
    "works",
    "worked",
    "joined",
    "left",
    "agreed",
    "agrees",
    "mentioned",
    "mentions",
    "suggested",
    "suggests",
    "explained",
    "promised",
    "called",
    "met",
    "married",
    "died",
    "knows",
    "knew",
    "loves",
    "speaks",
    "talked",
    "began",
    "jr",
    "sr",
];
/// Words of companies and places, with which a name is no person's.
const ORGANISATIONS: &[&str] = &[
    "inc",
    "ltd",
    "limited",
    "llc",
    "llp",
    "plc",
    "gmbh",
    "ag",
    "corp",
    "corporation",
    "company",
    "co",
    "group",
    "holdings",
    "holding",
    "bank",
    "trust",
    "fund",
    "sa",
    "nv",
    "bv",
    "se",
    "spa",
    "kg",
    "oy",
    "ab",
    "asa",
    "industries",
    "technologies",
    "technology",
    "systems",
    "solutions",
    "software",
    "partners",
    "capital",
    "university",
    "college",
    "school",
    "hospital",
    "institute",
    "foundation",
    "association",
    "orchestra",
    "club",
    "airport",
    "station",
    "museum",
    "church",
    "hotel",
    "restaurant",
    "energy",
    "pharmaceuticals",
    "therapeutics",
    "biosciences",
    "resources",
    "properties",
    "financial",
    "insurance",
    "international",
    "services",
    "media",
    "motors",
    "foods",
    "stores",
    "brands",
    "etf",
    "reit",
    "bancorp",
    "bancorporation",
    "ventures",
    "investments",
    "investment",
    "securities",
    "logistics",
    "airlines",
    "street",
    "st",
    "avenue",
    "road",
    "square",
    "park",
    "bridge",
    "county",
    "city",
    "river",
    "lake",
    "valley",
    "beach",
    "island",
    "labs",
    "studio",
    "studios",
];
/// What only people have.
const OWNED: &[&str] = &[
    "brother", "sister", "wife", "husband", "son", "daughter", "kid", "kids", "mother", "father", "birthday",
    "address", "desk",
];
/// Words that places follow.
const PLACES_AFTER: &[&str] =
    &["in", "at", "near", "from", "to", "of", "around", "via", "across", "outside", "towards"];
/// Words that join the parts of a surname.
const PARTICLES: &[&str] = &[
    "van", "von", "de", "der", "den", "di", "da", "del", "della", "la", "le", "du", "dos", "das", "bin", "ibn", "al",
    "el", "ter", "ten", "te", "zu", "zum", "af", "av", "y", "e", "st",
];
/// Particles that stand in names only.
/// Those that mean nothing else in English.
const CERTAIN_PARTICLES: &[&str] = &["van", "von", "bin", "ibn", "ter", "zu"];

/// How surely a name follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Announced {
    /// Nothing says so.
    No,
    /// A place may follow.
    Place,
    /// A name may follow: a word that has no other meaning is one.
    Maybe,
    /// A greeting: a word that is a name as well is one.
    Likely,
    /// A title, or "my name is": any word with a capital is one.
    Surely,
    /// "My name is": even without a capital.
    Name,
}

/// Whether the words before and after `first..end` say that these are a name.
pub(crate) fn announced(text: &str, words: &[Word], first: usize, end: usize) -> Announced {
    let lower =
        |index: usize| words.get(index).map(|word| text[word.start..word.end].to_lowercase()).unwrap_or_default();
    let before = |distance: usize| first.checked_sub(distance).map(lower).unwrap_or_default();
    let (one, two) = (before(1), before(2));
    let (one, two) = (one.as_str(), two.as_str());
    let gap = words[first].gap;
    if is_after_name(two, one, gap) {
        return Announced::Name;
    }
    // "MS Word" and "PAN card" are no titles.
    let is_abbreviated = || words[first - 1].case == Case::Upper;
    if matches!(gap, Gap::Space | Gap::Dot) && TITLES.contains(&one) && !is_abbreviated() {
        return Announced::Surely;
    }
    let after = lower(end);
    let next_gap = words.get(end).map(|word| word.gap);
    let speaks = next_gap == Some(Gap::Space) && AFTER.contains(&after.as_str());
    if speaks || is_after_greeting(two, one, gap) {
        return Announced::Likely;
    }
    // "Ada's brother", but not "Jira's board".
    let owns = || after == "s" && next_gap == Some(Gap::Other) && OWNED.contains(&lower(end + 1).as_str());
    let is_labelled = || gap == Gap::Colon && matches!(one, "user" | "said" | "cc" | "by" | "from");
    if gap == Gap::Space && BEFORE.contains(&one) || is_labelled() || owns() {
        return Announced::Maybe;
    }
    if gap == Gap::Space && PLACES_AFTER.contains(&one) { Announced::Place } else { Announced::No }
}

/// "My name is", "name:", "last name".
fn is_after_name(two: &str, one: &str, gap: Gap) -> bool {
    let is_sentence =
        matches!((two, one), ("name", "is" | "was" | "s") | ("last" | "first" | "full" | "maiden", "name"));
    is_sentence && matches!(gap, Gap::Space | Gap::Dot | Gap::Colon) || one == "name" && gap == Gap::Colon
}

/// "Dear", "best regards,", "I'm", "this is", "what's your name?"
fn is_after_greeting(two: &str, one: &str, gap: Gap) -> bool {
    let is_introduction = || matches!((two, one), ("i", "m" | "am") | ("this", "is") | ("call" | "calls", "me"));
    match gap {
        Gap::Space => GREETINGS.contains(&one) || is_introduction(),
        Gap::Comma => GREETINGS.contains(&one) || SIGN_OFFS.contains(&one),
        Gap::Line => SIGN_OFFS.contains(&one),
        Gap::Other => one == "name",
        Gap::Dot | Gap::Colon => false,
    }
}

/// Whether the words are those of an organisation or a place.
pub(crate) fn is_organisation(text: &str, words: &[Word]) -> bool {
    words.iter().any(|word| ORGANISATIONS.contains(&text[word.start..word.end].to_lowercase().as_str()))
}

/// Whether a word joins the parts of a surname.
pub(crate) fn is_particle(word: &str) -> bool {
    PARTICLES.contains(&word.to_lowercase().as_str())
}

/// Whether a word joins the parts of a surname, and means nothing else.
pub(crate) fn is_certain_particle(word: &str) -> bool {
    CERTAIN_PARTICLES.contains(&word)
}
