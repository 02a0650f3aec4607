//! Cache of the starts of deep pages. Postgres finds a page by number by reading all rows before it. The cache spares
//! that for the next page, and for a page that is read again.

use std::{hash::Hash, time::Duration};

use moka::sync::Cache;
use uuid::Uuid;

use crate::{Cursor, Page, ReadTx, Tenant, page::hash};

/// Below this offset pages are not cached: OFFSET is cheap and the result is fresh.
const CACHED_FROM_OFFSET: i64 = 1_000;
/// Time for which a page keeps its start, whatever is added or removed before it.
const CACHE_TTL: Duration = Duration::from_secs(10);
const CACHE_CAPACITY: u64 = 10_000;

/// The last rows before deep pages, by tenant, list, and number of rows before the page.
#[derive(Debug, Clone)]
pub(crate) struct OffsetCache(Cache<(Tenant, u64, i64), Cursor>);

impl Default for OffsetCache {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(CACHE_TTL).build())
    }
}

/// The rows to read for a page: a limit, and a start after a row or after an offset.
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
    /// The rows of `list`, which is filter and sort, to read for this page. Pass them to [`PageWindow::trim`].
    pub fn window(&self, tx: &ReadTx, list: &impl Hash) -> PageWindow {
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
    /// The row to read after, if it is cached.
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

    /// Removes the rows that are not on the page, except one that shows whether another page follows. Caches the start
    /// of this page and of the next. `key` is that of [`Page::meta`].
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
