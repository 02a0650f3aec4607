//! Answers to consents and receipts of erasures as leaves of Merkle trees.

use baton_errors::{Error, Result};
use baton_merkle::leaf_hash;
use baton_store::Db;
use sqlx::PgConnection;
use uuid::Uuid;

/// Rows that are taken in at a time.
const BATCH: i64 = 5_000;

/// Whether rows wait to be taken in: of the consents, and of the receipts.
pub(crate) async fn pending(db: &Db) -> Result<(bool, bool)> {
    let row = sqlx::query!(
        r#"select exists (select from privacy.consents where leaf_index is null) as "consents!",
                  exists (select from privacy.erasure_receipts where leaf_index is null) as "receipts!""#,
    );
    let row = row.fetch_one(db.system()).await?;
    Ok((row.consents, row.receipts))
}

/// Gives the next answers their places, from this index on; returns their hashes.
pub(crate) async fn take_consents(conn: &mut PgConnection, from: u64) -> Result<Vec<[u8; 32]>> {
    let rows = sqlx::query!(
        "select id, user_id, type, given, legal_basis, method, version, notice_hash, created_at
         from privacy.consents where leaf_index is null order by id limit $1",
        BATCH,
    )
    .fetch_all(&mut *conn)
    .await?;
    let hashes: Vec<[u8; 32]> = rows
        .iter()
        .map(|row| {
            // Only what an erasure keeps. The encoding never changes: services/privacy/README.md describes it.
            let mut bytes = b"baton consent 1\n".to_vec();
            bytes.extend(row.id.as_bytes());
            bytes.extend(row.user_id.as_bytes());
            for text in [&row.r#type, &row.legal_basis, &row.method] {
                bytes.extend((text.len() as u64).to_be_bytes());
                bytes.extend(text.as_bytes());
            }
            bytes.push(row.given.into());
            bytes.extend(i64::from(row.version).to_be_bytes());
            bytes.extend(&row.notice_hash);
            bytes.extend(row.created_at.timestamp_micros().to_be_bytes());
            leaf_hash(&bytes)
        })
        .collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let leaves: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    sqlx::query!(
        "update privacy.consents set leaf_hash = new.leaf, leaf_index = $3 + new.n - 1
         from unnest($1::uuid[], $2::bytea[]) with ordinality new (id, leaf, n) where consents.id = new.id",
        &ids,
        &leaves,
        i64::try_from(from).map_err(Error::internal)?,
    )
    .execute(conn)
    .await?;
    Ok(hashes)
}

/// Gives the next receipts their places, from this index on; returns their hashes.
pub(crate) async fn take_receipts(conn: &mut PgConnection, from: u64) -> Result<Vec<[u8; 32]>> {
    let rows = sqlx::query!(
        "select request_id, service, jws from privacy.erasure_receipts where leaf_index is null
         order by request_id, service limit $1",
        BATCH,
    )
    .fetch_all(&mut *conn)
    .await?;
    let hashes: Vec<[u8; 32]> = rows.iter().map(|row| leaf_hash(row.jws.as_bytes())).collect();
    let requests: Vec<Uuid> = rows.iter().map(|row| row.request_id).collect();
    let services: Vec<String> = rows.iter().map(|row| row.service.clone()).collect();
    let leaves: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    sqlx::query!(
        "update privacy.erasure_receipts receipt set leaf_hash = new.leaf, leaf_index = $4 + new.n - 1
         from unnest($1::uuid[], $2::text[], $3::bytea[]) with ordinality new (request_id, service, leaf, n)
         where receipt.request_id = new.request_id and receipt.service = new.service",
        &requests,
        &services,
        &leaves,
        i64::try_from(from).map_err(Error::internal)?,
    )
    .execute(conn)
    .await?;
    Ok(hashes)
}

/// The place of a leaf: of the consents, or of the receipts.
pub(crate) async fn index_of(db: &Db, of_consents: bool, leaf: &[u8]) -> Result<Option<u64>> {
    let index = if of_consents {
        sqlx::query_scalar!("select leaf_index from privacy.consents where leaf_hash = $1", leaf)
            .fetch_optional(db.system())
            .await?
    } else {
        sqlx::query_scalar!("select leaf_index from privacy.erasure_receipts where leaf_hash = $1", leaf)
            .fetch_optional(db.system())
            .await?
    };
    index.flatten().map(|index| u64::try_from(index).map_err(Error::internal)).transpose()
}
