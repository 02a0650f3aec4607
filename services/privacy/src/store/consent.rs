//! Answers to notices, and what holds.

use std::collections::HashMap;

use baton_errors::Result;
use baton_store::{Db, ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::consent::Answered;

/// An answer, as it is kept as evidence.
pub(crate) struct Evidence<'a> {
    pub(crate) given: bool,
    pub(crate) legal_basis: &'a str,
    pub(crate) method: &'a str,
    pub(crate) version: i32,
    pub(crate) notice_hash: &'a [u8],
    /// What they were shown, from which address and with which program, sealed with the person's key.
    pub(crate) sealed: Option<&'a [u8]>,
}

/// A change of a consent, for collectors.
#[derive(Debug, Clone)]
pub(crate) struct StateChange {
    pub(crate) user_id: Uuid,
    pub(crate) purpose: String,
    pub(crate) given: bool,
    pub(crate) epoch: i64,
    pub(crate) answered_at: DateTime<Utc>,
    pub(crate) withdrawn_epoch: i64,
}

/// The person's last answers, by purpose.
pub(crate) async fn states(tx: &mut ReadTx, user_id: Uuid) -> Result<HashMap<String, Answered>> {
    let rows = sqlx::query!(
        "select type, given, withdrawn, version, changed_at from privacy.consent_states where user_id = $1",
        user_id,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let (given, withdrawn, version, changed_at) = (row.given, row.withdrawn, row.version, row.changed_at);
            (row.r#type, Answered { given, withdrawn, version, changed_at })
        })
        .collect())
}

/// People who consent to a purpose, by id, at most this many.
pub(crate) async fn people_of(db: &Db, purpose: &str, limit: usize) -> Result<Vec<Uuid>> {
    let people = sqlx::query_scalar!(
        "select user_id from privacy.consent_states where type = $1 and given and not stale order by user_id limit $2",
        purpose,
        i64::try_from(limit).unwrap_or(i64::MAX),
    );
    Ok(people.fetch_all(db.system()).await?)
}

/// The sealed evidence of answers after this one, in their order.
pub(crate) async fn sealed_evidence(db: &Db, user_id: Uuid, after: Uuid) -> Result<Vec<(Uuid, Vec<u8>)>> {
    let rows = sqlx::query!(
        r#"select id, evidence as "evidence!" from privacy.consents
           where user_id = $1 and id > $2 and evidence is not null order by id limit 500"#,
        user_id,
        after,
    );
    Ok(rows.fetch_all(db.system()).await?.into_iter().map(|row| (row.id, row.evidence)).collect())
}

/// Waits for other calls that change consents of the person.
pub(crate) async fn lock(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('consents', 0) # hashtextextended($1::text, 0))",
        user_id.to_string()
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Adds an answer, and makes it what holds. Returns the change. The person is locked.
pub(crate) async fn add(
    tx: &mut Tx,
    (id, user_id): (Uuid, Uuid),
    kind: &str,
    evidence: &Evidence<'_>,
    answered: Answered,
) -> Result<StateChange> {
    sqlx::query!(
        "insert into privacy.consents (id, user_id, type, given, legal_basis, method, version, notice_hash, evidence,
                                       created_at, purpose, address, user_agent)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', '', '')",
        id,
        user_id,
        kind,
        evidence.given,
        evidence.legal_basis,
        evidence.method,
        evidence.version,
        evidence.notice_hash,
        evidence.sealed,
        answered.changed_at,
    )
    .execute(tx.connection())
    .await?;
    // The number is taken once the row is locked, so that it grows with each change of the row.
    let row = sqlx::query!(
        "insert into privacy.consent_states as known
             (user_id, type, given, withdrawn, version, epoch, epoch_at, changed_at)
         values ($1, $2, $3, $4, $5, nextval('privacy.consent_epochs'), clock_timestamp(), $6)
         on conflict (user_id, type) do update set given = excluded.given, withdrawn = excluded.withdrawn,
             version = excluded.version, stale = false, epoch = nextval('privacy.consent_epochs'),
             epoch_at = clock_timestamp(), changed_at = excluded.changed_at,
             withdrawn_epoch = case when known.given and not excluded.given then nextval('privacy.consent_epochs')
                                    else known.withdrawn_epoch end
         returning epoch, withdrawn_epoch",
        user_id,
        kind,
        answered.given,
        answered.withdrawn,
        answered.version,
        answered.changed_at,
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(StateChange {
        user_id,
        purpose: kind.to_owned(),
        given: answered.given,
        epoch: row.epoch,
        answered_at: answered.changed_at,
        withdrawn_epoch: row.withdrawn_epoch,
    })
}

/// Changes after this epoch, in order, of these purposes.
pub(crate) async fn changes_after(db: &Db, epoch: i64, purposes: &[String], most: usize) -> Result<Vec<StateChange>> {
    let rows = sqlx::query!(
        "select user_id, type, given and not stale as \"given!\", epoch, changed_at, withdrawn_epoch
         from privacy.consent_states where epoch > $1 and type = any($2) order by epoch limit $3",
        epoch,
        purposes,
        i64::try_from(most).unwrap_or(i64::MAX),
    )
    .fetch_all(db.system())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| StateChange {
            user_id: row.user_id,
            purpose: row.r#type,
            given: row.given,
            epoch: row.epoch,
            answered_at: row.changed_at,
            withdrawn_epoch: row.withdrawn_epoch,
        })
        .collect())
}

