//! Tags, read from the table that triggers on tasks maintain.

use baton_errors::Result;
use baton_store::ReadTx;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::visibility::visible;
use crate::policy::visibility::Actor;

type Query = QueryBuilder<Postgres>;

/// Maximum number of examined tags.
const MAX_TAGS: usize = 1_000;
/// Maximum number of examined tasks per tag: one tag may have a seventh of the account's tasks.
const MAX_TASKS_PER_TAG: i32 = 1_000;
/// Appended to a prefix, it sorts after every text with that prefix.
const LAST_CHAR: char = char::MAX;

/// The tags with this prefix of visible tasks, in order, and whether the account has more tags than were examined.
pub(crate) async fn list_visible(tx: &mut ReadTx, actor: Actor<'_>, prefix: &str) -> Result<(Vec<String>, bool)> {
    let account_id = tx.tenant().account_id;
    let end = format!("{prefix}{LAST_CHAR}");
    // Skips from each tag to the next by the index, instead of scanning it.
    let mut query = Query::new("with recursive tags (tag) as ((");
    let next = |query: &mut Query, than: &str| {
        query.push("select next.tag from task.task_tags next where next.account_id = ").push_bind(account_id);
        query.push(" and next.tag < ").push_bind(end.clone()).push(" and next.tag ").push(than);
    };
    next(&mut query, ">= ");
    query.push_bind(prefix).push(" order by next.tag limit 1) union all select (");
    next(&mut query, "> tags.tag order by next.tag limit 1");
    query.push(") from tags where tags.tag is not null) select tag, ");
    if actor.is_account_admin() {
        query.push("true");
    } else {
        query.push("exists (select");
        push_visible(&mut query, account_id, actor);
        query.push(")");
    }
    query.push(" from (select tag from tags where tag is not null limit ").push_bind(MAX_TAGS as i64 + 1);
    query.push(") known");
    let mut rows: Vec<(String, bool)> = query.build_query_as().fetch_all(tx.connection()).await?;
    let truncated = rows.len() > MAX_TAGS;
    rows.truncate(MAX_TAGS);
    Ok((rows.into_iter().filter_map(|(tag, is_visible)| is_visible.then_some(tag)).collect(), truncated))
}

/// The number of visible tasks per tag, among the examined ones, and whether there are more.
pub(crate) async fn count(tx: &mut ReadTx, actor: Actor<'_>, tags: &[String]) -> Result<Vec<(String, i32, bool)>> {
    let account_id = tx.tenant().account_id;
    let mut query = Query::new("select tag, ");
    if actor.is_account_admin() {
        query.push("least(looked_at, ").push_bind(MAX_TASKS_PER_TAG).push(")");
    } else {
        query.push("(select count(*)::integer");
        push_visible(&mut query, account_id, actor);
        query.push(")");
    }
    query.push(", looked_at > ").push_bind(MAX_TASKS_PER_TAG).push(" from unnest(").push_bind(tags);
    query.push(
        "::text[]) with ordinality as known (tag, nth) cross join lateral (select count(*)::integer as looked_at",
    );
    newest(&mut query, account_id, MAX_TASKS_PER_TAG + 1);
    query.push(") counted order by nth");
    Ok(query.build_query_as().fetch_all(tx.connection()).await?)
}

/// The newest tasks with the tag `known.tag`; ids are in creation order.
fn newest(query: &mut Query, account_id: Uuid, limit: i32) {
    query.push(" from (select task_id from task.task_tags tagged where tagged.account_id = ").push_bind(account_id);
    query.push(" and tagged.tag = known.tag order by task_id desc limit ").push_bind(limit).push(") newest");
}

/// Those of them that the actor sees.
fn push_visible(query: &mut Query, account_id: Uuid, actor: Actor<'_>) {
    newest(query, account_id, MAX_TASKS_PER_TAG);
    query.push(" join task.tasks on id = task_id where deleted_at is null and account_id = ").push_bind(account_id);
    visible(query, actor);
}
