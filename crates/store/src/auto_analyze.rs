//! What Postgres knows of tables that grow fast.
//!
//! Every connection plans a statement once (see [`Db::open`]), by what is known of the tables then: of a table that
//! was empty that it may as well be read as a whole. Analyzing a table has all its plans made anew. Autovacuum would do
//! it a minute later, when an import has made ten thousand times as much of it.

use std::time::Duration;

use baton_errors::Result;
use baton_runtime::Shutdown;

use crate::Db;

/// How often to look.
const EVERY: Duration = Duration::from_secs(3);
/// Fewer rows than this are not worth new plans.
const FEW: i64 = 100;

/// Analyzes the service's tables whenever they have grown by half or more, until the process stops. What only changes
/// is left to autovacuum: new plans cost every connection something.
pub async fn run(db: Db, shutdown: Shutdown) {
    loop {
        if let Err(error) = analyze(&db).await {
            tracing::warn!(%error, "cannot look for tables that have grown");
        }
        tokio::select! {
            () = shutdown.stop().cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Each by itself: it is locked, against other analyses and changes of the schema, until its transaction ends.
async fn analyze(db: &Db) -> Result<()> {
    let grown = db.sql(
        "select stat.relname::text from pg_stat_user_tables stat join pg_class on pg_class.oid = relid
         where schemaname = '{schema}' and n_live_tup > $1 + 1.5 * greatest(reltuples, 0)",
    );
    let grown: Vec<String> = sqlx::query_scalar(grown).bind(FEW).fetch_all(db.system()).await?;
    for table in grown {
        let analyze = sqlx::query(db.sql("select {schema}.analyze_table($1)")).bind(&table).execute(db.system()).await;
        if let Err(error) = analyze {
            tracing::warn!(%error, table, "cannot analyze a table that has grown");
        }
    }
    Ok(())
}
