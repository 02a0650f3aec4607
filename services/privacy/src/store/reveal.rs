//! Requests of operators to open pseudonyms.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// How long a second operator can approve.
pub(crate) const APPROVAL_TTL: TimeDelta = TimeDelta::hours(24);

/// What an operator wishes to open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reveal<'a> {
    /// SHA-256 of the pseudonym.
    pub(crate) pseudonym: &'a [u8],
    pub(crate) purpose: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) operator: Uuid,
}

/// A request as it is after a call.
#[derive(Debug)]
pub(crate) struct Requested {
    pub(crate) id: Uuid,
    pub(crate) requested_at: DateTime<Utc>,
    /// Whether a second operator has approved it.
    pub(crate) is_approved: bool,
}

/// Approves the open request of another operator, or makes one; an operator's own request stays as it is.
pub(crate) async fn request(tx: &mut Tx, reveal: Reveal<'_>, id: Uuid, now: DateTime<Utc>) -> Result<Requested> {
    let Reveal { pseudonym, purpose, reason, operator } = reveal;
    // Calls about one pseudonym wait for each other.
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 0))", pseudonym)
        .execute(tx.connection())
        .await?;
    // What this operator has opened in the last day comes first: a repeated call gets the same answer. Then somebody else's open
    // request, then the operator's own.
    let known = sqlx::query!(
        r#"select id, requested_by, requested_at, approved_by is not null as "is_approved!" from privacy.pseudonym_reveals
           where pseudonym = $1 and purpose = $2 and requested_at > $3
             and (approved_by is null or $4 in (requested_by, approved_by))
           order by approved_by is null, requested_by = $4, requested_at limit 1"#,
        pseudonym,
        purpose,
        now - APPROVAL_TTL,
        operator,
    )
    .fetch_optional(tx.connection())
    .await?;
    if let Some(known) = known {
        let approves = !known.is_approved && known.requested_by != operator;
        if approves {
            sqlx::query!(
                "update privacy.pseudonym_reveals set approved_by = $2, approved_at = $3, approval_reason = $4 where id = $1",
                known.id,
                operator,
                now,
                reason,
            )
            .execute(tx.connection())
            .await?;
        }
        let is_approved = known.is_approved || approves;
        return Ok(Requested { id: known.id, requested_at: known.requested_at, is_approved });
    }
    sqlx::query!(
        "insert into privacy.pseudonym_reveals (id, pseudonym, purpose, reason, requested_by, requested_at)
         values ($1, $2, $3, $4, $5, $6)",
        id,
        pseudonym,
        purpose,
        reason,
        operator,
        now,
    )
    .execute(tx.connection())
    .await?;
    Ok(Requested { id, requested_at: now, is_approved: false })
}
