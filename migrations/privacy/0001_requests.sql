-- Requests of people about their own data, and what became of them. People belong to no account, so these tables have no
-- tenant; every query names the person.

create table requests (
    -- UUIDv7: newest first is by id.
    id           uuid primary key,
    user_id      uuid not null,
    kind         text not null constraint requests_kind check (kind in ('export')),
    state        text not null constraint requests_state check (state in ('processing', 'ready', 'expired', 'failed')),
    requested_at timestamptz not null,
    -- One month later (GDPR, article 12).
    due_at       timestamptz not null,
    ended_at     timestamptz,
    constraint requests_end check ((ended_at is null) = (state = 'processing'))
);
create index requests_of_user on requests (user_id, id desc);
create index requests_by_end on requests (ended_at) where ended_at is not null;
-- One export is made at a time.
create unique index requests_one_export on requests (user_id) where kind = 'export' and state = 'processing';

create table exports (
    request_id      uuid primary key references requests (id) on delete cascade,
    user_id         uuid not null,
    categories      text[] not null,
    -- SHA-256 of the file.
    sha256          bytea,
    available_until timestamptz,
    -- The file in the object store: each attempt to make the export has its own. Absent before and after.
    file            uuid
);
create index exports_of_user on exports (user_id);
create index exports_expiry on exports (available_until) where file is not null;

-- The serving role deletes nothing.
do $$
begin
    execute format('revoke delete on requests, exports from %I', 'baton_' || current_schema);
end $$;
