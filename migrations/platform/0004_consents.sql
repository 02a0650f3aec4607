-- The consent gate: whether data about a person may be stored for a purpose that needs their consent. The privacy service
-- writes it (crates/consent). A service that collects no such data has no rows.

create table consent_gates (
    user_id uuid not null,
    purpose text not null,
    given   boolean not null,
    -- The number of the change; an older one has no effect.
    epoch   bigint not null,
    -- The number of the last withdrawal: what was collected before it is deleted.
    withdrawn_epoch bigint not null,
    primary key (user_id, purpose)
);

-- One row: when the privacy service has last said that this service knows everything, up to which change it knows all, and
-- for which purposes. With other purposes it knows nothing.
create table consent_contact (
    one     boolean primary key default true check (one),
    at      timestamptz not null default '-infinity',
    through bigint not null default 0,
    purposes text[] not null default '{}'
);
insert into consent_contact default values;

-- Whether data about a person may be stored for a purpose, to be asked by the statement that stores it:
--
--     insert into visits (...) select ... where consent_admits($1, 'analytics')
--
-- It locks the person's row until the transaction ends, so a withdrawal waits for it, and what comes after the withdrawal is
-- refused, however long it was queued. Without contact for ten seconds nothing is admitted: consent may have been withdrawn.
do $$
begin
    execute format($f$
        create function %1$I.consent_admits(person uuid, of_purpose text) returns boolean language plpgsql as $g$
        begin
            perform from %1$I.consent_contact where at > clock_timestamp() - interval '10 seconds';
            if not found then
                return false;
            end if;
            perform from %1$I.consent_gates where user_id = person and purpose = of_purpose and given for share;
            return found;
        end $g$
    $f$, current_schema);
end $$;

-- The serving role reads, and locks rows, for which Postgres asks for a right to update.
do $$
declare
    app text := 'baton_' || current_schema;
begin
    execute format('revoke all on consent_gates, consent_contact from %I', app);
    execute format('grant select, update (epoch) on consent_gates to %I', app);
    execute format('grant select on consent_contact to %I', app);
end $$;
