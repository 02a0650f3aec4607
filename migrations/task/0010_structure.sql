-- What waits for what. With the account in both keys, no task ever waits for another tenant's.
create table task_dependencies (
    account_id uuid not null,
    -- The task that waits.
    task_id    uuid not null,
    -- What it waits for.
    blocked_by uuid not null,
    created_at timestamptz not null,
    primary key (account_id, task_id, blocked_by),
    constraint task_dependencies_task foreign key (account_id, task_id) references tasks (account_id, id)
        on delete cascade,
    constraint task_dependencies_blocker foreign key (account_id, blocked_by) references tasks (account_id, id)
        on delete cascade,
    constraint task_dependencies_is_another check (task_id <> blocked_by)
);
create index task_dependencies_of_blocker on task_dependencies (account_id, blocked_by);
call protect_tenant_table('task_dependencies');

-- What the account wants noted in `custom_fields` of its tasks, and in which form.
create table custom_fields (
    id         uuid primary key,
    account_id uuid not null,
    key        text not null,
    name       text not null,
    type       text not null constraint custom_fields_type check (type in (
        'text', 'number', 'date', 'checkbox', 'select', 'multi_select', 'person', 'url'
    )),
    -- What can be selected, in the order to show: [{"id": "high", "name": "High"}].
    options    jsonb not null,
    required   boolean not null,
    version    integer not null constraint custom_fields_version check (version >= 1),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint custom_fields_key unique (account_id, key)
);
call protect_tenant_table('custom_fields');

-- What stands around a task and is not in its row: what its parts come to, as far as `most` of those that lie nearest
-- and no deeper than `levels` are counted, and whether it waits for an open task. Of what was given up or deleted
-- nobody looks below. Put into the statements that ask for it, and so bound by their caller's row-level security.
create function task_around(account uuid, root uuid, at timestamptz, levels integer, most bigint)
    returns table (parts integer, parts_completed integer, parts_estimated integer, parts_actual integer, blocked boolean)
    language sql stable as $$
    with recursive below as (
        select id, completed_at, estimated_seconds, actual_seconds, running_since, 2 as level
        from task.tasks
        where account_id = account and parent_task_id = root and deleted_at is null and canceled_at is null
        union all
        select part.id, part.completed_at, part.estimated_seconds, part.actual_seconds, part.running_since, below.level + 1
        from below join task.tasks part on part.account_id = account and part.parent_task_id = below.id
        where below.level < levels and part.deleted_at is null and part.canceled_at is null
    )
    select count(*)::integer, count(completed_at)::integer,
           least(coalesce(sum(estimated_seconds), 0), 2147483647)::integer,
           least(coalesce(sum(actual_seconds + coalesce(
               greatest(floor(extract(epoch from at - running_since))::bigint, 0), 0)), 0), 2147483647)::integer,
           exists (
               select from task.task_dependencies link
               join task.tasks blocker on blocker.account_id = account and blocker.id = link.blocked_by
               where link.account_id = account and link.task_id = root and blocker.deleted_at is null
                 and blocker.status in ('pending', 'in_progress', 'paused')
           )
    from (select * from below limit most) nearest
$$;