/// Notes that consents to earlier notices of a purpose do not hold any more; returns whether there are more.
pub(crate) async fn mark_stale(db: &Db, purpose: &str, valid_since: i32) -> Result<bool> {
    let marked = sqlx::query!(
        "update privacy.consent_states set stale = true, epoch = nextval('privacy.consent_epochs'),
             epoch_at = clock_timestamp(), withdrawn_epoch = nextval('privacy.consent_epochs')
         where (user_id, type) in (
             select user_id, type from privacy.consent_states
             where type = $1 and given and not stale and version < $2 limit 1000 for update)",
        purpose,
        valid_since,
    )
    .execute(db.system())
    .await?;
    Ok(marked.rows_affected() == 1000)
}

/// The last epoch before which no change can appear any more: a transaction with a lower one may commit after one with a
/// higher one, but not a minute later, since no statement takes longer than half of that.
pub(crate) async fn settled(db: &Db) -> Result<i64> {
    let epoch = sqlx::query_scalar!(
        "select epoch from privacy.consent_states where epoch_at < clock_timestamp() - interval '60 seconds'
         order by epoch desc limit 1",
    );
    Ok(epoch.fetch_optional(db.system()).await?.unwrap_or_default())
}

/// What holds about a purpose, as collectors are told it; `None` if the person never answered.
pub(crate) async fn get(tx: &mut ReadTx, user_id: Uuid, kind: &str) -> Result<Option<StateChange>> {
    let row = sqlx::query!(
        "select given and not stale as \"given!\", epoch, changed_at, withdrawn_epoch
         from privacy.consent_states where user_id = $1 and type = $2",
        user_id,
        kind,
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| StateChange {
        user_id,
        purpose: kind.to_owned(),
        given: row.given,
        epoch: row.epoch,
        answered_at: row.changed_at,
        withdrawn_epoch: row.withdrawn_epoch,
    }))
}

/// The id of the newest answer of anybody; nil before the first.
pub(crate) async fn newest(db: &Db) -> Result<Uuid> {
    let id = sqlx::query_scalar!("select id from privacy.consents order by id desc limit 1");
    Ok(id.fetch_optional(db.system()).await?.unwrap_or_default())
}

/// The last answer of a person about a purpose, and the notice that it answered, outside of a call.
pub(crate) async fn last(db: &Db, user_id: Uuid, kind: &str) -> Result<Option<Answered>> {
    let row = sqlx::query!(
        "select given, withdrawn, version, changed_at from privacy.consent_states where user_id = $1 and type = $2",
        user_id,
        kind,
    );
    Ok(row.fetch_optional(db.system()).await?.map(|row| Answered {
        given: row.given,
        withdrawn: row.withdrawn,
        version: row.version,
        changed_at: row.changed_at,
    }))
}
