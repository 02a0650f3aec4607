//! Personal data breaches.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Breaches that a list has at most.
const MAX_BREACHES: i64 = 1_000;

/// A breach.
#[derive(Debug, Clone)]
pub(crate) struct Breach {
    pub(crate) id: Uuid,
    pub(crate) summary: String,
    pub(crate) discovered_at: DateTime<Utc>,
    pub(crate) notify_by: DateTime<Utc>,
    pub(crate) categories: Vec<String>,
    pub(crate) recorded_by: Uuid,
    pub(crate) recorded_at: DateTime<Utc>,
    pub(crate) authority_notified_at: Option<DateTime<Utc>>,
    pub(crate) people_notified_at: Option<DateTime<Utc>>,
    pub(crate) exemption: String,
    /// The number of people who are affected.
    pub(crate) people: i64,
}

/// What is known later; what is absent stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Update {
    pub(crate) authority_notified_at: Option<DateTime<Utc>>,
    pub(crate) people_notified_at: Option<DateTime<Utc>>,
    pub(crate) exemption: Option<String>,
}

/// Inserts a breach.
pub(crate) async fn insert(tx: &mut Tx, breach: &Breach) -> Result<()> {
    sqlx::query!(
        "insert into privacy.breaches (id, summary, discovered_at, notify_by, categories, recorded_by, recorded_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        breach.id,
        breach.summary,
        breach.discovered_at,
        breach.notify_by,
        &breach.categories,
        breach.recorded_by,
        breach.recorded_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Adds people who are affected; those who are known stay.
pub(crate) async fn add_people(tx: &mut Tx, id: Uuid, people: &[Uuid]) -> Result<()> {
    sqlx::query!(
        "insert into privacy.breach_people (breach_id, user_id) select $1, user_id from unnest($2::uuid[]) user_id
         on conflict do nothing",
        id,
        people,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes what is known later; `false` if there is no such breach.
pub(crate) async fn update(tx: &mut Tx, id: Uuid, update: &Update) -> Result<bool> {
    let updated = sqlx::query!(
        "update privacy.breaches set authority_notified_at = coalesce($2, authority_notified_at),
             people_notified_at = coalesce($3, people_notified_at), exemption = coalesce($4, exemption) where id = $1",
        id,
        update.authority_notified_at,
        update.people_notified_at,
        update.exemption,
    );
    Ok(updated.execute(tx.connection()).await?.rows_affected() == 1)
}

/// A breach.
pub(crate) async fn get(tx: &mut ReadTx, id: Uuid) -> Result<Option<Breach>> {
    let breach = sqlx::query_as!(
        Breach,
        r#"select id, summary, discovered_at, notify_by, categories, recorded_by, recorded_at, authority_notified_at,
                  people_notified_at, exemption,
                  (select count(*) from privacy.breach_people where breach_id = id) as "people!"
           from privacy.breaches where id = $1"#,
        id,
    );
    Ok(breach.fetch_optional(tx.connection()).await?)
}

/// All breaches, newest first.
pub(crate) async fn list(tx: &mut ReadTx) -> Result<Vec<Breach>> {
    let breaches = sqlx::query_as!(
        Breach,
        r#"select id, summary, discovered_at, notify_by, categories, recorded_by, recorded_at, authority_notified_at,
                  people_notified_at, exemption,
                  (select count(*) from privacy.breach_people where breach_id = id) as "people!"
           from privacy.breaches order by discovered_at desc, id limit $1"#,
        MAX_BREACHES,
    );
    Ok(breaches.fetch_all(tx.connection()).await?)
}
