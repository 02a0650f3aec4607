//! Rules.

use std::collections::BTreeMap;

use baton_errors::{Error, Result};
use baton_rules::{Action, TriggerType, Verb};
use baton_store::{Page, ReadTx, Tx};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::rule::{MAX_REFUSED_IN_A_ROW, PausedReason, Rule, Terms};

/// A rule as it is stored.
struct Row {
    id: Uuid,
    account_id: Uuid,
    created_by: Uuid,
    name: String,
    description: String,
    trigger_type: String,
    trigger_conditions: Json<Map<String, Value>>,
    actions: Json<Vec<Action>>,
    webhook_secrets: Json<Secrets>,
    timezone: String,
    enabled: bool,
    enabled_at: DateTime<Utc>,
    paused_reason: Option<String>,
    delegation_id: Option<Uuid>,
    execution_count: i32,
    last_executed_at: Option<DateTime<Utc>>,
    version: i32,
    terms_version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// Sealed secrets of webhooks, by the index of their action. They are not part of the actions, which people export.
type Secrets = BTreeMap<usize, String>;

/// Actions without their sealed secrets, and those.
fn split(actions: &[Action]) -> (Vec<Action>, Secrets) {
    let (mut actions, mut secrets) = (actions.to_vec(), Secrets::new());
    for (index, action) in actions.iter_mut().enumerate() {
        if let Verb::CallWebhook { sealed_secret, .. } = &mut action.verb {
            secrets.extend(sealed_secret.take().map(|secret| (index, secret)));
        }
    }
    (actions, secrets)
}

/// Actions with their sealed secrets.
fn join(mut actions: Vec<Action>, secrets: Secrets) -> Vec<Action> {
    for (index, secret) in secrets {
        if let Some(Verb::CallWebhook { sealed_secret, .. }) = actions.get_mut(index).map(|action| &mut action.verb) {
            *sealed_secret = Some(secret);
        }
    }
    actions
}

impl TryFrom<Row> for Rule {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unknown = |what: &str| Error::internal(format!("a rule has an unknown {what}"));
        let paused_reason =
            row.paused_reason.map(|name| PausedReason::from_name(&name).ok_or_else(|| unknown("reason")));
        Ok(Self {
            id: row.id,
            account_id: row.account_id,
            created_by: row.created_by,
            name: row.name,
            description: row.description,
            terms: Terms {
                trigger_type: TriggerType::from_name(&row.trigger_type).ok_or_else(|| unknown("trigger"))?,
                trigger_conditions: row.trigger_conditions.0,
                actions: join(row.actions.0, row.webhook_secrets.0),
                timezone: row.timezone,
            },
            enabled: row.enabled,
            enabled_at: row.enabled_at,
            paused_reason: paused_reason.transpose()?,
            delegation_id: row.delegation_id,
            execution_count: row.execution_count,
            last_executed_at: row.last_executed_at,
            version: row.version,
            terms_version: row.terms_version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Inserts a rule, unless its creator or the account has the maximum number of them; then returns `false`.
pub(crate) async fn insert(tx: &mut Tx, rule: &Rule, per_person: i64, per_account: i64) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    lock_count(tx).await?;
    let (actions, secrets) = split(&rule.terms.actions);
    let added = sqlx::query!(
        "insert into automation.rules
             (id, account_id, created_by, name, description, trigger_type, trigger_conditions, actions, timezone, enabled,
              enabled_at, delegation_id, version, terms_version, created_at, updated_at, webhook_secrets)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $13, $11, $12, 1, $13, $13, $16
         where (select count(*) from automation.rules where account_id = $2 and created_by = $3 and deleted_at is null) < $14
           and (select count(*) from automation.rules where account_id = $2 and deleted_at is null) < $15",
        rule.id,
        account_id,
        rule.created_by,
        rule.name,
        rule.description,
        rule.terms.trigger_type.name(),
        Json(&rule.terms.trigger_conditions) as _,
        Json(&actions) as _,
        rule.terms.timezone,
        rule.enabled,
        rule.delegation_id,
        rule.version,
        rule.created_at,
        per_person,
        per_account,
        Json(&secrets) as _,
    )
    .execute(tx.connection())
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Lets concurrent changes of the number of the account's rules wait for each other, so that they do not exceed a limit together.
async fn lock_count(tx: &mut Tx) -> Result<()> {
    let key = format!("automation.rules/{}", tx.tenant().account_id);
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, 0))", key).execute(tx.connection()).await?;
    Ok(())
}

/// The number of a person's rules, which no other transaction changes until this one ends.
pub(crate) async fn lock_count_of(tx: &mut Tx, user_id: Uuid) -> Result<i64> {
    lock_count(tx).await?;
    count_of(tx, user_id).await
}

/// The number of the account's rules, which no other transaction changes until this one ends.
pub(crate) async fn lock_count_of_account(tx: &mut Tx) -> Result<i32> {
    lock_count(tx).await?;
    let account_id = tx.tenant().account_id;
    let count = sqlx::query_scalar!(
        r#"select count(*)::integer as "count!" from automation.rules where account_id = $1 and deleted_at is null"#,
        account_id,
    );
    Ok(count.fetch_one(tx.connection()).await?)
}

/// The number of a person's rules.
pub(crate) async fn count_of(tx: &mut ReadTx, user_id: Uuid) -> Result<i64> {
    let account_id = tx.tenant().account_id;
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from automation.rules where account_id = $1 and created_by = $2 and deleted_at is null"#,
        account_id,
        user_id,
    );
    Ok(count.fetch_one(tx.connection()).await?)
}

/// Finds a rule.
pub(crate) async fn get(tx: &mut ReadTx, id: Uuid) -> Result<Option<Rule>> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query_as!(
        Row,
        r#"select id, account_id, created_by, name, description, trigger_type,
                  trigger_conditions as "trigger_conditions: Json<Map<String, Value>>", actions as "actions: Json<Vec<Action>>",
                  webhook_secrets as "webhook_secrets: Json<Secrets>", timezone, enabled, enabled_at, paused_reason, delegation_id, execution_count, last_executed_at, version, terms_version, created_at,
                  updated_at
           from automation.rules where account_id = $1 and id = $2 and deleted_at is null"#,
        account_id,
        id,
    );
    row.fetch_optional(tx.connection()).await?.map(Rule::try_from).transpose()
}

