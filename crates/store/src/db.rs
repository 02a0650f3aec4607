//! Pools and tenant transactions.

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

/// How long a call waits for a connection before it is refused as BUSY.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that was used more recently than this is taken to live: the round trip that would show it costs each
/// call as much as a statement.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// Connections that one tenant may have of four. The fourth is for the others, whatever the tenant asks for.
const TENANT_QUARTERS: u32 = 3;
/// OffsetCache a transaction whose statements see the rows of one moment, and write none.
const SNAPSHOT: &str = "begin isolation level repeatable read read only";

/// Whose rows a transaction sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// The account, or nil for work that belongs to none.
    pub account_id: Uuid,
    /// Who acts, or nil for the platform.
    pub user_id: Uuid,
}

impl Tenant {
    /// Neither account nor user: tables without tenant only.
    pub const NONE: Self = Self { account_id: Uuid::nil(), user_id: Uuid::nil() };

    /// A user outside of any account.
    pub fn user(user_id: Uuid) -> Self {
        Self { account_id: Uuid::nil(), user_id }
    }

    /// An account, acted on by the platform.
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
    /// Connections of `app` by tenant.
    tenants: Arc<Shares<Uuid>>,
    system: PgPool,
    clock: Clock,
    published: Notify,
    enqueued: Notify,
    estimates: Estimates,
    offsets: OffsetCache,
}

