//! Where the deep pages of lists begin. Postgres finds the page with a number by walking through all rows before it; who
//! goes on to the next page, or comes back to one, has had that done a moment ago.

use std::{hash::Hash, time::Duration};

use moka::sync::Cache;
use uuid::Uuid;

use crate::{Cursor, Page, Tenant, Tx, page::hash};

/// Pages that begin before this row are walked to each time: they are found at once, and show what has just changed.
const CACHED_FROM_OFFSET: i64 = 1_000;
/// How long a page offsets where it did, whatever comes or goes before it.
const CACHE_TTL: Duration = Duration::from_secs(10);
const CACHE_CAPACITY: u64 = 10_000;

/// The last rows before deep pages, by who asked, their list, and the number of rows before the page.
#[derive(Debug, Clone)]
pub(crate) struct OffsetCache(Cache<(Tenant, u64, i64), Cursor>);

impl Default for OffsetCache {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(CACHE_TTL).build())
    }
}

/// What to read of a list for a page: so many rows, after a row, or after so many.
#[derive(Debug)]
pub struct PageWindow {
    after: Option<Cursor>,
    offset: i64,
    limit: i64,
    /// Whether the first row that is read is the last one before the page.
    leads: bool,
    offsets: OffsetCache,
    tenant: Tenant,
    list: u64,
    page: Page,
}

impl Page {
    /// What to read of `list`, which is filter and sort, for this page. What is read goes to [`PageWindow::trim`].
    pub fn window(&self, tx: &Tx, list: &impl Hash) -> PageWindow {
        let (offsets, tenant, list) = (tx.db().offsets().clone(), tx.tenant(), hash(list));
        let (offset, limit) = (self.offset(), self.limit());
        let known = if offset < CACHED_FROM_OFFSET { None } else { offsets.0.get(&(tenant, list, offset)) };
        let leads = offset >= CACHED_FROM_OFFSET && known.is_none();
        let (offset, limit) = if leads { (offset - 1, limit + 1) } else { (offset, limit) };
        let offset = if known.is_some() { 0 } else { offset };
        let after = known.or_else(|| self.after().cloned());
        PageWindow { after, offset, limit, leads, offsets, tenant, list, page: self.clone() }
    }
}

impl PageWindow {
    /// The row to read after, if it is known.
    pub fn after(&self) -> Option<&Cursor> {
        self.after.as_ref()
    }

    /// `limit` for SQL.
    pub fn limit(&self) -> i64 {
        self.limit
    }

    /// `offset` for SQL.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Cuts off what is not of the page but the one row that tells whether another follows, and remembers where this
    /// page and the next begin. `key` is that of [`Page::meta`].
    pub fn trim<T>(self, rows: &mut Vec<T>, key: impl Fn(&T) -> (Option<String>, Uuid)) {
        let remember = |row: &T, offset: i64| {
            let (key, id) = key(row);
            self.offsets.0.insert((self.tenant, self.list, offset), Cursor::new(key, id));
        };
        let offset = self.page.offset();
        if self.leads && !rows.is_empty() {
            remember(&rows.remove(0), offset);
        }
        let (read, next) = (self.page.per_page as usize, offset + i64::from(self.page.per_page));
        if self.page.after().is_none() && next >= CACHED_FROM_OFFSET && rows.len() > read {
            remember(&rows[read - 1], next);
        }
    }
}
