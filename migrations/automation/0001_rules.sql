-- Rules that act for people, and the history of what they did.

create table rules (
    -- UUIDv7: newest first is by id.
    id                 uuid primary key,
    account_id         uuid not null,
    -- With whose rights it acts.
    created_by         uuid not null,
    name               text not null constraint rules_name check (char_length(name) between 1 and 120),
    description        text not null constraint rules_description check (char_length(description) <= 2000),
    trigger_type       text not null,
    trigger_conditions jsonb not null,
    actions            jsonb not null,
    timezone           text not null,
    enabled            boolean not null,
    -- Events before that do not run it.
    enabled_at         timestamptz not null,
    paused_reason      text constraint rules_paused_reason check (paused_reason in ('creator_left', 'refused', 'loop_suspected')),
    -- The grant of auth by which the service acts; null when it has ended.
    delegation_id      uuid,
    refused_in_a_row   integer not null default 0,
    execution_count    integer not null default 0,
    last_executed_at   timestamptz,
    version            integer not null,
    -- Grows with every change of what it does, or for whom: executions that have begun before that end.
    terms_version      integer not null,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,
    -- A deleted rule is not there for anybody; a job deletes its executions, which may be many, and then the row.
    deleted_at         timestamptz,
    constraint rules_enabled check (not enabled or paused_reason is null and delegation_id is not null and deleted_at is null)
);
create index rules_of_account on rules (account_id, id desc) where deleted_at is null;
create index rules_of_creator on rules (account_id, created_by, id desc);
create index rules_of_person on rules (created_by, id);
-- Covers the question whether the enabled rules of an account have changed.
create index rules_enabled on rules (account_id) include (id, version) where enabled;
create index rules_of_delegation on rules (account_id, delegation_id) where delegation_id is not null;
call protect_tenant_table('rules');

create table executions (
    -- UUIDv7: newest first is by id.
    id           uuid primary key,
    account_id   uuid not null,
    rule_id      uuid not null constraint executions_rule references rules (id) on delete cascade,
    -- With whose rights it acts.
    created_by   uuid not null,
    terms_version integer not null,
    event_id     uuid not null,
    event_type   text not null,
    task_id      uuid,
    status       text not null constraint executions_status
                     check (status in ('running', 'succeeded', 'failed', 'partly', 'refused', 'skipped', 'canceled')),
    reason       text,
    depth        integer not null,
    late         boolean not null,
    -- What made it run, for a repetition: ids and states.
    occurrence   jsonb not null,
    -- Type, outcome, reason and task of each action.
    actions      jsonb not null,
    -- The calls of the action that is under way, decided before the first of them; null otherwise.
    plan         jsonb,
    -- Until when a call may be under way, by the clock of the database; null when none is.
    acting_until timestamptz,
    -- Number of claims by workers, as a fencing token: only the worker with the last claim changes it.
    claims       integer not null default 1,
    -- Number of repetitions that were asked for.
    repetitions  integer not null default 0,
    occurred_at  timestamptz not null,
    created_at   timestamptz not null,
    -- Of the last repetition.
    started_at   timestamptz not null,
    ended_at     timestamptz,
    -- An event runs a rule once.
    constraint executions_event unique (account_id, rule_id, event_id),
    constraint executions_end check ((ended_at is null) = (status = 'running')),
    constraint executions_plan check (plan is null or ended_at is null)
);
create index executions_of_rule on executions (account_id, rule_id, id desc);
create index executions_of_status on executions (account_id, rule_id, status, id desc);
create index executions_running on executions (account_id, rule_id, id) where ended_at is null;
create index executions_unfinished on executions (started_at) where ended_at is null;
create index executions_of_task on executions (account_id, task_id, id desc) where task_id is not null;
create index executions_recent on executions (rule_id, task_id, started_at);
create index executions_of_creator on executions (account_id, created_by, id);
create index executions_of_person on executions (created_by, id);
create index executions_by_age on executions (created_at);
call protect_tenant_table('executions');

-- Where an account's next work stands in the queue: work of accounts with little of it goes first. And its executions in this
-- hour, for the limit of its tier.
create table accounts (
    account_id uuid primary key,
    next_slot  timestamptz not null default '-infinity',
    hour       timestamptz not null default '-infinity',
    executions integer not null default 0
);
call protect_tenant_table('accounts');

-- The serving role deletes nothing.
do $$
begin
    execute format('revoke delete on rules, executions, accounts from %I', 'baton_' || current_schema);
end $$;
