-- Through whose hands tasks go, and what tells whose hands have room for more.

-- One row for a task's time in one pair of hands.
create table task_assignments (
    id               uuid primary key,
    account_id       uuid not null,
    task_id          uuid not null,
    -- The version of the task that they got.
    version          integer not null,
    assigned_to      uuid not null,
    -- Who put it into their hands.
    assigned_by      uuid not null,
    how              text not null constraint task_assignments_how check (how in (
        'assigned', 'reassigned', 'delegated', 'handed_over', 'self', 'returned'
    )),
    assigned_at      timestamptz not null,
    accepted_at      timestamptz,
    rejected_at      timestamptz,
    rejection_reason text,
    -- Null for who holds it.
    ended_at         timestamptz,
    constraint task_assignments_version unique (account_id, task_id, version),
    constraint task_assignments_task foreign key (account_id, task_id) references tasks (account_id, id) on delete cascade,
    -- What is rejected is given back, and was not accepted before.
    constraint task_assignments_rejected check (
        rejected_at is null or (rejected_at = ended_at and accepted_at is null)
    ),
    constraint task_assignments_reason check (rejection_reason is null or rejected_at is not null)
);
-- A task is in one pair of hands at a time.
create unique index task_assignments_one_holder on task_assignments (account_id, task_id) where ended_at is null;

call protect_tenant_table('task_assignments');

-- They go with their task, and not before.
do $$
begin
    execute format('revoke delete on task_assignments from %I', 'baton_' || current_schema);
end $$;

-- Those that are there, as the last line about hands in their timelines has it. The owner of the schema is bound
-- by row-level security as well, but for this.
alter table tasks no force row level security;
alter table task_events no force row level security;
alter table task_assignments no force row level security;
insert into task_assignments (id, account_id, task_id, version, assigned_to, assigned_by, how, assigned_at, accepted_at)
select e.id, t.account_id, t.id, e.version, t.assigned_to, e.actor_id,
       case when e.kind = 'rejected' then 'returned'
            when e.kind = 'reassigned' then 'reassigned'
            when e.actor_id = t.assigned_to then 'self'
            else 'assigned' end,
       e.occurred_at, t.accepted_at
from tasks t
cross join lateral (
    select id, version, actor_id, kind, occurred_at from task_events
    where account_id = t.account_id and task_id = t.id and changes ? 'assigned_to'
    order by version desc limit 1
) e
where t.assigned_to is not null;
alter table tasks force row level security;
alter table task_events force row level security;
alter table task_assignments force row level security;

-- What the caller handed to others.
create index tasks_of_giver on tasks (account_id, assigned_by, created_at, id)
    where assigned_by is not null and deleted_at is null;
-- How much work people hold, and their latest work that was estimated: both are answered from the index alone.
create index tasks_workload on tasks (account_id, assigned_to) include (due_at, estimated_seconds, actual_seconds)
    where status in ('pending', 'in_progress', 'paused') and deleted_at is null;
create index tasks_pace on tasks (account_id, assigned_to, completed_at) include (actual_seconds, estimated_seconds)
    where completed_at is not null and estimated_seconds > 0 and actual_seconds > 0 and deleted_at is null;
