-- Answers to consents and receipts of erasures are leaves of Merkle trees (crates/audit), in the order in which the service
-- took them in. Absent until then.
alter table consents add column leaf_hash bytea, add column leaf_index bigint;
alter table erasure_receipts add column leaf_hash bytea, add column leaf_index bigint;
create index consents_without_leaf on consents (id) where leaf_index is null;
create index erasure_receipts_without_leaf on erasure_receipts (request_id, service) where leaf_index is null;
create unique index consents_by_leaf on consents (leaf_hash) where leaf_hash is not null;
create unique index erasure_receipts_by_leaf on erasure_receipts (leaf_hash) where leaf_hash is not null;

-- Requests whose time is over.
create index requests_by_due on requests (due_at) where ended_at is null;

-- Personal data breaches (GDPR, articles 33 and 34).
create table breaches (
    id                    uuid primary key,
    -- What happened, without data of people.
    summary               text not null,
    discovered_at         timestamptz not null,
    -- 72 hours later (article 33, paragraph 1).
    notify_by             timestamptz not null,
    categories            text[] not null,
    recorded_by           uuid not null,
    recorded_at           timestamptz not null,
    authority_notified_at timestamptz,
    people_notified_at    timestamptz,
    -- Why nobody is notified, if so (article 33, paragraph 1; article 34, paragraph 3).
    exemption             text not null default '',
    constraint breaches_clock check (notify_by = discovered_at + interval '72 hours')
);
create index breaches_by_time on breaches (discovered_at desc, id);
create index breaches_of_operator on breaches (recorded_by);

create table breach_people (
    breach_id uuid not null references breaches (id) on delete cascade,
    user_id   uuid not null,
    primary key (breach_id, user_id)
);
create index breach_people_of_user on breach_people (user_id);

do $$
declare
    app text := 'baton_' || current_schema;
begin
    execute format('revoke delete on breaches from %I', app);
    execute format('revoke update, delete on breach_people from %I', app);
end $$;
