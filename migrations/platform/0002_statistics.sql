-- The services plan each statement once per connection. What was planned while a table was empty reads far too much of
-- one that has grown since, until the table is analyzed and its plans are made anew. Autovacuum looks once a minute,
-- which is long for an installation that takes in its first tasks; so the services look themselves, and this lets them:
-- only the owner may analyze a table.
do $do$
declare
    sys text := 'baton_' || current_schema || '_system';
begin
    execute format($format$
        create function analyze_table(target text) returns void language plpgsql security definer
        set search_path = pg_catalog, pg_temp as $$
        begin
            execute format('analyze (skip_locked) %%I.%%I', %L, target);
        end $$
    $format$, current_schema);
    revoke execute on function analyze_table(text) from public;
    execute format('grant execute on function analyze_table(text) to %I', sys);
    -- `baton doctor` tells by it whether this file was applied.
    execute format('grant select on _platform_migrations to %I, %I', 'baton_' || current_schema, sys);
end $do$;
