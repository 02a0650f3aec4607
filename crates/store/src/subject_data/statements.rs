//! The parts of the statements that find and select the rows of a person, by the catalogue.

use std::collections::{HashMap, HashSet};

use super::Pass;
use crate::personal_data::{Class, Export, PersonalData, SubjectId, Table};

/// What is selected: what the catalogue exports, ids of other people, and what says nothing about anybody.
pub(super) fn selected(
    schema: &str,
    (name, table): (&str, &Table),
    data: &PersonalData,
    types: &HashMap<(String, String), String>,
) -> String {
    let several = table.subjects.len() > 1;
    let columns = table.columns.iter().filter_map(|(column, line)| {
        let of_type = types.get(&(name.to_owned(), column.clone())).map_or("", String::as_str);
        if of_type == "bytea" {
            return None;
        }
        let is_id = line.class == Class::Identifier && of_type == "uuid";
        let needs_membership = line.export == Some(Export::Member);
        if line.class == Class::None || line.is_exported() && !needs_membership && (is_id || !several) {
            return Some(format!("own.{column}"));
        }
        let subject = line.subject.as_ref().and_then(|subject| table.subjects.get(subject))?;
        let mut condition = condition(schema, table, subject, data)?;
        if needs_membership {
            condition += " and own.account_id = any($2)";
        }
        line.is_exported().then(|| format!("case when {condition} then own.{column} end as {column}"))
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// The rows that are about the person $1 as this subject; `None` if no statement can tell.
pub(super) fn condition(schema: &str, own: &Table, subject: &SubjectId, data: &PersonalData) -> Option<String> {
    match subject {
        SubjectId::Column(column) => Some(format!("own.{column} = $1")),
        SubjectId::Through { through, table, key, column, only } => {
            let only = only.as_ref().map(|only| format!(" and {only}")).unwrap_or_default();
            // The indexes of tenant tables begin with the account.
            let in_accounts = own.has_account() && data.tables.get(table).is_some_and(Table::has_account);
            let (found, keys) = if in_accounts {
                (format!("(own.account_id, own.{through})"), format!("account_id, {key}"))
            } else {
                (format!("own.{through}"), key.clone())
            };
            Some(format!("{found} in (select {keys} from {schema}.{table} where {column} = $1{only})"))
        }
        SubjectId::Within { .. } => None,
    }
}

/// `found_by`: tables and columns that an index begins with.
pub(super) fn passes(
    schema: &str,
    table: &Table,
    name: &str,
    data: &PersonalData,
    found_by: &HashSet<(String, String)>,
) -> Vec<Pass> {
    let is_exported =
        |subject: &str| table.columns.values().any(|it| it.is_exported() && it.subject.as_deref() == Some(subject));
    let mut passes: Vec<Pass> = Vec::new();
    let mut before: Vec<String> = Vec::new();
    for (_, subject) in table.subjects.iter().filter(|(subject, _)| is_exported(subject)) {
        let Some(mut found) = condition(schema, table, subject, data) else { continue };
        let own = found.clone();
        for earlier in &before {
            found += &format!(" and ({earlier}) is not true");
        }
        before.push(own);
        let accounts = accounts_of_subject(schema, (name, table), subject, data, found_by);
        passes.push(Pass { condition: found, accounts });
    }
    passes
}

/// How to find the accounts in which a table has rows of a subject, where no index begins with the subject.
pub(super) fn accounts_of_subject(
    schema: &str,
    (name, table): (&str, &Table),
    subject: &SubjectId,
    data: &PersonalData,
    found_by: &HashSet<(String, String)>,
) -> Option<String> {
    let (driving, column) = match subject {
        SubjectId::Through { table, column, .. } => (table.as_str(), column),
        SubjectId::Column(column) | SubjectId::Within { within: column } => (name, column),
    };
    let is_of_account = |table: &str| data.tables.get(table).is_some_and(Table::has_account);
    let is_found = found_by.contains(&(driving.to_owned(), column.clone()));
    let by_account = !is_found && table.has_account() && is_of_account(driving);
    by_account.then(|| accounts_of_person(schema, driving, column))
}

/// The accounts in which a table has rows of the person $1: an index probe for each account, since the indexes of tenant
/// tables begin with the account.
fn accounts_of_person(schema: &str, table: &str, column: &str) -> String {
    format!(
        "with recursive accounts (id) as (
             (select account_id from {schema}.{table} order by account_id limit 1)
             union all
             select (select account_id from {schema}.{table} where account_id > accounts.id order by account_id limit 1)
             from accounts where accounts.id is not null)
         select id from accounts
         where id is not null and exists (select from {schema}.{table} where account_id = accounts.id and {column} = $1)"
    )
}
