-- Tasks that are archived or canceled, the trash, time travel, and what recurrence, manual order and the history of
-- hand-overs keep with a task.
alter table tasks
    add column archived_at         timestamptz,
    add column canceled_at         timestamptz,
    -- How often it was taken from one person and given to another.
    add column reassignment_count  integer not null default 0,
    -- Its place in the manual order, compared byte by byte.
    add column rank                text collate "C",
    -- When it comes again (RFC 5545), read in this timezone, and the series that it is an instance of.
    add column recurrence_rule     text,
    add column recurrence_timezone text,
    add column series_id           uuid,
    add constraint tasks_reassignments check (reassignment_count >= 0);

alter table tasks drop constraint tasks_status;
alter table tasks add constraint tasks_status check (
    status in ('pending', 'in_progress', 'paused', 'completed', 'archived', 'canceled')
);
-- A task that was archived keeps how it had ended: completed or canceled, one of both.
alter table tasks drop constraint tasks_completed;
alter table tasks add constraint tasks_completed check (
    case status when 'archived' then (completed_at is null) <> (canceled_at is null)
                else (status = 'completed') = (completed_at is not null) end
);
alter table tasks add constraint tasks_canceled check (
    status = 'archived' or (status = 'canceled') = (canceled_at is not null)
);
alter table tasks add constraint tasks_archived check ((status = 'archived') = (archived_at is not null));

alter table task_events drop constraint task_events_kind;
alter table task_events add constraint task_events_kind check (kind in (
    'created', 'updated', 'deleted', 'started', 'paused', 'resumed', 'completed',
    'assigned', 'reassigned', 'accepted', 'rejected',
    'archived', 'canceled', 'reopened', 'restored', 'moved', 'time_corrected'
));
-- What pauses a task besides its worker says so in the timeline from now on: the log alone tells the task then.
-- The owner of the schema is bound by row-level security as well, but for this.
alter table task_events no force row level security;
update task_events set reason = 'handed over'
where reason is null and kind in ('assigned', 'reassigned') and changes ->> 'status' = 'paused';
alter table task_events force row level security;

-- A task as it was at every fiftieth version: long histories are read from the nearest one. Made from the log, and
-- can be made again.
create table task_snapshots (
    account_id uuid not null,
    task_id    uuid not null,
    version    integer not null,
    taken_at   timestamptz not null,
    -- Names and values of its fields, as `task_events.changes` has them.
    state      jsonb not null,
    primary key (account_id, task_id, version),
    constraint task_snapshots_task foreign key (account_id, task_id) references tasks (account_id, id) on delete cascade
);
call protect_tenant_table('task_snapshots');

-- What is open: counted for the quota, and found when a member leaves.
drop index tasks_open_of_creator;
create index tasks_open_of_creator on tasks (account_id, created_by)
    where status in ('pending', 'in_progress', 'paused') and deleted_at is null;
-- Whose time runs: the worker's.
create index tasks_running on tasks (account_id, (coalesce(assigned_to, created_by)))
    where status = 'in_progress' and deleted_at is null;
-- The trash of an account, of a creator, and what has been in one long enough.
create index tasks_trash on tasks (account_id, deleted_at, id) where deleted_at is not null;
create index tasks_trash_of_creator on tasks (account_id, created_by, deleted_at, id) where deleted_at is not null;
create index tasks_trash_by_age on tasks (deleted_at, id) where deleted_at is not null;
