//! Street addresses and their parts, in the languages of Western and Central Europe and the Americas.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

use crate::{Entity, Found, name::lexicon};

/// Memory of a compiled expression, at most, and of the states that each thread keeps for it.
const PROGRAM_BYTES: usize = 32 << 20;
const STATE_BYTES: usize = 4 << 20;

/// A word with a capital, or one that stands between such words.
const NAME: &str = r"(?:\p{Lu}[\p{L}\p{M}.'’-]*|de|del|della|di|da|do|dos|das|du|des|la|le|les|van|der|den|von|zum|zur|am|y|e|\d{1,3}(?:st|nd|rd|th)|[IVX]+)";
const NUMBER: &str = r"(?:\d{1,5}(?:\s?[A-Za-z]\b)?(?:\s?[-/]\s?\d{1,4}[A-Za-z]?)?\.?)";

/// A word with a capital or a number, and more of them.
const PART: &str =
    r"(?:(?:St|Str|Av|Avda|Apt|Bd|Blvd|Dr|R|P\.O|P|ul|al|pl)\.|\p{Lu}[\p{L}\p{M}'’/-]*|\d{1,5}[A-Za-z]?\b)";
const MORE: &str = r"(?:,?[ ]+(?:(?:St|Str|Av|Avda|Apt|Bd|Blvd|Dr|R|P\.O|P|ul|al|pl)\.|\p{Lu}[\p{L}\p{M}'’/-]*|\d{1,5}[A-Za-z]?\b|\
    (?:de|del|della|di|da|do|dos|das|du|des|la|le|les|van|der|den|von|y|e|rue|avenue|utca|út|útja|tér|köz|vei|gate|vej)\b))";

/// Kinds of streets that end a name in English, and that a number may follow.
const STREETS: &str = "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Parkway|Pkwy|Highway|Hwy";
/// Those that only a number before the name shows.
const PLACES: &str = "Ln|Drive|Dr|Court|Ct|Square|Sq|Terrace|Place|Pl|Way|Close|Crescent|Row|Gardens|Heights|Mews|Quay|Grove|Alley|\
    Circle|Trail|Pike|Parade|Esplanade|Rise|Walk";
/// Those that are words of every day as well. At least one word of the name must be none.
const WORDS: &str = "Path|Green|Greens|Hill|Hills|Park|Plaza|Point|Ridge|Run|Loop|Crossing|Junction|Bypass|Mall|Spur|Stream|\
    Streets|Manor|Meadow|Meadows|Mill|Mills|Shore|Shores|Springs|Station|Turnpike|Valley|View|Views|Village|Vista|Common|Commons|Corner|\
    Corners|Course|Cove|Creek|Dale|Divide|Estate|Estates|Expressway|Extension|Falls|Ferry|Field|Fields|Flat|Flats|Ford|Forge|Fork|Forks|\
    Fort|Freeway|Garden|Gateway|Glen|Haven|Harbor|Inlet|Island|Islands|Isle|Key|Keys|Knoll|Knolls|Lake|Lakes|Landing|Light|Lights|Locks|\
    Lodge|Motorway|Mount|Mountain|Mountains|Neck|Orchard|Oval|Overpass|Parks|Passage|Pine|Pines|Plain|Plains|Port|Ports|Prairie|Radial|\
    Ramp|Ranch|Rapid|Rapids|Rest|River|Roads|Route|Rue|Shoal|Shoals|Skyway|Squares|Stravenue|Summit|Throughway|Trace|Track|Tunnel|\
    Underpass|Union|Unions|Viaduct|Ville|Well|Wells|Bay|Beach|Bend|Bluff|Bluffs|Branch|Bridge|Brook|Brooks|Burg|Burgs|Camp|Canyon|Cape|\
    Causeway|Center|Centers|Circles|Cliff|Cliffs|Club|Courts|Crest|Crossroad|Curve|Dam|Drives|Chase|Cross|Mission";
/// Kinds that begin a name in other languages.
const BEFORE: &str = "Via|Viale|Vicolo|Piazza|Piazzale|Piazzetta|Corso|Largo|Strada|Stretto|Borgo|Canale|Contrada|Incrocio|Rotonda|Lungo|\
    Rua|Avenida|Avda|Av|Travessa|Alameda|Estrada|Praça|Praia|Viela|Ladeira|Rodovia|Quadra|Vila|Conjunto|Condomínio|Parque|Sítio|\
    Calle|Camino|Paseo|Plaza|Carrer|Ronda|Glorieta|Callejón|Cañada|Acceso|Pasaje|Urbanización|Vial|C/|Cuesta|Pasadizo|\
    Rue|rue|Avenue|avenue|Boulevard|boulevard|Chemin|chemin|place d[eu]s?|Place d[eu]s?|Allée|Impasse|Quai|Cours|Sentier|\
    Ulica|ulica|ul\\.|Aleja|aleja|al\\.|Plac|plac|pl\\.|Rynek|Trg|Cesta|Obala|Náměstí|Nám|Třída|Nábřeží|Straße";