impl Db {
    /// Opens both pools; connections are made when they are needed. `schema` is the service's own.
    ///
    /// # Errors
    /// When a URL does not parse.
    pub fn open(schema: &'static str, app: &Secret, system: &Secret, connections: u32, clock: Clock) -> Result<Self> {
        let pool = |url: &Secret, connections| -> Result<PgPool> {
            let options: PgConnectOptions = url.expose().parse().map_err(Error::internal)?;
            let options = options.application_name(schema).options([
                ("statement_timeout", "30s"),
                ("lock_timeout", "5s"),
                ("idle_in_transaction_session_timeout", "60s"),
                // One call has one core, and what it asks is short: compiling it would take longer than doing it.
                ("max_parallel_workers_per_gather", "0"),
                ("jit", "off"),
                // Each statement is planned once on each connection: to plan one that touches a table with many
                // indexes takes longer than to run it. Lists are planned anew, see `begin_list`.
                ("plan_cache_mode", "force_generic_plan"),
                // A plan that was made while its table was empty would read it from beginning to end until the table is
                // analyzed, however it grows meanwhile. Whatever is asked for has an index.
                ("enable_seqscan", "off"),
                // What is asked for lies in memory or on a disk without a head: an index costs no journeys.
                ("random_page_cost", "1.1"),
            ]);
            Ok(PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .test_before_acquire(false)
                .before_acquire(|connection, state| {
                    Box::pin(async move {
                        if state.idle_for > TRUSTED_FOR {
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

    /// OffsetCache a transaction that sees the rows of `tenant`, in one round trip.
    ///
    /// # Errors
    /// BUSY when no connection is free in time, UNAVAILABLE when there is no database.
    pub async fn begin(&self, tenant: Tenant) -> Result<Tx> {
        self.begin_with("begin", tenant, "").await
    }

    /// The same, for an answer that several statements make together: they all see the rows of one moment, so that a
    /// page and its total fit each other whatever is written meanwhile. Nothing can be written in it.
    ///
    /// # Errors
    /// Those of [`Db::begin`].
    pub async fn begin_read(&self, tenant: Tenant) -> Result<Tx> {
        self.begin_with(SNAPSHOT, tenant, "").await
    }

    /// The same, for lists that people filter as they like: how one is best read depends on what is asked for, so its
    /// statements are planned for their values as long as that makes cheaper plans.
    ///
    /// # Errors
    /// Those of [`Db::begin`].
    pub async fn begin_list(&self, tenant: Tenant) -> Result<Tx> {
        self.begin_with(SNAPSHOT, tenant, "; set local plan_cache_mode = auto").await
    }

    async fn begin_with(&self, begin: &str, tenant: Tenant, and: &str) -> Result<Tx> {
        // Safe to paste: both are UUIDs.
        let Tenant { account_id, user_id } = tenant;
        let begin =
            format!("{begin}; set local baton.account_id = '{account_id}'; set local baton.user_id = '{user_id}'{and}");
        // Whose connection it is: the account's, or the person's where there is none. Strangers are one tenant.
        let tenant_id = if account_id.is_nil() { user_id } else { account_id };
        let share = self.0.tenants.take(&tenant_id, ACQUIRE_TIMEOUT).await.ok_or_else(|| Error::from(Reason::Busy))?;
        let connection = self.0.app.acquire().await?;
        let db = self.clone();
        // Goes on when the caller is gone, and keeps its share as long. A `begin` that is dropped half-way leaves the
        // connection in a transaction, and the pool hands it to the next caller (sqlx 0.9.0 looks at its own count, which
        // is still 0). One that arrives after its caller has gone is a transaction that is dropped, and rolled back.
        unstoppable(async move {
            let inner = Transaction::begin(connection, Some(AssertSqlSafe(begin).into_sql_str())).await?;
            Ok(Tx { inner, db, tenant, published: false, enqueued: false, _share: share })
        })
        .await
    }

    /// Totals that were estimated lately.
    pub(crate) fn estimates(&self) -> &Estimates {
        &self.0.estimates
    }

    /// Where deep pages began lately.
    pub(crate) fn offsets(&self) -> &OffsetCache {
        &self.0.offsets
    }

    /// The pool whose role crosses tenants: for relays, schedulers and the like, never for a caller's
    /// request.
    pub fn system(&self) -> &PgPool {
        &self.0.system
    }

    /// The pool whose role is bound by row-level security, without a tenant: it sees no tenant's rows.
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

    /// Woken when a transaction that published an event commits in this process.
    pub async fn published(&self) {
        self.0.published.notified().await;
    }

    /// Woken when a transaction that enqueued a job commits in this process.
    pub(crate) async fn enqueued(&self) {
        self.0.enqueued.notified().await;
    }

    /// SQL with `{schema}` put in. The result is one of few strings, so statements stay prepared.
    pub(crate) fn sql(&self, sql: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(sql.replace("{schema}", self.0.schema))
    }
}

/// Tells, whenever metrics are read, how many connections a pool has, and how many of them are in use.
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

/// A transaction of one tenant. [`Tx::commit`] ends it with what it wrote; dropping rolls back, and is how one ends that
/// has only read: the rollback travels with the message by which the pool sees that the connection is whole, and nobody
/// waits for it.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, Postgres>,
    db: Db,
    tenant: Tenant,
    pub(crate) published: bool,
    pub(crate) enqueued: bool,
    _share: Share<Uuid>,
}

impl Tx {
    /// Commits, and wakes what waits for its events and jobs.
    ///
    /// A commit that was begun is always ended, also when its caller is gone: else the rollback that follows a dropped
    /// transaction would meet none, and nobody would be woken for what was committed.
    ///
    /// # Errors
    /// Those of the database; then nothing was written.
    pub async fn commit(self) -> Result<()> {
        unstoppable(async move {
            // All of it: the tenant's share is returned with the connection, not when the caller goes.
            let Self { inner, db, published, enqueued, _share: share, .. } = self;
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

    /// Goes on for another tenant: for the few calls that only learn, or make, their account on the way.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn switch(&mut self, tenant: Tenant) -> Result<()> {
        sqlx::query("select set_config('baton.account_id', $1, true), set_config('baton.user_id', $2, true)")
            .bind(tenant.account_id.to_string())
            .bind(tenant.user_id.to_string())
            .execute(&mut *self.inner)
            .await?;
        self.tenant = tenant;
        Ok(())
    }

    /// Whose rows it sees.
    pub fn tenant(&self) -> Tenant {
        self.tenant
    }

    /// The database that it runs in.
    pub fn db(&self) -> &Db {
        &self.db
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}
