//! Full-text search.

use baton_errors::Result;
use baton_store::{Db, ReadTx, Tx};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{
    list::ListQuery,
    search_terms::with_terms,
    task::{Row, select},
    visibility::visibility_keys,
};
use crate::{
    query::{
        highlight::{MAX_COMMENT_CHARS, MAX_DESCRIPTION_CHARS, Texts, comments_each},
        search::{MAX_RANKED, SearchTerms},
    },
    task::Task,
};

type Query = QueryBuilder<Postgres>;

/// A hit and its score.
#[derive(sqlx::FromRow)]
pub(crate) struct SearchHit {
    pub(crate) id: Uuid,
    pub(crate) score: f32,
}

/// Hits, best first, and whether more tasks may match than were ranked.
pub(crate) struct Ranking {
    pub(crate) found: Vec<SearchHit>,
    pub(crate) is_truncated: bool,
}

/// The tasks of a list that match the query.
pub(crate) async fn find(tx: &mut ReadTx, list: ListQuery<'_>, words: &SearchTerms) -> Result<Ranking> {
    rank(tx, list, |query| with_terms(query, "*", words)).await
}

/// The tasks of a list with words in title or tags of similar spelling.
pub(crate) async fn find_similar(tx: &mut ReadTx, list: ListQuery<'_>, words: &SearchTerms) -> Result<Ranking> {
    rank(tx, list, |query| {
        query.push("select * from task.search_alike(").push_bind(words.typed.clone()).push(", ");
    })
    .await
}

/// `candidates` appends the call of the candidate function, up to its visibility arguments.
async fn rank(tx: &mut ReadTx, list: ListQuery<'_>, candidates: impl FnOnce(&mut Query)) -> Result<Ranking> {
    let account_id = tx.tenant().account_id;
    let mut query = Query::new("with found as materialized (");
    candidates(&mut query);
    visibility_keys(&mut query, list.actor);
    query.push(", ").push_bind(MAX_RANKED).push(")), seen as (select id, created_at");
    list.matching(&mut query, account_id, None);
    query.push(" and id in (select id from found)) select id, ");
    // The weight decays with age: two thirds after half a year, never less than half.
    query.push("(score * (0.5 + 0.5 * exp(-greatest(extract(epoch from ").push_bind(list.now);
    query.push(" - created_at), 0) / 15552000)))::real as score, (select count(*) from found) as candidates");
    query.push(" from seen join found using (id) order by 2 desc, id desc");
    let rows: Vec<(Uuid, f32, i64)> = query.build_query_as().fetch_all(tx.connection()).await?;
    let is_truncated = rows.first().is_some_and(|&(.., candidates)| candidates >= i64::from(MAX_RANKED));
    Ok(Ranking { found: rows.into_iter().map(|(id, score, _)| SearchHit { id, score }).collect(), is_truncated })
}

/// These tasks of the account, unordered.
pub(crate) async fn tasks(tx: &mut ReadTx, ids: &[Uuid]) -> Result<Vec<Task>> {
    let rows: Vec<Row> = sqlx::query_as(select!("where account_id = $1 and id = any($2) and deleted_at is null"))
        .bind(tx.tenant().account_id)
        .bind(ids)
        .fetch_all(tx.connection())
        .await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// The texts of these tasks to highlight: the beginnings of descriptions and of the newest comments.
pub(crate) async fn texts(tx: &mut ReadTx, ids: &[Uuid]) -> Result<Vec<Texts>> {
    let found = sqlx::query_as!(
        Texts,
        r#"select id, title, left(description, $3) as "description!", task.search_config($1)::text as "config!",
                  array(select left(body, $4) from task.comments where account_id = $1 and task_id = t.id and body <> ''
                        order by id desc limit $5) as "comments!"
           from task.tasks t where account_id = $1 and id = any($2)"#,
        tx.tenant().account_id,
        ids,
        MAX_DESCRIPTION_CHARS,
        MAX_COMMENT_CHARS,
        comments_each(ids.len())
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(found)
}

/// The account's search language; `None` when it is not set.
pub(crate) async fn language(tx: &mut ReadTx) -> Result<Option<String>> {
    let account_id = tx.tenant().account_id;
    let language = sqlx::query_scalar!("select language from task.search_settings where account_id = $1", account_id)
        .fetch_optional(tx.connection())
        .await?;
    Ok(language)
}

/// Sets the search language; returns whether it changed.
pub(crate) async fn set_language(tx: &mut Tx, language: &str, config: &str) -> Result<bool> {
    let done = sqlx::query!(
        "insert into task.search_settings as s (account_id, language, config) values ($1, $2, $3)
         on conflict (account_id) do update set language = excluded.language, config = excluded.config
             where (s.language, s.config) <> (excluded.language, excluded.config)",
        tx.tenant().account_id,
        language,
        config
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Tokenizes the next tasks of an account again, in id order. Returns the id of the last one, or `None` when there are
/// no more.
pub(crate) async fn reindex(db: &Db, account_id: Uuid, after: Uuid, limit: i64) -> Result<Option<Uuid>> {
    let ids = sqlx::query_scalar!(
        "with next as materialized (
             select id, title, tags, description, created_at from task.tasks
             where account_id = $1 and id > $2 order by id limit $3
         ), read as (
             update task.task_search s
             set document = task.search_whole(config, $1, t.id, t.title, t.tags, t.description),
                 words = task.search_line(t.title, t.tags)
             from next t, task.search_config($1) config
             where s.account_id = $1 and s.month = task.search_month(t.created_at) and s.task_id = t.id
         )
         select id from next order by id desc limit 1",
        account_id,
        after,
        limit
    )
    .fetch_optional(db.system())
    .await?;
    Ok(ids)
}
