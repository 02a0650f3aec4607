//! Time entries. Writers hold the lock of the task's row.

use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_store::{Page, ReadTx, Tx};
use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use crate::task::{
    Task,
    time_entry::{
        Adjustment, Correction, CorrectionAction, EntrySource, IntervalKind, TimeEntry, TimeTotals, TimerChange,
    },
};

/// A row of `task.time_entries`.
struct Row {
    id: Uuid,
    task_id: Uuid,
    user_id: Uuid,
    kind: String,
    source: String,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    note: String,
    created_by: Uuid,
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for TimeEntry {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unknown = |what: &str| Error::internal(format!("an interval has an unknown {what}"));
        Ok(Self {
            id: row.id,
            task_id: row.task_id,
            user_id: row.user_id,
            kind: IntervalKind::from_name(&row.kind).ok_or_else(|| unknown("kind"))?,
            source: EntrySource::from_name(&row.source).ok_or_else(|| unknown("source"))?,
            started_at: row.started_at,
            ended_at: row.ended_at,
            note: row.note,
            created_by: row.created_by,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Ends and starts the timer's intervals of locked tasks.
pub(super) async fn apply_timer_changes(tx: &mut Tx, changes: &[TimerChange]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let clock = tx.db().clock().clone();
    let tenant = tx.tenant();
    let tasks: Vec<Uuid> = changes.iter().map(|change| change.task_id).collect();
    let times: Vec<DateTime<Utc>> = changes.iter().map(|change| change.at).collect();
    let ids: Vec<Uuid> = changes.iter().map(|_| clock.new_id()).collect();
    let kinds: Vec<Option<String>> =
        changes.iter().map(|change| change.next.map(|(kind, _)| kind.name().to_owned())).collect();
    let by_user: Vec<Option<Uuid>> = changes.iter().map(|change| change.next.map(|(_, person)| person)).collect();
    sqlx::query!(
        "with turns as (
             select * from unnest($2::uuid[], $3::timestamptz[], $4::uuid[], $5::text[], $6::uuid[])
                           as turns (task_id, at, id, kind, user_id)
         ), ended as (
             update task.time_entries entry set
                 ended_at = greatest(entry.started_at, turns.at), version = entry.version + 1, updated_at = turns.at
             from turns
             where entry.account_id = $1 and entry.task_id = turns.task_id and entry.ended_at is null
             returning entry.id
         )
         insert into task.time_entries (id, account_id, task_id, user_id, kind, source, started_at, created_by,
                                        created_at, updated_at)
         select id, $1, task_id, user_id, kind, 'timer', at, $7, at, at
         from turns
         -- Counting them has them ended first: a task runs once.
         where kind is not null and (select count(*) from ended) >= 0",
        tenant.account_id,
        &tasks,
        &times,
        &ids,
        &kinds as &[Option<String>],
        &by_user as &[Option<Uuid>],
        tenant.user_id,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Stores an entered interval.
pub(crate) async fn insert(tx: &mut Tx, entry: &TimeEntry) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!(
        "insert into task.time_entries (id, account_id, task_id, user_id, kind, source, started_at, ended_at, note,
                                        created_by, version, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        entry.id,
        account_id,
        entry.task_id,
        entry.user_id,
        entry.kind.name(),
        entry.source.name(),
        entry.started_at,
        entry.ended_at,
        entry.note,
        entry.created_by,
        entry.version,
        entry.created_at,
        entry.updated_at,
    )
    .execute(tx.connection())
    .await
    .map_err(map_constraint)?;
    Ok(())
}

/// Stores the mutable columns of an interval.
pub(crate) async fn save(tx: &mut Tx, entry: &TimeEntry) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!(
        "update task.time_entries set started_at = $3, ended_at = $4, note = $5, version = $6, updated_at = $7
         where account_id = $1 and id = $2",
        account_id,
        entry.id,
        entry.started_at,
        entry.ended_at,
        entry.note,
        entry.version,
        entry.updated_at,
    )
    .execute(tx.connection())
    .await
    .map_err(map_constraint)?;
    Ok(())
}

/// Deletes an interval.
pub(crate) async fn delete(tx: &mut Tx, id: Uuid) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!("delete from task.time_entries where account_id = $1 and id = $2", account_id, id)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// An interval of the account. The caller checks visibility.
pub(crate) async fn get(tx: &mut ReadTx, id: Uuid) -> Result<Option<TimeEntry>> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query_as!(
        Row,
        "select id, task_id, user_id, kind, source, started_at, ended_at, note, created_by, version, created_at,
                updated_at
         from task.time_entries where account_id = $1 and id = $2",
        account_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(TimeEntry::try_from).transpose()
}

/// A page of a task's intervals, latest first, and their total number.
pub(crate) async fn of_task(tx: &mut ReadTx, task_id: Uuid, page: &Page) -> Result<(Vec<TimeEntry>, i64)> {
    let account_id = tx.tenant().account_id;
    let (before, id) = before(page)?;
    let rows = sqlx::query_as!(
        Row,
        "select id, task_id, user_id, kind, source, started_at, ended_at, note, created_by, version, created_at,
                updated_at
         from task.time_entries where account_id = $1 and task_id = $2 and (started_at, id) < ($3, $4)
         order by started_at desc, id desc limit $5 offset $6",
        account_id,
        task_id,
        before,
        id,
        page.limit(),
        page.offset()
    )
    .fetch_all(tx.connection())
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from task.time_entries where account_id = $1 and task_id = $2"#,
        account_id,
        task_id
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((rows.into_iter().map(TimeEntry::try_from).collect::<Result<_>>()?, total))
}

/// A person's working intervals that started in a range.
pub(crate) struct Timesheet {
    pub(crate) entries: Vec<TimeEntry>,
    /// Over all pages.
    pub(crate) count: i64,
    /// Over all pages.
    pub(crate) working_seconds: i64,
}

/// A page of a person's work on all tasks, latest first.
pub(crate) async fn of_person(
    tx: &mut ReadTx,
    user_id: Uuid,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    page: &Page,
    now: DateTime<Utc>,
) -> Result<Timesheet> {
    let account_id = tx.tenant().account_id;
    let (before, id) = before(page)?;
    let rows = sqlx::query_as!(
        Row,
        "select id, task_id, user_id, kind, source, started_at, ended_at, note, created_by, version, created_at,
                updated_at
         from task.time_entries
         where account_id = $1 and user_id = $2 and kind = 'working' and started_at >= $3 and started_at < $4
           and (started_at, id) < ($5, $6)
         order by started_at desc, id desc limit $7 offset $8",
        account_id,
        user_id,
        from,
        to,
        before,
        id,
        page.limit(),
        page.offset()
    )
    .fetch_all(tx.connection())
    .await?;
    let all = sqlx::query!(
        r#"select count(*) as "count!",
                  coalesce(sum(floor(extract(epoch from greatest(started_at, coalesce(ended_at, $5)) - started_at))),
                           0)::bigint as "seconds!"
           from task.time_entries
           where account_id = $1 and user_id = $2 and kind = 'working' and started_at >= $3 and started_at < $4"#,
        account_id,
        user_id,
        from,
        to,
        now
    )
    .fetch_one(tx.connection())
    .await?;
    let entries = rows.into_iter().map(TimeEntry::try_from).collect::<Result<_>>()?;
    Ok(Timesheet { entries, count: all.count, working_seconds: all.seconds })
}

/// Totals of a task's intervals, running ones up to now. A pause counts unless somebody entered work for it later.
pub(crate) async fn totals(tx: &mut ReadTx, task_id: Uuid, now: DateTime<Utc>) -> Result<TimeTotals> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query!(
        r#"with spans as (
               select user_id, kind, started_at, tstzrange(started_at, ended_at) as span,
                      floor(extract(epoch from ended_at - started_at))::bigint as seconds,
                      -- Pauses that follow each other are one, which changed hands.
                      lag(kind) over (partition by source order by started_at, ended_at, id) as kind_before
               from (
                   select id, user_id, kind, source, started_at,
                          greatest(started_at, coalesce(ended_at, $3)) as ended_at
                   from task.time_entries where account_id = $1 and task_id = $2
               ) entries
           ), people as (
               select user_id, sum(seconds)::bigint as seconds, count(*) as entries
               from spans where kind = 'working' group by user_id
           ), together as (
               select coalesce(range_agg(span) filter (where kind = 'working'), '{}') as worked,
                      coalesce(range_agg(span) filter (where kind = 'paused'), '{}') as paused,
                      min(started_at) filter (where kind = 'working') as first_started_at,
                      count(*) filter (where kind = 'paused' and kind_before is distinct from 'paused') as pauses
               from spans
           )
           select first_started_at, pauses as "pauses!",
                  (select coalesce(floor(sum(extract(epoch from upper(pause) - lower(pause)))), 0)
                   from unnest(paused - worked) as pause)::bigint as "paused_seconds!",
                  array(select user_id from people order by seconds desc, user_id) as "people!",
                  array(select seconds from people order by seconds desc, user_id) as "seconds!",
                  array(select entries from people order by seconds desc, user_id) as "entries!"
           from together"#,
        account_id,
        task_id,
        now
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(TimeTotals {
        working_seconds: row.seconds.iter().sum(),
        paused_seconds: row.paused_seconds,
        pauses: row.pauses,
        first_started_at: row.first_started_at,
        by_user: row.people.into_iter().zip(row.seconds).zip(row.entries).map(|((id, s), n)| (id, s, n)).collect(),
    })
}

/// Stores a correction beside its timeline entry; `task` is the task after it.
pub(crate) async fn insert_correction(
    tx: &mut ReadTx,
    task: &Task,
    entry: &TimeEntry,
    Adjustment { action, old, new }: Adjustment,
) -> Result<()> {
    let (id, tenant) = (tx.db().clock().new_id(), tx.tenant());
    sqlx::query!(
        "insert into task.time_corrections (id, account_id, task_id, task_version, time_entry_id, user_id, action,
                                            actor_id, occurred_at, old_started_at, old_ended_at, new_started_at,
                                            new_ended_at, actual_seconds)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        id,
        tenant.account_id,
        task.id,
        task.version,
        entry.id,
        entry.user_id,
        action.name(),
        tenant.user_id,
        task.updated_at,
        old.map(|span| span.started_at),
        old.map(|span| span.ended_at),
        new.map(|span| span.started_at),
        new.map(|span| span.ended_at),
        task.actual_seconds,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A page of the corrections of a task's intervals, oldest first, and their total number.
pub(crate) async fn corrections(tx: &mut ReadTx, task_id: Uuid, page: &Page) -> Result<(Vec<(i32, Correction)>, i64)> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query!(
        "select task_version, id, time_entry_id, user_id, action, actor_id, occurred_at, old_started_at, old_ended_at,
                new_started_at, new_ended_at, actual_seconds
         from task.time_corrections where account_id = $1 and task_id = $2 and task_version > $3
         order by task_version limit $4 offset $5",
        account_id,
        task_id,
        page.after_number()?,
        page.limit(),
        page.offset()
    )
    .fetch_all(tx.connection())
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from task.time_corrections where account_id = $1 and task_id = $2"#,
        account_id,
        task_id
    )
    .fetch_one(tx.connection())
    .await?;
    let corrections = rows.into_iter().map(|row| {
        let action = CorrectionAction::from_name(&row.action)
            .ok_or_else(|| Error::internal("a correction has an unknown action"))?;
        let correction = Correction {
            id: row.id,
            time_entry_id: row.time_entry_id,
            user_id: row.user_id,
            action,
            actor_id: row.actor_id,
            occurred_at: row.occurred_at,
            old_started_at: row.old_started_at,
            old_ended_at: row.old_ended_at,
            new_started_at: row.new_started_at,
            new_ended_at: row.new_ended_at,
            actual_seconds: row.actual_seconds,
        };
        Ok((row.task_version, correction))
    });
    Ok((corrections.collect::<Result<_>>()?, total))
}

/// The interval's sort key, as in page tokens.
pub(crate) fn key(entry: &TimeEntry) -> (Option<String>, Uuid) {
    (Some(entry.started_at.to_rfc3339_opts(SecondsFormat::Micros, true)), entry.id)
}

/// The exclusive upper bound of a page.
fn before(page: &Page) -> Result<(DateTime<Utc>, Uuid)> {
    let Some(cursor) = page.after() else { return Ok((MAX_TIME, Uuid::max())) };
    let time = cursor.key.as_deref().and_then(|key| DateTime::parse_from_rfc3339(key).ok());
    Ok((time.ok_or(Reason::PageTokenInvalid)?.to_utc(), cursor.id))
}

/// After every time that RFC 3339 can express.
pub(crate) const MAX_TIME: DateTime<Utc> = DateTime::from_timestamp(253_402_300_800, 0).unwrap();
/// Before every time that RFC 3339 can express.
pub(crate) const MIN_TIME: DateTime<Utc> = DateTime::from_timestamp(-62_135_596_800, 0).unwrap();

fn map_constraint(error: sqlx::Error) -> Error {
    match violated_constraint(&error) {
        Some("time_entries_overlap") => Reason::TimeEntryOverlaps.into(),
        _ => error.into(),
    }
}