/// Ends of words that are streets: German, Dutch, Nordic, Finnish, Slavic.
const ENDINGS: &str = "straße|strasse|str\\.|gasse|weg|platz|allee|ufer|damm|steig|stieg|chaussee|promenade|graben|\
    straat|laan|plein|kade|dijk|gracht|steeg|singel|hof|dreef|baan|stede|\
    gatan|gata|vägen|väg|gränd|torget|stigen|backen|gården|gaten|veien|vegen|vei|veg|stien|bakken|åsen|svingen|løkka|\
    gade|vej|vænget|allé|parken|stræde|torv|toften|vang|haven|engen|marken|bakke|brinken|krogen|stien|\
    katu|ntie|kuja|polku|kaari|raitti|rinne|nranta|aukio|mäki|braut|stígur|vegur|gata|\
    ská|cká|utca|ulica|cesta|evska|ovska|nska";
/// Kinds that follow a name as words of their own: Hungarian, Nordic, Icelandic and others.
const AFTER: &str = "utca|út|útja|tér|tere|köz|sétány|körút|u\\.|ulica|cesta|vej|vejen|gata|Gade|gade|ulice|straat|sarok|lejtő|fasor|\
    Aqq\\.?";
/// States of the United States as they stand before post codes. The last ones are words as well, so a comma precedes them.
const STATES: &str = "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|IL|IA|KS|KY|LA|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|PA|RI|SC|SD|TN|TX|UT|VT|\
    VA|WA|WV|WI|WY|DC|, ?(?:HI|ID|IN|ME|OK|OR|PR)";

/// Forms that stand anywhere.
static ANYWHERE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let forms = [
        // 12 Main Street, 12a St. John's Road; Main Street 12.
        format!(r"(?:\b{NUMBER}\s+){{0,2}}(?:\p{{Lu}}[\p{{L}}\p{{M}}.'’-]*\s+){{1,4}}(?:{STREETS})\b\.?(?:\s+{NUMBER}\b)?"),
        format!(r"\b(?:{NUMBER}\s+){{1,2}}(?:\p{{Lu}}[\p{{L}}\p{{M}}.'’-]*\s+){{1,4}}(?:{PLACES})\b\.?"),
        // Via Roma 12, Rua da Paz, 34.
        format!(r"\b(?:{NUMBER},?\s+)?(?:{BEFORE})\.?\s+(?:{NAME}\s+){{0,5}}(?:{NAME})(?:,?\s*(?:n[º°.]?\s*)?{NUMBER}\b|\b)"),
        // Hauptstraße 12.
        format!(r"\b\p{{Lu}}[\p{{L}}\p{{M}}.'’-]*(?:{ENDINGS})\s+{NUMBER}\b"),
        // Bécsi utca 53.
        format!(r"\b(?:{NAME}\s+){{1,4}}(?:{AFTER})\s*{NUMBER}\b"),
        // Units and boxes.
        r"(?i:\b(?:suite|ste\.|apt\.?|apartment|p\.? ?o\.? ?box|postboks|postfach|casella postale)\s*#?\s*\d{1,6}[a-z]?\b)".to_owned(),
        r", ?(?:Unit|Flat|Floor|Room|Box)\s+#?\d{1,5}[A-Za-z]?\b".to_owned(),
        // Post codes after states, of the United Kingdom, Canada, and with countries before a town.
        format!(r"(?:\b|,)(?:{STATES})\s+\d{{5}}(?:-\d{{4}})?\b"),
        r"\b[A-PR-UWYZ][A-HK-Y]?\d[A-Z\d]?\s\d[ABD-HJLNP-UW-Z]{2}\b".to_owned(),
        r"\b[A-CEGHJ-NPR-TVXY]\d[A-Z]\s\d[A-Z]\d\b".to_owned(),
        r"\b(?:D|A|CH|F|I|B|L|NL|DK|S|N|PL|CZ|SI|HR)-\d{4,5}\s+\p{Lu}\p{Ll}+".to_owned(),
    ];
    build(&forms.join("|"))
});

/// 12 Arnott Heights.
static NUMBERED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    build(&format!(r"\b(?:{NUMBER}\s+){{1,2}}(?:\p{{Lu}}[\p{{L}}\p{{M}}.'’-]*\s+){{1,4}}(?:{WORDS})\b"))
});

