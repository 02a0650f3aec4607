-- Times at which rules run (crates/store/src/timers.rs): when a state of a task has lasted, before the due time of a task, and the
-- next time of a schedule.
create table timers (
    id         uuid primary key,
    account_id uuid not null,
    rule_id    uuid not null constraint timers_rule references rules (id) on delete cascade,
    -- Null for a schedule.
    task_id    uuid,
    kind       text not null constraint timers_kind check (kind in ('status', 'assignee', 'due', 'schedule')),
    -- What has to last: leaving it cancels the timer.
    status     text,
    assignee   uuid,
    -- The due time of the task.
    due_at     timestamptz,
    -- Since when it lasts; when the timer of a schedule was set.
    since      timestamptz not null,
    fires_at   timestamptz not null,
    try_at     timestamptz not null,
    fired_at   timestamptz,
    -- What makes the rule run: ids and states.
    occurrence jsonb not null,
    constraint timers_state check ((kind = 'status') = (status is not null) and (kind = 'assignee') = (assignee is not null)
                                   and (kind = 'due') = (due_at is not null) and (kind = 'schedule') = (task_id is null))
);
-- An event is taken in once, but a job that sets timers may be repeated.
create unique index timers_once on timers (account_id, rule_id, task_id, since) where due_at is null;
-- A due time is announced once.
create unique index timers_due on timers (account_id, rule_id, task_id, due_at) where due_at is not null;
-- A schedule has one next time.
create unique index timers_next on timers (rule_id) where kind = 'schedule' and fired_at is null;
create index timers_of_rule on timers (rule_id);
create index timers_waiting on timers (try_at) where fired_at is null;
create index timers_of_task on timers (account_id, task_id) where fired_at is null;
create index timers_fired on timers (fired_at) where fired_at is not null;
create index timers_of_assignee on timers (assignee, id) where assignee is not null;
call protect_tenant_table('timers');