/// Finds and locks a rule, so that it does not change, and no action of it begins, in this transaction.
pub(crate) async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<Rule>> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query_as!(
        Row,
        r#"select id, account_id, created_by, name, description, trigger_type,
                  trigger_conditions as "trigger_conditions: Json<Map<String, Value>>", actions as "actions: Json<Vec<Action>>",
                  webhook_secrets as "webhook_secrets: Json<Secrets>", timezone, enabled, enabled_at, paused_reason, delegation_id, execution_count, last_executed_at, version, terms_version, created_at,
                  updated_at
           from automation.rules where account_id = $1 and id = $2 and deleted_at is null for update"#,
        account_id,
        id,
    );
    row.fetch_optional(tx.connection()).await?.map(Rule::try_from).transpose()
}

/// Finds a rule, and keeps it from being changed in this transaction. Other executions of it go on.
pub(crate) async fn lock_shared(tx: &mut Tx, id: Uuid) -> Result<Option<Rule>> {
    let account_id = tx.tenant().account_id;
    let row = sqlx::query_as!(
        Row,
        r#"select id, account_id, created_by, name, description, trigger_type,
                  trigger_conditions as "trigger_conditions: Json<Map<String, Value>>", actions as "actions: Json<Vec<Action>>",
                  webhook_secrets as "webhook_secrets: Json<Secrets>", timezone, enabled, enabled_at, paused_reason, delegation_id, execution_count, last_executed_at, version, terms_version, created_at,
                  updated_at
           from automation.rules where account_id = $1 and id = $2 and deleted_at is null for share"#,
        account_id,
        id,
    );
    row.fetch_optional(tx.connection()).await?.map(Rule::try_from).transpose()
}

