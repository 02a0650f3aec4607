-- States of tasks that have to last until a rule runs (crates/store/src/timers.rs).
create table timers (
    id         uuid primary key,
    account_id uuid not null,
    rule_id    uuid not null constraint timers_rule references rules (id) on delete cascade,
    task_id    uuid not null,
    kind       text not null constraint timers_kind check (kind in ('status', 'assignee')),
    -- What has to last: leaving it cancels the timer.
    status     text,
    assignee   uuid,
    -- Since when it lasts.
    since      timestamptz not null,
    fires_at   timestamptz not null,
    try_at     timestamptz not null,
    fired_at   timestamptz,
    -- What makes the rule run: ids and states.
    occurrence jsonb not null,
    -- An event is taken in once, but a job that sets timers may be repeated.
    constraint timers_once unique (account_id, rule_id, task_id, since),
    constraint timers_state check ((kind = 'status') = (status is not null) and (kind = 'assignee') = (assignee is not null))
);
create index timers_of_rule on timers (rule_id);
create index timers_waiting on timers (try_at) where fired_at is null;
create index timers_of_task on timers (account_id, task_id) where fired_at is null;
create index timers_fired on timers (fired_at) where fired_at is not null;
create index timers_of_assignee on timers (assignee, id) where assignee is not null;
call protect_tenant_table('timers');
