-- Erasures of people: their requests, the codes that confirm them, and the proof of what was erased.

alter table requests
    drop constraint requests_kind,
    add constraint requests_kind check (kind in ('export', 'erasure')),
    drop constraint requests_state,
    add constraint requests_state check (state in ('processing', 'ready', 'expired', 'failed', 'scheduled', 'held', 'erasing',
                                                   'verifying', 'completed', 'canceled')),
    drop constraint requests_end,
    add constraint requests_end check (
        (ended_at is null) = (state in ('processing', 'scheduled', 'held', 'erasing', 'verifying')));
-- One erasure at a time.
create unique index requests_one_erasure on requests (user_id)
    where kind = 'erasure' and state in ('scheduled', 'held', 'erasing', 'verifying');

create table erasures (
    request_id    uuid primary key references requests (id) on delete cascade,
    user_id       uuid not null,
    -- Who asked: the person, the end of their deactivation, or the ledger after a restore.
    origin        text not null constraint erasures_origin check (origin in ('person', 'deactivation', 'ledger')),
    -- In the person's words.
    reason        text not null default '',
    -- Part of the token that cancels it.
    nonce         uuid not null,
    -- The end of the grace period.
    erase_at      timestamptz not null,
    -- When a count has found nothing: a second one, an hour later, completes the erasure.
    found_none_at timestamptz,
    -- When to count next.
    count_at      timestamptz
);
create index erasures_of_user on erasures (user_id);
create index requests_scheduled on requests (id) where kind = 'erasure' and state = 'scheduled';
create index erasures_to_count on erasures (count_at) where count_at is not null;

-- A mailed code. It is made when the mail is sent.
create table erasure_codes (
    user_id    uuid primary key,
    -- SHA-256 of the person's id and the code.
    hash       bytea,
    attempts   integer not null default 0,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index erasure_codes_by_expiry on erasure_codes (expires_at);

-- What was found before anything was erased.
create table erasure_counts (
    request_id uuid not null references requests (id) on delete cascade,
    service    text not null,
    table_name text not null,
    subject    text not null,
    treatment  text not null,
    found      bigint not null,
    primary key (request_id, service, table_name, subject, treatment)
);

-- The signed proof, one for each service.
create table erasure_receipts (
    request_id uuid not null references requests (id) on delete cascade,
    service    text not null,
    -- A JWS (RFC 7515, compact).
    jws        text not null,
    primary key (request_id, service)
);

do $$
declare
    app text := 'baton_' || current_schema;
begin
    execute format('revoke delete on erasures from %I', app);
    execute format('revoke insert, update, delete on erasure_counts, erasure_receipts from %I', app);
end $$;
