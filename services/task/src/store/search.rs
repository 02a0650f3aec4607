//! Full-text search.

use baton_errors::Result;
use baton_store::{Db, Tx};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{
    list::List,
    task::{Row, select},
};
use crate::{
    list::search::{MARKS, RANKED, Words},
    people::visibility::Who,
    task::Task,
};

type Query = QueryBuilder<Postgres>;

/// A task that was found, and how well it fits.
#[derive(sqlx::FromRow)]
pub(crate) struct Found {
    pub(crate) id: Uuid,
    pub(crate) score: f32,
}

/// What was found, the best first; and whether more may match than were ranked.
pub(crate) struct Ranking {
    pub(crate) found: Vec<Found>,
    pub(crate) is_cut: bool,
}

/// The tasks of a list that have these words.
pub(crate) async fn find(tx: &mut Tx, list: List<'_>, words: &Words) -> Result<Ranking> {
    rank(tx, list, |query| {
        query.push("select * from task.search_tasks(").push_bind(words.typed.clone());
        query.push(", ").push_bind(words.last.clone()).push(", ");
    })
    .await
}

/// The tasks of a list with words in title or tags that are spelled like these.
pub(crate) async fn alike(tx: &mut Tx, list: List<'_>, words: &Words) -> Result<Ranking> {
    rank(tx, list, |query| {
        query.push("select * from task.search_alike(").push_bind(words.all()).push(", ");
    })
    .await
}

/// `candidates` calls the function that finds them, up to who may see them.
async fn rank(tx: &mut Tx, list: List<'_>, candidates: impl FnOnce(&mut Query)) -> Result<Ranking> {
    let account_id = tx.tenant().account_id;
    let mut query = Query::new("with found as materialized (");
    candidates(&mut query);
    seers(&mut query, list.who);
    query.push(", ").push_bind(RANKED).push(")), seen as (select id, created_at");
    list.matching(&mut query, account_id, None);
    query.push(" and id in (select id from found)) select id, ");
    // What is half a year old counts two thirds of what is new, and nothing ever less than half.
    query.push("(score * (0.5 + 0.5 * exp(-greatest(extract(epoch from ").push_bind(list.now);
    query.push(" - created_at), 0) / 15552000)))::real as score, (select count(*) from found) as candidates");
    query.push(" from seen join found using (id) order by 2 desc, id desc");
    let rows: Vec<(Uuid, f32, i64)> = query.build_query_as().fetch_all(&mut **tx).await?;
    let is_cut = rows.first().is_some_and(|&(.., candidates)| candidates >= i64::from(RANKED));
    Ok(Ranking { found: rows.into_iter().map(|(id, score, _)| Found { id, score }).collect(), is_cut })
}

/// The ids of tasks that have these words, as a list asks for them.
pub(super) fn candidates(query: &mut Query, who: Who<'_>, words: &Words, most: i32) {
    query.push("select id from task.search_tasks(").push_bind(words.typed.clone());
    query.push(", ").push_bind(words.last.clone()).push(", ");
    seers(query, who);
    query.push(", ").push_bind(most).push(")");
}

/// Who looks, for the functions that find candidates: nobody in particular when they see all.
fn seers(query: &mut Query, who: Who<'_>) {
    if who.runs_the_account() {
        query.push("null, null");
        return;
    }
    let own: Vec<Uuid> = who.membership.reports.iter().copied().chain([who.id]).collect();
    let close: Vec<Uuid> = who.membership.team.iter().copied().chain(own.iter().copied()).collect();
    query.push_bind(own).push(", ").push_bind(close);
}

/// These tasks of the account, in no order.
pub(crate) async fn tasks(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Task>> {
    let rows: Vec<Row> = sqlx::query_as(select!("where account_id = $1 and id = any($2) and deleted_at is null"))
        .bind(tx.tenant().account_id)
        .bind(ids)
        .fetch_all(&mut **tx)
        .await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// Texts of a task with marks around what was found.
pub(crate) struct Marked {
    pub(crate) id: Uuid,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) comment: Option<String>,
}

/// Marks what was found in these tasks. Of a long description its begin is looked through, of comments the newest.
pub(crate) async fn marked(tx: &mut Tx, ids: &[Uuid], words: &Words) -> Result<Vec<Marked>> {
    let [begin, end] = MARKS;
    let marks: String = MARKS.iter().collect();
    let options = format!("StartSel=\"{begin}\", StopSel=\"{end}\"");
    let extract = format!("{options}, MaxFragments=2, MaxWords=20, MinWords=8, FragmentDelimiter=\" … \"");
    let found = sqlx::query_as!(
        Marked,
        r#"with words as materialized (
               select config, task.search_marks(task.search_query(config, $3, $4)) as query from task.search_config($1) config
           )
           select id, ts_headline(config, translate(title, $5, ''), query, $6 || ', HighlightAll=true') as "title!",
                  ts_headline(config, translate(left(description, 5000), $5, ''), query, $7) as "description!",
                  (select ts_headline(config, translate(left(body, 5000), $5, ''), query, $7)
                   from (select body from task.comments where account_id = $1 and task_id = t.id and body <> ''
                         order by id desc limit 50) newest
                   where to_tsvector(config, body) @@ query limit 1) as comment
           from task.tasks t, words where account_id = $1 and id = any($2)"#,
        tx.tenant().account_id,
        ids,
        words.typed,
        words.last,
        marks,
        options,
        extract
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found)
}

/// The language that the account's tasks are searched in; `None` when nobody has said.
pub(crate) async fn language(tx: &mut Tx) -> Result<Option<String>> {
    let account_id = tx.tenant().account_id;
    let language = sqlx::query_scalar!("select language from task.search_settings where account_id = $1", account_id)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(language)
}

/// Sets it; answers whether it was another before.
pub(crate) async fn set_language(tx: &mut Tx, language: &str, config: &str) -> Result<bool> {
    let done = sqlx::query!(
        "insert into task.search_settings as s (account_id, language, config) values ($1, $2, $3)
         on conflict (account_id) do update set language = excluded.language, config = excluded.config
             where (s.language, s.config) <> (excluded.language, excluded.config)",
        tx.tenant().account_id,
        language,
        config
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Reads the next tasks of an account anew, by their ids; answers the last of them, `None` when there are no more.
pub(crate) async fn reindex(db: &Db, account_id: Uuid, after: Uuid, limit: i64) -> Result<Option<Uuid>> {
    let ids = sqlx::query_scalar!(
        "with next as materialized (
             select id, title, tags, description, created_at from task.tasks
             where account_id = $1 and id > $2 order by id limit $3
         ), read as (
             update task.task_search s
             set document = task.search_document(config, t.title, t.tags, t.description)
                         || task.search_comments(config, $1, t.id)
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
