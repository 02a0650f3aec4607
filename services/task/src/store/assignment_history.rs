//! SQL of the assignment history.

use baton_errors::Result;
use baton_store::{Page, ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::assignment_history::{Assignment, AssignmentChange, AssignmentOrigin, PreviousAssignment};

/// Writes the assignment changes of locked tasks, at most one per task, in the transaction that stores the tasks.
pub(super) async fn record(tx: &mut Tx, changes: Vec<AssignmentChange>) -> Result<()> {
    let (mut previous, mut new) = (Vec::new(), Vec::new());
    for change in changes {
        let at = (change.task_id, change.version, change.at);
        previous.extend(change.previous.map(|previous| (at, previous)));
        new.extend(change.new.map(|new| (at, new)));
    }
    let account_id = tx.tenant().account_id;
    if !previous.is_empty() {
        let tasks: Vec<Uuid> = previous.iter().map(|&((task, ..), _)| task).collect();
        let accepted: Vec<Option<DateTime<Utc>>> = previous
            .iter()
            .map(|(_, previous)| if let PreviousAssignment::Accepted(at) = previous { Some(*at) } else { None })
            .collect();
        let ended: Vec<Option<DateTime<Utc>>> = previous
            .iter()
            .map(|&((.., at), ref previous)| (!matches!(previous, PreviousAssignment::Accepted(_))).then_some(at))
            .collect();
        let rejected: Vec<bool> =
            previous.iter().map(|(_, previous)| matches!(previous, PreviousAssignment::Rejected(_))).collect();
        let reasons: Vec<Option<String>> = previous
            .into_iter()
            .map(|(_, previous)| if let PreviousAssignment::Rejected(reason) = previous { reason } else { None })
            .collect();
        sqlx::query!(
            "update task.task_assignments a set
                 accepted_at = coalesce(a.accepted_at, n.accepted_at), ended_at = n.ended_at,
                 rejected_at = case when n.rejected then n.ended_at end, rejection_reason = n.reason
             from unnest($2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::boolean[], $6::text[])
                  as n (task_id, accepted_at, ended_at, rejected, reason)
             where a.account_id = $1 and a.task_id = n.task_id and a.ended_at is null",
            account_id,
            &tasks,
            &accepted as &[Option<DateTime<Utc>>],
            &ended as &[Option<DateTime<Utc>>],
            &rejected,
            &reasons as &[Option<String>],
        )
        .execute(tx.connection())
        .await?;
    }
    if !new.is_empty() {
        let clock = tx.db().clock().clone();
        let ids: Vec<Uuid> = new.iter().map(|_| clock.new_id()).collect();
        let tasks: Vec<Uuid> = new.iter().map(|&((task, ..), _)| task).collect();
        let versions: Vec<i32> = new.iter().map(|&((_, version, _), _)| version).collect();
        let times: Vec<DateTime<Utc>> = new.iter().map(|&((.., at), _)| at).collect();
        let holders: Vec<Uuid> = new.iter().map(|(_, new)| new.assigned_to).collect();
        let assigners: Vec<Uuid> = new.iter().map(|(_, new)| new.assigned_by).collect();
        let origins: Vec<String> = new.iter().map(|(_, new)| new.origin.name().to_owned()).collect();
        let accepted: Vec<Option<DateTime<Utc>>> = new.iter().map(|(_, new)| new.accepted_at).collect();
        sqlx::query!(
            "insert into task.task_assignments
                 (id, account_id, task_id, version, assigned_to, assigned_by, how, assigned_at, accepted_at)
             select id, $1, task_id, version, assigned_to, assigned_by, how, assigned_at, accepted_at
             from unnest($2::uuid[], $3::uuid[], $4::integer[], $5::uuid[], $6::uuid[], $7::text[], $8::timestamptz[],
                         $9::timestamptz[])
                  as n (id, task_id, version, assigned_to, assigned_by, how, assigned_at, accepted_at)",
            account_id,
            &ids,
            &tasks,
            &versions,
            &holders,
            &assigners,
            &origins,
            &times,
            &accepted as &[Option<DateTime<Utc>>],
        )
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}

/// A page of a task's assignments, oldest first, and their total number.
pub(crate) async fn read(tx: &mut ReadTx, task_id: Uuid, page: &Page) -> Result<(Vec<Assignment>, i64)> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query!(
        "select id, version, assigned_to, assigned_by, how, assigned_at, accepted_at, rejected_at, rejection_reason,
                ended_at
         from task.task_assignments where account_id = $1 and task_id = $2 and version > $3
         order by version limit $4 offset $5",
        account_id,
        task_id,
        page.after_number()?,
        page.limit(),
        page.offset()
    )
    .fetch_all(tx.connection())
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from task.task_assignments where account_id = $1 and task_id = $2"#,
        account_id,
        task_id
    )
    .fetch_one(tx.connection())
    .await?;
    let assignments = rows.into_iter().map(|row| Assignment {
        id: row.id,
        version: row.version,
        assigned_to: row.assigned_to,
        assigned_by: row.assigned_by,
        origin: AssignmentOrigin::from_name(&row.how),
        assigned_at: row.assigned_at,
        accepted_at: row.accepted_at,
        rejected_at: row.rejected_at,
        rejection_reason: row.rejection_reason,
        ended_at: row.ended_at,
    });
    Ok((assignments.collect(), total))
}
