//! Pages of lists: by number for people, by token for deep or stable reads.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::api::v1 as proto;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::row_count::RowCount;

const DEFAULT_PER_PAGE: u32 = 20;

/// The requested page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Rows per page.
    pub per_page: u32,
    /// Start of the page.
    pub from: From,
}

/// The start of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// The page with this number, from 1.
    Number(u32),
    /// The page after this row.
    After(Cursor),
}

/// The last row of the previous page: the value of its sort key, and the id that breaks ties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The row's sort key as text; `None` for null.
    #[serde(rename = "k")]
    pub key: Option<String>,
    /// The row's id.
    #[serde(rename = "i")]
    pub id: Uuid,
    /// A digest of filter and sort, so that a token cannot be used with others.
    #[serde(rename = "f")]
    list: u32,
}

impl Page {
    /// Parses the requested page. `list` is filter and sort; a token of another list is refused.
    ///
    /// # Errors
    /// PAGE_TOKEN_INVALID.
    pub fn of(page: Option<&proto::Page>, list: &impl Hash) -> Result<Self> {
        let page = page.cloned().unwrap_or_default();
        // The codec has checked the bounds.
        let per_page = u32::try_from(page.per_page).ok().filter(|&n| n > 0).unwrap_or(DEFAULT_PER_PAGE);
        let from = if page.page_token.is_empty() {
            From::Number(u32::try_from(page.page).unwrap_or_default().max(1))
        } else {
            let cursor = Cursor::decode(&page.page_token).filter(|cursor| cursor.list == digest(list));
            From::After(cursor.ok_or_else(|| Error::from(Reason::PageTokenInvalid))?)
        };
        Ok(Self { per_page, from })
    }

    /// The first page, with this number of rows.
    pub fn first(per_page: u32) -> Self {
        Self { per_page, from: From::Number(1) }
    }

    /// Exclusive upper id bound for newest-first lists; `Uuid::MAX` without a cursor, so that the predicate is always
    /// indexable.
    pub fn before(&self) -> Uuid {
        self.after().map_or(Uuid::max(), |cursor| cursor.id)
    }

    /// `limit` for SQL: one row more than the page, which shows whether another page follows.
    pub fn limit(&self) -> i64 {
        i64::from(self.per_page) + 1
    }

    /// `offset` for SQL; 0 after a cursor.
    pub fn offset(&self) -> i64 {
        match self.from {
            From::Number(page) => i64::from(page - 1) * i64::from(self.per_page),
            From::After(_) => 0,
        }
    }

    /// The cursor to read after, if the caller sent one.
    pub fn after(&self) -> Option<&Cursor> {
        match &self.from {
            From::Number(_) => None,
            From::After(cursor) => Some(cursor),
        }
    }

    /// The number to read after, for a list whose sort key is a number, such as a version; 0 at the start.
    ///
    /// # Errors
    /// PAGE_TOKEN_INVALID if the cursor's key is not a number.
    pub fn after_number(&self) -> Result<i32> {
        let Some(cursor) = self.after() else { return Ok(0) };
        let number = cursor.key.as_deref().and_then(|key| key.parse().ok());
        number.ok_or_else(|| Reason::PageTokenInvalid.into())
    }

    /// Removes the extra row from `rows`, and returns the position of the page. `key` returns a row's sort key, as
    /// text, and id.
    pub fn meta<T>(
        &self,
        rows: &mut Vec<T>,
        total: impl Into<RowCount>,
        list: &impl Hash,
        key: impl Fn(&T) -> (Option<String>, Uuid),
    ) -> proto::PageMeta {
        let more = rows.len() > self.per_page as usize;
        rows.truncate(self.per_page as usize);
        let next = rows.last().filter(|_| more).map(|row| {
            let (key, id) = key(row);
            Cursor { key, id, list: digest(list) }.encode()
        });
        let total = total.into();
        let total_count = i32::try_from(total.count).unwrap_or(i32::MAX);
        let per_page = self.per_page as i32;
        proto::PageMeta {
            total_count,
            page: match self.from {
                From::Number(page) => page as i32,
                From::After(_) => 0,
            },
            per_page,
            total_pages: total_count / per_page + i32::from(total_count % per_page != 0),
            next_page_token: next.unwrap_or_default(),
            total_is_estimate: total.is_estimate,
        }
    }
}

impl Cursor {
    /// A cursor without a list, from which no token is made.
    pub(crate) fn new(key: Option<String>, id: Uuid) -> Self {
        Self { key, id, list: 0 }
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(token: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()
    }
}

/// Stable across the processes of one build, which is as long as a token has to be valid.
fn digest(list: &impl Hash) -> u32 {
    hash(list) as u32
}

/// The whole digest, in 64 bits.
pub(crate) fn hash(list: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    list.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(token: &str) -> Option<proto::Page> {
        Some(proto::Page { page: 0, per_page: 0, page_token: token.to_owned() })
    }

    proptest! {
        #[test]
        fn token_continues_after_the_last_row(key in proptest::option::of(".*"), id: u128) {
            let page = Page { per_page: 1, from: From::Number(1) };
            let mut rows = vec![Uuid::from_u128(id), Uuid::nil()];
            let meta = page.meta(&mut rows, 2, &"list", |&id| (key.clone(), id));
            prop_assert_eq!(rows.len(), 1);
            let next = Page::of(token(&meta.next_page_token).as_ref(), &"list").unwrap();
            let cursor = next.after().unwrap();
            prop_assert_eq!((&cursor.key, cursor.id), (&key, Uuid::from_u128(id)));
            prop_assert!(Page::of(token(&meta.next_page_token).as_ref(), &"other list").is_err());
        }

        #[test]
        fn arbitrary_text_is_not_a_token(text in ".+") {
            prop_assert_eq!(Page::of(token(&text).as_ref(), &"list").unwrap_err().reason(), Reason::PageTokenInvalid);
        }

        #[test]
        fn pages_cover_all_rows(total in 0i64..1000, per_page in 1u32..=100) {
            let page = Page { per_page, from: From::Number(1) };
            let meta = page.meta(&mut Vec::<Uuid>::new(), total, &(), |&id| (None, id));
            let pages = i64::from(meta.total_pages) * i64::from(per_page);
            prop_assert!(pages >= total && pages - total < i64::from(per_page));
        }
    }
}
