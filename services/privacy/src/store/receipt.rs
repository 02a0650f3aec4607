//! What was counted before an erasure, and the signed receipts of what has become of it.

use std::collections::HashMap;

use baton_errors::Result;
use baton_proto::baton::privacy::v1::SubjectCount;
use baton_store::{Db, ReadTx};
use uuid::Uuid;

use crate::convert::treatment_name;

/// Whether what an erasure will find was counted.
pub(crate) async fn has_counts(db: &Db, id: Uuid) -> Result<bool> {
    let counted = sqlx::query_scalar!(
        r#"select exists (select from privacy.erasure_counts where request_id = $1) as "counted!""#,
        id,
    );
    Ok(counted.fetch_one(db.system()).await?)
}

/// Stores what was counted before anything is erased. The first count stays.
pub(crate) async fn save_counts(db: &Db, id: Uuid, counts: &[(String, Vec<SubjectCount>)]) -> Result<()> {
    let lines = || counts.iter().flat_map(|(service, counts)| counts.iter().map(move |count| (service, count)));
    let services: Vec<String> = lines().map(|(service, _)| service.clone()).collect();
    let tables: Vec<String> = lines().map(|(_, count)| count.table.clone()).collect();
    let subjects: Vec<String> = lines().map(|(_, count)| count.subject.clone()).collect();
    let treatments: Vec<String> = lines().map(|(_, count)| treatment_name(count)).collect();
    let found: Vec<i64> = lines().map(|(_, count)| count.rows).collect();
    sqlx::query!(
        "insert into privacy.erasure_counts (request_id, service, table_name, subject, treatment, found)
         select $1, service, table_name, subject, treatment, found
         from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
              as counts (service, table_name, subject, treatment, found)
         on conflict do nothing",
        id,
        &services,
        &tables,
        &subjects,
        &treatments,
        &found,
    )
    .execute(db.system())
    .await?;
    Ok(())
}

/// What was counted before anything was erased: by service, table, subject and treatment.
pub(crate) async fn counts(db: &Db, id: Uuid) -> Result<HashMap<(String, String, String, String), i64>> {
    let rows = sqlx::query!(
        "select service, table_name, subject, treatment, found from privacy.erasure_counts where request_id = $1",
        id,
    );
    let rows = rows.fetch_all(db.system()).await?;
    Ok(rows.into_iter().map(|row| ((row.service, row.table_name, row.subject, row.treatment), row.found)).collect())
}

/// Stores the receipts, each a service's; those that are there stay.
pub(crate) async fn save_receipts(db: &Db, id: Uuid, receipts: &[(String, String)]) -> Result<()> {
    let services: Vec<String> = receipts.iter().map(|(service, _)| service.clone()).collect();
    let signed: Vec<String> = receipts.iter().map(|(_, jws)| jws.clone()).collect();
    sqlx::query!(
        "insert into privacy.erasure_receipts (request_id, service, jws)
         select $1, service, jws from unnest($2::text[], $3::text[]) as receipts (service, jws)
         on conflict do nothing",
        id,
        &services,
        &signed,
    )
    .execute(db.system())
    .await?;
    Ok(())
}

/// The receipts of a request, by service.
pub(crate) async fn receipts(tx: &mut ReadTx, id: Uuid) -> Result<Vec<String>> {
    let receipts =
        sqlx::query_scalar!("select jws from privacy.erasure_receipts where request_id = $1 order by service", id);
    Ok(receipts.fetch_all(tx.connection()).await?)
}
