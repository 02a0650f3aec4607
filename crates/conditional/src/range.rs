//! Byte ranges: which part of a file a request asks for (RFC 9110, section 14).

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, Method,
    header::{IF_RANGE, RANGE},
};

use crate::{
    conditions::Validators,
    tags::{Tag, text},
};

/// The part of the file to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    /// The whole file: 200.
    Whole,
    /// A range of bytes: 206.
    Part(Range<u64>),
    /// Nothing: 416.
    Unsatisfiable,
}

/// Selects the part of a file with `size` bytes.
///
/// A request for several ranges gets the whole file, as section 14.2 allows: overlapping parts would cost more than
/// they save. The whole file is also sent if the header does not have the form of section 14.1.1, the method is not
/// GET, or `If-Range` does not match.
pub fn select(method: &Method, headers: &HeaderMap, size: u64, current: &Validators, now: SystemTime) -> Selected {
    let set = text(headers, &RANGE).and_then(parse);
    let Some(set) = set.filter(|_| *method == Method::GET && may_resume(headers, current, now)) else {
        return Selected::Whole;
    };
    let mut parts = set.iter().filter_map(|spec| spec.within(size));
    match (parts.next(), parts.next()) {
        // An empty file has no range that `Content-Range` could express.
        (None, _) if size == 0 && set.iter().any(|spec| matches!(spec, Spec::Last(1..))) => Selected::Whole,
        (None, _) => Selected::Unsatisfiable,
        (Some(part), None) => Selected::Part(part),
        (Some(_), Some(_)) => Selected::Whole,
    }
}

/// Whether `If-Range` matches the current representation (section 13.1.5); true without the header.
fn may_resume(headers: &HeaderMap, current: &Validators, now: SystemTime) -> bool {
    let mut values = headers.get_all(IF_RANGE).iter();
    let Some(value) = values.next() else { return true };
    if values.next().is_some() {
        return false;
    }
    if let Some(tag) = Tag::parse(value.as_bytes()) {
        return tag.equals_strongly(&current.tag);
    }
    let date = value.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
    // A date is a strong validator only if it is older than a second (section 8.8.2.2).
    let is_strong = |modified: SystemTime| now.duration_since(modified).is_ok_and(|age| age > Duration::from_secs(1));
    date.is_some() && date == current.last_modified.filter(|modified| is_strong(*modified))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    /// First and last byte, both inclusive.
    Between(u64, u64),
    From(u64),
    Last(u64),
}

impl Spec {
    fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Between(first, last) => first..size.min(last.saturating_add(1)),
            Self::From(first) => first..size,
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// Parses the header; `None` if its unit is not bytes, or it is invalid.
fn parse(text: &str) -> Option<Vec<Spec>> {
    let (unit, set) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let is_space = |c: char| matches!(c, ' ' | '\t');
    let specs = set.split(',').map(|spec| spec.trim_matches(is_space)).filter(|spec| !spec.is_empty());
    let specs: Vec<Spec> = specs.map(spec).collect::<Option<_>>()?;
    (!specs.is_empty()).then_some(specs)
}

fn spec(text: &str) -> Option<Spec> {
    let (first, last) = text.split_once('-')?;
    match (first, last) {
        ("", count) => Some(Spec::Last(number(count)?)),
        (first, "") => Some(Spec::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::Between(first, last))
        }
    }
}

/// Parses digits. A number that overflows counts as larger than every file.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn current() -> Validators {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        Validators { tag: Tag::strong("a"), last_modified: Some(modified) }
    }

    fn of(range: &str, if_range: Option<&str>, size: u64) -> Selected {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(range).unwrap());
        headers.extend(if_range.map(|value| (IF_RANGE, HeaderValue::from_str(value).unwrap())));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_780);
        select(&Method::GET, &headers, size, &current(), now)
    }

    #[test]
    fn one_range_selects_a_part() {
        for (range, part) in [
            ("bytes=0-4", 0..5),
            ("Bytes=0-0", 0..1),
            ("bytes=5-", 5..10),
            ("bytes=-3", 7..10),
            ("bytes=-30", 0..10),
            ("bytes=8-99", 8..10),
            ("bytes=8-99999999999999999999999", 8..10),
            ("bytes= 1-2 ,", 1..3),
            ("bytes=20-30,1-2", 1..3),
        ] {
            assert_eq!(of(range, None, 10), Selected::Part(part), "{range}");
        }
    }

    #[test]
    fn ranges_beyond_the_end_are_unsatisfiable() {
        for range in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999999-", "bytes=11-,12-"] {
            assert_eq!(of(range, None, 10), Selected::Unsatisfiable, "{range}");
        }
        assert_eq!(of("bytes=0-", None, 0), Selected::Unsatisfiable);
        assert_eq!(of("bytes=-1", None, 0), Selected::Whole);
    }

    #[test]
    fn several_ranges_and_invalid_headers_select_the_whole_file() {
        for range in
            ["bytes=0-1,3-4", "bytes=4-2", "bytes=", "bytes", "lines=1-2", "bytes=a-b", "bytes=+1-2", "bytes=1"]
        {
            assert_eq!(of(range, None, 10), Selected::Whole, "{range}");
        }
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-1"))]);
        assert_eq!(select(&Method::HEAD, &headers, 10, &current(), SystemTime::UNIX_EPOCH), Selected::Whole);
    }

    #[test]
    fn if_range_that_does_not_match_selects_the_whole_file() {
        let part = Selected::Part(0..2);
        assert_eq!(of("bytes=0-1", Some("\"a\""), 10), part);
        assert_eq!(of("bytes=0-1", Some(THEN), 10), part);
        for other in ["\"b\"", "W/\"a\"", "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT", "a", "*"] {
            assert_eq!(of("bytes=0-1", Some(other), 10), Selected::Whole, "{other}");
        }
    }

    proptest! {
        #[test]
        fn parts_are_within_the_file(range in "(bytes=)?[0-9,\\- ]{0,24}", size in 0..200_u64) {
            if let Selected::Part(part) = of(&range, None, size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn range_selects_the_bytes_between_its_ends(first in 0..100_u64, length in 1..100_u64) {
            let last = first + length - 1;
            prop_assert_eq!(of(&format!("bytes={first}-{last}"), None, 200), Selected::Part(first..last + 1));
        }
    }
}
