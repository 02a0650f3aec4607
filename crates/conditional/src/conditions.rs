//! Conditional requests: whether to perform a request (RFC 9110, section 13.2).

use std::time::SystemTime;

use http::{
    HeaderMap, Method,
    header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE},
};

use crate::tags::{Malformed, Tag, Tags, text};

/// The conditional headers of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`.
    pub if_match: Option<Tags>,
    /// `If-None-Match`.
    pub if_none_match: Option<Tags>,
    /// `If-Modified-Since`; `None` also for an invalid date, which is ignored (section 13.1.3).
    pub if_modified_since: Option<SystemTime>,
    /// `If-Unmodified-Since`; `None` also for an invalid date.
    pub if_unmodified_since: Option<SystemTime>,
}

/// The validators of the current representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// Its `ETag`.
    pub tag: Tag,
    /// Its `Last-Modified`, if known; without it the date conditions are ignored (sections 13.1.3 and 13.1.4).
    pub last_modified: Option<SystemTime>,
}

/// The result of evaluating the conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Perform the request.
    Proceed,
    /// Return 304: the caller has the current representation.
    NotModified,
    /// Return 412.
    Failed,
}

impl Conditions {
    /// Parses the conditional headers of a request.
    ///
    /// # Errors
    /// If `If-Match` or `If-None-Match` is neither `*` nor a list of entity tags.
    pub fn of(headers: &HeaderMap) -> Result<Self, Malformed> {
        let date = |header| text(headers, header).and_then(|text| httpdate::parse_http_date(text).ok());
        Ok(Self {
            if_match: Tags::of(headers, &IF_MATCH)?,
            if_none_match: Tags::of(headers, &IF_NONE_MATCH)?,
            if_modified_since: date(&IF_MODIFIED_SINCE),
            if_unmodified_since: date(&IF_UNMODIFIED_SINCE),
        })
    }

    /// Evaluates the conditions in the order of section 13.2.2, for a representation that exists. `matches` compares a
    /// strong tag of `If-Match` with the current tag.
    pub fn evaluate(&self, method: &Method, current: &Validators, matches: impl Fn(&Tag, &Tag) -> bool) -> Outcome {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let modified = current.last_modified;
        let precondition = match (&self.if_match, self.if_unmodified_since, modified) {
            (Some(tags), ..) => tags.any(|tag| !tag.is_weak() && matches(tag, &current.tag)),
            (None, Some(since), Some(modified)) => modified <= since,
            (None, ..) => true,
        };
        if !precondition {
            return Outcome::Failed;
        }
        let unchanged = match (&self.if_none_match, self.if_modified_since, modified) {
            (Some(tags), ..) => tags.any(|tag| tag.equals_weakly(&current.tag)),
            (None, Some(since), Some(modified)) if is_read => modified <= since,
            (None, ..) => false,
        };
        match (unchanged, is_read) {
            (false, _) => Outcome::Proceed,
            (true, true) => Outcome::NotModified,
            (true, false) => Outcome::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderName, HeaderValue};

    use super::*;

    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn outcome(method: &Method, headers: &[(HeaderName, &'static str)], dated: bool) -> Outcome {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let current = Validators { tag: Tag::strong("a"), last_modified: dated.then_some(modified) };
        Conditions::of(&headers).unwrap().evaluate(method, &current, Tag::equals_strongly)
    }

    #[test]
    fn if_match_compares_strongly_and_takes_precedence() {
        for method in [Method::GET, Method::PATCH] {
            let by = |value| outcome(&method, &[(IF_MATCH, value)], false);
            assert_eq!(
                (by("\"a\""), by("*"), by("\"b\", \"a\"")),
                (Outcome::Proceed, Outcome::Proceed, Outcome::Proceed)
            );
            assert_eq!((by("W/\"a\""), by("\"b\""), by("")), (Outcome::Failed, Outcome::Failed, Outcome::Failed));
            let both = [(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")];
            assert_eq!(outcome(&method, &both, false), Outcome::Failed);
        }
        // A date condition is ignored when there is a tag condition.
        let both = [(IF_MATCH, "\"a\""), (IF_UNMODIFIED_SINCE, EARLIER)];
        assert_eq!(outcome(&Method::GET, &both, true), Outcome::Proceed);
    }

    #[test]
    fn if_none_match_compares_weakly_and_returns_304_for_reads_only() {
        for (value, read, write) in [
            ("\"a\"", Outcome::NotModified, Outcome::Failed),
            ("W/\"a\"", Outcome::NotModified, Outcome::Failed),
            ("\"b\", \"a\"", Outcome::NotModified, Outcome::Failed),
            ("*", Outcome::NotModified, Outcome::Failed),
            ("\"b\"", Outcome::Proceed, Outcome::Proceed),
            ("", Outcome::Proceed, Outcome::Proceed),
        ] {
            let by = |method| outcome(&method, &[(IF_NONE_MATCH, value)], true);
            assert_eq!((by(Method::GET), by(Method::HEAD), by(Method::PUT)), (read, read, write), "{value}");
        }
        let both = [(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, THEN)];
        assert_eq!(outcome(&Method::GET, &both, true), Outcome::Proceed);
    }

    #[test]
    fn dates_are_compared_when_last_modified_is_known() {
        let since = |method, date| outcome(&method, &[(IF_MODIFIED_SINCE, date)], true);
        assert_eq!((since(Method::GET, THEN), since(Method::GET, EARLIER)), (Outcome::NotModified, Outcome::Proceed));
        assert_eq!((since(Method::PUT, THEN), since(Method::GET, "yesterday")), (Outcome::Proceed, Outcome::Proceed));
        let unmodified = |date, dated| outcome(&Method::GET, &[(IF_UNMODIFIED_SINCE, date)], dated);
        assert_eq!((unmodified(THEN, true), unmodified(EARLIER, true)), (Outcome::Proceed, Outcome::Failed));
        assert_eq!((unmodified(EARLIER, false), unmodified("1994", true)), (Outcome::Proceed, Outcome::Proceed));
        assert_eq!(outcome(&Method::GET, &[(IF_MODIFIED_SINCE, THEN)], false), Outcome::Proceed);
    }
}
