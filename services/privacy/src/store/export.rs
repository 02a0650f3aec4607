//! Exports.

use baton_errors::{Error, Reason, Result};
use baton_store::{Db, ReadTx, Tx, subject_data::Subject};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::request::Row;
use crate::request::{DataExport, MAX_EXPORTS_PER_DAY, RequestState, Requester};

/// Files that are deleted at a time.
const EXPIRY_BATCH: i64 = 100;

/// Inserts an export.
///
/// # Errors
/// EXPORT_LIMIT if one is being made, or too many were made in a day.
pub(crate) async fn insert(tx: &mut Tx, export: &DataExport) -> Result<()> {
    let request = &export.request;
    // The index admits one, and concurrent calls wait for each other here. So the count is exact.
    let inserted = sqlx::query!(
        "insert into privacy.requests (id, user_id, kind, state, requested_at, due_at)
         values ($1, $2, 'export', 'processing', $3, $4)
         on conflict (user_id) where kind = 'export' and state = 'processing' do nothing",
        request.id,
        request.user_id,
        request.requested_at,
        request.due_at,
    )
    .execute(tx.connection())
    .await?;
    if inserted.rows_affected() == 0 {
        return Err(Error::new(Reason::ExportLimit, "an export is being made"));
    }
    let of_day = sqlx::query_scalar!(
        r#"select count(*) as "count!" from privacy.requests
           where user_id = $1 and kind = 'export' and requested_at > $2"#,
        request.user_id,
        request.requested_at - TimeDelta::days(1),
    )
    .fetch_one(tx.connection())
    .await?;
    if of_day > MAX_EXPORTS_PER_DAY {
        return Err(Error::new(Reason::ExportLimit, "three exports were made in the last 24 hours"));
    }
    insert_export(tx, export).await
}

