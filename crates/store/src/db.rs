//! Connection pools and tenant transactions.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use baton_errors::{Error, Reason, Result};
use baton_runtime::{
    Clock, Secret,
    shares::{Share, Shares},
    unstoppable,
};
use opentelemetry::{KeyValue, global};
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, SqlSafeStr as _, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{page_cache::OffsetCache, row_count::Estimates};

/// Time that a call waits for a connection; after that it fails with BUSY.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that was used more recently than this is not pinged before use: a ping costs each call as much as a
/// statement.
const MAX_IDLE_WITHOUT_PING: Duration = Duration::from_secs(1);
/// Quarters of the connections that one tenant may use. The rest is always left to the other tenants.
const TENANT_QUARTERS: u32 = 3;
/// Begins a read-only transaction whose statements see one snapshot.
const SNAPSHOT: &str = "begin isolation level repeatable read read only";

/// The tenant whose rows a transaction sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// The account, or nil for work outside of accounts.
    pub account_id: Uuid,
    /// The acting user, or nil for the platform.
    pub user_id: Uuid,
}

impl Tenant {
    /// Neither account nor user: sees only tables without tenant.
    pub const NONE: Self = Self { account_id: Uuid::nil(), user_id: Uuid::nil() };

    /// A user outside of any account.
    pub fn user(user_id: Uuid) -> Self {
        Self { account_id: Uuid::nil(), user_id }
    }

    /// The platform, acting in an account.
    pub fn account(account_id: Uuid) -> Self {
        Self { account_id, user_id: Uuid::nil() }
    }
}

/// The database of one service. Clones share it.
#[derive(Debug, Clone)]
pub struct Db(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    schema: &'static str,
    app: PgPool,
    /// Shares of the connections of `app`, by tenant.
    tenants: Arc<Shares<Uuid>>,
    system: PgPool,
    clock: Clock,
    published: Notify,
    enqueued: Notify,
    estimates: Estimates,
    offsets: OffsetCache,
}

