-- The serving role gets no more of the platform's tables than it uses. None of them but `idempotency_keys` is behind
-- row-level security, so that whatever it may read, it may read of all tenants. `crates/baton/tests/it/privileges.rs`
-- holds the list of what it may. The tables of the migrations themselves are made by the migrator, which limits them.
do $$
declare
    app text := 'baton_' || current_schema;
begin
    -- Only the workers set events aside, and only an operator looks at them.
    execute format('revoke all on dead_letters from %I', app);
    -- An event is noted in the transaction that handles it, and never forgotten there.
    execute format('revoke all on inbox from %I', app);
    execute format('grant insert (event_id), select (event_id) on inbox to %I', app);
    -- A key is taken and answered; the system role sweeps.
    execute format('revoke all on idempotency_keys from %I', app);
    execute format('grant select, insert, update on idempotency_keys to %I', app);
    -- 0001 left truncate, references and trigger to nobody; `all` says it for whatever comes.
    execute format('revoke all on outbox, jobs, relay from %I', app);
    execute format('grant insert on outbox, jobs to %I', app);
end $$;
