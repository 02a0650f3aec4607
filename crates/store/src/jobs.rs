//! Work after a commit: enqueued in the transaction that causes it, done at least once.

use std::{pin::pin, time::Duration};

use anyhow::Context as _;
use baton_errors::{Error, Result};
use baton_runtime::{Permanent, Shutdown};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream::FuturesUnordered};
use opentelemetry::{KeyValue, global};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::Row;
use tracing::{Instrument, info_span};
use uuid::Uuid;

use crate::{Db, Tx};

/// How long a claimed job is its worker's. It is renewed while the job runs, so only a worker that died loses one.
const LEASE_TTL: Duration = Duration::from_secs(60);
/// How often to look for jobs that nothing in this process announced, or that have become due.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Beginnings of the kinds of jobs by which people's rights over their data are met. They are never dropped.
const RIGHTS: [&str; 2] = ["privacy.", "account.clear"];
/// Jobs that a worker does at a time; it claims no more than it begins at once.
const MAX_RUNNING: usize = 8;

/// A job that is due.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: Uuid,
    /// What is to be done.
    pub kind: String,
    payload: serde_json::Value,
    attempts: i32,
}

impl Job {
    /// What it is to be done with.
    ///
    /// # Errors
    /// When the payload has another shape.
    pub fn payload<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_value(self.payload.clone()).context("payload of another shape")
    }
}

/// A job to add.
#[derive(Debug, Clone)]
pub struct NewJob {
    kind: &'static str,
    payload: serde_json::Value,
    due_at: Option<DateTime<Utc>>,
    unique_key: Option<String>,
    lane: Option<String>,
}

impl NewJob {
    /// A job that is due at once. The payload carries ids only.
    ///
    /// # Errors
    /// INTERNAL when the payload cannot be stored.
    pub fn new(kind: &'static str, payload: &impl Serialize) -> Result<Self> {
        let payload = serde_json::to_value(payload).map_err(Error::internal)?;
        Ok(Self { kind, payload, due_at: None, unique_key: None, lane: None })
    }

    /// Runs it no earlier than this, by the clock of the service. It begins within some seconds of it, after the jobs that
    /// are due at once.
    #[must_use]
    pub fn due_at(self, time: DateTime<Utc>) -> Self {
        Self { due_at: Some(time), ..self }
    }

    /// Adds it only if no unfinished job has this key. One that runs counts as unfinished: it may have read its data before
    /// the change that this one is for, so its work must not depend on being told of every change.
    #[must_use]
    pub fn unique(self, key: impl Into<String>) -> Self {
        Self { unique_key: Some(key.into()), ..self }
    }

    /// Runs it alone in its lane, and after all earlier jobs of it that are due, those that fail and wait included. Earlier is the
    /// order in which one process has added them; a transaction that commits late may be overtaken.
    #[must_use]
    pub fn in_lane(self, lane: impl Into<String>) -> Self {
        Self { lane: Some(lane.into()), ..self }
    }
}

impl Tx {
    /// Adds a job; it runs if and only if the transaction commits. The payload carries ids only.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn enqueue(&mut self, kind: &'static str, payload: &impl Serialize) -> Result<()> {
        self.enqueue_all(kind, std::slice::from_ref(payload)).await
    }

    /// [`Tx::enqueue`] for several of a kind, with one statement.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn enqueue_all(&mut self, kind: &'static str, payloads: &[impl Serialize]) -> Result<()> {
        let jobs = payloads.iter().map(|payload| NewJob::new(kind, payload)).collect::<Result<Vec<_>>>()?;
        self.enqueue_jobs(jobs).await
    }

    /// Adds jobs in their order, with one statement; they run if and only if the transaction commits.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn enqueue_jobs(&mut self, jobs: Vec<NewJob>) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            columns.0.push(self.db().clock().new_id());
            columns.1.push(job.kind);
            columns.2.push(job.payload);
            columns.3.push(job.due_at);
            columns.4.push(job.unique_key);
            columns.5.push(job.lane);
        }
        // Without a conflict target: the serving role may not read jobs.
        let insert = self.db().sql(
            "insert into {schema}.jobs (id, kind, payload, due_at, unique_key, lane)
             select id, kind, payload, coalesce(due_at, '-infinity'), unique_key, lane
             from unnest($1::uuid[], $2::text[], $3::jsonb[], $4::timestamptz[], $5::text[], $6::text[])
                  as jobs (id, kind, payload, due_at, unique_key, lane)
             on conflict do nothing",
        );
        let (ids, kinds, payloads, due, keys, lanes) = columns;
        let insert = sqlx::query(insert).bind(ids).bind(kinds).bind(payloads).bind(due).bind(keys).bind(lanes);
        insert.execute(self.connection()).await?;
        self.enqueued = true;
        Ok(())
    }
}

/// Does jobs with `work` until the process stops, a few at a time. A job that fails is tried again, later each time,
/// for about a day; then it is dropped with an error in the log. One that fails for a [`Permanent`] cause is dropped at once.
/// Jobs of [`RIGHTS`] are tried until they succeed. The counter `baton.jobs.dropped` has both, by service, kind and cause.
pub async fn run<F, Fut>(db: Db, shutdown: Shutdown, work: F)
where
    F: Fn(Job) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    run_with_lease(db, shutdown, LEASE_TTL, work).await;
}

