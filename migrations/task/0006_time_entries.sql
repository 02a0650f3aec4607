-- How long people worked on tasks, and how long those lay aside. Every statement that writes here holds the lock of the
-- task's row, so a task's intervals and its `actual_seconds` change together.

-- Trusted: the owner of a database may create it. It lets one constraint compare ids and intervals.
create extension if not exists btree_gist;

create table time_entries (
    id         uuid primary key,
    account_id uuid not null,
    task_id    uuid not null,
    -- Whose time it is.
    user_id    uuid not null,
    kind       text not null constraint time_entries_kind check (kind in ('working', 'paused')),
    source     text not null constraint time_entries_source check (source in ('timer', 'manual')),
    started_at timestamptz not null,
    -- Null while it runs.
    ended_at   timestamptz,
    note       text not null default '',
    created_by uuid not null,
    version    integer not null default 1 constraint time_entries_version check (version >= 1),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint time_entries_task foreign key (account_id, task_id) references tasks (account_id, id) on delete cascade,
    -- A clock that was set back makes an interval of the timer empty, and none negative.
    constraint time_entries_length check (ended_at >= started_at),
    -- What people enter is work that is over.
    constraint time_entries_manual check (source = 'timer' or (kind = 'working' and ended_at > started_at)),
    -- Half open, as `tstzrange` is by itself; one that runs has no end.
    constraint time_entries_overlap exclude using gist (
        task_id with =, user_id with =, tstzrange(started_at, ended_at) with &&
    ) where (kind = 'working')
);
-- A task works or lies aside, and does so once.
create unique index time_entries_running on time_entries (account_id, task_id) where ended_at is null;
create index time_entries_of_task on time_entries (account_id, task_id, started_at, id);
create index time_entries_of_user on time_entries (account_id, user_id, started_at, id) where kind = 'working';

-- What people did to intervals by hand, only ever added.
create table time_corrections (
    id             uuid primary key,
    account_id     uuid not null,
    task_id        uuid not null,
    -- The version that it made of the task: the line of the timeline that belongs to it.
    task_version   integer not null,
    time_entry_id  uuid not null,
    user_id        uuid not null,
    action         text not null constraint time_corrections_action check (action in ('created', 'updated', 'deleted')),
    actor_id       uuid not null,
    occurred_at    timestamptz not null,
    old_started_at timestamptz,
    old_ended_at   timestamptz,
    new_started_at timestamptz,
    new_ended_at   timestamptz,
    -- Those of the task after it.
    actual_seconds integer not null,
    constraint time_corrections_task foreign key (account_id, task_id) references tasks (account_id, id) on delete cascade,
    constraint time_corrections_line unique (account_id, task_id, task_version),
    constraint time_corrections_old check ((action = 'created') = (old_started_at is null and old_ended_at is null)),
    constraint time_corrections_new check ((action = 'deleted') = (new_started_at is null and new_ended_at is null))
);

-- What the timer did before, from the timelines: the owner of the schema is bound by row-level security as well, but for
-- this. An interval of work is as long as what it added to the task's seconds.
alter table tasks no force row level security;
alter table task_events no force row level security;
with seconds as (
    select task_id, version, actor_id, occurred_at, changes ->> 'status' as status,
           (changes ->> 'assigned_to')::uuid as holder,
           -- What a line does not say is as the line before left it.
           max((changes ->> 'actual_seconds')::integer) over (partition by task_id order by version) as actual
    from task_events
), lines as (
    select *, lead(occurred_at) over task as until,
           coalesce(lead(actual) over task, actual, 0) - coalesce(actual, 0) as worked
    from seconds where status is not null
    window task as (partition by task_id order by version)
)
insert into time_entries (id, account_id, task_id, user_id, kind, source, started_at, ended_at, created_by, created_at,
                          updated_at)
select gen_random_uuid(), task.account_id, task.id, coalesce(line.holder, line.actor_id),
       case line.status when 'in_progress' then 'working' else 'paused' end, 'timer', span.started_at, span.ended_at,
       line.actor_id, span.started_at, coalesce(span.ended_at, span.started_at)
from lines line
join tasks task on task.id = line.task_id,
lateral (
    select case when line.status = 'in_progress' and line.until is null then coalesce(task.running_since, line.occurred_at)
                else line.occurred_at end as started_at,
           case when line.until is null then null
                when line.status = 'in_progress' then line.occurred_at + line.worked * interval '1 second'
                else greatest(line.until, line.occurred_at) end as ended_at
) span
where line.status in ('in_progress', 'paused')
-- A clock that was set back may have left intervals that overlap.
on conflict do nothing;
alter table tasks force row level security;
alter table task_events force row level security;

call protect_tenant_table('time_entries');
call protect_tenant_table('time_corrections');

do $$
begin
    execute format('revoke update, delete on time_corrections from %I', 'baton_' || current_schema);
end $$;