/// What follows such words up to the end of the sentence or line is an address, if a number is in it.
static ANNOUNCED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = r"address(?:es)?(?: (?:is|to|with|of \p{L}+))?|located at|liv(?:e|es|ed|ing) (?:at|on|in)|moved to|\
        meet(?: me| you| us)? at|(?:deliver|ship|send|sent|return|taxi)(?:ed|ped)?(?: it| them)? to|arrived at|\
        (?:office|restaurant|shop|house|flat|headquarters) is at|drops? (?:you|me|us) off at|stay(?:ing)? at";
    let words = words.replace("\\\n        ", "");
    build(&format!(r"(?i:{words})\s*[:,]?\s+({PART}{MORE}{{1,10}})"))
});

/// A post code after its name.
static POST_CODE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = r"(?:zip|post(?:al)?)(?:\s?code)?|plz|postleitzahl|code postal|cap";
    Regex::new(&format!(
        r"(?i)\b(?:{words})(?:\s+is|\s*:)?\s+(\d[\d -]{{1,8}}\d|[A-Z]{{1,2}}\d[A-Z\d]?\s?\d[A-Z]{{2}})\b"
    ))
    .ok()
});

/// Military post of the United States.
static MILITARY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let before = r"(?:PSC|Unit|USNS|USS|USCGC|USNV|CMR)[ ][\p{L}\d]+,?(?:[ ]Box[ ]\d+)?";
    Regex::new(&format!(r"\b(?:{before}\s+)?(?:FPO|APO|DPO)\s+A[AEP]\s+\d{{5}}\b")).ok()
});

/// A line of nothing else, in a block of several short lines.
static LINE: LazyLock<Option<Regex>> = LazyLock::new(|| build(&format!(r"^[ >?\t]*({PART}{MORE}{{1,8}})[.,]?\s*$")));

/// Classes of Unicode letters make large automata: with room for more of their states they are several times faster.
fn build(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).size_limit(PROGRAM_BYTES).dfa_size_limit(STATE_BYTES).build().ok()
}

/// Adds the addresses of a text.
pub(crate) fn find(text: &str, found: &mut Vec<Found>) {
    let lines = text.split_inclusive('\n').scan(0, |end, line| {
        *end += line.len();
        Some((*end - line.len(), line))
    });
    let military = MILITARY.iter().flat_map(|address| address.find_iter(text));
    found.extend(military.map(|address| Found::new(address.range(), Entity::Address)));
    // A block has at least three lines.
    let is_block = text.lines().nth(2).is_some();
    for (start, line) in lines {
        // Without a number it is a street, but no person's.
        if !line.bytes().any(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let mut add = |range: std::ops::Range<usize>| {
            found.push(Found::new(start + range.start..start + range.end, Entity::Address));
        };
        for address in ANYWHERE.iter().flat_map(|address| address.find_iter(line)) {
            if address.as_str().contains(|c: char| c.is_ascii_digit()) {
                add(address.range());
            }
        }
        let numbered = NUMBERED.iter().flat_map(|address| address.find_iter(line));
        let named = numbered.filter(|address| has_foreign_word(address.as_str()));
        named.for_each(|address| add(address.range()));
        let announced = [&ANNOUNCED, &POST_CODE].into_iter().filter_map(|regex| regex.as_ref());
        let announced = announced.flat_map(|address| address.captures_iter(line));
        let has_digit = |address: &regex::Match| address.as_str().contains(|c: char| c.is_ascii_digit());
        announced.filter_map(|captures| captures.get(1)).filter(has_digit).for_each(|address| add(address.range()));
        if is_block {
            let captures = LINE.iter().filter_map(|address| address.captures(line));
            let addresses = captures.filter_map(|captures| captures.get(1)).filter(has_digit);
            addresses.filter(|address| has_foreign_word(address.as_str())).for_each(|address| add(address.range()));
        }
    }
}

/// Whether a word is neither English nor a product: "Sprint 42" on a line is a heading.
fn has_foreign_word(address: &str) -> bool {
    let words = address.split(|c: char| !c.is_alphabetic()).filter(|word| word.chars().count() > 2);
    words.map(lexicon::look_up).any(|meaning| !meaning.is_word() && !meaning.is_no_name())
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
    fn addresses_are_found() {
        for address in [
            "12 Main Street",
            "221b Baker Street",
            "7015 North Arnott Heights",
            "Via Leopardi 83",
            "Rua da Paz, 34",
            "12 rue de la Paix",
            "Hauptstraße 12",
            "Violvägen 64",
            "Bécsi utca 53",
            "Suite 026",
            "P.O. Box 255",
            "CA 94107-1234",
            "SW1A 1AA",
        ] {
            let text = format!("it was near {address}, yesterday");
            assert_eq!(all(&text), [address]);
        }
        assert_eq!(all("I live at Nowhere Else 7 now"), ["Nowhere Else 7"]);
    }

    #[test]
    fn other_text_is_not_found() {
        for text in
            ["Sprint 42 ends on Monday", "version 12 of Baton", "12 people came", "Chapter 3", "see page 12", "in 2026"]
        {
            assert_eq!(all(text), [""; 0], "{text}");
        }
    }
}