/// Keeps rules from being locked for a change in this transaction.
pub(crate) async fn lock_keys(tx: &mut Tx, ids: &[Uuid]) -> Result<()> {
    let account_id = tx.tenant().account_id;
    let lock = sqlx::query!(
        "select from automation.rules where account_id = $1 and id = any($2) order by id for key share",
        account_id,
        ids,
    );
    lock.execute(tx.connection()).await?;
    Ok(())
}

/// A page of rules, newest first, and their total count: of one person if given, enabled or not if given.
pub(crate) async fn list(
    tx: &mut ReadTx,
    created_by: Option<Uuid>,
    enabled: Option<bool>,
    page: &Page,
) -> Result<(Vec<Rule>, i64)> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query_as!(
        Row,
        r#"select id, account_id, created_by, name, description, trigger_type,
                  trigger_conditions as "trigger_conditions: Json<Map<String, Value>>", actions as "actions: Json<Vec<Action>>",
                  webhook_secrets as "webhook_secrets: Json<Secrets>", timezone, enabled, enabled_at, paused_reason, delegation_id, execution_count, last_executed_at, version, terms_version, created_at,
                  updated_at
           from automation.rules
           where account_id = $1 and deleted_at is null and ($2::uuid is null or created_by = $2) and ($3::boolean is null or enabled = $3) and id < $4
           order by id desc limit $5 offset $6"#,
        account_id,
        created_by,
        enabled,
        page.before(),
        page.limit(),
        page.offset(),
    )
    .fetch_all(tx.connection())
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from automation.rules
           where account_id = $1 and deleted_at is null and ($2::uuid is null or created_by = $2) and ($3::boolean is null or enabled = $3)"#,
        account_id,
        created_by,
        enabled,
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((rows.into_iter().map(Rule::try_from).collect::<Result<_>>()?, total))
}

/// Saves the changeable fields of a locked rule.
pub(crate) async fn save(tx: &mut Tx, rule: &Rule) -> Result<()> {
    let account_id = tx.tenant().account_id;
    let (actions, secrets) = split(&rule.terms.actions);
    sqlx::query!(
        "update automation.rules
         set created_by = $15, webhook_secrets = $17, name = $3, description = $4, trigger_type = $5, trigger_conditions = $6, actions = $7, timezone = $8, enabled = $9,
             enabled_at = $14, paused_reason = $10, delegation_id = $11, version = $12, terms_version = $16, updated_at = $13,
             refused_in_a_row = case when $9 and not enabled then 0 else refused_in_a_row end
         where account_id = $1 and id = $2",
        account_id,
        rule.id,
        rule.name,
        rule.description,
        rule.terms.trigger_type.name(),
        Json(&rule.terms.trigger_conditions) as _,
        Json(&actions) as _,
        rule.terms.timezone,
        rule.enabled,
        rule.paused_reason.map(PausedReason::name),
        rule.delegation_id,
        rule.version,
        rule.updated_at,
        rule.enabled_at,
        rule.created_by,
        rule.terms_version,
        Json(&secrets) as _,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Marks a locked rule as deleted: nobody finds it any more.
pub(crate) async fn delete(tx: &mut Tx, id: Uuid, now: DateTime<Utc>) -> Result<()> {
    let account_id = tx.tenant().account_id;
    let update = sqlx::query!(
        "update automation.rules set enabled = false, delegation_id = null, deleted_at = $3 where account_id = $1 and id = $2",
        account_id,
        id,
        now,
    );
    update.execute(tx.connection()).await?;
    Ok(())
}

/// Changes whenever an enabled rule of the account does: a number for the set of its enabled rules and their versions.
pub(crate) async fn stamp(connection: &mut PgConnection, account_id: Uuid) -> Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"select count(*) as "count!",
                  coalesce(bit_xor(hashtextextended(id::text || ':' || version, 0)), 0) as "digest!"
           from automation.rules where account_id = $1 and enabled"#,
        account_id,
    );
    let row = row.fetch_one(connection).await?;
    Ok((row.count, row.digest))
}

