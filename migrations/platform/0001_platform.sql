-- What every schema has: outbox, inbox, jobs and idempotency keys. Applied to each service's schema, with
-- `search_path` set to it, before the service's own migrations. Roles are named after the schema:
-- `baton_<schema>` serves calls and is bound to one tenant at a time; `baton_<schema>_system` does the
-- work that crosses tenants. Neither owns anything.

do $$
declare
    app text := 'baton_' || current_schema;
    sys text := 'baton_' || current_schema || '_system';
begin
    execute format('grant usage on schema %I to %I, %I', current_schema, app, sys);
    execute format('alter default privileges in schema %I grant select, insert, update, delete on tables to %I, %I',
                   current_schema, app, sys);
    execute format('alter default privileges in schema %I grant usage on sequences to %I, %I',
                   current_schema, app, sys);
end $$;

-- Puts a table behind row-level security: the service sees the rows of the tenant that its transaction
-- names (`baton.account_id`), the system role sees all. The sub-select lets the planner read the setting
-- once per query instead of once per row.
create procedure protect_tenant_table(target regclass) language plpgsql as $$
declare
    app text := 'baton_' || current_schema;
    sys text := 'baton_' || current_schema || '_system';
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format('create policy tenant on %s to %I using (account_id = (select nullif(current_setting(''baton.account_id'', true), '''')::uuid))',
                   target, app);
    execute format('create policy system on %s to %I using (true)', target, sys);
end $$;

-- Events that this service has committed, on their way to the stream. Kept for a while after that, so
-- that a lost stream can be filled again.
create table outbox (
    position     bigint generated always as identity primary key,
    id           uuid not null unique,
    account_id   uuid,
    envelope     bytea not null,
    created_at   timestamptz not null default now(),
    published_at timestamptz,
    -- Number of the batch that it was published with.
    batch        bigint
);
create index outbox_unpublished on outbox (position) where published_at is null;
create index outbox_batch on outbox (batch) where batch is not null;
create index outbox_age on outbox (created_at);

-- One row: which relay publishes at present, and its last batch. The stream's server is left the mark and
-- the number of each batch beside the events: where the mark is missing or the number is lower than ours,
-- events have been lost, and those batches are published again.
create table relay (
    one          boolean primary key default true check (one),
    holder       uuid,
    held_until   timestamptz not null default '-infinity',
    mark         uuid not null default gen_random_uuid(),
    batch        bigint not null default 0
);
insert into relay default values;

-- Events of others that this service has handled.
create table inbox (
    event_id   uuid primary key,
    handled_at timestamptz not null default now()
);
create index inbox_age on inbox (handled_at);

-- Events that could not be handled after all retries.
create table dead_letters (
    event_id  uuid primary key,
    envelope  bytea not null,
    error     text not null,
    failed_at timestamptz not null default now()
);

-- Work to do after a commit, such as a mail to send. Payloads carry ids only.
create table jobs (
    id         uuid primary key,
    kind       text not null,
    payload    jsonb not null,
    attempts   integer not null default 0,
    run_at     timestamptz not null default now(),
    created_at timestamptz not null default now()
);
create index jobs_due on jobs (run_at);

-- Answers to requests that carried an Idempotency-Key, for a day.
create table idempotency_keys (
    account_id   uuid not null,
    user_id      uuid not null,
    rpc          text not null,
    key          text not null,
    request_hash bytea not null,
    response     bytea,
    created_at   timestamptz not null default now(),
    primary key (account_id, user_id, rpc, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);
call protect_tenant_table('idempotency_keys');

-- The serving role only adds to these two; reading and clearing them is the system role's work.
do $$
begin
    execute format('revoke select, update, delete on outbox, jobs from %I', 'baton_' || current_schema);
    execute format('revoke all on relay from %I', 'baton_' || current_schema);
end $$;
