-- Tasks, and what happened to them.

create table tasks (
    id                uuid primary key,
    account_id        uuid not null,
    title             text not null,
    description       text not null,
    status            text not null,
    -- 1 low to 4 urgent: sorts as people mean it.
    priority          smallint not null,
    visibility        text not null,
    due_at            timestamptz,
    tags              text[] not null,
    custom_fields     jsonb not null,
    parent_task_id    uuid,
    created_by        uuid not null,
    assigned_to       uuid,
    -- Who handed it to the holder; null when the holder took it themselves.
    assigned_by       uuid,
    -- When the holder accepted it; null while they have not.
    accepted_at       timestamptz,
    estimated_seconds integer,
    -- Time worked in stretches that are over; the running one began at `running_since`.
    actual_seconds    integer not null,
    running_since     timestamptz,
    pause_reason      text,
    version           integer not null,
    created_at        timestamptz not null,
    updated_at        timestamptz not null,
    started_at        timestamptz,
    completed_at      timestamptz,
    -- Deleted tasks stay for their timeline; to callers they are gone.
    deleted_at        timestamptz,
    -- What the account in foreign keys refers to.
    constraint tasks_of_account unique (account_id, id),
    -- With the account in it, no task is ever part of another tenant's.
    constraint tasks_parent foreign key (account_id, parent_task_id) references tasks (account_id, id),
    constraint tasks_parent_is_another check (parent_task_id <> id),
    constraint tasks_status check (status in ('pending', 'in_progress', 'paused', 'completed')),
    constraint tasks_priority check (priority between 1 and 4),
    constraint tasks_visibility check (visibility in ('private', 'team', 'account')),
    constraint tasks_version check (version >= 1),
    constraint tasks_time check (actual_seconds >= 0 and estimated_seconds >= 0),
    -- Time runs while the task is in progress, and only then.
    constraint tasks_running check ((status = 'in_progress') = (running_since is not null)),
    constraint tasks_completed check ((status = 'completed') = (completed_at is not null)),
    -- Nobody holds it, or the holder accepted it, or somebody waits for that.
    constraint tasks_holder check (
        case when assigned_to is null then assigned_by is null and accepted_at is null
             else accepted_at is not null or assigned_by is not null end
    )
);

-- One index per sort. Each ends in the id, which breaks ties, and serves both directions. Tasks without a
-- due time come last in both, so that sort has an index for each.
create index tasks_by_created on tasks (account_id, created_at, id) where deleted_at is null;
create index tasks_by_updated on tasks (account_id, updated_at, id) where deleted_at is null;
create index tasks_by_due on tasks (account_id, due_at, id) where deleted_at is null;
create index tasks_by_due_desc on tasks (account_id, due_at desc nulls last, id desc) where deleted_at is null;
create index tasks_by_priority on tasks (account_id, priority, id) where deleted_at is null;
-- Boards and filters. Tags and search have none: their operators are not leakproof, so under row-level
-- security Postgres applies them only to rows that the account's index has found already.
create index tasks_of_holder on tasks (account_id, assigned_to, status) where deleted_at is null;
create index tasks_of_creator on tasks (account_id, created_by) where deleted_at is null;
create index tasks_of_status on tasks (account_id, status) where deleted_at is null;
create index tasks_of_parent on tasks (account_id, parent_task_id) where parent_task_id is not null;

-- What happened to tasks: one row per version, only ever added.
create table task_events (
    id          uuid primary key,
    account_id  uuid not null,
    task_id     uuid not null,
    version     integer not null,
    kind        text not null constraint task_events_kind check (kind in (
        'created', 'updated', 'deleted', 'started', 'paused', 'resumed', 'completed',
        'assigned', 'reassigned', 'accepted', 'rejected'
    )),
    actor_id    uuid not null,
    occurred_at timestamptz not null,
    -- Names of the fields that changed, and their new values.
    changes     jsonb not null,
    reason      text,
    constraint task_events_version unique (task_id, version),
    constraint task_events_task foreign key (account_id, task_id) references tasks (account_id, id) on delete cascade
);

call protect_tenant_table('tasks');
call protect_tenant_table('task_events');

-- Calls delete by marking, and never rewrite what happened.
do $$
begin
    execute format('revoke delete on tasks from %I', 'baton_' || current_schema);
    execute format('revoke update, delete on task_events from %I', 'baton_' || current_schema);
end $$;
