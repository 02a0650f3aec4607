-- People the processing of whose data is restricted (GDPR, article 18). The privacy service writes it, and every process of
-- the service reads what has changed twice a second.
create table processing_restrictions (
    user_id    uuid primary key,
    restricted boolean not null,
    -- The number of the change; an older one has no effect.
    epoch      bigint not null,
    -- When it was written here: what is newer is read.
    changed_at timestamptz not null default clock_timestamp()
);
create index processing_restrictions_by_change on processing_restrictions (changed_at);

-- The entries of the ledger of erasures that this database knows. One that it does not know was made after the backup that
-- the database was restored from: the service is not ready until that erasure was repeated (`baton privacy replay`).
create table ledger_entries (
    id uuid primary key
);

do $$
declare
    app text := 'baton_' || current_schema;
begin
    execute format('revoke all on processing_restrictions, ledger_entries from %I', app);
end $$;
