-- The data processing agreements (GDPR, article 28) that the owners of accounts have accepted. Rows are evidence: they are
-- never changed.
create table dpa_acceptances (
    account_id  uuid not null references accounts (id) on delete cascade,
    version     integer not null,
    -- SHA-256 of the text that was accepted.
    sha256      bytea not null constraint dpa_acceptances_sha256 check (octet_length(sha256) = 32),
    accepted_by uuid not null,
    accepted_at timestamptz not null,
    primary key (account_id, version)
);
create index dpa_acceptances_by_person on dpa_acceptances (accepted_by);
call protect_tenant_table('dpa_acceptances');

do $$
begin
    execute format('revoke update, delete on dpa_acceptances from %I', 'baton_' || current_schema);
end $$;
