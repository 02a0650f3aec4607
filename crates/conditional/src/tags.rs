//! Entity tags, and the lists of them in `If-Match` and `If-None-Match`.

use http::{HeaderMap, HeaderName, header::ToStrError};

/// A header without the form of RFC 9110, section 13.1: `*`, or quoted entity tags separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{header} must be * or a list of entity tags in double quotes (RFC 9110, section 13.1)")]
pub struct Malformed {
    /// The header.
    pub header: HeaderName,
}

/// An entity tag (RFC 9110, section 8.8.3).
///
/// Baton sends strong tags. The tag of a resource with a version begins with the version: `"7-1f3a"`. A caller who
/// knows only the version, as gRPC callers do, sends `"7"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    weak: bool,
    opaque: Vec<u8>,
}

impl Tag {
    /// A strong tag; `opaque` is the text between the quotes.
    pub fn strong(opaque: impl Into<Vec<u8>>) -> Self {
        Self { weak: false, opaque: opaque.into() }
    }

    /// Parses the value of an `ETag` header; `None` if it is not an entity tag.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (tag, rest) = tag(text)?;
        rest.is_empty().then_some(tag)
    }

    /// Strong comparison (RFC 9110, section 8.8.3.2): a weak tag equals no tag.
    pub fn equals_strongly(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison: by the opaque text only.
    pub fn equals_weakly(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }

    /// Whether the tag is weak: `W/"7"`.
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// The version at the start of the tag: 7 for `"7-1f3a"` and `"7"`. Only the form that Baton writes is accepted: no
    /// sign and no leading zeros.
    pub fn version(&self) -> Option<i32> {
        let digits = self.opaque.split(|byte| *byte == b'-').next()?;
        let canonical = digits == b"0" || !digits.is_empty() && digits[0] != b'0';
        let plain = canonical && digits.iter().all(u8::is_ascii_digit);
        plain.then(|| str::from_utf8(digits).ok()?.parse().ok())?
    }
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    /// `*`: any current representation.
    Any,
    /// Any of these tags. An empty list matches nothing.
    These(Vec<Tag>),
}

impl Tags {
    /// Parses the header; `None` if it is absent. Several header lines form one list (RFC 9110, section 5.3), and empty
    /// elements are ignored (section 5.6.1.2).
    ///
    /// # Errors
    /// If the header is neither `*` nor a list of entity tags.
    pub fn of(headers: &HeaderMap, header: &HeaderName) -> Result<Option<Self>, Malformed> {
        let mut lines = headers.get_all(header).iter().map(|value| trim(value.as_bytes())).peekable();
        if lines.peek().is_none() {
            return Ok(None);
        }
        let malformed = || Malformed { header: header.clone() };
        let (mut star, mut tags) = (false, Vec::new());
        for line in lines {
            if line == b"*" {
                // `*` may occur only once, and not together with tags.
                if std::mem::replace(&mut star, true) {
                    return Err(malformed());
                }
            } else {
                list(line, &mut tags).ok_or_else(malformed)?;
            }
        }
        match (star, tags.is_empty()) {
            (true, true) => Ok(Some(Self::Any)),
            (true, false) => Err(malformed()),
            (false, _) => Ok(Some(Self::These(tags))),
        }
    }

    /// Whether any tag passes; always true for `*`.
    pub fn any(&self, passes: impl Fn(&Tag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(passes),
        }
    }
}

/// Appends the tags of one header line; `None` if the line is malformed.
fn list(mut line: &[u8], tags: &mut Vec<Tag>) -> Option<()> {
    loop {
        line = trim(line);
        match line.first() {
            None => return Some(()),
            Some(b',') => line = &line[1..],
            Some(_) => {
                let (found, rest) = tag(line)?;
                tags.push(found);
                line = trim(rest);
                // Only a comma may follow a tag.
                if line.first().is_some_and(|byte| *byte != b',') {
                    return None;
                }
            }
        }
    }
}

/// The tag at the start of the text, and the rest.
fn tag(text: &[u8]) -> Option<(Tag, &[u8])> {
    let (weak, text) = text.strip_prefix(b"W/").map_or((false, text), |text| (true, text));
    let text = text.strip_prefix(b"\"")?;
    let end = text.iter().position(|byte| *byte == b'"')?;
    let (opaque, rest) = (&text[..end], &text[end + 1..]);
    // `etagc`: visible ASCII and obs-text, without spaces.
    let valid = opaque.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..));
    valid.then(|| (Tag { weak, opaque: opaque.to_vec() }, rest))
}