async fn insert_export(tx: &mut Tx, export: &DataExport) -> Result<()> {
    sqlx::query!(
        "insert into privacy.exports (request_id, user_id, categories) values ($1, $2, $3)",
        export.request.id,
        export.request.user_id,
        &export.categories,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Inserts an export of what an account has of a member.
///
/// # Errors
/// EXPORT_LIMIT if one is being made, or too many were made in a day.
pub(crate) async fn insert_of_member(tx: &mut Tx, account: Requester, export: &DataExport) -> Result<()> {
    if !super::request::insert(tx, &export.request).await? {
        return Err(Error::new(Reason::ExportLimit, "an export of this member is being made"));
    }
    let of_day = sqlx::query_scalar!(
        r#"select count(*) as "count!" from privacy.requests
           where account_id = $1 and user_id = $2 and kind = 'member_export' and requested_at > $3"#,
        account.account_id,
        export.request.user_id,
        export.request.requested_at - TimeDelta::days(1),
    )
    .fetch_one(tx.connection())
    .await?;
    if of_day > MAX_EXPORTS_PER_DAY {
        return Err(Error::new(Reason::ExportLimit, "three exports of this member were made in the last 24 hours"));
    }
    insert_export(tx, export).await
}

/// What can be downloaded of an account's export: its hash, and until when.
pub(crate) async fn download_of_member(
    tx: &mut ReadTx,
    account_id: Uuid,
    id: Uuid,
) -> Result<Option<(Vec<u8>, DateTime<Utc>)>> {
    let row = sqlx::query!(
        r#"select sha256 as "sha256!", available_until as "available_until!"
           from privacy.exports join privacy.requests on id = request_id
           where id = $1 and account_id = $2 and state = 'ready' and file is not null and sha256 is not null"#,
        id,
        account_id,
    );
    Ok(row.fetch_optional(tx.connection()).await?.map(|row| (row.sha256, row.available_until)))
}

/// An export of the person.
///
/// # Errors
/// EXPORT_NOT_FOUND.
pub(crate) async fn get(tx: &mut ReadTx, user_id: Uuid, id: Uuid) -> Result<DataExport> {
    let row = sqlx::query!(
        "select id, requests.user_id, state, requested_at, due_at, ended_at, categories, sha256, available_until
         from privacy.requests join privacy.exports on request_id = id
         where id = $1 and requests.user_id = $2 and kind = 'export'",
        id,
        user_id,
    )
    .fetch_optional(tx.connection())
    .await?;
    let row = row.ok_or_else(|| Error::from(Reason::ExportNotFound))?;
    let request = Row {
        id: row.id,
        user_id: row.user_id,
        kind: "export".to_owned(),
        state: row.state,
        requested_at: row.requested_at,
        due_at: row.due_at,
        ended_at: row.ended_at,
        erase_at: None,
        account_id: None,
        requested_by: None,
    };
    Ok(DataExport {
        request: request.try_into()?,
        categories: row.categories,
        sha256: row.sha256,
        available_until: row.available_until,
    })
}

/// How long the last exports took on average, in seconds; `None` before the first.
pub(crate) async fn average_seconds(tx: &mut ReadTx) -> Result<Option<f64>> {
    let seconds = sqlx::query_scalar!(
        r#"select extract(epoch from avg(ended_at - requested_at))::float8 as seconds from (
               select ended_at, requested_at from privacy.requests
               where kind = 'export' and state in ('ready', 'expired') order by id desc limit 20) last"#,
    );
    Ok(seconds.fetch_one(tx.connection()).await?)
}

/// The export that is to be made; `None` when it was made, or has failed.
pub(crate) async fn pending(db: &Db, id: Uuid) -> Result<Option<DataExport>> {
    let row = sqlx::query!(
        "select id, requests.user_id, kind, state, requested_at, due_at, ended_at, account_id, requested_by, categories
         from privacy.requests join privacy.exports on request_id = id where id = $1 and state = 'processing'",
        id,
    )
    .fetch_optional(db.system())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let request = Row {
        id: row.id,
        user_id: row.user_id,
        kind: row.kind,
        state: row.state,
        requested_at: row.requested_at,
        due_at: row.due_at,
        ended_at: row.ended_at,
        erase_at: None,
        account_id: row.account_id,
        requested_by: row.requested_by,
    };
    let request = request.try_into()?;
    Ok(Some(DataExport { request, categories: row.categories, sha256: None, available_until: None }))
}

/// Ends an export that is being made, with the file and its hash if it is ready; `false` if it has ended already.
pub(crate) async fn end(
    tx: &mut Tx,
    id: Uuid,
    state: RequestState,
    file: Option<(Uuid, &[u8], DateTime<Utc>)>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let ended = sqlx::query!(
        "update privacy.requests set state = $2, ended_at = $3 where id = $1 and state = 'processing'",
        id,
        state.name(),
        now,
    )
    .execute(tx.connection())
    .await?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    if let Some((file, sha256, until)) = file {
        sqlx::query!(
            "update privacy.exports set file = $2, sha256 = $3, available_until = $4 where request_id = $1",
            id,
            file,
            sha256,
            until,
        )
        .execute(tx.connection())
        .await?;
    }
    Ok(true)
}

/// The file of an export; `None` before and after it has one. For whoever has a token for it.
pub(crate) async fn file(db: &Db, id: Uuid) -> Result<Option<Uuid>> {
    let file = sqlx::query_scalar!("select file from privacy.exports where request_id = $1", id);
    Ok(file.fetch_optional(db.system()).await?.flatten())
}

/// Exports whose file is to be deleted, each with the file.
pub(crate) async fn expired(db: &Db, now: DateTime<Utc>) -> Result<Vec<(Uuid, Uuid)>> {
    let rows = sqlx::query!(
        r#"select request_id, file as "file!" from privacy.exports where file is not null and available_until <= $1
           order by available_until limit $2"#,
        now,
        EXPIRY_BATCH,
    );
    Ok(rows.fetch_all(db.system()).await?.into_iter().map(|row| (row.request_id, row.file)).collect())
}

/// Notes that files were deleted.
pub(crate) async fn deleted(db: &Db, ids: &[Uuid]) -> Result<()> {
    let mut tx = db.system().begin().await?;
    sqlx::query!("update privacy.exports set file = null where request_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!("update privacy.requests set state = 'expired' where id = any($1) and state = 'ready'", ids)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

/// The files of a person's exports, their own and those of accounts; of one account, if the subject names it.
pub(crate) async fn files_of(db: &Db, subject: Subject) -> Result<Vec<Uuid>> {
    let files = sqlx::query_scalar!(
        r#"select file as "file!" from privacy.exports where user_id = $1 and file is not null
           and ($2::uuid is null or request_id in (select id from privacy.requests where user_id = $1 and account_id = $2))"#,
        subject.user_id,
        subject.account_id,
    );
    Ok(files.fetch_all(db.system()).await?)
}

/// Ends exports of a person, also those that are being made.
pub(crate) async fn end_all(db: &Db, subject: Subject) -> Result<()> {
    sqlx::query!(
        "update privacy.requests set state = 'expired', ended_at = coalesce(ended_at, now())
         where user_id = $1 and kind in ('export', 'member_export') and state in ('ready', 'processing')
           and ($2::uuid is null or account_id = $2)",
        subject.user_id,
        subject.account_id,
    )
    .execute(db.system())
    .await?;
    Ok(())
}

/// Notes that these files of a person's exports were deleted.
pub(crate) async fn forget_files(db: &Db, user_id: Uuid, files: &[Uuid]) -> Result<()> {
    sqlx::query!("update privacy.exports set file = null where user_id = $1 and file = any($2)", user_id, files)
        .execute(db.system())
        .await?;
    Ok(())
}