/// The enabled rules of the account, oldest first.
pub(crate) async fn enabled(connection: &mut PgConnection, account_id: Uuid) -> Result<Vec<Rule>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, account_id, created_by, name, description, trigger_type,
                  trigger_conditions as "trigger_conditions: Json<Map<String, Value>>", actions as "actions: Json<Vec<Action>>",
                  webhook_secrets as "webhook_secrets: Json<Secrets>", timezone, enabled, enabled_at, paused_reason, delegation_id, execution_count, last_executed_at, version, terms_version, created_at,
                  updated_at
           from automation.rules where account_id = $1 and enabled order by id"#,
        account_id,
    );
    rows.fetch_all(connection).await?.into_iter().map(Rule::try_from).collect()
}

/// The enabled ones of these rules.
pub(crate) async fn enabled_among(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Rule>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query_as!(
        Row,
        r#"select id, account_id, created_by, name, description, trigger_type,
                  trigger_conditions as "trigger_conditions: Json<Map<String, Value>>", actions as "actions: Json<Vec<Action>>",
                  webhook_secrets as "webhook_secrets: Json<Secrets>", timezone, enabled, enabled_at, paused_reason, delegation_id, execution_count, last_executed_at, version, terms_version, created_at,
                  updated_at
           from automation.rules where account_id = $1 and id = any($2) and enabled order by id"#,
        account_id,
        ids,
    );
    rows.fetch_all(tx.connection()).await?.into_iter().map(Rule::try_from).collect()
}

/// Locks the rules that act for a person.
pub(crate) async fn lock_of_person(tx: &mut Tx, user_id: Uuid) -> Result<Vec<Rule>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query_as!(
        Row,
        r#"select id, account_id, created_by, name, description, trigger_type,
                  trigger_conditions as "trigger_conditions: Json<Map<String, Value>>", actions as "actions: Json<Vec<Action>>",
                  webhook_secrets as "webhook_secrets: Json<Secrets>", timezone, enabled, enabled_at, paused_reason, delegation_id, execution_count, last_executed_at, version,
                  terms_version, created_at, updated_at
           from automation.rules where account_id = $1 and created_by = $2 and deleted_at is null order by id for update"#,
        account_id,
        user_id,
    );
    rows.fetch_all(tx.connection()).await?.into_iter().map(Rule::try_from).collect()
}

/// Locks the rules that act by a grant.
pub(crate) async fn lock_of_grant(tx: &mut Tx, delegation_id: Uuid) -> Result<Vec<Rule>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query_as!(
        Row,
        r#"select id, account_id, created_by, name, description, trigger_type,
                  trigger_conditions as "trigger_conditions: Json<Map<String, Value>>", actions as "actions: Json<Vec<Action>>",
                  webhook_secrets as "webhook_secrets: Json<Secrets>", timezone, enabled, enabled_at, paused_reason, delegation_id, execution_count, last_executed_at, version,
                  terms_version, created_at, updated_at
           from automation.rules where account_id = $1 and delegation_id = $2 and deleted_at is null order by id for update"#,
        account_id,
        delegation_id,
    );
    rows.fetch_all(tx.connection()).await?.into_iter().map(Rule::try_from).collect()
}

/// Counts an execution that begins.
pub(crate) async fn count_execution(tx: &mut Tx, id: Uuid, now: DateTime<Utc>) -> Result<()> {
    let account_id = tx.tenant().account_id;
    let update = sqlx::query!(
        "update automation.rules set execution_count = execution_count + 1, last_executed_at = greatest(last_executed_at, $3)
         where account_id = $1 and id = $2",
        account_id,
        id,
        now,
    );
    update.execute(tx.connection()).await?;
    Ok(())
}

/// Counts a refused execution, or forgets them after another one. Returns whether that is one too many.
pub(crate) async fn count_refusal(tx: &mut Tx, id: Uuid, refused: bool) -> Result<bool> {
    let account_id = tx.tenant().account_id;
    let count = sqlx::query_scalar!(
        "update automation.rules set refused_in_a_row = case when $3 then refused_in_a_row + 1 else 0 end
         where account_id = $1 and id = $2 and ($3 or refused_in_a_row > 0) returning refused_in_a_row",
        account_id,
        id,
        refused,
    );
    let count = count.fetch_optional(tx.connection()).await?;
    Ok(count.is_some_and(|count| count >= MAX_REFUSED_IN_A_ROW))
}