/// Trims spaces and tabs.
fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// The value of a header that occurs exactly once, as text.
pub(crate) fn text<'h>(headers: &'h HeaderMap, header: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(header).iter();
    let only = values.next().map(http::HeaderValue::to_str).and_then(|text: Result<_, ToStrError>| text.ok());
    only.filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::IF_MATCH};
    use proptest::prelude::*;

    use super::*;

    fn read<V: AsRef<[u8]>>(lines: &[V]) -> Result<Option<Tags>, Malformed> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, HeaderValue::from_bytes(line.as_ref()).unwrap());
        }
        Tags::of(&headers, &IF_MATCH)
    }

    fn tags(lines: &[&str]) -> Vec<String> {
        match read(lines).unwrap().unwrap() {
            Tags::Any => vec!["*".to_owned()],
            Tags::These(tags) => tags.iter().map(|tag| String::from_utf8(written(tag)).unwrap()).collect(),
        }
    }

    #[test]
    fn absent_header_is_none() {
        assert_eq!(read::<&str>(&[]), Ok(None));
    }

    #[test]
    fn lists_weak_tags_stars_and_several_lines_are_parsed() {
        assert_eq!(tags(&["*"]), ["*"]);
        assert_eq!(tags(&[" * "]), ["*"]);
        assert_eq!(tags(&["\"7\", \"1\""]), ["\"7\"", "\"1\""]);
        assert_eq!(tags(&["\"7\",\"1\""]), ["\"7\"", "\"1\""]);
        assert_eq!(tags(&["\"7\"", "W/\"1\""]), ["\"7\"", "W/\"1\""]);
        assert_eq!(tags(&[",, \"a,b\" ,\t,\"\""]), ["\"a,b\"", "\"\""]);
        assert_eq!(tags(&["\"it's\\\""]), ["\"it's\\\""]);
        assert_eq!(tags(&[""]), Vec::<String>::new());
        // obs-text.
        assert_eq!(read(&[b"\"\xe4\xff\""]).unwrap(), Some(Tags::These(vec![Tag::strong([0xe4, 0xff])])));
    }

    #[test]
    fn other_forms_are_malformed() {
        let bad = [
            "7",
            "\"7",
            "7\"",
            "w/\"7\"",
            "W/7",
            "W /\"7\"",
            "\"7\" \"8\"",
            "\"7\"\"8\"",
            "\"7\";",
            "*, \"7\"",
            "\"7\", *",
            "**",
            "*,*",
            "\"a b\"",
            "\"a\tb\"",
            "'7'",
            "\"7\",x",
        ];
        for line in bad {
            assert!(read(&[line]).is_err(), "{line}");
        }
        assert!(read(&["*", "\"7\""]).is_err());
        assert!(read(&["*", "*"]).is_err());
    }

    #[test]
    fn version_is_the_start_of_a_tag() {
        let version = |opaque: &str| Tag::strong(opaque).version();
        assert_eq!((version("7"), version("7-1f"), version("0"), version("7-")), (Some(7), Some(7), Some(0), Some(7)));
        for other in ["", "-7", "+7", "07", "7a", "x", "1f-7", "99999999999", "7 "] {
            assert_eq!(version(other), None, "{other}");
        }
    }

    #[test]
    fn weak_tags_never_match_strongly() {
        let weak = Tag::parse(b"W/\"7\"").unwrap();
        let strong = Tag::strong("7");
        assert!(!weak.equals_strongly(&strong) && !strong.equals_strongly(&weak) && !weak.equals_strongly(&weak));
        assert!(weak.equals_weakly(&strong) && strong.equals_strongly(&strong));
    }

    fn any_tag() -> impl Strategy<Value = Tag> {
        let etagc = prop_oneof![Just(0x21_u8), 0x23..=0x7e_u8, 0x80..=0xff_u8];
        (any::<bool>(), prop::collection::vec(etagc, 0..8)).prop_map(|(weak, opaque)| Tag { weak, opaque })
    }

    fn written(tag: &Tag) -> Vec<u8> {
        [if tag.weak { &b"W/\""[..] } else { b"\"" }, &tag.opaque, b"\""].concat()
    }

    proptest! {
        #[test]
        fn every_list_is_parsed_back(
            lines in prop::collection::vec(prop::collection::vec((any_tag(), "[ \t]{0,2},[ \t,]{0,3}"), 0..4), 1..4),
        ) {
            let texts: Vec<Vec<u8>> = lines
                .iter()
                .map(|line| line.iter().flat_map(|(tag, comma)| [written(tag), comma.clone().into_bytes()].concat()).collect())
                .collect();
            let expected: Vec<Tag> = lines.into_iter().flatten().map(|(tag, _)| tag).collect();
            prop_assert_eq!(read(&texts), Ok(Some(Tags::These(expected))));
        }

        /// Any input is parsed or refused; a parsed list is the same after writing and parsing again.
        #[test]
        fn arbitrary_headers_never_panic_and_round_trip(
            lines in prop::collection::vec(prop::collection::vec(prop_oneof![
                4 => prop::sample::select(&b"\"W/*, \t7-"[..]),
                1 => any::<u8>().prop_filter("allowed in a header", |b| HeaderValue::from_bytes(&[*b]).is_ok()),
            ], 0..16), 1..3),
        ) {
            if let Ok(Some(Tags::These(tags))) = read(&lines) {
                let text: Vec<Vec<u8>> = tags.iter().map(written).collect();
                prop_assert_eq!(read(&[text.join(&b", "[..])]), Ok(Some(Tags::These(tags))));
            }
        }

        #[test]
        fn every_version_is_parsed_back(version in 0..=i32::MAX, hash in "[0-9a-f]{32}", coding in "(-gzip)?") {
            prop_assert_eq!(Tag::strong(version.to_string()).version(), Some(version));
            prop_assert_eq!(Tag::strong(format!("{version}-{hash}{coding}")).version(), Some(version));
            // A hash without a version has no version.
            prop_assert_eq!(Tag::strong(format!("{hash}{coding}")).version(), None);
        }
    }
}
