-- What people answered to the notices of purposes that need consent. Answers are only added: they are the evidence.

create table consents (
    -- UUIDv7: the order of the answers.
    id          uuid primary key,
    user_id     uuid not null,
    type        text not null,
    given       boolean not null,
    legal_basis text not null,
    -- What the client has shown as the purpose.
    purpose     text not null,
    method      text not null constraint consents_method
                    check (method in ('registration', 'settings', 'popup', 'withdrawal', 'privacy_control')),
    version     integer not null,
    -- SHA-256 of the notice.
    notice_hash bytea not null,
    address     text not null,
    user_agent  text not null,
    created_at  timestamptz not null
);
create index consents_of_user on consents (user_id, id desc);

-- The number of a change of a consent, in the order in which changes of one consent are made.
create sequence consent_epochs;

-- What holds: the last answer for each purpose. Collectors are told it (crates/consent).
create table consent_states (
    user_id    uuid not null,
    type       text not null,
    given      boolean not null,
    -- Whether it was given and withdrawn, as opposed to refused.
    withdrawn  boolean not null,
    version    integer not null,
    -- Whether the notice has changed in substance since; consent to it does not hold.
    stale      boolean not null default false,
    -- Counts changes; what is newer is told to collectors.
    epoch      bigint not null,
    epoch_at   timestamptz not null,
    -- The number of the last withdrawal, after which collectors delete what they have.
    withdrawn_epoch bigint not null default 0,
    -- When the person answered.
    changed_at timestamptz not null,
    primary key (user_id, type)
);
create index consent_states_by_epoch on consent_states (epoch);

do $$
declare
    app text := 'baton_' || current_schema;
begin
    execute format('revoke update, delete on consents from %I', app);
    execute format('revoke delete on consent_states from %I', app);
end $$;