/// [`run`] with another lease: that long after its worker has died, a job is begun again.
pub async fn run_with_lease<F, Fut>(db: Db, shutdown: Shutdown, lease: Duration, work: F)
where
    F: Fn(Job) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let waiting = global::meter("baton").i64_gauge("baton.jobs.waiting").build();
    let attributes = [KeyValue::new("service", db.schema())];
    let stop = shutdown.stop();
    let mut running = FuturesUnordered::new();
    loop {
        let free = if stop.is_cancelled() { 0 } else { MAX_RUNNING - running.len() };
        let mut claimed = pin!(claim(&db, lease, free));
        let jobs = loop {
            // Those that run go on meanwhile: one of them may hold the connection that this waits for.
            tokio::select! {
                jobs = &mut claimed => break jobs,
                Some(()) = running.next() => {}
            }
        };
        let jobs = jobs.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot claim jobs");
            Vec::new()
        });
        let found = jobs.len();
        running.extend(jobs.into_iter().map(|job| finish(&db, lease, &work, job)));
        if running.is_empty() {
            if stop.is_cancelled() {
                return;
            }
            if let Ok(jobs) = unfinished(&db).await {
                waiting.record(jobs, &attributes);
            }
        }
        if found == free {
            // There may be more: the next one that ends makes room.
            running.next().await;
            continue;
        }
        tokio::select! {
            Some(()) = running.next() => {}
            () = stop.cancelled() => {}
            () = db.enqueued() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

/// Does a job, and keeps it claimed meanwhile.
async fn finish<F, Fut>(db: &Db, lease: Duration, work: &F, job: Job)
where
    F: Fn(Job) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let span = info_span!("job", otel.name = %job.kind, job.id = %job.id);
    let (id, kind, attempts) = (job.id, job.kind.clone(), job.attempts);
    let keep = async {
        loop {
            tokio::time::sleep(lease / 3).await;
            if let Err(error) = renew(db, id, attempts, lease).await {
                tracing::warn!(%error, job.id = %id, "cannot keep a job that runs");
            }
        }
    };
    let done = tokio::select! {
        done = work(job).instrument(span) => done,
        never = keep => never,
    };
    if let Err(error) = settle(db, id, &kind, attempts, done).await {
        tracing::warn!(%error, job.id = %id, "cannot settle a job; it will run again");
    }
}

/// Jobs that have failed and wait to run again, or run elsewhere.
async fn unfinished(db: &Db) -> Result<i64> {
    Ok(sqlx::query_scalar(db.sql("select count(*) from {schema}.jobs")).fetch_one(db.system()).await?)
}

async fn claim(db: &Db, lease: Duration, most: usize) -> Result<Vec<Job>> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let update = db.sql(
        "update {schema}.jobs set attempts = attempts + 1, run_at = now() + make_interval(secs => $1)
         where id in (
             select id from {schema}.jobs j
             where due_at <= $3 and run_at <= now()
               and (lane is null
                    or not exists (select from {schema}.jobs e
                                   where e.lane = j.lane and e.id <> j.id
                                     and (e.id < j.id and e.due_at <= $3 or (e.attempts > 0 and e.run_at > now()))))
             order by due_at, run_at limit $2 for update skip locked)
         returning id, kind, payload, attempts",
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows =
        sqlx::query(update).bind(lease.as_secs_f64()).bind(most).bind(db.clock().now()).fetch_all(db.system()).await?;
    Ok(rows
        .into_iter()
        .map(|row| Job {
            id: row.get("id"),
            kind: row.get("kind"),
            payload: row.get("payload"),
            attempts: row.get("attempts"),
        })
        .collect())
}

/// Goes on holding a job, unless another worker has claimed it since.
async fn renew(db: &Db, id: Uuid, attempts: i32, lease: Duration) -> Result<()> {
    let update =
        db.sql("update {schema}.jobs set run_at = now() + make_interval(secs => $3) where id = $1 and attempts = $2");
    sqlx::query(update).bind(id).bind(attempts).bind(lease.as_secs_f64()).execute(db.system()).await?;
    Ok(())
}

async fn settle(db: &Db, id: Uuid, kind: &str, attempts: i32, done: anyhow::Result<()>) -> Result<()> {
    const MAX_ATTEMPTS: i32 = 20;
    const MAX_DELAY_SECONDS: f64 = 7200.0;
    let Err(error) = done else {
        return delete(db, id, attempts).await;
    };
    let permanent = Permanent::is_cause_of(&error);
    let is_right = RIGHTS.iter().any(|rights| kind.starts_with(rights));
    if (permanent || attempts >= MAX_ATTEMPTS) && !is_right {
        let cause = if permanent { "permanent" } else { "attempts" };
        tracing::error!(error = format!("{error:#}"), job.id = %id, job.kind = kind, attempts, cause, "dropped a job");
        let dropped = global::meter("baton").u64_counter("baton.jobs.dropped").build();
        let service = KeyValue::new("service", db.schema());
        dropped.add(1, &[service, KeyValue::new("kind", kind.to_owned()), KeyValue::new("cause", cause)]);
        delete(db, id, attempts).await?;
    } else {
        tracing::warn!(error = format!("{error:#}"), job.id = %id, attempts, "a job failed; it will run again");
        let delay = f64::from(attempts).exp2().min(MAX_DELAY_SECONDS);
        // Goes on holding it until then.
        renew(db, id, attempts, Duration::from_secs_f64(delay)).await?;
    }
    Ok(())
}

/// Deletes a job, unless another worker has claimed it since.
async fn delete(db: &Db, id: Uuid, attempts: i32) -> Result<()> {
    let delete = db.sql("delete from {schema}.jobs where id = $1 and attempts = $2");
    sqlx::query(delete).bind(id).bind(attempts).execute(db.system()).await?;
    Ok(())
}