impl Db {
    /// Opens both pools, which connect on demand. `schema` is the schema of the service.
    ///
    /// # Errors
    /// If a URL does not parse.
    pub fn open(schema: &'static str, app: &Secret, system: &Secret, connections: u32, clock: Clock) -> Result<Self> {
        let pool = |url: &Secret, connections| -> Result<PgPool> {
            let options: PgConnectOptions = url.expose().parse().map_err(Error::internal)?;
            let options = options.application_name(schema).options([
                ("statement_timeout", "30s"),
                ("lock_timeout", "5s"),
                ("idle_in_transaction_session_timeout", "60s"),
                // Each call may use one core, and its statements are short: JIT compilation would take longer than
                // running them.
                ("max_parallel_workers_per_gather", "0"),
                ("jit", "off"),
                // Each statement is planned once per connection: planning a statement on a table with many indexes
                // takes longer than running it. Lists are planned for each call, see `begin_list`.
                ("plan_cache_mode", "force_generic_plan"),
                // A plan made while its table was empty would use a sequential scan until the table is analyzed,
                // however large it grows meanwhile. All queries have an index.
                ("enable_seqscan", "off"),
                // Data is in memory or on SSDs, so random access is cheap.
                ("random_page_cost", "1.1"),
            ]);
            Ok(PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .test_before_acquire(false)
                .before_acquire(|connection, state| {
                    Box::pin(async move {
                        if state.idle_for > MAX_IDLE_WITHOUT_PING {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                })
                .connect_lazy_with(options))
        };
        let (app, system) = (pool(app, connections)?, pool(system, (connections / 2).max(2))?);
        measure(schema, "app", app.clone());
        measure(schema, "system", system.clone());
        let (published, enqueued) = (Notify::new(), Notify::new());
        let (estimates, offsets) = (Estimates::default(), OffsetCache::default());
        let tenants = Shares::new((connections * TENANT_QUARTERS).div_ceil(4));
        Ok(Self(Arc::new(Inner { schema, app, tenants, system, clock, published, enqueued, estimates, offsets })))
    }

    /// Begins a transaction that sees the rows of `tenant`, in one round trip.
    ///
    /// # Errors
    /// BUSY if no connection is free in time, UNAVAILABLE without a database.
    pub async fn begin(&self, tenant: Tenant) -> Result<Tx> {
        Ok(Tx { read: self.begin_with("begin", tenant, "").await?, published: false, enqueued: false })
    }

    /// Begins a read-only transaction with one snapshot for all its statements, so that a page and its total are
    /// consistent whatever is written meanwhile.
    ///
    /// # Errors
    /// Those of [`Db::begin`].
    pub async fn begin_read(&self, tenant: Tenant) -> Result<ReadTx> {
        self.begin_with(SNAPSHOT, tenant, "").await
    }

    /// Begins a transaction like [`Db::begin_read`], for lists with arbitrary filters. The best plan depends on the
    /// filters, so statements are planned for their values as long as that makes cheaper plans.
    ///
    /// # Errors
    /// Those of [`Db::begin`].
    pub async fn begin_list(&self, tenant: Tenant) -> Result<ReadTx> {
        self.begin_with(SNAPSHOT, tenant, "; set local plan_cache_mode = auto").await
    }

    async fn begin_with(&self, begin: &str, tenant: Tenant, and: &str) -> Result<ReadTx> {
        // Safe to interpolate: both are UUIDs.
        let Tenant { account_id, user_id } = tenant;
        let begin =
            format!("{begin}; set local baton.account_id = '{account_id}'; set local baton.user_id = '{user_id}'{and}");
        // The account has the share, or the user outside of accounts. All anonymous callers are one tenant.
        let tenant_id = if account_id.is_nil() { user_id } else { account_id };
        let share = self.0.tenants.take(&tenant_id, ACQUIRE_TIMEOUT).await.ok_or_else(|| Error::from(Reason::Busy))?;
        let connection = self.0.app.acquire().await?;
        let db = self.clone();
        // Completes even if the caller is gone, and keeps its share until then. A `begin` that is dropped midway leaves
        // the connection in a transaction, and the pool passes it to the next caller (sqlx 0.9.0 checks its own count,
        // which is still 0). A transaction that begins after its caller is gone is dropped, and rolled back.
        unstoppable(async move {
            let inner = Transaction::begin(connection, Some(AssertSqlSafe(begin).into_sql_str())).await?;
            Ok(ReadTx { inner, db, tenant, share })
        })
        .await
    }

    /// Recent estimates of row counts.
    pub(crate) fn estimates(&self) -> &Estimates {
        &self.0.estimates
    }

    /// Recent starts of deep pages.
    pub(crate) fn offsets(&self) -> &OffsetCache {
        &self.0.offsets
    }

    /// The pool whose role sees all tenants: for relays, schedulers and the like, never for a caller's request.
    pub fn system(&self) -> &PgPool {
        &self.0.system
    }

    /// The pool whose role is subject to row-level security, without a tenant: it sees no tenant's rows.
    pub fn app(&self) -> &PgPool {
        &self.0.app
    }

    /// The service's schema.
    pub fn schema(&self) -> &'static str {
        self.0.schema
    }

    /// The source of time and ids.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Resolves when a transaction that published an event commits in this process.
    pub async fn published(&self) {
        self.0.published.notified().await;
    }

    /// Resolves when a transaction that enqueued a job commits in this process.
    pub(crate) async fn enqueued(&self) {
        self.0.enqueued.notified().await;
    }

    /// Replaces `{schema}` in SQL. There are few different results, so statements stay prepared.
    pub fn sql(&self, sql: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(sql.replace("{schema}", self.0.schema))
    }
}

/// Registers gauges of a pool's connections: all, and those in use.
fn measure(schema: &'static str, role: &'static str, pool: PgPool) {
    let meter = global::meter("baton");
    let attributes = [KeyValue::new("service", schema), KeyValue::new("role", role)];
    let (open, open_attributes) = (pool.clone(), attributes.clone());
    meter
        .u64_observable_gauge("baton.database.connections")
        .with_callback(move |gauge| gauge.observe(u64::from(open.size()), &open_attributes))
        .build();
    meter
        .u64_observable_gauge("baton.database.connections.used")
        .with_callback(move |gauge| {
            let used = u64::from(pool.size()).saturating_sub(pool.num_idle() as u64);
            gauge.observe(used, &attributes);
        })
        .build();
}

/// A transaction of one tenant that only reads: the parameter of functions without effect. [`Db::begin_read`] returns
/// it, and a [`Tx`] is one too.
///
/// Dropping it rolls back: that is sent with the message by which the pool checks the connection, and nobody waits for
/// it.
#[derive(Debug)]
pub struct ReadTx {
    inner: Transaction<'static, Postgres>,
    db: Db,
    tenant: Tenant,
    share: Share<Uuid>,
}

impl ReadTx {
    /// The connection, for statements.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// The tenant of the transaction.
    pub fn tenant(&self) -> Tenant {
        self.tenant
    }

    /// The database of the transaction.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Switches to another tenant, for the few calls that find or create their account midway.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn switch(&mut self, tenant: Tenant) -> Result<()> {
        sqlx::query("select set_config('baton.account_id', $1, true), set_config('baton.user_id', $2, true)")
            .bind(tenant.account_id.to_string())
            .bind(tenant.user_id.to_string())
            .execute(self.connection())
            .await?;
        self.tenant = tenant;
        Ok(())
    }
}

/// A transaction of one tenant that writes. [`Tx::commit`] commits it, dropping it rolls back.
#[derive(Debug)]
pub struct Tx {
    read: ReadTx,
    pub(crate) published: bool,
    pub(crate) enqueued: bool,
}

impl Tx {
    /// Commits, and wakes the relay and the workers for its events and jobs.
    ///
    /// A commit always completes once it has begun, even if its caller is gone. Otherwise the rollback of the dropped
    /// transaction would find nothing to roll back, and nobody would be woken.
    ///
    /// # Errors
    /// Those of the database; then nothing was written.
    pub async fn commit(self) -> Result<()> {
        unstoppable(async move {
            // Moves the whole Tx: the tenant's share is returned with the connection, not when the caller is gone.
            let Self { read: ReadTx { inner, db, share, .. }, published, enqueued } = self;
            inner.commit().await?;
            drop(share);
            if published {
                db.0.published.notify_one();
            }
            if enqueued {
                db.0.enqueued.notify_one();
            }
            Ok(())
        })
        .await
    }
}

impl Deref for Tx {
    type Target = ReadTx;

    fn deref(&self) -> &ReadTx {
        &self.read
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut ReadTx {
        &mut self.read
    }
}
