//! Statistics of tables that grow fast.
//!
//! Every connection plans a statement once (see [`Db::open`]), by the statistics of that moment: a table that was empty
//! may as well be read as a whole. ANALYZE invalidates the plans of its table. Autovacuum runs it up to a minute later, when
//! an import has made the table ten thousand times as large.

use std::time::Duration;

use baton_errors::Result;

use crate::Db;

/// Pause between two checks.
pub const INTERVAL: Duration = Duration::from_secs(3);
/// Rows below which a table is not worth new plans.
const MIN_ROWS: i64 = 100;

/// Analyzes the service's tables that have grown by half or more since they were analyzed. Tables whose rows only change are
/// left to autovacuum: new plans cost every connection something.
///
/// # Errors
/// Those of the database.
pub async fn analyze_grown_tables(db: Db) -> Result<()> {
    let grown = db.sql(
        "select stat.relname::text from pg_stat_user_tables stat join pg_class on pg_class.oid = relid
         where schemaname = '{schema}' and n_live_tup > $1 + 1.5 * greatest(reltuples, 0)",
    );
    let grown: Vec<String> = sqlx::query_scalar(grown).bind(MIN_ROWS).fetch_all(db.system()).await?;
    // One statement each: a table is locked against other analyses and schema changes until its transaction ends.
    for table in grown {
        let analyze = sqlx::query(db.sql("select {schema}.analyze_table($1)")).bind(&table).execute(db.system()).await;
        if let Err(error) = analyze {
            tracing::warn!(%error, table, "cannot analyze a table that has grown");
        }
    }
    Ok(())
}
