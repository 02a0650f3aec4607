//! Legal holds, and the erasures that they suspend.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Holds that a list has at most.
const MAX_HOLDS: i64 = 1_000;

/// A legal hold.
pub(crate) struct LegalHold {
    pub(crate) user_id: Uuid,
    pub(crate) ground: String,
    pub(crate) placed_by: Uuid,
    pub(crate) placed_at: DateTime<Utc>,
}

/// Places a hold, and suspends an erasure that has not begun; returns the hold that is there now.
pub(crate) async fn place(tx: &mut Tx, hold: &LegalHold) -> Result<LegalHold> {
    sqlx::query!(
        "insert into privacy.legal_holds (user_id, ground, placed_by, placed_at) values ($1, $2, $3, $4)
         on conflict (user_id) do nothing",
        hold.user_id,
        hold.ground,
        hold.placed_by,
        hold.placed_at,
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "update privacy.requests set state = 'held' where user_id = $1 and kind = 'erasure' and state = 'scheduled'",
        hold.user_id,
    )
    .execute(tx.connection())
    .await?;
    let placed = sqlx::query_as!(
        LegalHold,
        "select user_id, ground, placed_by, placed_at from privacy.legal_holds where user_id = $1",
        hold.user_id,
    );
    Ok(placed.fetch_one(tx.connection()).await?)
}

/// Releases a hold, and lets the erasure go on; `false` if there is none.
pub(crate) async fn release(tx: &mut Tx, user_id: Uuid) -> Result<bool> {
    let released = sqlx::query!("delete from privacy.legal_holds where user_id = $1", user_id);
    if released.execute(tx.connection()).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!(
        "update privacy.requests set state = 'scheduled' where user_id = $1 and kind = 'erasure' and state = 'held'",
        user_id,
    )
    .execute(tx.connection())
    .await?;
    Ok(true)
}

/// Suspends an erasure that was just scheduled, if the person's data is held.
pub(crate) async fn apply(tx: &mut Tx, user_id: Uuid, request_id: Uuid) -> Result<()> {
    sqlx::query!(
        "update privacy.requests set state = 'held'
         where id = $2 and state = 'scheduled' and exists (select from privacy.legal_holds where user_id = $1)",
        user_id,
        request_id,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// All holds, newest first.
pub(crate) async fn list(tx: &mut ReadTx) -> Result<Vec<LegalHold>> {
    let holds = sqlx::query_as!(
        LegalHold,
        "select user_id, ground, placed_by, placed_at from privacy.legal_holds order by placed_at desc, user_id limit $1",
        MAX_HOLDS,
    );
    Ok(holds.fetch_all(tx.connection()).await?)
}
